"""From keys to addresses."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import InvalidConversationId, TemplateMissingKey
from recollect.memory.keys import (
    address_of,
    backed_up_id,
    backup_label,
    explicit_key,
    namespace_of,
    refuse_reserved,
    rendered_key,
)
from recollect.memory.privacy import Redactor

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EMAIL = r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}\b"
NOTHING = Redactor(())
names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


def test_a_key_is_rendered_from_the_scope() -> None:
    scope = {"user_id": "u1", "session_id": "s1"}
    assert rendered_key("conv:{{.user_id}}:{{.session_id}}", scope, NOW) == "conv:u1:s1"


def test_single_quoted_layouts_work_in_keys() -> None:
    assert rendered_key("s:{{ now | date '2006-01-02' }}", {}, NOW) == "s:2026-01-02"


@given(names, names, names, names)
def test_different_values_never_meet_in_one_key(a: str, b: str, c: str, d: str) -> None:
    one = rendered_key("k:{{.x}}:{{.y}}", {"x": a, "y": b}, NOW)
    other = rendered_key("k:{{.x}}:{{.y}}", {"x": c, "y": d}, NOW)
    assert (one == other) == ((a, b) == (c, d))


@given(st.lists(names, min_size=6, max_size=6))
def test_no_two_tenants_projects_and_resources_share_a_namespace(parts: list[str]) -> None:
    one, other = tuple(parts[:3]), tuple(parts[3:])
    assert (namespace_of(one[0], one[1], one[2]) == namespace_of(other[0], other[1], other[2])) == (
        one == other
    )


def test_a_star_in_a_value_selects_nothing() -> None:
    assert rendered_key("user:{{.x}}", {"x": "*"}, NOW) == "user:%2A"
    assert explicit_key("user:*") == "user:%2A"


def test_a_star_in_the_template_is_refused_for_now() -> None:
    with pytest.raises(InvalidConversationId, match="later version"):
        rendered_key("user:*", {}, NOW)


def test_a_key_that_an_output_showed_leads_to_the_same_place() -> None:
    key = rendered_key("conv:{{.x}}", {"x": "a:b*{c}%"}, NOW)
    assert explicit_key(key) == key


@pytest.mark.parametrize("key", ["", "  ", "x" * 513])
def test_keys_that_no_conversation_can_have_are_refused(key: str) -> None:
    with pytest.raises(InvalidConversationId, match="the key"):
        explicit_key(key)


def test_a_missing_value_names_the_path() -> None:
    with pytest.raises(TemplateMissingKey, match="user_id"):
        rendered_key("conv:{{.user_id}}", {"user": 1}, NOW)


@pytest.mark.parametrize("key", ["__x", "backup:x", "archive:x"])
def test_reserved_prefixes_cannot_be_written(key: str) -> None:
    with pytest.raises(InvalidConversationId, match="reserved"):
        refuse_reserved(key)


def test_what_the_policy_hides_is_hidden_in_the_address_too() -> None:
    redactor = Redactor((EMAIL,))
    one = address_of("n", "conv:ada@example.com:s1", redactor)
    assert "ada@example.com" not in one.id
    assert one == address_of("n", "conv:ada@example.com:s1", redactor)
    assert one != address_of("n", "conv:bob@example.com:s1", redactor)


def test_a_key_without_anything_to_hide_is_its_own_address() -> None:
    assert address_of("n", "conv:u1:s1", Redactor((EMAIL,))).id == "conv:u1:s1"


def test_a_long_key_with_something_to_hide_still_fits() -> None:
    key = "ada@example.com" + "x " * 248
    assert len(address_of("n", key, Redactor((EMAIL,))).id) <= 512


def test_a_backup_label_names_the_conversation_it_was_made_from() -> None:
    assert backed_up_id(backup_label("conv:u1:s1", 7)) == "conv:u1:s1"
    assert backed_up_id("conv:u1:s1") is None
    assert backup_label("k", 1) != backup_label("k", 2)
