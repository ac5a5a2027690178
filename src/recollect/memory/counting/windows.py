"""How many tokens a model takes in at once: a table of names, looked up by prefix.

The figures are from the vendors' model pages, most as collected in genai-prices 0.2.3 (November 2026);
read on 2026-11-21. Where the models behind one name differ, the smallest stands here: a window taken too
small wastes room, one taken too large makes a prompt that is refused. A model that is not here needs
``context_length``.
"""

import re
from typing import Final

_SELF_HOSTED: Final = frozenset({"ollama", "vllm", "lmstudio", "llamacpp", "llama.cpp", "local"})


def context_window(provider: str | None, model: str | None) -> int | None:
    """Return the tokens that prompt and answer of a model have together, or None if unknown.

    Case, dates and other endings, ``vendor:`` and ``vendor/`` before the name, fine-tunes (``ft:``) and
    Bedrock's spelling do not matter; another version number does.

    Args:
        provider: who serves it. A server of one's own (``ollama``, ``vllm``, ``lmstudio``,
            ``llamacpp``, ``local``) has the window it was started with, so None is returned.
        model: the name as YAML has it.
    """
    if model is None or (provider or "").strip().lower() in _SELF_HOSTED:
        return None
    name = _plain(model)
    while name:
        if name in _WINDOWS:
            return _WINDOWS[name]
        name = _LAST_PART.sub("", name)
    return None


_LAST_PART: Final = re.compile(r"(?:^|[-:@])[^-:@]*$")
_VENDOR: Final = re.compile(
    r"^(?:(?:ft|openai|azure|anthropic|google(?:-\w+)?|mistral|cohere|deepseek|groq|grok|xai"
    r"|bedrock|openrouter|together|fireworks):)+"
)
_REGION: Final = re.compile(r"^(?:[a-z]+\.)+")  # us.anthropic.claude-…
_LLAMA: Final = re.compile(r"^(?:meta-)?llama-?v?(?=\d)")
_POINT: Final = re.compile(r"(?<=\d)[.p](?=\d)")


def _plain(model: str) -> str:
    """Return the name without who serves it, in the table's spelling."""
    name = _VENDOR.sub("", model.strip().lower()).rpartition("/")[2]
    name = _LLAMA.sub("llama-", _REGION.sub("", name))
    return _POINT.sub("-", name) if name.startswith(("claude-", "llama-")) else name


_WINDOWS: Final[dict[str, int]] = {
    # OpenAI
    "gpt-3.5-turbo": 16_385,
    "gpt-3.5-turbo-0301": 4_096,
    "gpt-3.5-turbo-0613": 4_096,
    "gpt-3.5-turbo-instruct": 4_096,
    "gpt-35-turbo": 16_385,
    "gpt-4": 8_192,
    "gpt-4-32k": 32_768,
    "gpt-4-1106": 128_000,
    "gpt-4-0125": 128_000,
    "gpt-4-turbo": 128_000,
    "gpt-4-vision": 128_000,
    "gpt-4o": 128_000,
    "gpt-4o-realtime": 32_000,
    "gpt-4o-mini-realtime": 16_000,
    "chatgpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4.5": 128_000,
    "o1": 200_000,
    "o1-mini": 128_000,
    "o1-preview": 128_000,
    "o3": 200_000,
    "o4-mini": 200_000,
    "codex-mini": 200_000,
    "gpt-5": 400_000,
    "gpt-5-chat": 128_000,
    "gpt-5.1": 400_000,
    "gpt-5.1-chat": 128_000,
    "gpt-5.2": 400_000,
    "gpt-5.2-chat": 128_000,
    "gpt-5.3": 128_000,
    "gpt-5.3-codex": 400_000,
    "gpt-5.4": 1_050_000,
    "gpt-5.4-mini": 400_000,
    "gpt-5.4-nano": 400_000,
    "gpt-5.5": 1_000_000,
    "gpt-5.6": 1_050_000,
    "gpt-6-astra": 1_050_000,
    "gpt-6-luna": 1_050_000,
    "gpt-6-sol": 1_050_000,
    "gpt-6.1-sol": 1_050_000,
    "gpt-6.1-terra": 1_050_000,
    "gpt-oss": 131_072,
    # Anthropic
    "claude-2": 100_000,
    "claude-2-1": 200_000,
    "claude-3": 200_000,
    "claude-4": 200_000,
    "claude-opus-4": 200_000,
    "claude-opus-4-6": 1_000_000,
    "claude-opus-4-7": 1_000_000,
    "claude-opus-4-8": 1_000_000,
    "claude-opus-5": 1_000_000,
    "claude-sonnet-4": 200_000,
    "claude-sonnet-4-6": 1_000_000,
    "claude-sonnet-5": 1_000_000,
    "claude-haiku-4-5": 200_000,
    "claude-haiku-5-5": 1_000_000,
    "claude-fable-5": 1_000_000,
    # Google
    "gemini-pro": 32_768,
    "gemini-1.0-pro": 32_768,
    "gemini-1.5-flash": 1_000_000,
    "gemini-1.5-pro": 2_000_000,
    "gemini-2.0-flash": 1_000_000,
    "gemini-2.5-flash": 1_048_576,
    "gemini-2.5-flash-preview-tts": 8_192,
    "gemini-2.5-pro": 1_048_576,
    "gemini-2.5-pro-preview-tts": 8_192,
    "gemini-3-flash": 1_000_000,
    "gemini-3-pro": 1_000_000,
    "gemini-3.1-pro": 1_000_000,
    "gemini-3.1-flash-lite": 1_000_000,
    "gemini-3.5-flash": 1_000_000,
    "gemini-3.6-flash": 1_000_000,
    "gemini-3.7-flash": 1_000_000,
    "gemini-3.8-flash": 1_000_000,
    "gemini-4-argon": 1_048_576,
    "gemma-4": 262_144,
    # Mistral
    "open-mistral-7b": 32_000,
    "mistral-7b": 32_000,
    "open-mixtral-8x7b": 32_000,
    "mixtral-8x7b": 32_000,
    "open-mixtral-8x22b": 65_536,
    "mixtral-8x22b": 65_536,
    "open-mistral-nemo": 128_000,
    "mistral-nemo": 128_000,
    "mistral-large": 128_000,
    "mistral-large-2402": 32_000,
    "mistral-large-2512": 262_144,
    "mistral-large-4": 1_048_576,
    "mistral-medium": 128_000,
    "mistral-medium-2312": 32_000,
    "mistral-medium-3-5": 262_144,
    "mistral-small": 32_000,
    "mistral-small-2603": 262_144,
    "ministral-3b": 128_000,
    "ministral-8b": 128_000,
    "codestral": 256_000,
    "codestral-2405": 32_000,
    "devstral-2512": 262_144,
    # Cohere
    "command": 4_096,
    "command-light": 4_096,
    "command-r": 128_000,
    "command-r7b": 128_000,
    "command-a": 256_000,
    "command-a-plus": 128_000,
    # DeepSeek
    "deepseek-chat": 64_000,
    "deepseek-reasoner": 64_000,
    "deepseek-r1": 64_000,
    "deepseek-v3.1-terminus": 128_000,
    "deepseek-v3.2": 128_000,
    "deepseek-v4": 1_000_000,
    # Meta
    "llama-2": 4_096,
    "llama-3": 8_192,
    "llama-3-1": 128_000,
    "llama-3-2": 128_000,
    "llama-3-3": 128_000,
    "llama-4-maverick": 1_000_000,
    "llama-4-scout": 1_000_000,  # its card says 10 million; nobody serves that many
    # others
    "grok-2": 32_768,
    "grok-3": 131_072,
    "grok-4": 256_000,
    "grok-4-fast": 2_000_000,
    "grok-4-1-fast": 2_000_000,
    "grok-4.3": 1_000_000,
    "grok-4.5": 500_000,
    "grok-code-fast": 256_000,
    "nova-micro": 128_000,
    "nova-lite": 300_000,
    "nova-pro": 300_000,
    "nova-premier": 1_000_000,
    "kimi-k2": 131_072,
    "kimi-k2.5": 262_144,
    "kimi-k3": 1_048_576,
    "qwen3-max": 262_144,
    "qwen3-235b-a22b": 131_072,
}
