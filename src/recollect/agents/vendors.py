"""The vendors of language models: their variables, keys and addresses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from recollect.agents.models import ModelSettings
from recollect.errors import ConfigError, ModelKeyMissing, closest


@dataclass(frozen=True, slots=True)
class Vendor:
    """How to reach a vendor.

    Attributes:
        keys: the variables that may hold its key, the one to recommend first.
        url: its API in OpenAI's dialect; without it, the vendor is called through its own library.
        sdk: the module of that library.
        own_class: pydantic-ai has a class for its dialect of OpenAI's API.
        keyless: it works without a key.
        top_k: it takes ``top_k``.
    """

    keys: tuple[str, ...]
    url: str | None = None
    sdk: str | None = None
    own_class: bool = True
    keyless: bool = False
    top_k: bool = False


VENDORS: Mapping[str, Vendor] = {
    "anthropic": Vendor(("ANTHROPIC_API_KEY",), sdk="anthropic", top_k=True),
    "cerebras": Vendor(("CEREBRAS_API_KEY",), "https://api.cerebras.ai/v1"),
    "cohere": Vendor(("CO_API_KEY",), sdk="cohere", top_k=True),
    "deepseek": Vendor(("DEEPSEEK_API_KEY",), "https://api.deepseek.com"),
    "fireworks": Vendor(("FIREWORKS_API_KEY",), "https://api.fireworks.ai/inference/v1"),
    "google": Vendor(("GOOGLE_API_KEY", "GEMINI_API_KEY"), sdk="google.genai", top_k=True),
    "groq": Vendor(("GROQ_API_KEY",), "https://api.groq.com/openai/v1", own_class=False),
    "mistral": Vendor(("MISTRAL_API_KEY",), sdk="mistralai"),
    "mock": Vendor((), keyless=True, top_k=True),
    "moonshotai": Vendor(("MOONSHOTAI_API_KEY",), "https://api.moonshot.ai/v1"),
    "ollama": Vendor(("OLLAMA_API_KEY",), "http://localhost:11434/v1", keyless=True),
    "openai": Vendor(("OPENAI_API_KEY",), "https://api.openai.com/v1"),
    "openrouter": Vendor(("OPENROUTER_API_KEY",), "https://openrouter.ai/api/v1"),
    "together": Vendor(("TOGETHER_API_KEY",), "https://api.together.xyz/v1"),
    "xai": Vendor(("XAI_API_KEY",), "https://api.x.ai/v1", own_class=False),
}
"""By the name that is written as ``provider``."""


def find_vendor(provider: str) -> Vendor:
    """Return the vendor that is called so; ConfigError lists those there are."""
    vendor = VENDORS.get(provider)
    if vendor is None:
        raise ConfigError(
            f"unknown provider {provider!r}.{closest(provider, VENDORS)} Known: "
            f"{', '.join(VENDORS)}. Any OpenAI-compatible server works with `provider: openai` and "
            "its base_url.",
            field="provider",
        )
    return vendor


def check_url(url: str) -> None:
    """Refuse what is not a web address, without showing it, with a ConfigError."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or any(c.isspace() or not c.isprintable() for c in url):
        raise ConfigError(
            "base_url is not a web address: it looks like http://localhost:8000/v1",
            field="base_url",
        )


@dataclass(frozen=True, slots=True)
class Key:
    """What is sent as the key, and the way out when it is refused."""

    value: str = field(repr=False)
    remedy: str  # what to do when the server refuses it


def find_key(
    settings: ModelSettings, vendor: Vendor, env: Mapping[str, str], *, needed: bool
) -> Key:
    """Return the key: of the settings, else of the vendor's variables, else ModelKeyMissing."""
    variable = vendor.keys[0]
    found = {"the model's api_key": settings.api_key or ""}
    found |= {name: env.get(name, "") for name in vendor.keys}
    for source, value in found.items():
        key = value.strip()
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise ModelKeyMissing(
                f"{source} holds characters that no API key has: set {variable} to the key alone",
                provider=settings.provider,
                variable=variable,
            )
        if key:
            return Key(key, f"check {source}")
    if needed:
        raise ModelKeyMissing(
            f"no API key for provider {settings.provider!r}: set {variable}, or run offline with "
            "--mock-model",
            provider=settings.provider,
            variable=variable,
        )
    return Key("not-needed", f"set {variable}")
