"""One call to a vendor's model.

This is the only home of pydantic-ai, which takes a second or two to import; it is imported by the first
answer of a real model and by nothing else.
"""

import functools
import importlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from recollect.agents.models import Answer, ModelSettings, Usage
from recollect.agents.vendors import Key, Vendor
from recollect.errors import ModelError, ModelKeyMissing, ModelRateLimited
from recollect.messages import Message

if TYPE_CHECKING:
    import ssl

    from openai import AsyncOpenAI
    from pydantic_ai.messages import ModelMessage, ModelRequestPart, ModelResponse
    from pydantic_ai.models import Model as LibraryModel
    from pydantic_ai.providers import Provider
    from pydantic_ai.settings import ModelSettings as LibrarySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorModel:
    """A model of a vendor, called through pydantic-ai.

    Attributes:
        url: whom to ask in OpenAI's dialect; None: the vendor through its own library.
        own_server: the server is not the vendor's cloud.
        params: as pydantic-ai names them.
    """

    settings: ModelSettings
    vendor: Vendor
    url: str | None
    own_server: bool
    key: Key
    organization: str | None
    project: str | None
    params: Mapping[str, object]

    async def answer(self, messages: Sequence[Message]) -> Answer:
        """Ask the vendor once, as ``Model.answer`` says."""
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
