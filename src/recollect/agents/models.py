"""Language models: what to ask, whom, and what comes back.

This is the only home of pydantic-ai, which takes a second or two to import; it is imported by the first
answer of a real model and by nothing else.
"""

import functools
import importlib
import importlib.util
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import urlsplit

from recollect.agents.mock_model import mock_reply
from recollect.errors import (
    ConfigError,
    MissingExtra,
    ModelError,
    ModelKeyMissing,
    ModelRateLimited,
    closest,
)
from recollect.messages import Message

if TYPE_CHECKING:
    import ssl

    from openai import AsyncOpenAI
    from pydantic_ai.messages import ModelMessage, ModelRequestPart, ModelResponse
    from pydantic_ai.models import Model as LibraryModel
    from pydantic_ai.providers import Provider
    from pydantic_ai.settings import ModelSettings as LibrarySettings


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


def check_settings(settings: ModelSettings) -> None:
    """Check what can be checked without a key, a library or the network.

    Values that still hold a template (``{{``) pass; ``open_model`` checks what they became.

    Raises:
        ConfigError: an unknown provider or param, or a value of the wrong kind; ``field`` names it.
    """
    if "{{" not in settings.provider:
        _vendor(settings.provider)
    if not settings.model.strip():
        raise ConfigError("model is empty: name the model to ask", field="model")
    if settings.base_url and "{{" not in settings.base_url:
        _check_url(settings.base_url)
    if settings.timeout is not None and settings.timeout <= timedelta(0):
        raise ConfigError("timeout must be longer than nothing", field="timeout")
    for name, value in settings.params.items():
        _param(name, settings)
        if not (isinstance(value, str) and "{{" in value):
            _sendable(name, value, settings)


def open_model(settings: ModelSettings, *, env: Mapping[str, str], mock: bool = False) -> Model:
    """Return the model that ``settings`` name; with ``mock``, the offline one in its place.

    Quick, and without a connection. A server given by ``base_url`` or ``<PROVIDER>_BASE_URL`` needs no
    key: without one it is sent ``not-needed``.

    Raises:
        ConfigError: the settings are wrong, or the vendor needs a library that is not installed.
        ModelKeyMissing: no key; the text names the variable to set.
    """
    check_settings(settings)
    vendor = _vendor(settings.provider)
    if mock or settings.provider == "mock":
        return MockModel(settings.model)
    if not (_installed("pydantic_ai") and _installed("openai")):
        raise MissingExtra("calling a language model", "workflows")
    given_url = settings.base_url or _url_from(env, settings.provider, vendor)
    if given_url:
        _check_url(given_url)
    elif vendor.sdk and not _installed(vendor.sdk):
        raise ConfigError(
            f"provider {settings.provider!r} needs its own library: "
            f"pip install 'pydantic-ai-slim[{settings.provider}]'",
            field="provider",
        )
    return _VendorModel(
        settings=settings,
        vendor=vendor,
        url=given_url or vendor.url,
        own_server=bool(given_url) or vendor.keyless,
        key=_find_key(settings, vendor, env, needed=not (given_url or vendor.keyless)),
        organization=settings.organization or _for_openai(settings, env, "OPENAI_ORG_ID"),
        project=_for_openai(settings, env, "OPENAI_PROJECT_ID"),
        params=_library_params(settings),
    )


def _url_from(env: Mapping[str, str], provider: str, vendor: "_Vendor") -> str | None:
    """Return what the environment says, for vendors of OpenAI's dialect; libraries read their own."""
    return env.get(f"{provider.upper()}_BASE_URL") if vendor.url else None


def _for_openai(settings: ModelSettings, env: Mapping[str, str], variable: str) -> str | None:
    return env.get(variable) if settings.provider == "openai" else None


class MockModel:
    """Answers offline and says so; the same messages always get the same answer."""

    def __init__(self, model: str) -> None:
        self._model = model

    async def answer(self, messages: Sequence[Message]) -> Answer:
        """Answer; tokens are estimated as a quarter of the characters."""
        content = mock_reply(messages)
        prompt = sum(_estimate(message.text) for message in messages)
        usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=_estimate(content),
            total_tokens=prompt + _estimate(content),
        )
        return Answer(content=content, provider="mock", model=self._model, usage=usage, mock=True)


def _estimate(text: str) -> int:
    return math.ceil(len(text) / 4)


# ---- vendors -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Vendor:
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


_VENDORS: Mapping[str, _Vendor] = {
    "anthropic": _Vendor(("ANTHROPIC_API_KEY",), sdk="anthropic", top_k=True),
    "cerebras": _Vendor(("CEREBRAS_API_KEY",), "https://api.cerebras.ai/v1"),
    "cohere": _Vendor(("CO_API_KEY",), sdk="cohere", top_k=True),
    "deepseek": _Vendor(("DEEPSEEK_API_KEY",), "https://api.deepseek.com"),
    "fireworks": _Vendor(("FIREWORKS_API_KEY",), "https://api.fireworks.ai/inference/v1"),
    "google": _Vendor(("GOOGLE_API_KEY", "GEMINI_API_KEY"), sdk="google.genai", top_k=True),
    "groq": _Vendor(("GROQ_API_KEY",), "https://api.groq.com/openai/v1", own_class=False),
    "mistral": _Vendor(("MISTRAL_API_KEY",), sdk="mistralai"),
    "mock": _Vendor((), keyless=True, top_k=True),
    "moonshotai": _Vendor(("MOONSHOTAI_API_KEY",), "https://api.moonshot.ai/v1"),
    "ollama": _Vendor(("OLLAMA_API_KEY",), "http://localhost:11434/v1", keyless=True),
    "openai": _Vendor(("OPENAI_API_KEY",), "https://api.openai.com/v1"),
    "openrouter": _Vendor(("OPENROUTER_API_KEY",), "https://openrouter.ai/api/v1"),
    "together": _Vendor(("TOGETHER_API_KEY",), "https://api.together.xyz/v1"),
    "xai": _Vendor(("XAI_API_KEY",), "https://api.x.ai/v1", own_class=False),
}


def _vendor(provider: str) -> _Vendor:
    vendor = _VENDORS.get(provider)
    if vendor is None:
        raise ConfigError(
            f"unknown provider {provider!r}.{closest(provider, _VENDORS)} Known: "
            f"{', '.join(_VENDORS)}. Any OpenAI-compatible server works with `provider: openai` and "
            "its base_url.",
            field="provider",
        )
    return vendor


def _check_url(url: str) -> None:
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
class _Key:
    value: str = field(repr=False)
    remedy: str  # what to do when the server refuses it


def _find_key(
    settings: ModelSettings, vendor: _Vendor, env: Mapping[str, str], *, needed: bool
) -> _Key:
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
            return _Key(key, f"check {source}")
    if needed:
        raise ModelKeyMissing(
            f"no API key for provider {settings.provider!r}: set {variable}, or run offline with "
            "--mock-model",
            provider=settings.provider,
            variable=variable,
        )
    return _Key("not-needed", f"set {variable}")


def _installed(module: str) -> bool:
    """Say whether a library is there, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


# ---- params --------------------------------------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


@dataclass(frozen=True, slots=True)
class _Param:
    sent_as: str
    accepts: Callable[[object], bool]
    kind: str


_PARAMS: Mapping[str, _Param] = {
    "max_tokens": _Param("max_tokens", _is_positive, "a whole number above 0"),
    "temperature": _Param("temperature", _is_number, "a number"),
    "top_p": _Param("top_p", _is_number, "a number"),
    "top_k": _Param("top_k", _is_positive, "a whole number above 0"),
    "seed": _Param("seed", _is_whole, "a whole number"),
    "presence_penalty": _Param("presence_penalty", _is_number, "a number"),
    "frequency_penalty": _Param("frequency_penalty", _is_number, "a number"),
    "stop": _Param("stop_sequences", _is_texts, "a text or a list of texts"),
    "stop_words": _Param("stop_sequences", _is_texts, "a text or a list of texts"),
}


def _param(name: str, settings: ModelSettings) -> _Param:
    param = _PARAMS.get(name)
    if param is None:
        raise ConfigError(
            f"unknown param {name!r}.{closest(name, _PARAMS)} Known: {', '.join(_PARAMS)}.",
            field=f"params.{name}",
        )
    vendor = _VENDORS.get(settings.provider)
    if name == "top_k" and vendor and (settings.base_url or not vendor.top_k):
        raise ConfigError(
            f"provider {settings.provider!r} does not take the param 'top_k': use top_p",
            field="params.top_k",
        )
    return param


def _sendable(name: str, value: object, settings: ModelSettings) -> object:
    """Return ``value`` as it is sent; None for None."""
    param = _param(name, settings)
    if value is None:
        return None
    if param.sent_as == "stop_sequences" and isinstance(value, str):
        value = [value]
    if not param.accepts(value):
        shown = value if isinstance(value, int | float) else type(value).__name__
        raise ConfigError(
            f"the param {name!r} must be {param.kind}, not {shown}", field=f"params.{name}"
        )
    return value


def _library_params(settings: ModelSettings) -> dict[str, object]:
    sent: dict[str, object] = {}
    for name, value in settings.params.items():
        key, made = _param(name, settings).sent_as, _sendable(name, value, settings)
        if key in sent and made is not None:
            raise ConfigError("give stop or stop_words, not both", field=f"params.{name}")
        if made is not None:
            sent[key] = made
    return sent


# ---- one call ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _VendorModel:
    """A model of a vendor, called through pydantic-ai.

    Attributes:
        url: whom to ask in OpenAI's dialect; None: the vendor through its own library.
        own_server: the server is not the vendor's cloud.
        params: as pydantic-ai names them.
    """

    settings: ModelSettings
    vendor: _Vendor
    url: str | None
    own_server: bool
    key: _Key
    organization: str | None
    project: str | None
    params: Mapping[str, object]

    async def answer(self, messages: Sequence[Message]) -> Answer:
        import asyncio  # noqa: PLC0415 - not needed to check settings

        if not messages:
            raise ModelError("there is no message to send to the model")
        for position, message in enumerate(messages):
            _refuse_media(message, position)
        # The first import takes a second or two, during which other tasks must go on.
        await asyncio.to_thread(_load, self.settings.provider if self.url is None else "openai")
        reply = await self._ask(_history(messages))
        if isinstance(reply, ModelError):
            # Raised outside any except: the library's exceptions hold messages and bodies, which must
            # not travel along as the cause.
            raise reply
        if not reply.text:
            raise ModelError(
                f"{self._where} gave no text (finish reason: {reply.finish_reason or 'none'})",
                finish_reason=reply.finish_reason,
            )
        usage = Usage(
            prompt_tokens=reply.usage.input_tokens,
            completion_tokens=reply.usage.output_tokens,
            total_tokens=reply.usage.total_tokens,
        )
        asked = self.settings
        return Answer(
            content=reply.text, provider=asked.provider, model=asked.model, usage=usage, mock=False
        )

    async def _ask(self, history: "list[ModelMessage]") -> "ModelResponse | ModelError":
        import asyncio  # noqa: PLC0415 - not needed to check settings

        from pydantic_ai.exceptions import AgentRunError, UserError  # noqa: PLC0415 - heavy
        from pydantic_ai.models import ModelRequestParameters  # noqa: PLC0415 - heavy

        # No retries here: the engine repeats what is retryable. `_client` says so by itself, since the
        # param would copy the client and lose its organization.
        patience = {} if self.url else {"max_retries": 0}
        params = cast("LibrarySettings", {**self.params, **patience})
        seconds = self.settings.timeout.total_seconds() if self.settings.timeout else None
        try:
            async with asyncio.timeout(seconds), self._open() as model:
                # Not `direct.model_request`, which may put joiners into text that looks like a token.
                return await model.request(history, params, ModelRequestParameters())
        except TimeoutError:
            return ModelRateLimited(
                f"{self._where} did not answer in time: try again later, or allow more time",
                host=self._host,
                timeout_seconds=seconds,
            )
        except (AgentRunError, UserError) as error:
            return self._problem(error)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            return self._problem(error)  # the library tripped over a reply that is no completion

    @asynccontextmanager
    async def _open(self) -> "AsyncGenerator[LibraryModel]":
        """Connect; everything is closed again at the end."""
        from pydantic_ai.models import infer_model  # noqa: PLC0415 - heavy
        from pydantic_ai.providers import infer_provider_class  # noqa: PLC0415 - heavy

        name, model = self.settings.provider, self.settings.model
        if self.url is None:
            async with infer_provider_class(name)(api_key=self.key.value) as provider:  # type: ignore[call-arg] # each vendor's class takes one
                yield infer_model(f"{name}:{model}", lambda _: provider)
        else:
            async with self._client(self.url) as client:
                yield self._chat_model(client)

    def _client(self, url: str) -> "AsyncOpenAI":
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient  # noqa: PLC0415 - heavy

        client = AsyncOpenAI(
            base_url=url,
            api_key=self.key.value,
            max_retries=0,
            # A proxy of the environment is for the world, not for this machine.
            http_client=DefaultAsyncHttpxClient(verify=_tls(), trust_env=not _is_local(url)),
        )
        # Set afterwards, because the client would take the process's variables for None, and those
        # are OpenAI's and not for every vendor.
        client.organization, client.project = self.organization, self.project
        return client

    def _chat_model(self, client: "AsyncOpenAI") -> "LibraryModel":
        from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415 - heavy
        from pydantic_ai.profiles.openai import OpenAIModelProfile  # noqa: PLC0415 - heavy
        from pydantic_ai.providers import infer_provider_class  # noqa: PLC0415 - heavy
        from pydantic_ai.providers.openai_compatible import (  # noqa: PLC0415 - heavy
            OpenAICompatibleProvider,
        )

        name = self.settings.provider
        provider: Provider[AsyncOpenAI]
        if self.vendor.url and self.vendor.own_class:
            provider = infer_provider_class(name)(openai_client=client)  # type: ignore[call-arg] # each of these takes one
        else:
            provider = OpenAICompatibleProvider(name, openai_client=client)
        profile = None
        if self.own_server and not self._host.partition(":")[0].endswith(_NEW_TOKEN_FIELD):
            # Ollama, LM Studio and others ignore max_completion_tokens, OpenAI refuses max_tokens.
            profile = OpenAIModelProfile(openai_chat_supports_max_completion_tokens=False)
        return OpenAIChatModel(self.settings.model, provider=provider, profile=profile)

    @property
    def _host(self) -> str:
        """The server without path or password."""
        return urlsplit(self.url).netloc.rpartition("@")[2] if self.url else self.settings.provider

    @property
    def _where(self) -> str:
        return f"model {self.settings.model!r} at {self._host}"

    def _problem(self, error: Exception) -> ModelError:
        """Say what went wrong in our words alone: the library's text quotes bodies and messages."""
        from pydantic_ai import exceptions as of  # noqa: PLC0415 - heavy

        busy = (of.ModelRateLimitError, of.ModelUnavailableError, of.ModelServerError)
        rows: tuple[
            tuple[type[Exception] | tuple[type[Exception], ...], type[ModelError], str], ...
        ]
        rows = (
            (
                of.ModelAuthenticationError,
                ModelKeyMissing,
                f"refuses the API key: {self.key.remedy}, or run offline with --mock-model",
            ),
            (of.ModelQuotaExceededError, ModelError, "says that the account's credit is used up"),
            (of.ModelTimeoutError, ModelRateLimited, "did not answer in time: try again later"),
            (
                of.ModelConnectionError,
                ModelRateLimited,
                "cannot be reached or broke off: check base_url, or try again later",
            ),
            (busy, ModelRateLimited, "asks to try again later"),
            (
                of.ModelNotFoundError,
                ModelError,
                "is not known there: check the model's name, and base_url, which often ends in /v1",
            ),
            (
                of.ModelContextWindowExceededError,
                ModelError,
                "cannot take a conversation this long: set a token budget on the memory",
            ),
            (of.ModelHTTPError, ModelError, "refuses the request: check the params"),
            (Exception, ModelError, f"did not answer as a model does ({type(error).__name__})"),
        )
        status = getattr(error, "status_code", None)
        kind, text = next((kind, text) for types, kind, text in rows if isinstance(error, types))
        if status in _TRY_AGAIN:
            kind, text = ModelRateLimited, "asks to try again later"
        return kind(
            f"{self._where} {text}{f' (HTTP {status})' if status else ''}",
            host=self._host,
            status=status,
            retry_after=getattr(error, "retry_after", None),
        )


_NEW_TOKEN_FIELD = ("openai.com", "azure.com")
_TRY_AGAIN = {408, 409}


@functools.cache
def _load(vendor: str) -> None:
    """Import all that a call needs."""
    for module in (
        f"pydantic_ai.models.{vendor}",
        "pydantic_ai.providers.openai_compatible",
        "openai.resources.chat.completions",
    ):
        importlib.import_module(module)
    _tls()


@functools.cache
def _tls() -> "ssl.SSLContext":
    """Return the context for all clients: building one takes 20 ms."""
    from httpx2 import create_ssl_context  # noqa: PLC0415 - heavy

    return create_ssl_context()


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _refuse_media(message: Message, position: int) -> None:
    parts = () if isinstance(message.content, str) else message.content
    if message.attachments or any(part.type != "text" for part in parts):
        raise ModelError(
            f"message {position + 1} ({message.role}) carries more than text, which models are not "
            "sent in this version: remove the files and images",
            position=position,
        )


def _history(messages: Sequence[Message]) -> "list[ModelMessage]":
    """Turn each message into one of the library's, so that none are joined or moved."""
    from pydantic_ai import messages as of  # noqa: PLC0415 - heavy

    history: list[ModelMessage] = []
    called: dict[str, str] = {}
    for message in messages:
        text = message.text
        if message.role == "assistant":
            calls = message.tool_calls or ()
            called.update((call.id, call.function.name) for call in calls)
            said = [of.TextPart(text)] if text else []
            asked = [
                of.ToolCallPart(c.function.name, c.function.arguments, tool_call_id=c.id)
                for c in calls
            ]
            history.append(of.ModelResponse([*said, *asked]))
            continue
        part: ModelRequestPart
        if message.role == "system":
            part = of.SystemPromptPart(text)
        elif message.role == "user":
            part = of.UserPromptPart(text)
        else:
            call_id = message.tool_call_id or ""
            part = of.ToolReturnPart(called.get(call_id, "tool"), text, tool_call_id=call_id)
        history.append(of.ModelRequest([part]))
    return history
