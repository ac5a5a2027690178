"""The parts of a memory's YAML: scalars that are checked, and one section a policy.

Sources: seeds 000 and 003, specs/memory.md §1.2-1.7, §5, §7, §8.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from recollect.durations import parse_duration
from recollect.errors import ConfigError, TemplateError
from recollect.memory.counting.estimates import named
from recollect.memory.privacy import check_pattern
from recollect.templates import parse as parse_template

LATER = "comes in a later version"
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def _parsed(text: str) -> str:
    try:
        parse_template(text)
    except TemplateError as error:
        raise ValueError(str(error)) from None
    return text


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError(
            f"{text[:40]!r} is no id: use letters, digits, _ . and - (at most 100, and neither . nor "
            "- first)"
        )
    return text


def _version_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _share(value: object) -> object:
    """30 means 30 %."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 100:
        return value / 100
    return value


Id = Annotated[str, AfterValidator(_id)]
Version = Annotated[str, BeforeValidator(_version_text)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[Duration, Field(gt=timedelta(0))]
TemplateText = Annotated[str, Field(min_length=1), AfterValidator(_parsed)]
Percent = Annotated[float, BeforeValidator(_share), Field(gt=0, le=1)]
Role = Literal["user", "assistant", "system", "tool"]
PersistenceType = Literal["in_memory", "sqlite", "redis", "postgres"]
Strategy = Literal["simple_fifo", "fifo", "hybrid_summary", "priority"]

_NO_LRU = "is not built, because tracking access would need reads that write: use simple_fifo"
STRATEGIES_REFUSED: Mapping[str, str] = {"lru": _NO_LRU, "token_aware_lru": _NO_LRU}


def _known_strategy(value: object) -> object:
    if isinstance(value, str) and value in STRATEGIES_REFUSED:
        raise ValueError(f"the strategy {value!r} {STRATEGIES_REFUSED[value]}")
    return value


StrategyName = Annotated[Strategy, BeforeValidator(_known_strategy)]


class Section(BaseModel):
    """A part of a YAML file: unknown fields are errors, values do not change."""

    # deferred: a command builds the validators of the few models that it uses
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    refused: ClassVar[Mapping[str, str]] = {}
    second_names: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, value: Any) -> Any:
        """Read a field under its second name; under both it must say the same."""
        if not cls.second_names or not isinstance(value, Mapping):
            return value
        plain = dict(value)
        for second, name in cls.second_names.items():
            if second in plain:
                other = plain.pop(second)
                if plain.setdefault(name, other) != other:
                    raise ValueError(f"{name} and {second} mean the same and differ: keep one")
        return plain


class Flushing(Section):
    """When old messages leave, and how many.

    Attributes:
        type: ``simple_fifo`` (also written ``fifo``): oldest units first. ``hybrid_summary``: the
            oldest are replaced by a summary. ``priority``: the least important first, the critical
            never (see ``eviction_policy``).
        threshold: high-water mark, a share of a limit (0-1) from which a flush has something to do.
        target_utilization: low-water mark, the share of a limit (0-1) that a flush leaves; 0.5, for
            hybrid_summary 0.6.
        min_messages: a flush that is asked for never leaves fewer.
        summary_tokens: a summary is never longer (hybrid_summary).
        summarize_oldest_percent: share of the messages (0-1, or 2-100 in percent) that a summary
            takes first; more, in steps of ten points, until the low-water mark is reached.
        summary_model: ``vendor:model`` that writes the summaries in place of the rules; when it fails,
            the rules do.
        only_if_saves: flush by threshold only when the tokens it frees are more than the tokens of
            the prompt's cached prefix that it invalidates; hard limits are held regardless.
    """

    second_names = {"summarize_threshold": "threshold"}

    type: StrategyName = "simple_fifo"
    threshold: float = Field(0.8, gt=0, le=1)
    target_utilization: float | None = Field(None, gt=0, le=1)
    min_messages: int = Field(1, ge=1)
    summary_tokens: int = Field(500, gt=0)
    summarize_oldest_percent: Percent = 0.3
    summary_model: str | None = Field(None, min_length=1)
    only_if_saves: bool = False

    @property
    def low_water(self) -> float:
        """The share of a limit that a flush leaves."""
        return self.target_utilization or (0.6 if self.type == "hybrid_summary" else 0.5)

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        given = self.model_fields_set & {
            "summary_tokens",
            "summarize_oldest_percent",
            "summary_model",
        }
        if given and self.type != "hybrid_summary":
            raise ValueError(f"{min(given)} belongs to type hybrid_summary, not {self.type}")
        return self


class EvictionPolicy(Section):
    """Which messages go first under the strategy ``priority``.

    Attributes:
        type: ``fifo`` or ``priority``; ``priority`` here makes every flush heed importance.
        priority_keywords: words (whole, any case) that make a user or assistant message important.
        protected_roles: roles that are critical: never removed. ``system`` always is under priority.
    """

    type: Literal["fifo", "priority"] = "fifo"
    priority_keywords: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    protected_roles: tuple[Role, ...] = ()

    @field_validator("type", mode="before")
    @classmethod
    def _no_lru(cls, value: object) -> object:
        return _known_strategy(value)


class PriorityBlock(Section):
    """A priority for some kinds of content.

    Attributes:
        priority: 0 critical (never removed), 1 high, 2 medium, 3 low, 4 lowest; further ones are lower.
        content_types: roles, or values of ``metadata.type``.
        max_tokens: these kinds together never hold more.
    """

    priority: int = Field(ge=0)
    content_types: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    max_tokens: int | None = Field(None, gt=0)


class TokenAllocation(Section):
    """How the token limit is divided among classes of content; the shares add up to 1.

    Attributes:
        system: role system, summaries excepted.
        long_term: summaries.
        short_term: everything else; it may use what the others leave.
        user_defined: further classes, chosen by ``metadata.allocation``.
    """

    short_term: float = Field(0.0, ge=0, le=1)
    long_term: float = Field(0.0, ge=0, le=1)
    system: float = Field(0.0, ge=0, le=1)
    user_defined: dict[Id, Annotated[float, Field(ge=0, le=1)]] = {}

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        total = self.short_term + self.long_term + self.system + sum(self.user_defined.values())
        if abs(total - 1) > 0.001:
            raise ValueError(f"the shares add up to {total:g}, not to 1")
        if taken := {"system", "short_term", "long_term"} & set(self.user_defined):
            raise ValueError(f"user_defined may not name {min(taken)} again")
        return self


class CircuitBreaker(Section):
    """When a failing store is left alone for a while.

    Attributes:
        enabled: off by default.
        timeout: a call of the store that takes longer is a failure.
        max_failures: consecutive failures until calls fail at once.
        reset_timeout: until one call is let through again as a probe.
    """

    enabled: bool = False
    timeout: PositiveDuration = timedelta(milliseconds=100)
    max_failures: int = Field(5, gt=0)
    reset_timeout: PositiveDuration = timedelta(seconds=30)


class Persistence(Section):
    """What a memory needs of its store.

    Attributes:
        type: ``in_memory`` is not kept beyond the process; any other is durable and lives in the
            project's store.
        ttl: data live this long after the last write; 0 or absent keeps them.
        circuit_breaker: see there.
    """

    refused = {
        "pool": "belongs into the store's URL",
        "sentinel": "belongs into the store's URL",
    }

    type: PersistenceType = "sqlite"
    ttl: Duration | None = None
    circuit_breaker: CircuitBreaker = CircuitBreaker()

    @field_validator("ttl")
    @classmethod
    def _none_for_zero(cls, ttl: timedelta | None) -> timedelta | None:
        return ttl or None


class TokenProvider(Section):
    """Whose tokens are counted; always locally, so no key is needed.

    Attributes:
        provider: OpenAI's tokens are counted exactly, everybody else's are estimated.
        model: of the vendor; or ``estimate:english``, ``estimate:unicode``, ``estimate:chinese`` or
            ``estimate:conservative``, whatever the vendor.
    """

    refused = dict.fromkeys(
        ("api_key", "api_key_env", "endpoint", "fallback", "settings"),
        "is not needed: tokens are counted locally, never over the network",
    )

    provider: str | None = Field(None, min_length=1)
    model: str | None = Field(None, min_length=1)

    @field_validator("model")
    @classmethod
    def _known_estimate(cls, model: str | None) -> str | None:
        try:
            named((model or "").strip().lower())
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return model


class PrivacyPolicy(Section):
    """What must never be stored.

    Attributes:
        redact_patterns: RE2 expressions or presets (``preset:email``); every match is replaced before
            anything else happens.
        strategy: what stands in place of a match. ``redact``: ``default_redaction_string``. ``mask``:
            as many ``*`` as it had characters, the last four kept. ``hash``: a keyed hash, the same
            for the same text within a project. ``drop``: the whole message is not stored.
        non_persistable_message_types: roles (or ``metadata.type`` values) that are not stored.
        default_redaction_string: what stands in place of a match.
    """

    refused = {"redaction_config": "is not needed: use strategy and default_redaction_string"}

    redact_patterns: tuple[str, ...] = ()
    strategy: Literal["redact", "mask", "hash", "drop"] = "redact"
    non_persistable_message_types: tuple[str, ...] = ()
    default_redaction_string: str = "[REDACTED]"

    @field_validator("redact_patterns")
    @classmethod
    def _usable(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for position, pattern in enumerate(patterns):
            reason = check_pattern(pattern)
            if reason:
                raise ValueError(f"pattern {position}: {reason}")
        return patterns


class Locking(Section):
    """How long an operation of several steps may keep others from the same work, renewals included.

    Attributes:
        append_ttl: of the lease under which an append makes room.
        clear_ttl: of the lease of a clear.
        flush_ttl: of the lease of a flush.
    """

    append_ttl: PositiveDuration = timedelta(seconds=30)
    clear_ttl: PositiveDuration = timedelta(seconds=10)
    flush_ttl: PositiveDuration = timedelta(minutes=5)


class Cleanup(Section):
    """What is removed when the run that made it ends.

    Attributes:
        scope: ``persistent`` keeps the data until their ttl. ``execution``: what a run wrote under a
            key is deleted when the run ends, unless another live run uses the key too.
        grace: this long after the end.
        on: the ends that count.
    """

    scope: Literal["persistent", "execution"] = "persistent"
    grace: Duration = timedelta(0)
    on: tuple[Literal["completed", "failed", "cancelled", "timed_out"], ...] = (
        "completed",
        "failed",
        "cancelled",
        "timed_out",
    )
