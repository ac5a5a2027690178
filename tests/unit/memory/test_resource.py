"""Resources: what YAML may say, and what is refused by name."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from recollect.memory.resource import Resource


def resource(**fields: Any) -> Resource:
    return Resource.model_validate({"resource": "memory", "id": "m", **fields})


def test_a_resource_with_only_an_id_is_a_buffer_without_limits_or_expiry() -> None:
    memory = resource()
    assert (memory.type, memory.max_tokens, memory.max_messages) == ("buffer", None, None)
    assert memory.persistence.ttl is None


@pytest.mark.parametrize("id_", ["customer-support-context", "conversation_memory", "a.b", "7"])
def test_ids_may_have_hyphens_underscores_and_dots(id_: str) -> None:
    assert resource(id=id_).id == id_


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("24h", timedelta(hours=24)),
        ("1h30m", timedelta(minutes=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("10 minutes", timedelta(minutes=10)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        (90, timedelta(seconds=90)),
        ("1 hour and 5 minutes", timedelta(minutes=65)),
    ],
)
def test_a_ttl_is_written_in_many_ways(written: object, meant: timedelta) -> None:
    assert resource(persistence={"type": "redis", "ttl": written}).persistence.ttl == meant


def test_a_ttl_of_zero_keeps_for_ever() -> None:
    assert resource(persistence={"ttl": 0}).persistence.ttl is None


def test_both_names_of_the_key_mean_the_same() -> None:
    assert resource(default_key_template="u:{{.user_id}}").key == "u:{{.user_id}}"
    with pytest.raises(ValidationError, match="differ"):
        resource(key="a", default_key_template="b")


def test_both_names_of_the_threshold_mean_the_same() -> None:
    assert resource(flushing={"summarize_threshold": 0.6}).flushing.threshold == 0.6
    with pytest.raises(ValidationError, match="keep one"):
        resource(flushing={"summarize_threshold": 0.6, "threshold": 0.8})


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "token_based"},
        {"type": "message_count_based", "max_tokens": 100},
        {"type": "ring"},
        {"id": ""},
        {"id": "a b"},
        {"max_tokens": 0},
        {"max_messages": -1},
        {"max_tokens": "many"},
        {"persistence": {"type": "floppy"}},
        {"persistence": {"ttl": "soon"}},
        {"persistence": {"ttl": -1}},
        {"flushing": {"threshold": 1.5}},
        {"key": "{{ .user"},
        {"privacy_policy": {"redact_patterns": ["(?=x)"]}},
        {"privacy_policy": {"redact_patterns": ["("]}},
        {"privacy_policy": {"redact_patterns": ["preset:nobody-knows"]}},
        {"resource": "agent"},
    ],
)
def test_wrong_values_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        resource(**fields)


@pytest.mark.parametrize("strategy", ["lru", "token_aware_lru"])
def test_a_strategy_that_is_not_built_says_why(strategy: str) -> None:
    with pytest.raises(ValidationError, match=f"{strategy}' is not built, because"):
        resource(flushing={"type": strategy})


@pytest.mark.parametrize("strategy", ["simple_fifo", "fifo", "hybrid_summary", "priority"])
def test_every_other_strategy_may_be_chosen(strategy: str) -> None:
    assert resource(flushing={"type": strategy}).flushing.type == strategy


@pytest.mark.parametrize("field", sorted(Resource.refused))
def test_no_field_is_both_refused_and_known(field: str) -> None:
    assert field not in Resource.model_fields
    with pytest.raises(ValidationError):
        resource(**{field: 1})
