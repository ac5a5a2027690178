"""The offline mock model: it names itself and shows what it was given to remember.

The answer depends on the messages alone, so a run can be repeated word for word.
"""

import math
import re
from collections.abc import Iterator, Sequence

from recollect.agents.models import Answer, Usage
from recollect.messages import Message

MARK = "[mock model]"

_SPEAKER = re.compile(r"^(user|assistant|system|tool): ?", re.MULTILINE)
_QUOTED_CHARACTERS = 80


class MockModel:
    """Answers offline and says so; the same messages always get the same answer."""

    def __init__(self, model: str) -> None:
        self._model = model

    async def answer(self, messages: Sequence[Message]) -> Answer:
        """Answer; tokens are estimated as a quarter of the characters."""
        content = _reply(messages)
        prompt = sum(_estimate(message.text) for message in messages)
        usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=_estimate(content),
            total_tokens=prompt + _estimate(content),
        )
        return Answer(content=content, provider="mock", model=self._model, usage=usage, mock=True)


def _reply(messages: Sequence[Message]) -> str:
    """Answer with a count of the earlier user turns and quotes of the first, the last and this one.

    A conversation may come as messages of their own, or as a transcript within one assistant or system
    message: lines ``role: content``, where lines without a role continue the one above. The last user
    message is what is being said now; everything else the user said was said earlier.
    """
    now = next((m for m in reversed(messages) if m.role == "user"), None)
    earlier = [turn for message in messages if message is not now for turn in _user_turns(message)]
    spoken = f"Now you say: {_quote(now.text)}." if now else "You say nothing now."
    return f"{MARK} No language model was called. {_remembered(earlier)} {spoken}"


def _user_turns(message: Message) -> Iterator[str]:
    if message.role == "user":
        yield message.text
    elif message.role != "tool":
        _, *pieces = _SPEAKER.split(message.text)
        speeches = zip(pieces[::2], pieces[1::2], strict=True)
        yield from (text for speaker, text in speeches if speaker == "user")


def _remembered(turns: Sequence[str]) -> str:
    if not turns:
        return "I remember nothing from before."
    counted = "1 earlier message" if len(turns) == 1 else f"{len(turns)} earlier messages"
    last = f", and last: {_quote(turns[-1])}" if len(turns) > 1 else ""
    return f"I remember {counted} from you. You said earlier: {_quote(turns[0])}{last}."


def _quote(text: str) -> str:
    """Quote ``text`` on one line, so that an answer in a transcript never looks like a turn."""
    line = " ".join(text.split())
    if len(line) > _QUOTED_CHARACTERS:
        line = line[: _QUOTED_CHARACTERS - 1].rstrip() + "…"
    return f'"{line}"'


def _estimate(text: str) -> int:
    return math.ceil(len(text) / 4)
