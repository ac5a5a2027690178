"""A message may say itself what of it must not be stored."""

from typing import Any

import pytest

from recollect.errors import PrivacyError
from recollect.memory.privacy import Redactor, Strategy
from recollect.messages import Message, to_json

KEY = b"k" * 32


def message(privacy: Any, **metadata: Any) -> Message:
    return Message("user", "hello", metadata={"privacy": privacy, **metadata})


def screened(given: Message, strategy: Strategy = "redact") -> Any:
    result = Redactor(["sk-[a-z]+"], strategy=strategy, hash_key=KEY).screen(given).message
    return None if result is None else to_json(result)["metadata"]


@pytest.mark.parametrize("redactor", [Redactor(), Redactor(["x"])])
def test_do_not_persist_keeps_a_message_out(redactor: Redactor) -> None:
    given = message({"do_not_persist": True})
    assert (redactor.screen(given).message, redactor.screen(given).reason) == (None, "flag")
    assert redactor.screen(message({"do_not_persist": False})).message is not None


def test_sensitive_fields_are_replaced_whole_at_their_path() -> None:
    given = message(
        {"sensitive_fields": ["card", "user.ssn", "items.price", "gone", "a.b"], "mine": 1},
        card={"number": "4111"},
        user={"ssn": 123, "name": "Jane"},
        items=[{"price": 1, "id": 2}, {"id": 3}],
        **{"a.b": "x"},
    )
    assert screened(given) == {
        "privacy": {
            "sensitive_fields": ["card", "user.ssn", "items.price", "gone", "a.b"],
            "mine": 1,
            "redaction_applied": True,
        },
        "card": "[REDACTED]",
        "user": {"ssn": "[REDACTED]", "name": "Jane"},
        "items": [{"price": "[REDACTED]", "id": 2}, {"id": 3}],
        "a.b": "[REDACTED]",
    }


def test_sensitive_fields_are_replaced_by_the_policys_strategy() -> None:
    given = message({"sensitive_fields": ["card"]}, card="4111111111111111")
    assert screened(given, "mask")["card"] == "************1111"
    assert screened(given, "hash")["card"].startswith("[hash:")
    assert screened(given, "drop")["card"] == "[REDACTED]"


def test_a_match_beside_a_sensitive_field_still_drops_the_message() -> None:
    given = message({"sensitive_fields": ["card"]}, card="4111", key="sk-abc")
    assert screened(given, "drop") is None


@pytest.mark.parametrize("strategy", ["redact", "mask", "hash", "drop"])
def test_replacing_sensitive_fields_twice_changes_nothing(strategy: Strategy) -> None:
    redactor = Redactor(strategy=strategy, hash_key=KEY)
    given = message(
        {"sensitive_fields": ["card", "n"]}, card="4111 1111 1111 1111", n=[1, {"a": 2}]
    )
    once, count = redactor.redact(given)
    assert count == 2
    assert redactor.redact(once) == (once, 0)


def test_fields_that_are_not_there_change_nothing() -> None:
    given = message({"sensitive_fields": ["card", "x.y.z"]}, x=1, empty=None)
    assert Redactor().redact(given) == (given, 0)
    assert Redactor().screen(given).message is given


@pytest.mark.parametrize("privacy", ["high", None, 3, ["do_not_persist"], {}, {"level": "high"}])
def test_what_is_no_flag_is_the_callers_own(privacy: Any) -> None:
    given = message(privacy)
    assert Redactor().screen(given).message is given


@pytest.mark.parametrize(
    ("privacy", "says"),
    [
        ({"do_not_persist": "yes"}, "do_not_persist is neither true nor false"),
        ({"do_not_persists": True}, "Did you mean 'do_not_persist'?"),
        ({"sensitive_fields": "card"}, "sensitive_fields is no list"),
        ({"sensitive_fields": ["card", 1]}, "something other than text"),
    ],
)
def test_flags_that_are_not_understood_are_refused(privacy: Any, says: str) -> None:
    with pytest.raises(PrivacyError) as caught:
        Redactor().screen(message(privacy))
    assert says in str(caught.value)
    assert "nothing was stored" in str(caught.value)
