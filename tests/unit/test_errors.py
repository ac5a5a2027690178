"""One tree of errors: drawn at the top of the module, each with a code, plain JSON as details."""

import builtins
import inspect
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from recollect import errors
from recollect.errors import (
    ConfigError,
    InvalidInput,
    InvalidMessage,
    KeyReused,
    LeaseLost,
    MaxTurnsExceeded,
    MemoryConnectionError,
    MemoryNotFoundError,
    MemoryResourceNotFound,
    MemoryStorageError,
    MissingExtra,
    RecollectError,
    RegistryNotProvided,
    SchemaTooNew,
    StoreError,
    StoreUnavailable,
    TemplateError,
    VersionConflict,
    closest,
    error_json,
)

CLASSES: dict[str, type[RecollectError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, RecollectError)
}
every_class = pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)

# Made as their users make them; all others take a message.
MADE: dict[str, RecollectError] = {
    "MemoryResourceNotFound": MemoryResourceNotFound("sessions", ["session"]),
    "RegistryNotProvided": RegistryNotProvided("task 'read'"),
    "MissingExtra": MissingExtra("YAML projects", "workflows"),
    "SchemaTooNew": SchemaTooNew("/tmp/a.db", 9, 1),
    "KeyReused": KeyReused("k-1"),
    "MaxTurnsExceeded": MaxTurnsExceeded(50),
    "MemoryError": errors.MemoryError("it broke", "Redis"),
    "MemoryConnectionError": MemoryConnectionError("it broke", "Redis"),
    "MemoryNotFoundError": MemoryNotFoundError("it broke", "Redis", "c-1"),
    "MemoryStorageError": MemoryStorageError("it broke", "Redis", "append_messages"),
}
EVERY: dict[str, RecollectError] = {
    name: MADE[name] if name in MADE else kind("it broke") for name, kind in CLASSES.items()
}
every_error = pytest.mark.parametrize("error", EVERY.values(), ids=EVERY)

CODES = {
    "RecollectError": "INTERNAL_ERROR",
    "ConfigError": "INVALID_CONFIGURATION",
    "MemoryResourceNotFound": "MEMORY_RESOURCE_NOT_FOUND",
    "RegistryNotProvided": "RESOURCE_REGISTRY_MISSING",
    "MissingExtra": "MISSING_EXTRA",
    "TemplateError": "TEMPLATE_ERROR",
    "TemplateSyntaxError": "TEMPLATE_SYNTAX",
    "TemplateMissingKey": "TEMPLATE_MISSING_KEY",
    "InvalidInput": "INVALID_CONFIGURATION",
    "InvalidMessage": "INVALID_CONFIGURATION",
    "InvalidConversationId": "INVALID_KEY",
    "InvalidOperation": "INVALID_MEMORY_OPERATION",
    "TooManyKeys": "SAFETY_LIMIT_EXCEEDED",
    "StoreError": "MEMORY_PERSISTENCE_ERROR",
    "StoreUnavailable": "MEMORY_PERSISTENCE_ERROR",
    "StoreCorrupt": "MEMORY_PERSISTENCE_ERROR",
    "StoreClosed": "MEMORY_PERSISTENCE_ERROR",
    "WrongLoop": "MEMORY_PERSISTENCE_ERROR",
    "SchemaTooNew": "MEMORY_PERSISTENCE_ERROR",
    "MigrationNeeded": "MIGRATION_NEEDED",
    "OutcomeUnknown": "MEMORY_PERSISTENCE_ERROR",
    "KeyReused": "IDEMPOTENCY_KEY_REUSED",
    "VersionConflict": "VERSION_CONFLICT",
    "LeaseLost": "LOCK_TIMEOUT",
    "MemoryError": "MEMORY_PERSISTENCE_ERROR",
    "MemoryConnectionError": "MEMORY_PERSISTENCE_ERROR",
    "MemoryNotFoundError": "MEMORY_NOT_FOUND",
    "MemoryStorageError": "MEMORY_PERSISTENCE_ERROR",
    "MemoryLimitExceeded": "MEMORY_LIMIT_EXCEEDED",
    "MemoryDisabled": "MEMORY_DISABLED",
    "FlushPending": "FLUSH_ALREADY_PENDING",
    "LeaseTaken": "LOCK_ACQUISITION_FAILED",
    "PrivacyError": "PRIVACY_REDACTION_ERROR",
    "ModelError": "LLM_ERROR",
    "ModelRateLimited": "LLM_RATE_LIMIT",
    "ModelKeyMissing": "LLM_AUTH",
    "RunError": "TASK_FAILED",
    "MaxTurnsExceeded": "MAX_TURNS_EXCEEDED",
    "TaskTimeout": "TASK_TIMEOUT",
    "MemoryReadOnly": "MEMORY_READ_ONLY",
    "RunNotFound": "RUN_NOT_FOUND",
    "RunCancelled": "CANCELLED",
    "RunNotCancelled": "RUN_NOT_CANCELLED",
}
RETRYABLE = {
    "StoreUnavailable",
    "VersionConflict",
    "LeaseLost",
    "MemoryConnectionError",
    "FlushPending",
    "LeaseTaken",
    "ModelRateLimited",
}


def _drawn() -> Iterator[tuple[str, str]]:
    """Yield (class, parent) for each line of the drawing."""
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│ ├└─]*)([A-Z]\w+)", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            yield found[2], path[depth - 1] if depth else "Exception"


def test_the_drawing_shows_every_class_below_its_parent() -> None:
    drawn = dict(_drawn())
    written = {name: kind.__bases__[0].__name__ for name, kind in CLASSES.items()}
    assert drawn == written


def test_the_drawing_shows_no_class_twice() -> None:
    names = [name for name, _ in _drawn()]
    assert len(names) == len(set(names))


def test_every_class_has_the_code_that_is_written_down() -> None:
    assert {name: kind.code for name, kind in CLASSES.items()} == CODES


def test_only_these_may_be_tried_again() -> None:
    assert {name for name, kind in CLASSES.items() if kind.retryable} == RETRYABLE


@every_class
def test_a_class_says_when_it_is_raised(kind: type[RecollectError]) -> None:
    assert kind.__doc__
    assert kind.__doc__.strip()[0].isupper()


@every_class
def test_a_code_is_upper_case(kind: type[RecollectError]) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", kind.code)


@every_error
def test_as_json_holds_code_message_and_details_only(error: RecollectError) -> None:
    assert error.as_json() == {
        "code": error.code,
        "message": str(error),
        "details": error.details,
    }


@every_error
def test_as_json_is_plain_json(error: RecollectError) -> None:
    shown = error.as_json()
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


@every_error
def test_the_message_is_the_text(error: RecollectError) -> None:
    assert str(error) == error.message != ""


@every_error
def test_details_without_a_value_are_left_out(error: RecollectError) -> None:
    assert None not in error.details.values()


def test_details_are_the_named_values_given() -> None:
    error = VersionConflict("changed", found=3, expected=None, zero=0, empty="")
    assert error.details == {"found": 3, "zero": 0, "empty": ""}


def test_an_error_is_caught_by_its_family() -> None:
    with pytest.raises(StoreError):
        raise LeaseLost("gone")
    with pytest.raises(InvalidInput):
        raise InvalidMessage("bad")


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("a.yaml", 3, "a.yaml:3: wrong"),
        (Path("memory") / "a.yaml", 3, f"{Path('memory') / 'a.yaml'}:3: wrong"),
        ("a.yaml", None, "a.yaml: wrong"),
        (None, 3, "wrong"),
        (None, None, "wrong"),
    ],
    ids=["file and line", "a path", "file alone", "line alone", "neither"],
)
def test_a_config_error_begins_with_its_place(
    file: Path | str | None, line: int | None, expected: str
) -> None:
    assert str(ConfigError("wrong", file=file, line=line)) == expected


def test_a_config_error_has_its_place_in_the_details() -> None:
    error = ConfigError("wrong", file=Path("a.yaml"), line=3, field="limits.max", extra=1)
    assert error.details == {"file": "a.yaml", "line": 3, "field": "limits.max", "extra": 1}


def test_a_missing_memory_names_the_known_ones_and_the_closest() -> None:
    error = MemoryResourceNotFound(
        "sesion", ["session", "profile"], used_by="task 'read'", file="w.yaml", line=7
    )
    assert str(error) == (
        "w.yaml:7: Memory resource not found: 'sesion' (task 'read'). "
        "Known memories: profile, session. Did you mean 'session'?"
    )
    assert error.details["available_resources"] == ["profile", "session"]
    assert error.details["memory_ref"] == "sesion"


def test_a_missing_memory_without_any_known_says_where_to_look() -> None:
    text = str(MemoryResourceNotFound("session", []))
    assert text.startswith("Memory resource not found: 'session'.")
    assert "autoload.include" in text
    assert "Did you mean" not in text


def test_a_missing_registry_says_what_to_write() -> None:
    text = str(RegistryNotProvided("task 'read'", file="w.yaml", line=2))
    assert text.startswith("w.yaml:2: Resource registry not provided: task 'read'")
    assert "autoload: {enabled: true" in text


def test_a_missing_extra_says_what_to_install() -> None:
    error = MissingExtra("The command line", "workflows")
    assert "pip install 'recollect[workflows]'" in str(error)
    assert error.details == {"extra": "workflows"}


def test_a_template_error_has_line_and_column() -> None:
    assert TemplateError("wrong", line=2, column=5).details == {"line": 2, "column": 5}


def test_an_unavailable_store_says_when_to_come_back() -> None:
    assert StoreUnavailable("locked").details == {"retry_after": 5}
    assert StoreUnavailable("locked", retry_after=0.5).details == {"retry_after": 0.5}


def test_a_schema_that_is_too_new_names_both_versions_and_the_way_out() -> None:
    error = SchemaTooNew("/tmp/a.db", 9, 1)
    assert "/tmp/a.db has schema version 9" in str(error)
    assert "upgrade Recollect" in str(error)
    assert error.details == {"found": 9, "known": 1}


def test_a_reused_key_is_quoted() -> None:
    assert "'run:1\\n'" in str(KeyReused("run:1\n"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mesage", " Did you mean 'message'?"), ("zzz", ""), ("", "")],
    ids=["near", "far", "empty"],
)
def test_the_closest_name_is_offered_if_it_is_near(name: str, expected: str) -> None:
    assert closest(name, ["message", "memory"]) == expected


def test_nothing_is_close_to_nothing() -> None:
    assert closest("message", []) == ""


def test_a_foreign_error_is_shown_by_its_type_only() -> None:
    assert error_json(ValueError("the secret")) == {
        "code": "INTERNAL_ERROR",
        "message": "internal error (ValueError)",
        "details": {},
    }


def test_our_own_error_is_shown_whole() -> None:
    error = SchemaTooNew("/tmp/a.db", 9, 1)
    assert error_json(error) == error.as_json()


PROVIDER_ERRORS = {
    name: error for name, error in EVERY.items() if isinstance(error, errors.MemoryError)
}
every_provider_error = pytest.mark.parametrize(
    "error", PROVIDER_ERRORS.values(), ids=PROVIDER_ERRORS
)


def test_the_errors_of_providers_take_their_fields_in_the_order_of_seed_004() -> None:
    cause = StoreUnavailable("down")
    connection = MemoryConnectionError("a", "Redis", cause)
    missing = MemoryNotFoundError("b", "Postgres", "c-1", cause)
    storage = MemoryStorageError("c", "InMemory", "append_messages", cause)
    assert (str(connection), connection.provider) == ("a", "Redis")
    assert (missing.provider, missing.conversation_id) == ("Postgres", "c-1")
    assert (storage.provider, storage.operation) == ("InMemory", "append_messages")
    for error in (connection, missing, storage):
        assert error.cause is error.__cause__ is cause


@every_provider_error
def test_an_error_of_a_provider_is_caught_as_the_base_and_is_no_builtin(
    error: errors.MemoryError,
) -> None:
    assert isinstance(error, errors.MemoryError)
    assert not isinstance(error, builtins.MemoryError)


def test_errors_of_providers_are_equal_by_their_fields() -> None:
    one = MemoryStorageError("m", "Redis", "append_messages", StoreUnavailable("down"))
    same = MemoryStorageError("m", "Redis", "append_messages", StoreUnavailable("down"))
    assert one == same
    assert hash(one) == hash(same)
    others = [
        MemoryStorageError("x", "Redis", "append_messages", StoreUnavailable("down")),
        MemoryStorageError("m", "x", "append_messages", StoreUnavailable("down")),
        MemoryStorageError("m", "Redis", "x", StoreUnavailable("down")),
        MemoryStorageError("m", "Redis", "append_messages", StoreUnavailable("x")),
        MemoryStorageError("m", "Redis", "append_messages", KeyReused("down")),
        MemoryNotFoundError("m", "Redis", "append_messages", StoreUnavailable("down")),
    ]
    assert one not in others


@every_error
def test_an_error_survives_pickling(error: RecollectError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.details) == (str(error), error.details)


@every_provider_error
def test_a_pickled_error_of_a_provider_is_equal_and_keeps_its_cause(
    error: errors.MemoryError,
) -> None:
    error = copy_with_cause(error, SchemaTooNew("/tmp/a.db", 9, 1))
    copy = pickle.loads(pickle.dumps(error))
    assert copy == error
    assert str(copy.__cause__) == str(error.cause)


def copy_with_cause(error: errors.MemoryError, cause: Exception) -> errors.MemoryError:
    kind, (*given, _) = error.__reduce__()
    made = kind(*given, cause)
    assert isinstance(made, errors.MemoryError)
    return made
