"""From keys to addresses."""

import hashlib
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import ConfigError, InvalidConversationId, TemplateMissingKey
from recollect.memory.keys import (
    MAX_KEY_CHARACTERS,
    Pattern,
    address_of,
    backed_up_id,
    backup_label,
    checked_key,
    explicit_key,
    namespace_of,
    pattern_of,
    refuse_reserved,
    rendered_key,
    rendered_pattern,
    typed_pattern,
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
    """Row 31 of specs/memory.md section 13."""
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


def test_a_star_in_the_template_is_refused_where_one_key_is_needed() -> None:
    with pytest.raises(InvalidConversationId, match="must be one"):
        rendered_key("user:*", {}, NOW)
    with pytest.raises(InvalidConversationId, match="must be one"):
        checked_key("user:*")


@given(names)
def test_only_the_stars_of_the_author_select(value: str) -> None:
    """Row 39: *, : and {} in a value select nothing else."""
    key = rendered_pattern("user:{{.x}}:*", {"x": value}, NOW)
    own = rendered_key("user:{{.x}}:a", {"x": value}, NOW)
    assert key.count("*") == 1
    assert Pattern(key).matches(own)


@given(names, names)
def test_a_pattern_with_a_value_matches_keys_of_that_value_alone(one: str, other: str) -> None:
    pattern = Pattern(rendered_pattern("user:{{.x}}:*", {"x": one}, NOW))
    key = rendered_key("user:{{.x}}:a", {"x": other}, NOW)
    assert pattern.matches(key) == (one == other)


def test_a_template_that_is_one_expression_selects_nothing() -> None:
    assert rendered_pattern("{{ .key }}", {"key": "user:*"}, NOW) == "user:%2A"


def test_a_star_inside_an_expression_selects_nothing() -> None:
    assert rendered_pattern('a:{{ printf "*" }}', {}, NOW) == "a:%2A"


def test_a_typed_star_is_meant() -> None:
    assert typed_pattern("user:*:{x}") == "user:*:%7Bx%7D"


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_patterns_match_as_shell_globs_do(pattern: str, key: str) -> None:
    assert Pattern(pattern).matches(key) == fnmatchcase(key, pattern)


def test_matching_is_linear() -> None:
    """A backtracking matcher would not end."""
    assert not Pattern("a*" * 200 + "b").matches("a" * 512)


def test_several_keys_cannot_be_chosen_by_what_the_policy_hides() -> None:
    """The stored form of ada's keys begins like that of everybody's."""
    with pytest.raises(InvalidConversationId, match="hides"):
        pattern_of("user:ada@example.com:*", Redactor((EMAIL,)))


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


def a_secret() -> bytes:
    return b"s" * 32


def test_what_the_policy_hides_is_hidden_in_the_address_too() -> None:
    redactor = Redactor((EMAIL,))
    one = address_of("n", "conv:ada@example.com:s1", redactor, a_secret)
    assert "ada@example.com" not in one.id
    assert one == address_of("n", "conv:ada@example.com:s1", redactor, a_secret)
    assert one != address_of("n", "conv:bob@example.com:s1", redactor, a_secret)


def test_nobody_without_the_secret_can_try_out_what_is_hidden() -> None:
    """Who guesses the key and reads the store finds it by no plain hash, and under no other secret."""
    redactor, key = Redactor((EMAIL,)), "conv:ada@example.com:s1"
    one = address_of("n", key, redactor, a_secret).id
    assert one != address_of("n", key, redactor, lambda: b"t" * 32).id
    for guess in (key, "ada@example.com"):
        for algorithm in ("md5", "sha1", "sha256", "sha512", "blake2b"):
            assert hashlib.new(algorithm, guess.encode()).hexdigest()[:16] not in one


def test_a_hidden_key_is_refused_without_a_secret() -> None:
    with pytest.raises(ConfigError, match="no secret to hash it with"):
        address_of("n", "conv:ada@example.com:s1", Redactor((EMAIL,)))


def test_the_hash_of_a_key_is_not_the_one_that_stands_for_a_match() -> None:
    """Both are made with one secret; what one of them is shown for tells nothing of the other."""
    redactor = Redactor((EMAIL,), strategy="hash", hash_key=a_secret())
    shown, _, whole = address_of("n", "ada@example.com", redactor, a_secret).id.rpartition("-")
    letters = "bcdfghjkmnpqrstv"
    stood = "".join(f"{letters.index(c):x}" for c in shown.removeprefix("[hash:").rstrip("]"))
    assert len(stood) == 16
    assert not whole.startswith(stood)


def test_a_key_without_anything_to_hide_is_its_own_address() -> None:
    assert address_of("n", "conv:u1:s1", Redactor((EMAIL,))).id == "conv:u1:s1"


def test_a_long_key_with_something_to_hide_still_fits() -> None:
    key = "ada@example.com" + "x " * 248
    assert len(address_of("n", key, Redactor((EMAIL,)), a_secret).id) <= 512


def test_a_backup_label_names_the_conversation_it_was_made_from() -> None:
    assert backed_up_id(backup_label("conv:u1:s1", 7)) == "conv:u1:s1"
    assert backed_up_id("conv:u1:s1") is None
    assert backup_label("k", 1) != backup_label("k", 2)


# ---- row 39: tenants, and row 62: sanitising -----------------------------------------------------

ids = st.text("ab_.-", min_size=1, max_size=6)
odd = st.text(st.sampled_from("ab:*{}%/@+. _~é\u4e2d"), min_size=1, max_size=10).filter(str.strip)
places = st.tuples(ids, ids, ids, odd)


@given(places, places)
def test_no_two_tenants_projects_resources_and_keys_share_an_address(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    """Row 39: keys are rendered from values, as a task does it."""

    def address(place: tuple[str, str, str, str]) -> object:
        tenant, project, resource, value = place
        key = rendered_key("k:{{.x}}", {"x": value}, NOW)
        return address_of(namespace_of(project, resource, tenant), key, NOTHING)

    assert (address(one) == address(other)) == (one == other)


def test_a_crafted_key_does_not_reach_another_resource() -> None:
    """Row 39: (project a, key b:memory:c) is not (project a:memory:b, key c)."""
    one = address_of(namespace_of("a", "m"), explicit_key("b/m:c"), NOTHING)
    other = address_of(namespace_of("a/b", "m"), explicit_key("c"), NOTHING)
    assert one.namespace != other.namespace
    assert namespace_of("a", "b/c") != namespace_of("a/b", "c")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("user:a+b@x.com", "user:a_b_x.com"),
        ("a@b", "a_b"),
        ("a b", "a_b"),
        ("é", "e\u0301"),
        ("a", "A"),
        ("k" * 511 + "a", "k" * 511 + "b"),
    ],
)
def test_keys_that_look_alike_stay_apart(one: str, other: str) -> None:
    """Row 62: nothing is replaced by _, folded or cut."""
    assert address_of("n", explicit_key(one), NOTHING) != address_of(
        "n", explicit_key(other), NOTHING
    )


def test_a_key_of_ten_thousand_characters_is_refused_not_cut() -> None:
    """Row 62: at most 512."""
    assert MAX_KEY_CHARACTERS == 512
    with pytest.raises(InvalidConversationId, match="10,000 characters"):
        explicit_key("k" * 10_000)
    with pytest.raises(InvalidConversationId, match="at most 512"):
        rendered_key("k:{{.x}}", {"x": "*" * 200}, NOW)


@given(st.text(max_size=40))
def test_any_value_makes_a_key_that_a_store_takes_or_is_refused(value: str) -> None:
    """Row 62: whatever comes from users."""
    try:
        key = rendered_key("k:{{.x}}", {"x": value}, NOW)
    except InvalidConversationId:
        return
    assert len(key) <= MAX_KEY_CHARACTERS
    assert not set("*{}") & set(key)
    assert key.count(":") == 1
