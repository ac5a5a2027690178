"""The YAML of a memory, checked.

Fields that are not ours are refused by name (``refused``), never ignored.
"""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from recollect.memory.sections import (
    Cleanup,
    EvictionPolicy,
    Flushing,
    Id,
    Locking,
    Persistence,
    PositiveDuration,
    PriorityBlock,
    PrivacyPolicy,
    Section,
    TemplateText,
    TokenAllocation,
    TokenProvider,
    Version,
)
from recollect.templates import parse as parse_template


class Resource(Section):
    """A memory as YAML defines it; with only ``resource`` and ``id`` a buffer without limits.

    Attributes:
        key: template of the key used when a task or agent names none.
        type: ``token_based`` (max_tokens or max_messages), ``message_count_based`` (max_messages) or
            ``buffer`` (no limit needed).
        max_tokens: hard limit of tokens, held whenever an append returns.
        max_messages: hard limit of messages, likewise.
        max_context_ratio: share (0-1) of the model's context window; the token limit is the smaller
            of this and ``max_tokens``.
        context_length: the context window in tokens, when it is not that of the model.
        model: default of ``token_provider.model``.
        enabled: False turns this memory off: tasks that use it do nothing and say so.
        append_ttl, clear_ttl, flush_ttl: data live this long after that operation, in place of
            ``persistence.ttl``.
        disable_flush: an append that finds no room fails instead of making some.
        metadata: free; echoed in listings.
    """

    refused = {
        "dynamic_ttl": "is not supported: use persistence.ttl",
        "retention_days": "is not supported: use persistence.ttl",
        "encrypt_at_rest": "is not supported: encrypt the disk",
        "token_counter": "is called token_provider",
    }

    second_names = {
        "default_key_template": "key",
        "model_context_size": "context_length",
        "flushing_strategy": "flushing",
        "message_limit": "max_messages",
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
    max_context_ratio: float | None = Field(None, gt=0, le=1)
    context_length: int | None = Field(None, gt=0)
    flushing: Flushing = Flushing()
    eviction_policy: EvictionPolicy = EvictionPolicy()
    priority_blocks: tuple[PriorityBlock, ...] = ()
    token_allocation: TokenAllocation | None = None
    persistence: Persistence = Persistence()
    token_provider: TokenProvider = TokenProvider()
    privacy_policy: PrivacyPolicy = PrivacyPolicy()
    locking: Locking = Locking()
    cleanup: Cleanup = Cleanup()
    enabled: bool = True
    append_ttl: PositiveDuration | None = None
    clear_ttl: PositiveDuration | None = None
    flush_ttl: PositiveDuration | None = None
    disable_flush: bool = False
    metadata: dict[str, Any] = {}

    @field_validator("key")
    @classmethod
    def _is_one_key(cls, key: str | None) -> str | None:
        if key is not None and parse_template(key).has_text("*"):
            raise ValueError(
                "a '*' names several conversations, but an append needs one: put it into the "
                "key_template of the tasks that mean several"
            )
        return key

    @field_validator("priority_blocks")
    @classmethod
    def _one_block_a_priority(cls, blocks: tuple[PriorityBlock, ...]) -> tuple[PriorityBlock, ...]:
        if len({block.priority for block in blocks}) < len(blocks):
            raise ValueError("two blocks have the same priority: put their content_types together")
        return blocks

    @model_validator(mode="after")
    def _has_its_limit(self) -> Self:
        tokens = self.max_tokens or self.max_context_ratio
        if self.type == "token_based" and not (tokens or self.max_messages):
            raise ValueError("type token_based needs max_tokens, max_context_ratio or max_messages")
        if self.type == "message_count_based" and not self.max_messages:
            raise ValueError("type message_count_based needs max_messages")
        if self.token_allocation and not tokens:
            raise ValueError("token_allocation needs max_tokens or max_context_ratio to divide")
        return self
