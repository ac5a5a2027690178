"""A model that summarises: what it is asked, and that names are checked when files are loaded."""

import asyncio
from collections.abc import Sequence

import pytest

from recollect.agents.models import Answer, ModelSettings, Usage
from recollect.agents.summarizer import ModelSummarizer
from recollect.errors import ConfigError
from recollect.messages import Message


class Echo:
    """A model that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Sequence[Message]] = []

    async def answer(self, messages: Sequence[Message]) -> Answer:
        self.asked.append(messages)
        return Answer(
            content="so it was",
            provider="openai",
            model="m",
            usage=Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0),
            mock=False,
        )


def test_the_model_is_told_what_was_said_and_what_was_known() -> None:
    echo, opened = Echo(), list[ModelSettings]()

    def open_model(settings: ModelSettings) -> Echo:
        opened.append(settings)
        return echo

    summarizer = ModelSummarizer("openai:gpt-4o-mini", open_model)
    assert opened == []
    text = asyncio.run(
        summarizer.summarize(
            [Message("user", "I want tea"), Message("assistant", "")],
            earlier="Ana is here",
            max_tokens=300,
        )
    )
    assert text == "so it was"
    assert [(s.provider, s.model) for s in opened] == [("openai", "gpt-4o-mini")]
    task, told = echo.asked[0]
    assert "at\nmost 200 words" in task.text
    assert told.text == "Earlier summary:\nAna is here\n\nMessages since:\nuser: I want tea"


@pytest.mark.parametrize("name", ["gpt-4o-mini", "nobody:x", "openai:"])
def test_a_name_that_no_model_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        ModelSummarizer(name, lambda settings: Echo())
