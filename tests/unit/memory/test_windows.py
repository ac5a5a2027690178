"""What is known of a model is its window; what is not known is said, not guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.memory.counting.windows import context_window


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-3.5-turbo", 16_385),
        ("gpt-3.5-turbo-0613", 4_096),
        ("gpt-4", 8_192),
        ("gpt-4-0613", 8_192),
        ("gpt-4-1106-preview", 128_000),
        ("gpt-4o-mini-2024-07-18", 128_000),
        ("gpt-4.1-nano", 1_047_576),
        ("o3-mini", 200_000),
        ("gpt-5-mini", 400_000),
        ("gpt-5-chat-latest", 128_000),
        ("claude-3-haiku-20240307", 200_000),
        ("claude-sonnet-4-20250514", 200_000),
        ("claude-opus-4-6", 1_000_000),
        ("gemini-1.5-pro-latest", 2_000_000),
        ("gemini-2.5-flash", 1_048_576),
        ("mistral-large-2402", 32_000),
        ("mistral-large-latest", 128_000),
        ("command-r-plus-08-2024", 128_000),
        ("deepseek-chat", 64_000),
        ("llama-3-70b", 8_192),
        ("llama-3.1-70b-instruct", 128_000),
    ],
)
def test_models_have_the_window_their_vendors_state(model: str, tokens: int) -> None:
    assert context_window(None, model) == tokens


@pytest.mark.parametrize(
    ("model", "plain"),
    [
        (" GPT-4O ", "gpt-4o"),
        ("openai:gpt-4o", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o"),
        ("ft:gpt-3.5-turbo:acme::id", "gpt-3.5-turbo"),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet"),
        ("claude-3.5-sonnet", "claude-3-5-sonnet"),
        ("claude-opus-4.6", "claude-opus-4-6"),
        ("models/gemini-1.5-pro", "gemini-1.5-pro"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1"),
        ("meta.llama3-1-70b-instruct-v1:0", "llama-3.1"),
        ("accounts/fireworks/models/llama-v3p1-8b", "llama-3.1"),
        ("llama3.1:70b", "llama-3.1"),
    ],
)
def test_one_model_has_one_window_however_it_is_spelled(model: str, plain: str) -> None:
    window = context_window("anybody", model)
    assert window is not None
    assert window == context_window(None, plain)


@pytest.mark.parametrize("model", [None, "", "-", "gpt", "gpt-5.9", "gpt-40", "my-own", "llama"])
def test_an_unknown_model_has_no_window(model: str | None) -> None:
    assert context_window("openai", model) is None


@pytest.mark.parametrize("provider", ["ollama", " Ollama ", "vllm", "lmstudio", "local"])
def test_a_server_of_ones_own_has_the_window_it_was_started_with(provider: str) -> None:
    assert context_window(provider, "llama3.1:8b") is None


@given(st.text() | st.text("gpt-45o.:@/llamacde"))
def test_any_name_has_a_window_or_none(model: str) -> None:
    window = context_window(None, model)
    assert window is None or window >= 4_096
