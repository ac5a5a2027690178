"""The offline model: honest about what it is, and visibly aware of the conversation."""

import asyncio
from collections.abc import Sequence

import pytest

from recollect.agents.model_factory import open_model
from recollect.agents.models import Answer, ModelSettings, Usage
from recollect.messages import Message

SYSTEM = Message("system", "You are a helpful assistant.")
HELLO = Message("user", "My name is Ada.")
QUESTION = Message("user", "What is my name?")


def ask(*messages: Message, provider: str = "mock", mock: bool = False) -> Answer:
    model = open_model(ModelSettings(provider=provider, model="gpt-4o"), env={}, mock=mock)
    return asyncio.run(model.answer(messages))


def test_says_that_it_is_a_mock_and_quotes_what_it_is_told() -> None:
    answer = ask(SYSTEM, HELLO)

    assert answer.content == (
        "[mock model] No language model was called. I remember nothing from before. "
        'Now you say: "My name is Ada.".'
    )
    assert (answer.provider, answer.model, answer.mock) == ("mock", "gpt-4o", True)


def test_stands_in_for_any_vendor_without_a_key() -> None:
    assert ask(HELLO, provider="anthropic", mock=True) == ask(HELLO)


def test_remembers_earlier_messages() -> None:
    answer = ask(HELLO, Message("assistant", "Hello, Ada."), QUESTION)

    assert "I remember 1 earlier message from you." in answer.content
    assert 'You said earlier: "My name is Ada.".' in answer.content
    assert answer.content.endswith('Now you say: "What is my name?".')


def test_quotes_the_first_and_the_last_of_many_earlier_messages() -> None:
    turns = [Message("user", f"fact {n}") for n in range(1, 5)]

    assert (
        'I remember 4 earlier messages from you. You said earlier: "fact 1", and last: "fact 4".'
        in ask(*turns, QUESTION).content
    )


TRANSCRIPT = "user: My name is Ada.\nassistant: Hello.\nuser: I like\nblue hats.\nassistant: Fine."


@pytest.mark.parametrize("role", ["assistant", "system"])
@pytest.mark.parametrize("heading", ["", "The conversation so far:\n\n"])
def test_finds_the_user_in_a_transcript_that_is_one_message(role: str, heading: str) -> None:
    history = Message(role, heading + TRANSCRIPT)  # type: ignore[arg-type] # one of the roles

    answer = ask(SYSTEM, history, QUESTION)

    assert "I remember 2 earlier messages from you." in answer.content
    assert '"My name is Ada.", and last: "I like blue hats."' in answer.content


@pytest.mark.parametrize(
    "messages",
    [
        [SYSTEM, Message("assistant", "the user: said things"), QUESTION],
        [SYSTEM, Message("tool", "user: hi", tool_call_id="c1"), QUESTION],
        [SYSTEM, Message("assistant", "user:"), QUESTION][::2],
    ],
)
def test_does_not_take_other_text_for_a_transcript(messages: Sequence[Message]) -> None:
    assert "I remember nothing from before." in ask(*messages).content


def test_its_own_answers_in_a_transcript_add_no_turns() -> None:
    first = ask(Message("user", "line one\nuser: line two\nassistant: x"))
    history = f"user: hello\nassistant: {first.content}"

    assert "I remember 1 earlier message" in ask(Message("assistant", history), QUESTION).content


def test_a_transcript_after_the_last_user_message_counts_as_earlier() -> None:
    answer = ask(QUESTION, Message("assistant", TRANSCRIPT))

    assert "I remember 2 earlier messages from you." in answer.content
    assert answer.content.endswith('Now you say: "What is my name?".')


@pytest.mark.parametrize("messages", [[], [SYSTEM]])
def test_answers_even_when_nobody_speaks(messages: Sequence[Message]) -> None:
    assert ask(*messages).content.endswith("I remember nothing from before. You say nothing now.")


def test_shortens_long_quotes() -> None:
    answer = ask(Message("user", "word " * 1000))

    assert len(answer.content) < 250
    assert '…"' in answer.content


def test_the_same_conversation_always_gets_the_same_answer() -> None:
    assert ask(SYSTEM, HELLO, QUESTION) == ask(SYSTEM, HELLO, QUESTION)


def test_estimates_tokens_as_a_quarter_of_the_characters() -> None:
    answer = ask(Message("user", "12345"), Message("user", "1234"))

    completion = -(-len(answer.content) // 4)
    assert answer.usage == Usage(
        prompt_tokens=3, completion_tokens=completion, total_tokens=3 + completion
    )
