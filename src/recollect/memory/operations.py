"""The eight operations by name: their settings, and the one way in for tasks, the CLI and the API."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationError

from recollect.errors import InvalidInput, InvalidOperation, closest
from recollect.memory.sections import Section, StrategyName

Operation = Literal["read", "write", "append", "delete", "flush", "health", "clear", "stats"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)

READ_CAP = 1000


def _none_for_zero(value: object) -> object:
    return None if value == 0 and not isinstance(value, bool) else value


class ReadConfig(Section):
    """Which messages a read returns.

    Attributes:
        limit: at most this many (1-1000); absent or 0: all, but no more than the newest 1000.
        offset: skip this many of the oldest.
        last: the newest ones instead, in place of limit and offset.
        source: ``live``, or ``archive`` for what a flush, write or clear moved away.
        batch: in the archive, only what was moved under this label.
        pattern: with a key that has a ``*``: of its keys only those that match this too.
    """

    refused = {"include_metadata": "is not needed: metadata are always there"}

    limit: Annotated[
        Annotated[int, Field(ge=1, le=READ_CAP)] | None, BeforeValidator(_none_for_zero)
    ] = None
    offset: int = Field(0, ge=0, le=2**62)
    last: int | None = Field(None, ge=1, le=READ_CAP)
    source: Literal["live", "archive"] = "live"
    batch: str | None = None
    pattern: str | None = Field(None, min_length=1)


class FlushConfig(Section):
    """How a flush is done.

    Attributes:
        dry_run: report what would go, change nothing.
        force: flush even below the threshold.
        threshold: instead of the resource's, 0-1.
        strategy: instead of the resource's.
        max_keys: instead of the task's (1-10,000); absent or 0: the task's.
    """

    dry_run: bool = False
    force: bool = False
    threshold: float | None = Field(None, gt=0, le=1)
    strategy: StrategyName | None = None
    max_keys: Annotated[
        Annotated[int, Field(ge=1, le=10_000)] | None, BeforeValidator(_none_for_zero)
    ] = None


class ClearConfig(Section):
    """``confirm`` must be true; ``backup`` keeps a copy in the archive; ``pattern`` as of a read."""

    confirm: bool = False
    backup: bool = False
    pattern: str | None = Field(None, min_length=1)


class HealthConfig(Section):
    """``include_stats`` adds totals over all keys; ``check_connectivity`` false asks no store."""

    include_stats: bool = False
    check_connectivity: bool = True


class StatsConfig(Section):
    """What is told beside counts, limits and times, which cost one look at the head.

    Attributes:
        include_content: adds the newest 100 messages.
        group_by: ``role`` counts by role.
        prompt_cache: false leaves out ``prefix_stable_tokens`` and ``next_flush``, for which all
            messages of a memory with limits are read.
    """

    include_content: bool = False
    group_by: Literal["role"] | None = None
    prompt_cache: bool = True


CONFIGS: Mapping[str, type[Section]] = {
    "read": ReadConfig,
    "flush": FlushConfig,
    "clear": ClearConfig,
    "health": HealthConfig,
    "stats": StatsConfig,
}


def checked_operation(name: object) -> Operation:
    """Return the operation of this name.

    Raises:
        InvalidOperation: there is none; the text lists the eight.
    """
    for operation in OPERATIONS:
        if name == operation:
            return operation
    raise InvalidOperation(
        f"unknown memory operation {str(name)[:40]!r}: it must be one of "
        f"{', '.join(OPERATIONS)}.{closest(str(name), OPERATIONS)}",
        supported_operations=list(OPERATIONS),
    )


def checked_config(operation: Operation, settings: Mapping[str, Any] | None) -> Section | None:
    """Return the settings of an operation, checked; None for operations that have none.

    Raises:
        InvalidInput: a setting is unknown or wrong.
    """
    model = CONFIGS.get(operation)
    if model is None:
        return None
    try:
        return model.model_validate(dict(settings or {}))
    except ValidationError as error:
        raise InvalidInput(f"{operation}_config: {_problems(error, model)}") from None


def _problems(error: ValidationError, model: type[Section]) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        field = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            reason = model.refused.get(field)
            lines.append(
                f"{field} {reason}"
                if reason
                else f"unknown field {field!r}.{closest(field, model.model_fields)}"
            )
        else:
            message = problem["msg"].removeprefix("Value error, ").replace("Input should", "must")
            lines.append(f"{field}: {message}" if field else message)
    return "; ".join(lines)
