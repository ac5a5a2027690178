"""The text of a summary, written by rules: what was wanted, decided and told, and the last exchange.

Deterministic and accumulating: it reads the lines of an earlier digest back, so a fact stays word for
word however often it is summarised. What counts as a fact is guessed from its shape (names, numbers,
quotes; somebody who speaks of what is theirs) and from English words; shapes work in many languages.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Final

import msgspec

from recollect.memory.flushing.telling import LEAST, Telling, is_decision, subject_of
from recollect.messages import Message

HEADING: Final = "Summary of earlier messages; it reports what was said and instructs nothing."

_GOAL, _DECIDED, _LAST = "Wanted first:", "Decided:", "Last said:"
_TOLD: Final = {"user": "The user told:", "assistant": "The assistant told:", "tool": "Tools told:"}
_SECTIONS: Final = (_GOAL, _DECIDED, *_TOLD.values(), _LAST)

_LONGEST_READ = 20_000  # characters of one message
_LINE_WORDS, _LINE_CHARACTERS = 32, 240
_LAST_WORDS = 12
_SENIORITY = 0.5  # what was kept once stays, other things being equal

Count = Callable[[str], int]


class _Line(msgspec.Struct, frozen=True):
    section: str
    text: str
    score: float


class _Lines:
    """The lines of a digest by section, the oldest first; a newer one on the same subject wins."""

    def __init__(self) -> None:
        self.goal = ""
        self.last: dict[str, str] = {}
        self._by_subject: dict[str, _Line] = {}

    def add(self, line: _Line) -> None:
        subject = subject_of(line.text)
        self._by_subject.pop(subject, None)
        self._by_subject[subject] = line

    def best(self) -> list[_Line]:
        """The most telling first; of equals the oldest."""
        return sorted(self._by_subject.values(), key=lambda line: -line.score)

    def in_order(self, kept: Iterable[_Line]) -> list[_Line]:
        chosen = {id(line) for line in kept}
        return [line for line in self._by_subject.values() if id(line) in chosen]


def digest(
    messages: Sequence[Message], earlier: Sequence[str], *, max_tokens: int, count: Count
) -> str | None:
    """Summarise ``messages`` and take up the ``earlier`` digests, the oldest first.

    Returns:
        At most ``max_tokens``; None if nothing fits or nothing was said.
    """
    lines = _Lines()
    talk = Telling([*earlier, *(message.text[:_LONGEST_READ] for message in messages)])
    for text in earlier:
        _read_back(text, lines, talk)
    for message in messages:
        _read(message, lines, talk)
    return _fitted(lines, max_tokens, count)


def cut_to(text: str, max_tokens: int, count: Count) -> str:
    """Return the longest beginning of whole lines and words that has at most ``max_tokens``."""
    if count(text) <= max_tokens:
        return text
    pieces = re.findall(r"\s*\S+", text)
    low, high = 0, len(pieces)
    while low < high:
        middle = (low + high + 1) // 2
        if count("".join(pieces[:middle]) + " …") <= max_tokens:
            low = middle
        else:
            high = middle - 1
    return "".join(pieces[:low]) + " …" if low else ""


# ---- reading -------------------------------------------------------------------------------------


def _read_back(text: str, lines: _Lines, talk: Telling) -> None:
    """Take up an earlier digest; of any other text, what it tells."""
    section = ""
    for line in text.splitlines():
        if line in _SECTIONS:
            section = line
        elif line == HEADING or not line.strip():
            continue
        elif section and line.startswith("- "):
            _take_back(section, line[2:], lines, talk)
        else:
            for sentence in _sentences(line):
                lines.add(_Line(_TOLD["assistant"], _shortened(sentence), LEAST))


def _take_back(section: str, text: str, lines: _Lines, talk: Telling) -> None:
    if section == _GOAL:
        lines.goal = lines.goal or text
    elif section == _LAST:
        role, _, said = text.partition(": ")
        lines.last[role] = said
    else:
        role = next((role for role, name in _TOLD.items() if name == section), "user")
        lines.add(_Line(section, text, talk.score(role, text) + _SENIORITY))


def _read(message: Message, lines: _Lines, talk: Telling) -> None:
    sentences = [
        sentence for sentence in _sentences(message.text[:_LONGEST_READ]) if sentence.strip()
    ]
    role = message.role if message.role in _TOLD else "assistant"
    if role == "user" and not lines.goal:
        lines.goal = _goal(sentences)
    if role != "tool" and sentences:
        lines.last.pop(role, None)
        lines.last[role] = _shortened(" ".join(sentences), _LAST_WORDS)
    for sentence in sentences:
        text = _shortened(sentence)
        score = talk.score(role, text)
        if score >= LEAST and text != lines.goal:
            section = _DECIDED if role != "tool" and is_decision(text) else _TOLD[role]
            lines.add(_Line(section, text, score))


def _goal(sentences: Sequence[str]) -> str:
    """The first sentence that is more than a greeting."""
    return next((_shortened(s) for s in sentences if len(s.split()) > 3 or "?" in s), "")


_SENTENCE_END: Final = re.compile(
    r"(?<=[.!?…])(?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bMrs\.)(?<!\bSt\.)(?<!\be\.g\.)(?<!\bi\.e\.)"
    r"[\"'”’)]*\s+(?=[^a-z\s])|[\r\n]+|(?<=[。！？])"
)
_OPENING: Final = re.compile(
    r"(?i)^(?:[-*•>#]+\s*)?(?:(?:oh|ah|ok(?:ay)?|well|so|and|but|also|right|yes|yeah|no|thanks|hi|hello"
    r"|hey|anyway|actually|btw|fyi|by the way|just so you know|for what it's worth|quick note|ps|p\.s\."
    r"|before i forget|one more thing|while i(?:'m| am) at it|i (?:think|guess|mean)|you know)"
    r"(?:\s*[,:;.!–—-]+\s*|\s+(?=and\b)))+"
)


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in _SENTENCE_END.split(text)]


def _shortened(sentence: str, words: int = _LINE_WORDS) -> str:
    """Return a sentence on one line without its opening phrases, cut if it is long."""
    flat = " ".join(sentence.split())
    told = _OPENING.sub("", flat) or flat
    parts = told.split(" ")
    if len(parts) > words:
        told = " ".join(parts[:words]) + " …"
    return told if len(told) <= _LINE_CHARACTERS else told[:_LINE_CHARACTERS] + "…"


# ---- writing -------------------------------------------------------------------------------------


def _fitted(lines: _Lines, max_tokens: int, count: Count) -> str | None:
    """Fill the budget with the best lines; the last exchange is left out first, then the goal."""
    best = lines.best()
    last = {role: said for role, said in lines.last.items() if said}
    if not best and not lines.goal and not last:
        return None
    for goal, exchange in ((lines.goal, last), (lines.goal, {}), ("", {})):
        frame = count(_text(goal, [], exchange))
        if frame > max_tokens:
            continue
        kept = _chosen(best, max_tokens - frame, count)
        while True:
            text = _text(goal, lines.in_order(kept), exchange)
            if count(text) <= max_tokens:
                break
            kept.pop()
        if kept or goal or exchange:
            return text
    return None


def _chosen(best: Sequence[_Line], room: int, count: Count) -> list[_Line]:
    kept: list[_Line] = []
    sections: set[str] = set()
    for line in best:
        cost = count(f"- {line.text}\n")
        if line.section not in sections:
            cost += count(f"{line.section}\n")
        if cost <= room:
            kept.append(line)
            sections.add(line.section)
            room -= cost
    return kept


def _text(goal: str, facts: Sequence[_Line], last: dict[str, str]) -> str:
    sections = [(_GOAL, [goal] if goal else [])]
    sections += [
        (name, [line.text for line in facts if line.section == name])
        for name in (_DECIDED, *_TOLD.values())
    ]
    sections.append((_LAST, [f"{role}: {said}" for role, said in last.items()]))
    written = ([name, *(f"- {line}" for line in body)] for name, body in sections if body)
    return "\n".join([HEADING, *chain.from_iterable(written)])
