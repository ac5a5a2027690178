"""Calling models, against a stand-in of the vendor on the loopback interface."""

import asyncio
import gc
import pickle
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recollect.agents.model_factory import check_settings, open_model
from recollect.agents.models import Answer, Model, ModelSettings, Usage
from recollect.errors import (
    ConfigError,
    MissingExtra,
    ModelError,
    ModelKeyMissing,
    ModelRateLimited,
)
from recollect.messages import ContentPart, Message
from tests.fake_openai import FakeOpenAI

KEY = "sk-secret-0123456789"
HELLO = Message("user", "hello there")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with FakeOpenAI() as fake:
        yield fake


def model_at(server: FakeOpenAI, **settings: Any) -> Model:
    given = {"provider": "openai", "model": "gpt-4o", "base_url": server.base_url, **settings}
    return open_model(ModelSettings(**given), env={"OPENAI_API_KEY": KEY})


# ---- on the wire ---------------------------------------------------------------------------------


async def test_returns_what_the_server_said_and_counted(server: FakeOpenAI) -> None:
    server.reply("Hello, Ada.")

    answer = await model_at(server).answer([HELLO])

    assert answer == Answer(
        content="Hello, Ada.",
        provider="openai",
        model="gpt-4o",
        usage=Usage(prompt_tokens=2, completion_tokens=2, total_tokens=4),
        mock=False,
    )


async def test_sends_every_message_as_it_is_in_the_order_given(server: FakeOpenAI) -> None:
    texts = [
        ("system", "You are kind.\n"),
        ("system", "Be brief."),
        ("user", "one"),
        ("user", "two"),
        ("assistant", "user: x\nassistant: y"),
        ("assistant", "  four \n\n"),
        ("system", "In the middle."),
        ("assistant", "<think>five</think> <|im_start|>"),
        ("user", "six <|im_start|>system é \u2028 \U0001f600 \x00"),
    ]

    await model_at(server, model="llama-3").answer(
        [Message(role, text) for role, text in texts]  # type: ignore[arg-type] # roles
    )

    assert server.requests[0]["messages"] == [{"role": r, "content": t} for r, t in texts]
    assert server.requests[0]["model"] == "llama-3"
    assert not server.requests[0]["stream"]


async def test_sends_tool_calls_with_their_results(server: FakeOpenAI) -> None:
    call = {"id": "c1", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}

    await model_at(server).answer(
        [
            HELLO,
            Message("assistant", tool_calls=[call]),  # type: ignore[arg-type] # plain JSON is taken
            Message("tool", '{"sky": "blue"}', tool_call_id="c1"),
            Message("tool", "late", tool_call_id="unknown"),
        ]
    )

    _, asked, told, late = server.requests[0]["messages"]
    assert asked["role"] == "assistant"
    assert not asked["content"]
    assert asked["tool_calls"] == [{**call, "type": "function"}]
    assert told == {"role": "tool", "tool_call_id": "c1", "content": '{"sky": "blue"}'}
    assert late == {"role": "tool", "tool_call_id": "unknown", "content": "late"}


async def test_sends_the_params_under_the_names_that_servers_know(server: FakeOpenAI) -> None:
    params = {
        "max_tokens": 50,
        "temperature": 0.5,
        "top_p": 1,
        "seed": 7,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.25,
        "stop_words": ["END"],
    }

    await model_at(server, params={**params, "stop": None}).answer([HELLO])

    sent = server.requests[0]
    assert sent.pop("stop") == params.pop("stop_words")
    assert {name: sent[name] for name in params} == params
    assert sent.keys() == {"model", "messages", "stream", *params}


async def test_one_stop_word_needs_no_list(server: FakeOpenAI) -> None:
    await model_at(server, params={"stop": "END"}).answer([HELLO])

    assert server.requests[0]["stop"] == ["END"]


async def test_openai_itself_gets_its_newer_name_for_max_tokens(
    server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{server.host}")

    await model_at(server, base_url="http://eu.api.openai.com/v1", params={"max_tokens": 5}).answer(
        [HELLO]
    )

    assert server.requests[0]["max_completion_tokens"] == 5
    assert "max_tokens" not in server.requests[0]


async def test_a_proxy_does_not_come_between_servers_on_this_machine(
    server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert (await model_at(server).answer([HELLO])).content == "echo: hello there"


@pytest.mark.parametrize(
    "provider",
    [
        "anthropic",
        "cerebras",
        "cohere",
        "deepseek",
        "fireworks",
        "google",
        "groq",
        "mistral",
        "moonshotai",
        "ollama",
        "openai",
        "openrouter",
        "together",
        "xai",
    ],
)
async def test_every_provider_can_be_pointed_at_a_compatible_server(
    server: FakeOpenAI, provider: str
) -> None:
    settings = ModelSettings(
        provider=provider, model="some/model:1", base_url=server.base_url, params={"max_tokens": 9}
    )

    answer = await open_model(settings, env={}).answer([HELLO])

    assert (answer.content, answer.provider) == ("echo: hello there", provider)
    assert server.requests[0]["model"] == "some/model:1"
    assert server.requests[0]["max_tokens"] == 9
    assert server.headers[0]["authorization"] == "Bearer not-needed"


# ---- addresses and keys --------------------------------------------------------------------------


async def test_the_environment_gives_address_and_key(server: FakeOpenAI) -> None:
    env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": f"{KEY}\n"}

    await open_model(ModelSettings(provider="openai", model="m"), env=env).answer([HELLO])

    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


async def test_the_settings_win_over_the_environment(server: FakeOpenAI) -> None:
    env = {"GROQ_BASE_URL": "http://127.0.0.1:9/v1", "GROQ_API_KEY": "other"}
    settings = ModelSettings(provider="groq", model="m", base_url=server.base_url, api_key=KEY)

    await open_model(settings, env=env).answer([HELLO])

    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


async def test_the_organization_goes_to_openai_and_to_nobody_else_unasked(
    server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-process")

    for provider, env, organization in [
        ("openai", {"OPENAI_ORG_ID": "org-env"}, None),
        ("openai", {}, "org-given"),
        ("openai", {}, None),
        ("groq", {"OPENAI_ORG_ID": "org-env"}, None),
    ]:
        made = ModelSettings(
            provider=provider, model="m", base_url=server.base_url, organization=organization
        )
        await open_model(made, env=env).answer([HELLO])

    sent = [headers.get("openai-organization") for headers in server.headers]
    assert sent == ["org-env", "org-given", None, None]


@pytest.mark.parametrize(
    ("provider", "variable"),
    [
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("cerebras", "CEREBRAS_API_KEY"),
        ("deepseek", "DEEPSEEK_API_KEY"),
        ("groq", "GROQ_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
        ("openrouter", "OPENROUTER_API_KEY"),
        ("xai", "XAI_API_KEY"),
    ],
)
@pytest.mark.parametrize("api_key", [None, "", " "])
def test_a_missing_key_names_the_variable_and_the_way_without(
    provider: str, variable: str, api_key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "the environment is what the caller says it is")
    monkeypatch.setitem(sys.modules, "anthropic", sys)  # as if installed
    settings = ModelSettings(provider=provider, model="m", api_key=api_key)

    with pytest.raises(ModelKeyMissing, match=rf"set {variable}, or .* --mock-model") as caught:
        open_model(settings, env={variable: ""})
    assert caught.value.code == "LLM_AUTH"


def test_a_key_that_cannot_be_one_is_refused_without_showing_it() -> None:
    with pytest.raises(ModelKeyMissing, match="OPENAI_API_KEY holds characters") as caught:
        open_model(
            ModelSettings(provider="openai", model="m"), env={"OPENAI_API_KEY": f"{KEY}\nX-A: b"}
        )
    assert KEY not in str(caught.value)


def test_settings_and_models_do_not_show_the_key() -> None:
    settings = ModelSettings(provider="openai", model="m", api_key=KEY)

    assert KEY not in repr(settings)
    assert KEY not in repr(open_model(settings, env={}))


@pytest.mark.parametrize(
    ("provider", "module"),
    [("anthropic", "anthropic"), ("google", "google.genai"), ("mistral", "mistralai")],
)
def test_a_vendor_without_its_library_names_what_to_install(
    provider: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    settings = ModelSettings(provider=provider, model="m", api_key=KEY)

    with pytest.raises(ConfigError, match=re.escape(f"'pydantic-ai-slim[{provider}]'")):
        open_model(settings, env={})


def test_the_base_install_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai", None)

    with pytest.raises(MissingExtra, match=r"recollect\[workflows\]"):
        open_model(ModelSettings(provider="openai", model="m", api_key=KEY), env={})


# ---- what is refused before a call ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "field", "text"),
    [
        ({"provider": "opnai"}, "provider", "Did you mean 'openai'"),
        ({"provider": ""}, "provider", "Known: anthropic,"),
        ({"model": " "}, "model", "model is empty"),
        ({"base_url": "localhost:8000"}, "base_url", "not a web address"),
        ({"base_url": "http://"}, "base_url", "not a web address"),
        ({"base_url": "http://a:b/v1"}, "base_url", "not a web address"),
        ({"base_url": "http://a/v 1"}, "base_url", "not a web address"),
        ({"timeout": timedelta(0)}, "timeout", "longer than nothing"),
        ({"params": {"max_token": 5}}, "params.max_token", "Did you mean 'max_tokens'"),
        ({"params": {"n": 2}}, "params.n", "Known: max_tokens,"),
        ({"params": {"max_tokens": 0}}, "params.max_tokens", "above 0, not 0"),
        ({"params": {"max_tokens": True}}, "params.max_tokens", "not True"),
        ({"params": {"temperature": "hot"}}, "params.temperature", "a number, not str"),
        ({"params": {"temperature": float("nan")}}, "params.temperature", "not nan"),
        ({"params": {"seed": 1.5}}, "params.seed", "a whole number, not 1.5"),
        ({"params": {"stop": [1]}}, "params.stop", "a list of texts"),
        ({"params": {"top_k": 5}}, "params.top_k", "use top_p"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings: Any, field: str, text: str) -> None:
    made = ModelSettings(**{"provider": "openai", "model": "m", **settings})

    with pytest.raises(ConfigError, match=re.escape(text)) as caught:
        check_settings(made)
    assert caught.value.details["field"] == field


def test_templates_are_checked_when_they_are_rendered() -> None:
    settings = ModelSettings(
        provider="{{ .input.provider }}",
        model="{{ .input.model }}",
        base_url="{{ .env.URL }}",
        params={"max_tokens": "{{ .input.limit }}", "top_k": "{{ .input.k }}"},
    )
    check_settings(settings)

    with pytest.raises(ConfigError, match="unknown provider"):
        open_model(settings, env={})
    with pytest.raises(ConfigError, match="not a web address"):
        open_model(ModelSettings(provider="openai", model="m", base_url="{{ .env.URL }}"), env={})
    with pytest.raises(ConfigError, match="'max_tokens' must be a whole number"):
        open_model(
            ModelSettings(provider="ollama", model="m", params={"max_tokens": "{{ .input.l }}"}),
            env={},
        )


def test_two_names_for_one_param_are_refused() -> None:
    settings = ModelSettings(provider="ollama", model="m", params={"stop": "a", "stop_words": "b"})

    with pytest.raises(ConfigError, match="stop or stop_words, not both"):
        open_model(settings, env={})


def test_a_wrong_address_in_the_environment_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a web address"):
        open_model(
            ModelSettings(provider="openai", model="m"), env={"OPENAI_BASE_URL": "127.0.0.1:80"}
        )


async def test_refuses_to_leave_out_what_is_not_text(server: FakeOpenAI) -> None:
    picture = ContentPart("image_url", image_url={"url": "http://127.0.0.1/cat.png"})
    model = model_at(server)

    for message in (
        Message("user", (ContentPart("text", "look"), picture)),
        Message("user", "look", attachments=[{"kind": "file", "data": "aGk="}]),  # type: ignore[arg-type] # plain JSON is taken
    ):
        with pytest.raises(ModelError, match=r"message 2 \(user\) carries more than text"):
            await model.answer([HELLO, message])
    with pytest.raises(ModelError, match="no message to send"):
        await model.answer([])
    assert server.requests == []


# ---- what goes wrong in a call -------------------------------------------------------------------

SECRET = "the server repeats what it was told: hello there"
ERROR = f'{{"error": {{"message": "{SECRET}", "type": "t", "code": "c"}}}}'
QUOTA = ERROR.replace('"c"', '"insufficient_quota"')
TOO_LONG = ERROR.replace('"c"', '"context_length_exceeded"')
NO_CHOICE = '{"id": "x", "model": "m", "object": "chat.completion", "created": 1, "choices": []}'


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ({"status": 401}, ModelKeyMissing, "check OPENAI_API_KEY, or run offline"),
        ({"status": 403}, ModelKeyMissing, "HTTP 403"),
        ({"status": 429}, ModelRateLimited, "try again later (HTTP 429)"),
        ({"status": 500}, ModelRateLimited, "HTTP 500"),
        ({"status": 503}, ModelRateLimited, "HTTP 503"),
        ({"status": 408}, ModelRateLimited, "HTTP 408"),
        ({"cut": True}, ModelRateLimited, "cannot be reached or broke off"),
        ({"status": 429, "body": QUOTA}, ModelError, "credit is used up"),
        ({"status": 400, "body": TOO_LONG}, ModelError, "set a token budget"),
        ({"status": 400}, ModelError, "refuses the request: check the params (HTTP 400)"),
        ({"status": 404}, ModelError, "check the model's name, and base_url"),
        ({"body": SECRET}, ModelError, "did not answer as a model does"),
        ({"body": NO_CHOICE}, ModelError, "did not answer as a model does"),
        ({"body": ERROR}, ModelError, "did not answer as a model does"),
        ({"body": "null"}, ModelError, "did not answer as a model does"),
    ],
)
async def test_a_failed_call_is_one_request_and_one_clean_error(
    server: FakeOpenAI, how: Any, kind: type[ModelError], text: str
) -> None:
    server.fail(**{"body": ERROR, **how})

    with pytest.raises(ModelError, match=re.escape(text)) as caught:
        await model_at(server).answer([HELLO])

    error = caught.value
    assert type(error) is kind
    assert error.retryable == (kind is ModelRateLimited)
    assert (error.details["host"], error.details.get("status")) == (server.host, how.get("status"))
    assert error.__cause__ is None
    assert error.__context__ is None
    told = f"{error!r} {error.details} {pickle.dumps(error)!r}"
    assert not any(secret in told for secret in (KEY, "hello there", SECRET))
    assert len(server.requests) == 1


async def test_says_how_long_the_server_asks_to_wait(server: FakeOpenAI) -> None:
    server.fail(status=429, headers={"Retry-After": "7"})

    with pytest.raises(ModelRateLimited) as caught:
        await model_at(server).answer([HELLO])
    assert caught.value.details["retry_after"] == 7


@pytest.mark.parametrize(
    ("settings", "env", "remedy"),
    [
        ({}, {}, "set OPENAI_API_KEY"),
        ({"api_key": KEY}, {"OPENAI_API_KEY": "other"}, "check the model's api_key"),
    ],
)
async def test_a_refused_key_says_where_it_came_from(
    server: FakeOpenAI, settings: Any, env: dict[str, str], remedy: str
) -> None:
    server.fail(status=401)
    made = ModelSettings(provider="openai", model="m", base_url=server.base_url, **settings)

    with pytest.raises(ModelKeyMissing, match=remedy):
        await open_model(made, env=env).answer([HELLO])


async def test_a_server_that_is_not_there_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with socket.socket() as taken:  # nobody else gets the port, and nobody listens on it
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = ModelSettings(provider="openai", model="m", base_url=f"http://{host}/v1")
        model = open_model(settings, env={"OPENAI_API_KEY": KEY})

        with pytest.raises(ModelRateLimited, match=f"at {host} cannot be reached"):
            await model.answer([HELLO])


async def test_the_address_in_an_error_shows_no_password(server: FakeOpenAI) -> None:
    server.fail(status=500)
    url = server.base_url.replace("http://", "http://ada:hunter2@")

    with pytest.raises(ModelRateLimited) as caught:
        await model_at(server, base_url=url).answer([HELLO])
    assert caught.value.details["host"] == server.host
    assert "hunter2" not in str(caught.value)


async def test_gives_up_on_a_silent_server_after_the_timeout(server: FakeOpenAI) -> None:
    server.fail(silent=True)

    with pytest.raises(ModelRateLimited, match="did not answer in time") as caught:
        await model_at(server, timeout=timedelta(milliseconds=100)).answer([HELLO])
    assert caught.value.details["timeout_seconds"] == 0.1


async def test_a_cancelled_call_ends_at_once(server: FakeOpenAI) -> None:
    server.fail(silent=True)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await model_at(server).answer([HELLO])


@pytest.mark.parametrize("content", [None, ""])
async def test_an_answer_without_text_is_an_error(server: FakeOpenAI, content: str | None) -> None:
    server.reply(content)

    with pytest.raises(ModelError, match=r"gave no text \(finish reason: stop\)"):
        await model_at(server).answer([HELLO])


# ---- what it costs -------------------------------------------------------------------------------


def test_one_model_serves_many_loops_and_leaves_nothing_open(server: FakeOpenAI) -> None:
    model = model_at(server)

    async def twice() -> list[Answer]:
        return list(await asyncio.gather(model.answer([HELLO]), model.answer([HELLO])))

    answers = asyncio.run(twice()) + asyncio.run(twice())

    gc.collect()  # an open socket would warn here, and warnings are errors
    assert [answer.content for answer in answers] == ["echo: hello there"] * 4


def test_nothing_heavy_is_imported_before_the_first_real_answer() -> None:
    script = """
import asyncio, sys
from recollect.agents.model_factory import check_settings, open_model
from recollect.agents.models import ModelSettings
from recollect.messages import Message
settings = ModelSettings(provider="openai", model="m", api_key="k", params={"max_tokens": 1})
check_settings(settings)
open_model(settings, env={})
asyncio.run(open_model(settings, env={}, mock=True).answer([Message("user", "hi")]))
print(sorted({"pydantic_ai", "pydantic", "openai", "httpx2", "logfire"} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_the_fake_server_runs_as_a_script() -> None:
    fake = Path(__file__).parents[1] / "fake_openai.py"
    with subprocess.Popen(
        [sys.executable, "-u", str(fake)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        settings = ModelSettings(provider="openai", model="m", base_url=url)
        answer = asyncio.run(open_model(settings, env={}).answer([HELLO]))
        seen = process.stdout.readline()
        process.terminate()

    assert answer.content == "echo: hello there"
    assert '"hello there"' in seen
