"""Language models: what to ask, whom, and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from recollect.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Which model to ask, and how.

    Attributes:
        provider: the vendor, such as ``openai``; ``mock`` answers offline.
        api_key: wins over the vendor's variable in the environment; empty counts as not given.
        base_url: an OpenAI-compatible server to ask instead; wins over ``<PROVIDER>_BASE_URL``.
        params: such as ``max_tokens`` and ``temperature``; None counts as not given.
        timeout: for one whole answer; without it, the vendor's client gives up after ten minutes.
    """

    provider: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    organization: str | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the vendor counted them; zeros if it did not say."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said; ``content`` is never empty. ``model`` is the one that was asked for."""

    content: str
    provider: str
    model: str
    usage: Usage
    mock: bool


class Model(Protocol):
    """Something that answers a conversation."""

    async def answer(self, messages: Sequence[Message]) -> Answer:
        """Ask once; roles, order and text reach an OpenAI-compatible server as they are given.

        Every call opens and closes its own connection, nothing is kept between calls, and a failed
        call is not repeated. Errors name the host and the status, never the key, the messages or what
        the server wrote.

        Raises:
            ModelRateLimited: the server asks to wait, fails, or cannot be reached: try again.
            ModelKeyMissing: the server refuses the key.
            ModelError: anything else; trying again will not help.
        """
        ...
