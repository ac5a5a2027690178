"""The YAML of a memory, checked.

Fields that belong to later versions are refused by name (``refused``), never ignored.
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
from recollect.errors import TemplateError
from recollect.memory.privacy import check_pattern
from recollect.templates import parse as parse_template

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


Id = Annotated[str, AfterValidator(_id)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
TemplateText = Annotated[str, Field(min_length=1), AfterValidator(_parsed)]
PersistenceType = Literal["in_memory", "sqlite", "redis", "postgres"]
Strategy = Literal["simple_fifo", "fifo"]

LATER = "comes in a later version"
_NO_LRU = "is not built, because tracking access would need reads that write: use simple_fifo"
STRATEGIES_REFUSED: Mapping[str, str] = {
    "hybrid_summary": f"{LATER}: use simple_fifo",
    "priority": f"{LATER}: use simple_fifo",
    "lru": _NO_LRU,
    "token_aware_lru": _NO_LRU,
}


def _version_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Version = Annotated[str, BeforeValidator(_version_text)]


class Section(BaseModel):
    """A part of a YAML file: unknown fields are errors, values do not change."""

    # deferred: a command builds the validators of the few models that it uses
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    refused: ClassVar[Mapping[str, str]] = {}


def _known_strategy(value: object) -> object:
    if isinstance(value, str) and value in STRATEGIES_REFUSED:
        raise ValueError(f"the strategy {value!r} {STRATEGIES_REFUSED[value]}")
    return value


StrategyName = Annotated[Strategy, BeforeValidator(_known_strategy)]


class Flushing(Section):
    """When old messages leave, and how many.

    Attributes:
        type: ``simple_fifo`` (also written ``fifo``): oldest first, whole units.
        threshold: share of a limit (0-1) from which a flush has something to do.
        target_utilization: share of a limit (0-1) that a flush leaves.
        min_messages: a flush never leaves fewer.
    """

    refused = {
        "summary_tokens": f"belongs to hybrid_summary, which {LATER}",
        "summarize_oldest_percent": f"belongs to hybrid_summary, which {LATER}",
    }

    type: StrategyName = "simple_fifo"
    threshold: float = Field(0.8, gt=0, le=1)
    target_utilization: float = Field(0.5, gt=0, le=1)
    min_messages: int = Field(1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _one_threshold(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "summarize_threshold" not in value:
            return value
        if "threshold" in value:
            raise ValueError("threshold and summarize_threshold mean the same here: keep one")
        rest = {k: v for k, v in value.items() if k != "summarize_threshold"}
        return {**rest, "threshold": value["summarize_threshold"]}


class Persistence(Section):
    """What a memory needs of its store.

    Attributes:
        type: ``in_memory`` is not kept beyond the process; any other is durable and lives in the
            project's store.
        ttl: data live this long after the last write; 0 or absent keeps them.
    """

    refused = {
        "circuit_breaker": LATER,
        "pool": "belongs into the store's URL",
        "sentinel": "belongs into the store's URL",
    }

    type: PersistenceType = "sqlite"
    ttl: Duration | None = None

    @field_validator("ttl")
    @classmethod
    def _none_for_zero(cls, ttl: timedelta | None) -> timedelta | None:
        return ttl or None


class TokenProvider(Section):
    """Whose tokens are counted; always locally, so no key is needed."""

    refused = dict.fromkeys(
        ("api_key", "api_key_env", "endpoint", "fallback", "settings"),
        "is not needed: tokens are counted locally, never over the network",
    )

    provider: str | None = Field(None, min_length=1)
    model: str | None = Field(None, min_length=1)


class PrivacyPolicy(Section):
    """What must never be stored.

    Attributes:
        redact_patterns: RE2 expressions; every match is replaced before anything else happens.
        non_persistable_message_types: roles (or ``metadata.type`` values) that are not stored.
        default_redaction_string: what stands in place of a match.
    """

    refused = {"redaction_config": LATER}

    redact_patterns: tuple[str, ...] = ()
    non_persistable_message_types: tuple[str, ...] = ()
    default_redaction_string: str = "[REDACTED]"

    @field_validator("redact_patterns")
    @classmethod
    def _usable(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for position, pattern in enumerate(patterns):
            if pattern.startswith("preset:"):
                raise ValueError(f"pattern {position}: presets come in a later version")
            reason = check_pattern(pattern)
            if reason:
                raise ValueError(f"pattern {position}: {reason}")
        return patterns


class Locking(Section):
    """How long an operation may keep others from doing the same work."""

    refused = dict.fromkeys(
        ("append_ttl", "clear_ttl"), "is not needed: it is one atomic step and takes no lease"
    )

    flush_ttl: Duration = timedelta(minutes=5)


class Resource(Section):
    """A memory as YAML defines it; with only ``resource`` and ``id`` a buffer without limits.

    Attributes:
        key: template of the key used when a task or agent names none.
        type: ``token_based`` (max_tokens or max_messages), ``message_count_based`` (max_messages) or
            ``buffer`` (no limit needed).
        max_tokens: hard limit of tokens, held whenever an append returns.
        max_messages: hard limit of messages, likewise.
        model: default of ``token_provider.model``.
        disable_flush: an append that finds no room fails instead of making some.
        metadata: free; echoed in listings.
    """

    refused = {
        "max_context_ratio": f"{LATER}: use max_tokens",
        "context_length": f"{LATER}: use max_tokens",
        "model_context_size": f"{LATER}: use max_tokens",
        "token_allocation": LATER,
        "eviction_policy": LATER,
        "priority_blocks": LATER,
        "cleanup": LATER,
        "append_ttl": f"{LATER}: use persistence.ttl",
        "clear_ttl": f"{LATER}: use persistence.ttl",
        "flush_ttl": f"{LATER}: use persistence.ttl",
        "dynamic_ttl": "is not supported: use persistence.ttl",
        "retention_days": "is not supported: use persistence.ttl",
        "encrypt_at_rest": "is not supported: encrypt the disk",
        "message_limit": "is called max_messages",
        "token_counter": "is called token_provider",
        "flushing_strategy": "is called flushing",
    }

    resource: Literal["memory"] = "memory"
    id: Id
    description: str = ""
    version: Version = ""
    key: TemplateText | None = None
    type: Literal["token_based", "message_count_based", "buffer"] = "buffer"
    max_tokens: int | None = Field(None, gt=0)
    max_messages: int | None = Field(None, gt=0)
    model: str | None = Field(None, min_length=1)
    flushing: Flushing = Flushing()
    persistence: Persistence = Persistence()
    token_provider: TokenProvider = TokenProvider()
    privacy_policy: PrivacyPolicy = PrivacyPolicy()
    locking: Locking = Locking()
    disable_flush: bool = False
    metadata: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _one_key(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        plain = dict(value)
        if "default_key_template" in plain:
            other = plain.pop("default_key_template")
            if plain.setdefault("key", other) != other:
                raise ValueError("key and default_key_template differ: keep one")
        return plain

    @model_validator(mode="after")
    def _has_its_limit(self) -> Self:
        if self.type == "token_based" and not (self.max_tokens or self.max_messages):
            raise ValueError("type token_based needs max_tokens or max_messages")
        if self.type == "message_count_based" and not self.max_messages:
            raise ValueError("type message_count_based needs max_messages")
        return self
