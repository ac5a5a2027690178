"""What a policy keeps out of memories is not in the record of a run either (memory.md §7)."""

import json
from typing import Any

import pytest

from recollect.memory.privacy import Redactor
from recollect.memory.privacy.recording import Recorder

GONE = "[REDACTED]"
NOT_KEPT = {"privacy": {"do_not_persist": True}}


def recorder(**policies: Redactor) -> Recorder:
    return Recorder(policies or {"talk": Redactor(non_persistable=["system"])})


def kept(made: Recorder | None = None, **given: Any) -> dict[str, Any]:
    parts = {"output": None, "tasks": {}, "error": None, "steps": [], **given}
    return (made or recorder()).record(input_=parts.pop("input", {}), **parts)


def wrote(payload: Any, memory: str = "talk", operation: str = "append") -> dict[str, Any]:
    """What the journal holds of the input of a memory task."""
    rendered = {"operation": operation, "memory_ref": memory, "key": "k", "payload": payload}
    return {"result": {"status": "ready", "input": rendered}}


def done(output: Any) -> dict[str, Any]:
    return {"save": {"status": "completed", "output": output, "error": None}}


SYSTEM = {"role": "System", "content": "be secretive"}
FLAGGED = {"role": "user", "content": "between us", "metadata": NOT_KEPT}
TYPED = {"role": "user", "content": "card 4711", "metadata": {"type": "PAYMENT"}}
MISWRITTEN = {
    "role": "user",
    "content": "who knows",
    "metadata": {"privacy": {"do_not_persist": 1}},
}
POLICY = Redactor(non_persistable=["system", "payment"])


@pytest.mark.parametrize("message", [SYSTEM, FLAGGED, TYPED, MISWRITTEN])
@pytest.mark.parametrize("where", ["input", "output", "tasks", "json"])
def test_a_message_that_is_not_kept_leaves_its_role(message: dict[str, Any], where: str) -> None:
    fine = {"role": "assistant", "content": "hello", "metadata": {"type": "greeting"}}
    value = {"messages": [fine, message]}
    safe = {"messages": [fine, {"role": message["role"], "content": GONE}]}
    made = recorder(talk=POLICY)
    if where == "tasks":
        assert kept(made, tasks=done(value))["tasks"] == done(safe)
    elif where == "json":
        assert json.loads(kept(made, output=json.dumps(value))["output"]) == safe
    else:
        assert kept(made, **{where: value})[where] == safe


def test_what_such_a_message_says_is_nowhere_else_and_neither_is_what_went_into_it() -> None:
    """The input has no role; the memory task makes a message of it, and that is not kept."""
    payload = {"role": "user", "content": "Note: call me Ishmael", "metadata": NOT_KEPT}
    shown = kept(
        input={"text": "call me Ishmael", "pin": 4711, "user_id": "ada", "list": ["Ishmael"]},
        output={"echo": "he said: call me Ishmael!", "pin": 4711},
        tasks=done({"seen": "Note: call me Ishmael"}),
        steps=[wrote([payload, {"role": "user", "content": "pin 4711", "metadata": NOT_KEPT}])],
    )
    assert shown["input"] == {"text": GONE, "pin": GONE, "user_id": "ada", "list": [GONE]}
    assert shown["output"] == {"echo": f"he said: {GONE}!", "pin": 4711}
    assert shown["tasks"]["save"]["output"] == {"seen": GONE}


def test_a_message_that_is_kept_hides_nothing() -> None:
    given: dict[str, Any] = {"input": {"text": "hello"}, "output": "hello", "tasks": done("hello")}
    not_written = wrote({**FLAGGED, "content": "hello"}, operation="read")
    assert kept(**given, steps=[wrote("hello"), not_written]) == {
        **given,
        "error": None,
    }


def test_words_that_are_only_parts_of_others_stay() -> None:
    shown = kept(
        input={"a": "ish", "b": "cat"},
        output=["concatenated", "a cat", "x", "swords", "swordfish", "a sword"],
        steps=[wrote({"role": "system", "content": text}) for text in ("Ishmael x cat", "sword")],
    )
    assert shown["input"] == {"a": "ish", "b": GONE}
    *words, sentence = shown["output"]  # 3 letters are too few to look for
    assert words == ["concatenated", "a cat", "x", "swords", "swordfish"]
    assert sentence == f"a {GONE}"
    (one,) = kept(output=["crossword"], steps=[wrote({"role": "system", "content": "word"})])[
        "output"
    ]
    assert one == "crossword"


def test_each_memory_has_its_own_policy_and_an_unknown_one_that_of_all() -> None:
    made = recorder(talk=Redactor(), strict=Redactor(non_persistable=["user"]))
    said = {"input": {"text": "hello you"}}
    assert kept(made, **said, steps=[wrote("hello you", "talk")])["input"]["text"] == "hello you"
    for memory in ("strict", "STRICT", "removed"):
        assert kept(made, **said, steps=[wrote("hello you", memory)])["input"]["text"] == GONE


def test_under_drop_a_message_with_a_match_goes_whole_and_other_text_loses_the_match() -> None:
    made = recorder(talk=Redactor(["[0-9]{6}"], strategy="drop"))
    shown = kept(
        made,
        input={"text": "my number is 123456, as always", "other": "call 654321 now"},
        steps=[wrote("my number is 123456, as always")],
    )
    assert shown["input"] == {"text": GONE, "other": f"call {GONE} now"}


def test_sensitive_fields_are_hidden_in_messages_and_where_they_came_from() -> None:
    metadata = {"privacy": {"sensitive_fields": ["ticket", "who"]}, "ticket": 4711, "who": "Jane D"}
    message = {"role": "user", "content": "hello", "metadata": metadata}
    shown = kept(input={"ticket": 4711, "name": "Jane D"}, output=[message], steps=[wrote(message)])
    assert shown["input"] == {"ticket": GONE, "name": GONE}
    (safe,) = shown["output"]
    assert safe["content"] == "hello"
    assert (safe["metadata"]["ticket"], safe["metadata"]["who"]) == (GONE, GONE)


def test_tool_calls_and_attachments_of_such_a_message_are_hidden_too() -> None:
    arguments = json.dumps({"to": "Jane Doe"})
    call = {"id": "call_1", "function": {"name": "send", "arguments": arguments}}
    message = {"role": "assistant", "content": "", "tool_calls": [call], "metadata": NOT_KEPT}
    shown = kept(input={"to": "Jane Doe"}, output={"messages": [message]}, steps=[wrote(message)])
    assert "Jane" not in json.dumps(shown)


def test_statuses_and_errors_are_no_content() -> None:
    error = {"code": "X", "message": "completed", "details": {}}
    shown = kept(
        tasks=done("completed"), error=error, steps=[wrote({**SYSTEM, "content": "completed"})]
    )
    assert shown["tasks"] == done(GONE)
    assert shown["error"] == error
