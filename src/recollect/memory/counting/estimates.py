"""How many tokens a text has, about: for the models whose tokenizers are secret or large.

``token_provider: {model: "estimate:english"}`` chooses one by name; otherwise the vendor does. Each
rounds up, so a text that is not empty has at least one token, and parts never have fewer than the whole.
Source of names and rates: specs/memory.md §5.1.
"""

from collections.abc import Callable, Mapping
from typing import Final

from recollect.errors import ConfigError, closest

PREFIX: Final = "estimate:"


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


ESTIMATORS: Final[Mapping[str, Callable[[str], int]]] = {
    "english": lambda text: -(-_bytes(text) // 4),  # right for English prose, too few for code
    "unicode": lambda text: -(-len(text) // 2),  # scripts other than Latin and Chinese
    "chinese": lambda text: -(-len(text) * 2 // 3),
    "conservative": lambda text: -(-_bytes(text) // 3),  # seldom too few for anything
}
"""By name: the tokens of a text, 0 for the empty one."""


def named(model: str) -> str | None:
    """Return the estimator that a model's name asks for; None if it names a model.

    Raises:
        ConfigError: there is no such estimator.
    """
    if not model.startswith(PREFIX):
        return None
    name = model.removeprefix(PREFIX).strip()
    if name not in ESTIMATORS:
        raise ConfigError(
            f"there is no token estimate {name!r}.{closest(name, ESTIMATORS)} There are "
            f"{', '.join(ESTIMATORS)}"
        )
    return name


# Google's guide says 4 characters a token. Cohere, Meta and OpenAI's old models are as coarse. DeepSeek
# says 0.3 tokens a character, and Claude's tokenizers are finer than OpenAI's.
_ENGLISH: Final = frozenset({"google", "googleai", "cohere", "meta", "openai", "azure"})
_ENGLISH_MODELS: Final = ("gemini", "gemma", "command", "llama", "meta-llama", "text-", "code-")


def estimator_for(vendor: str, model: str) -> str:
    """Return the estimator that suits a vendor, or without one a model; both in small letters."""
    if vendor in _ENGLISH or (not vendor and model.startswith(_ENGLISH_MODELS)):
        return "english"
    return "conservative"
