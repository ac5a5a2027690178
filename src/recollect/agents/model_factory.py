"""From settings to a model: what is refused before a call, and which model answers."""

import importlib.util
from collections.abc import Mapping
from datetime import timedelta

from recollect.agents.mock_model import MockModel
from recollect.agents.model_params import find_param, library_params, sendable
from recollect.agents.models import Model, ModelSettings
from recollect.agents.vendor_model import VendorModel
from recollect.agents.vendors import Vendor, check_url, find_key, find_vendor
from recollect.errors import ConfigError, MissingExtra


def check_settings(settings: ModelSettings) -> None:
    """Check what can be checked without a key, a library or the network.

    Values that still hold a template (``{{``) pass; ``open_model`` checks what they became.

    Raises:
        ConfigError: an unknown provider or param, or a value of the wrong kind; ``field`` names it.
    """
    if "{{" not in settings.provider:
        find_vendor(settings.provider)
    if not settings.model.strip():
        raise ConfigError("model is empty: name the model to ask", field="model")
    if settings.base_url and "{{" not in settings.base_url:
        check_url(settings.base_url)
    if settings.timeout is not None and settings.timeout <= timedelta(0):
        raise ConfigError("timeout must be longer than nothing", field="timeout")
    for name, value in settings.params.items():
        find_param(name, settings)
        if not (isinstance(value, str) and "{{" in value):
            sendable(name, value, settings)


def open_model(settings: ModelSettings, *, env: Mapping[str, str], mock: bool = False) -> Model:
    """Return the model that ``settings`` name; with ``mock``, the offline one in its place.

    Quick, and without a connection. A server given by ``base_url`` or ``<PROVIDER>_BASE_URL`` needs no
    key: without one it is sent ``not-needed``.

    Raises:
        ConfigError: the settings are wrong, or the vendor needs a library that is not installed.
        ModelKeyMissing: no key; the text names the variable to set.
    """
    check_settings(settings)
    vendor = find_vendor(settings.provider)
    if mock or settings.provider == "mock":
        return MockModel(settings.model)
    if not (_installed("pydantic_ai") and _installed("openai")):
        raise MissingExtra("calling a language model", "workflows")
    given_url = settings.base_url or _url_from(env, settings.provider, vendor)
    if given_url:
        check_url(given_url)
    elif vendor.sdk and not _installed(vendor.sdk):
        raise ConfigError(
            f"provider {settings.provider!r} needs its own library: "
            f"pip install 'pydantic-ai-slim[{settings.provider}]'",
            field="provider",
        )
    return VendorModel(
        settings=settings,
        vendor=vendor,
        url=given_url or vendor.url,
        own_server=bool(given_url) or vendor.keyless,
        key=find_key(settings, vendor, env, needed=not (given_url or vendor.keyless)),
        organization=settings.organization or _for_openai(settings, env, "OPENAI_ORG_ID"),
        project=_for_openai(settings, env, "OPENAI_PROJECT_ID"),
        params=library_params(settings),
    )


def _url_from(env: Mapping[str, str], provider: str, vendor: Vendor) -> str | None:
    """Return what the environment says, for vendors of OpenAI's dialect; libraries read their own."""
    return env.get(f"{provider.upper()}_BASE_URL") if vendor.url else None


def _for_openai(settings: ModelSettings, env: Mapping[str, str], variable: str) -> str | None:
    return env.get(variable) if settings.provider == "openai" else None


def _installed(module: str) -> bool:
    """Say whether a library is there, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even its parent
        return False
