"""How many tokens a text has, and how that number was obtained; never over the network.

Exact for the encodings of OpenAI's models in use: tiktoken is the engine, the ranks are package data
(``ranks/``). Everybody else's tokenizers are secret or large, so their counts are estimates and say so
(``estimates``).
"""

import base64
import gzip
import hashlib
import os
import re
import threading
import zlib
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from recollect.errors import ConfigError, MissingExtra
from recollect.memory.counting import pieces
from recollect.memory.counting.estimates import ESTIMATORS, estimator_for, named
from recollect.messages import Message

if TYPE_CHECKING:
    from tiktoken import Encoding

MESSAGE_OVERHEAD_TOKENS: Final = 4
"""What a message costs beside its content: 3 that frame it and 1 for the role.

Source: OpenAI cookbook, "How to count tokens with tiktoken", ``num_tokens_from_messages``.
"""

MEDIA_TOKENS: Final = 85
"""What an image, file or attachment is taken to cost, whatever its size.

An estimate: OpenAI's price of a low-detail image (guide "Images and vision"). The real price depends on
pixels and pages, which are not known here.
"""


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """A way to count tokens.

    Attributes:
        method: how the numbers are obtained: ``tiktoken:<encoding>`` is exact, ``estimate:<name>`` not.
        count: the tokens of a text; 0 for the empty text. Safe to call from any thread; a long text
            does not keep other threads from running. The first exact count of a process loads the
            ranks (0.2-0.4 s, of which 0.15 s no other thread runs).
    """

    method: str
    count: Callable[[str], int]

    @property
    def is_loaded(self) -> bool:
        """Whether counting loads nothing any more."""
        kind, _, encoding = self.method.partition(":")
        return kind != "tiktoken" or encoding in _loaded


class Counting:
    """The counter of a vendor's model, made when it is first called for."""

    __slots__ = ("_counter", "_model", "_provider")

    def __init__(self, provider: str | None = None, model: str | None = None) -> None:
        self._provider = provider
        self._model = model
        self._counter: Counter | None = None

    def __call__(self) -> Counter:
        """Return the counter, always the same.

        Raises:
            ConfigError, MissingExtra: as for ``counter_for``.
        """
        if self._counter is None:
            self._counter = counter_for(self._provider, self._model)
        return self._counter

    @property
    def is_loaded(self) -> bool:
        """Whether counting loads nothing any more, neither ranks nor libraries."""
        return self._counter is not None and self._counter.is_loaded


def counter_for(provider: str | None = None, model: str | None = None) -> Counter:
    """Return the best counter there is for a model.

    Exact where tiktoken's own tables name an encoding we ship; unknown models of OpenAI count as
    ``o200k_base``; without a model ``cl100k_base`` counts, which seldom counts fewer than the newer one.
    ``model`` may also be the name of an encoding, or of an estimate (``estimate:english``, see
    ``estimates``). All other vendors, and OpenAI's models before 2022, are estimated.

    Args:
        provider: ``openai``, ``azure`` and ``tiktoken`` mean OpenAI's encodings; None decides by model.
        model: any spelling of case.

    Raises:
        ConfigError: there is no such estimate. MissingExtra: tiktoken is needed and not installed.
    """
    vendor = (provider or "").strip().lower()
    name = (model or "").strip().lower()
    estimate = named(name)
    if estimate is not None:
        return _estimate(estimate)
    if vendor not in _OPENAI_VENDORS or (not vendor and name and not _OPENAI_MODEL.match(name)):
        return _estimate(estimator_for(vendor, name))
    encoding = _encoding_of(name)
    if encoding not in _SPECS:
        return _estimate(estimator_for(vendor, name))
    return Counter(method=f"tiktoken:{encoding}", count=partial(_count, encoding))


def message_tokens(counter: Counter, message: Message) -> int:
    """Return the encoded length of a message's content and tool data.

    That is its text exactly as stored, the names and arguments of its tool calls, and
    ``MEDIA_TOKENS`` for each part or attachment that is not text. What the message itself costs
    (``MESSAGE_OVERHEAD_TOKENS``) is not in it.
    """
    tokens = counter.count(message.text)
    if not isinstance(message.content, str):
        tokens += MEDIA_TOKENS * sum(part.type != "text" for part in message.content)
    for call in message.tool_calls or ():
        tokens += counter.count(call.function.name) + counter.count(call.function.arguments)
    return tokens + MEDIA_TOKENS * len(message.attachments or ())


def _estimate(name: str) -> Counter:
    return Counter(method=f"estimate:{name}", count=ESTIMATORS[name])


# ---- which encoding ------------------------------------------------------------------------------

_OPENAI_VENDORS: Final = frozenset({"", "openai", "azure", "tiktoken"})
_OPENAI_MODEL: Final = re.compile(
    r"(ft:)?(chat)?gpt-|o\d|text-embedding-|(ft:)?(davinci|babbage)-002|(cl100k|o200k)_base"
)


def _encoding_of(model: str) -> str:
    try:
        from tiktoken.model import encoding_name_for_model  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtra("counting tokens exactly", "workflows") from None
    if not model:
        return "cl100k_base"
    if model in _SPECS:
        return model
    try:
        name = encoding_name_for_model(model)
    except KeyError:
        return "o200k_base"
    return "o200k_base" if name == "o200k_harmony" else name  # differs in special tokens only


# ---- exact counts --------------------------------------------------------------------------------


class _Spec(NamedTuple):
    """What makes an encoding, as in ``tiktoken_ext.openai_public``, whose functions download."""

    sha256: str
    pattern: str
    end_of_text: int


_SPECS: Final = {
    "cl100k_base": _Spec(
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
        100257,
    ),
    "o200k_base": _Spec(
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        199999,
    ),
}
_loaded: dict[str, "Encoding"] = {}
_loading = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child of a thread that is loading would wait for ever
    os.register_at_fork(
        before=_loading.acquire,
        after_in_parent=_loading.release,
        after_in_child=_loading.release,
    )

_LIST_CHARACTERS: Final = 4_000  # of longer texts the tokens are counted without a list of them
_NO_SPECIALS: Final[set[str]] = set()


def _count(name: str, text: str) -> int:
    encoding = _loaded.get(name) or _load(name)
    if len(text) < _LIST_CHARACTERS:
        return len(encoding.encode_ordinary(text))  # special tokens in it are the user's plain text
    if len(text) < pieces.RUN or not (long := pieces.runs(name, text)):
        return _count_all(encoding, text)
    short = pieces.shortened(text, long)
    return _count_all(encoding, short) + pieces.difference(encoding, text, long)


def _count_all(encoding: "Encoding", text: str) -> int:
    """Count without a list of the tokens, the making of which keeps other threads from running."""
    tokens = encoding._core_bpe.encode_to_tiktoken_buffer(text, _NO_SPECIALS)
    return memoryview(tokens).nbytes // 4


def _load(name: str) -> "Encoding":
    """Return the encoding, built once for the process."""
    with _loading:
        if name not in _loaded:
            try:
                from tiktoken import Encoding  # noqa: PLC0415 - an optional extra
            except ImportError:
                raise MissingExtra("counting tokens exactly", "workflows") from None
            spec = _SPECS[name]
            _loaded[name] = Encoding(
                name,
                pat_str=spec.pattern,
                mergeable_ranks=_ranks(name, spec.sha256),
                special_tokens={"<|endoftext|>": spec.end_of_text},
            )
        return _loaded[name]


def _ranks(name: str, sha256: str) -> dict[bytes, int]:
    file = files("recollect.memory.counting").joinpath("ranks", f"{name}.tiktoken.gz")
    try:
        data = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error):  # missing, unreadable or cut off
        data = b""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ConfigError(
            "the ranks that tokens are counted with are missing or damaged: reinstall recollect",
            file=str(file),
        )
    pairs = (line.split() for line in data.splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in pairs}
