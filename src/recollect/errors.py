"""Every error a caller can meet, in one tree.

    RecollectError
    ├── ConfigError                    YAML, settings or arguments are wrong: nothing was started
    │   ├── MemoryResourceNotFound     a memory_ref names no resource
    │   ├── RegistryNotProvided        memory is used while autoload is off
    │   └── MissingExtra               an optional library is not installed
    ├── TemplateError                  a template cannot be rendered
    │   ├── TemplateSyntaxError        ... because it cannot be read
    │   └── TemplateMissingKey         ... because a path leads nowhere
    ├── InvalidInput                   a value from outside is refused; nothing was stored
    │   ├── InvalidMessage
    │   ├── InvalidConversationId
    │   ├── InvalidOperation
    │   └── TooManyKeys                a key with * names more conversations than max_keys
    ├── StoreError                     keeping or fetching a conversation failed
    │   ├── StoreUnavailable           locked, full, read-only, unreachable: try again
    │   ├── StoreCorrupt               the file or record is damaged
    │   ├── StoreClosed
    │   ├── WrongLoop                  a store used from another event loop than its own
    │   ├── SchemaTooNew               written by a newer Recollect
    │   ├── MigrationNeeded            the database holds conversations that another library made
    │   ├── OutcomeUnknown             a write without a key whose fate is not known
    │   ├── KeyReused                  one idempotency key, two different bodies
    │   ├── VersionConflict            the conversation changed since it was read
    │   └── LeaseLost                  a write under a lease that is no longer held
    ├── MemoryError                    a provider (recollect.memory) could not do what was asked
    │   ├── MemoryConnectionError      ... it cannot be reached, or is closed; nothing was stored
    │   ├── MemoryNotFoundError        ... there is no such conversation
    │   └── MemoryStorageError         ... any other failure of its store
    ├── MemoryLimitExceeded            a hard limit would be broken; nothing was stored
    ├── MemoryDisabled                 memory is switched off, and the project wants that to be told
    ├── MemoryReadOnly                 the mode of a reference forbids the operation
    ├── FlushPending                   somebody else is flushing this memory
    ├── LeaseTaken                     somebody else works on this conversation and did not end in time
    ├── PrivacyError                   redaction could not finish; nothing was stored
    ├── ModelError                     the language model did not answer
    │   ├── ModelRateLimited       ... now; try again later
    │   └── ModelKeyMissing
    └── RunError                       a run or task failed
        ├── MaxTurnsExceeded           the model was asked too often in one run
        ├── TaskTimeout
        ├── RunNotFound
        ├── RunCancelled           a run that `runs cancel` ended; the error of its record
        └── RunNotCancelled        it has ended already, or a living process works on it

Every error carries ``code`` (stable, upper case), ``retryable`` and ``details`` (plain JSON values,
never the content of a message). ``str(error)`` names the thing and the way out.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar


class RecollectError(Exception):
    """Base of everything Recollect raises on purpose."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = {k: v for k, v in details.items() if v is not None}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_unpickled, (type(self), self.args, self.__dict__))

    def as_json(self) -> dict[str, Any]:
        """The error as task outputs and APIs show it: ``{code, message, details}``."""
        return {"code": self.code, "message": str(self), "details": self.details}


def _unpickled(
    kind: type[RecollectError], args: tuple[Any, ...], state: dict[str, Any]
) -> RecollectError:
    """Rebuild an error without its constructor, which may take something else than a message."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def closest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


class ConfigError(RecollectError):
    """YAML, settings or arguments are wrong; the text begins with ``file:line:`` where known."""

    code = "INVALID_CONFIGURATION"

    def __init__(
        self,
        message: str,
        /,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        field: str | None = None,
        **details: Any,
    ) -> None:
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(
            where + message, file=str(file) if file else None, line=line, field=field, **details
        )


class MemoryResourceNotFound(ConfigError):
    """A ``memory_ref`` names no resource of the project."""

    code = "MEMORY_RESOURCE_NOT_FOUND"

    def __init__(
        self,
        memory_ref: str,
        known: Iterable[str],
        *,
        used_by: str = "",
        file: Path | str | None = None,
        line: int | None = None,
    ) -> None:
        ids = sorted(known)
        listed = ", ".join(ids) if ids else "none (is the file matched by autoload.include?)"
        super().__init__(
            f"Memory resource not found: {memory_ref!r}{f' ({used_by})' if used_by else ''}. "
            f"Known memories: {listed}.{closest(memory_ref, ids)}",
            file=file,
            line=line,
            memory_ref=memory_ref,
            available_resources=ids,
        )


class RegistryNotProvided(ConfigError):
    """Memory is used while autoload is off and no memory is declared."""

    code = "RESOURCE_REGISTRY_MISSING"

    def __init__(
        self,
        used_by: str,
        *,
        project_file: bool = True,
        file: Path | str | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(
            f"Resource registry not provided: {used_by} uses memory, but "
            + (
                "autoload is off and the project declares no memories. Put `autoload: {enabled: "
                'true, include: ["memory/*.yaml"]}` into recollect.yaml.'
                if project_file
                else "there is no recollect.yaml here or in a folder above. `recollect init` makes a "
                "project, --project names one that is elsewhere."
            ),
            file=file,
            line=line,
        )


class MissingExtra(ConfigError):
    """An optional library is not installed."""

    code = "MISSING_EXTRA"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the extra {extra!r}: pip install 'recollect[{extra}]'", extra=extra
        )


class TemplateError(RecollectError):
    """A template cannot be rendered. ``template`` is the text, ``line``/``column`` count from 1."""

    code = "TEMPLATE_ERROR"

    def __init__(
        self, message: str, /, *, line: int | None = None, column: int | None = None, **details: Any
    ) -> None:
        super().__init__(message, line=line, column=column, **details)


class TemplateSyntaxError(TemplateError):
    """The text is not a template of our dialect."""

    code = "TEMPLATE_SYNTAX"


class TemplateMissingKey(TemplateError):
    """A path that is printed leads nowhere."""

    code = "TEMPLATE_MISSING_KEY"


class InvalidInput(RecollectError):
    """A value from outside is refused; nothing was stored."""

    code = "INVALID_CONFIGURATION"


class InvalidMessage(InvalidInput):
    """A message has a wrong role, an empty content, a wrong type or text no store can keep."""


class InvalidConversationId(InvalidInput):
    """An id is empty, too long, or holds control characters or lone surrogates."""

    code = "INVALID_KEY"


class InvalidOperation(InvalidInput):
    """A memory operation that does not exist."""

    code = "INVALID_MEMORY_OPERATION"


class TooManyKeys(InvalidInput):
    """A key with ``*`` names more conversations than ``max_keys`` allows; none was changed."""

    code = "SAFETY_LIMIT_EXCEEDED"


class StoreError(RecollectError):
    """Keeping or fetching a conversation failed."""

    code = "MEMORY_PERSISTENCE_ERROR"


class StoreUnavailable(StoreError):
    """The store cannot be reached or written now. ``retry_after`` (seconds) is in the details."""

    retryable = True

    def __init__(self, message: str, /, *, retry_after: float = 5, **details: Any) -> None:
        super().__init__(message, retry_after=retry_after, **details)


class StoreCorrupt(StoreError):
    """The database file is damaged or is no database at all."""


class StoreClosed(StoreError):
    """The store was used after ``close``."""


class WrongLoop(StoreError):
    """A store whose connections belong to one event loop was used from another; nothing was done."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where}: this store and its connections belong to another event loop: open one store "
            "in each loop"
        )


class SchemaTooNew(StoreError):
    """The data were written by a newer Recollect."""

    def __init__(self, where: str, found: int, known: int) -> None:
        super().__init__(
            f"{where} has schema version {found}, this Recollect knows up to {known}: "
            "upgrade Recollect, or open another store",
            found=found,
            known=known,
        )


class MigrationNeeded(StoreError):
    """A database holds a table of conversations that another library made, or half a migration."""

    code = "MIGRATION_NEEDED"


class OutcomeUnknown(StoreError):
    """A write without an idempotency key broke off; it may or may not have been stored.

    Read before repeating it, or give writes a key: with one, repeating is safe.
    """


class KeyReused(StoreError):
    """An idempotency key came back with another body."""

    code = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the idempotency key {key!r} was already used for another change of this "
            "conversation: use a new key for a new change"
        )


class VersionConflict(StoreError):
    """The conversation changed since it was read: read again, then repeat."""

    code = "VERSION_CONFLICT"
    retryable = True


class LeaseLost(StoreError):
    """A write named a lease that has ended or passed to another holder; nothing changed."""

    code = "LOCK_TIMEOUT"
    retryable = True


class MemoryError(RecollectError):  # noqa: A001  # seed 004 names it so; it is no builtin of ours
    """A provider could not do what was asked (seed 004).

    ``cause`` is the error behind it, None if there is none. Two are equal when all their fields are,
    causes by type and text, so that an error and its pickled copy are equal.
    """

    code = "MEMORY_PERSISTENCE_ERROR"

    def __init__(self, message: str, provider: str, cause: BaseException | None = None) -> None:
        self._take(message, provider, cause)

    def _take(
        self, message: str, provider: str, cause: BaseException | None, **details: str
    ) -> None:
        super().__init__(message, provider=provider, **details)
        self.provider = provider
        self.cause = cause
        if cause is not None:
            self.__cause__ = cause

    def _fields(self) -> tuple[Any, ...]:
        return (self.message, self.provider, self.cause)

    def _compared(self) -> tuple[Any, ...]:
        return (type(self), *self._fields()[:-1], type(self.cause), str(self.cause))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemoryError) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self._fields()!r}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self._fields())


class MemoryConnectionError(MemoryError):
    """A provider's store cannot be reached, or is closed; nothing was stored, so try again."""

    retryable = True


class MemoryNotFoundError(MemoryError):
    """A provider has no such conversation."""

    code = "MEMORY_NOT_FOUND"

    def __init__(
        self,
        message: str,
        provider: str,
        conversation_id: str,
        cause: BaseException | None = None,
    ) -> None:
        self._take(message, provider, cause, conversation_id=conversation_id)
        self.conversation_id = conversation_id

    def _fields(self) -> tuple[Any, ...]:
        return (self.message, self.provider, self.conversation_id, self.cause)


class MemoryStorageError(MemoryError):
    """A provider's store failed; ``operation`` is the method that was called.

    With an ``OutcomeUnknown`` as its cause, a write may or may not have been stored.
    """

    def __init__(
        self, message: str, provider: str, operation: str, cause: BaseException | None = None
    ) -> None:
        self._take(message, provider, cause, operation=operation)
        self.operation = operation

    def _fields(self) -> tuple[Any, ...]:
        return (self.message, self.provider, self.operation, self.cause)


class MemoryLimitExceeded(RecollectError):
    """A hard limit would be broken; nothing was stored."""

    code = "MEMORY_LIMIT_EXCEEDED"


class MemoryDisabled(RecollectError):
    """A memory was used that is switched off; nothing was read or stored."""

    code = "MEMORY_DISABLED"


class MemoryReadOnly(RecollectError):
    """A memory was to be changed through a reference whose mode forbids that; nothing was stored."""

    code = "MEMORY_READ_ONLY"


class FlushPending(RecollectError):
    """Somebody else is flushing this memory right now."""

    code = "FLUSH_ALREADY_PENDING"
    retryable = True


class LeaseTaken(RecollectError):
    """Another holder kept the lease of a conversation as long as it was waited for."""

    code = "LOCK_ACQUISITION_FAILED"
    retryable = True


class PrivacyError(RecollectError):
    """Redaction could not finish, so nothing was stored."""

    code = "PRIVACY_REDACTION_ERROR"


class ModelError(RecollectError):
    """The language model did not answer as asked."""

    code = "LLM_ERROR"


class ModelRateLimited(ModelError):
    """The model's server asked to wait, or did not answer at all."""

    code = "LLM_RATE_LIMIT"
    retryable = True


class ModelKeyMissing(ModelError):
    """No API key; the text names the variable to set."""

    code = "LLM_AUTH"


class RunError(RecollectError):
    """A run or one of its tasks failed."""

    code = "TASK_FAILED"


class MaxTurnsExceeded(RunError):
    """The model was asked ``max_turns`` times in one run and still calls tools."""

    code = "MAX_TURNS_EXCEEDED"

    def __init__(self, turns: int) -> None:
        super().__init__(
            f"the model still calls tools after {turns} turns: run the state again to go on, or "
            "raise max_turns",
            turns=turns,
        )


class TaskTimeout(RunError):
    """A task took longer than its ``timeout``."""

    code = "TASK_TIMEOUT"


class RunNotFound(RunError):
    """No run has this id."""

    code = "RUN_NOT_FOUND"


class RunCancelled(RunError):
    """A run was ended before it was done, because somebody asked for that."""

    code = "CANCELLED"


class RunNotCancelled(RunError):
    """A run cannot be cancelled: it has ended, or another process works on it."""

    code = "RUN_NOT_CANCELLED"


def error_json(error: BaseException) -> Mapping[str, Any]:
    """Any exception as ``{code, message, details}``; foreign ones by type only, without content."""
    if isinstance(error, RecollectError):
        return error.as_json()
    return {
        "code": RecollectError.code,
        "message": f"internal error ({type(error).__name__})",
        "details": {},
    }
