"""How telling a sentence is: what was said that lasts, and what it is about.

Guessed from shapes that work in many languages (names, codes, dates, sums, quotes; somebody who speaks
of what is theirs) and from English words. What a conversation repeats tells little each time.
"""

import re
from collections import Counter as Tally
from collections.abc import Iterable
from typing import Final

LEAST: Final = 1.0
"""A sentence that scores less is not worth keeping."""

_SHAPES: Final = (
    # codes, paths, addresses, names of machines and files
    (2.0, re.compile(r"(?<![\w/])(?:/[\w.-]+){2,}|\b[\w.+-]+@[\w-]+\.\w+|\bhttps?://\S+")),
    (
        2.0,
        re.compile(r"\b(?=[A-Za-z_-]*\d)(?=[\d_-]*[A-Za-z])\w+(?:-\w+)*\b|\b[\w-]+\.[a-z]{2,}\b"),
    ),
    # money, dates, exact and long numbers
    (2.0, re.compile(r"[$€£¥]\s?\d[\d.,]*|\b\d[\d.,]*\s?(?:[$€£¥]|EUR|USD|GBP)")),
    (
        2.0,
        re.compile(
            r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}\.\d{1,2}\.\d{2,4}\b|(?i:\b(?:january|february|march|april"
            r"|may|june|july|august|september|october|november|december)\s+\d{1,2}(?:st|nd|rd|th)?\b"
            r"|\b\d{1,2}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:january|february|march|april|may|june|july|august"
            r"|september|october|november|december)\b)"
        ),
    ),
    (1.5, re.compile(r"(?<![\w.,])\d+[.,]\d+(?:\.\d+)*(?![\w%])|(?<![\w.,])\d{4,}(?![\w%])")),
    (0.5, re.compile(r"(?<![\w.,])\d{1,3}(?![\w.,]*\d)")),
    # names: capital letters inside a sentence, or several in a row; what is quoted
    (2.0, re.compile(r"(?:(?:Dr|Mr|Mrs|Ms|Prof)\.\s)?\b[^\W\d_a-z]\w+(?:[\s-][^\W\d_a-z]\w+)+")),
    (2.0, re.compile(r"(?<=[\w,;:)] )(?!I\b)[^\W\d_a-z][\w'’]*\w")),
    (1.5, re.compile(r"[\"“„«`][^\"”“»`]{2,60}[\"”“»`]")),
)
_LASTING: Final = re.compile(
    r"(?i)\b(?:always|never|must|only|needs?|prefer\w*|hates?|loves?|likes?|allerg\w*|can't|cannot"
    r"|deadline|due|budget|called|names?|named|birthday|born|lives?|live|works? (?:for|at|as)|password"
    r"|address|moved|married|daughter|son|wife|husband|partner|sister|brother|mother|father|boss|owns?"
    r"|doctor|since)\b"
)
_URGED: Final = re.compile(
    r"(?i)\b(?:note that|keep in mind|important\w*|don't forget|do not forget|for the record|make sure"
    r"|crucial|essential|required|please note|remember (?:that|to|my|our|the|i|we))\b"
)
_DECISION: Final = re.compile(
    r"(?i)\b(?:decided|decision|agreed|settled on|let's (?:go with|use|take|stick)|we(?:'ll| will)"
    r" (?:use|go with|take)|going with|go with|chose|chosen|voted|approved|confirmed|signed off"
    r"|ruled out)\b"
)
_PASSING: Final = re.compile(
    r"(?i)\b(?:right now|just now|at the moment|for a (?:second|moment|minute|bit)|brb|one sec\w*"
    r"|hang on|hold on|a minute ago|earlier today|this morning|tonight|thanks?|thank you|sorry"
    r"|i think|i guess|maybe|perhaps)\b"
)
_OWN: Final = re.compile(
    r"(?i)\b(?:my|mine|our|ours|i'm|i am|i've|we're|we are|we've|i|we|me|us)\b"
)
_ASKING: Final = re.compile(
    r"(?i)^(?:please\s+)?(?:tell|write|explain|give|show|sort|list|make|find|help|translate|summari[sz]e"
    r"|check|compare|draft|suggest|describe|create|fix|convert|look|try|can|could|would|what|how|why)\b"
)


class Telling:
    """How telling sentences are in one conversation: what is said often tells little."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._heard = Tally(word for text in texts for word in set(_words(text)))

    def score(self, role: str, sentence: str) -> float:
        """Return how much a sentence tells that lasts; ``LEAST`` and more is worth keeping."""
        shapes = sorted(self._shapes(sentence), reverse=True)[:3]
        firm = bool(shapes) and shapes[0] >= 1
        asks = sentence.rstrip().endswith(("?", "？")) or _ASKING.search(sentence) is not None
        score = sum(shapes)
        score += 1.5 if _LASTING.search(sentence) else 0.0
        score += 2.5 if _URGED.search(sentence) else 0.0
        score += 2.0 if is_decision(sentence) else 0.0
        score += 1.0 if role == "user" and _OWN.search(sentence) else 0.0
        score -= (0.5 if firm else 2.5) if asks else 0.0
        score -= (0.5 if firm else 2.5) if role != "user" else 0.0
        score -= 2.0 if _PASSING.search(sentence) else 0.0
        return score - len(sentence.split()) / 25

    def _shapes(self, sentence: str) -> Iterable[float]:
        seen: set[str] = set()
        for weight, shape in _SHAPES:
            for found in shape.findall(sentence):
                new = [word for word in _words(found) if word not in seen]
                if new:
                    seen.update(new)
                    yield weight / min(max(self._heard[word], 1) for word in new)


def is_decision(sentence: str) -> bool:
    """Tell whether a sentence says what was decided."""
    return _DECISION.search(sentence) is not None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


_COPULA: Final = re.compile(
    r"(?i)^((?:my|our|the|her|his|their)\s+(?:[\w'’-]+\s+){0,5}?[\w'’-]+)\s+(?:is|are|was|were|will be"
    r"|has moved to|moved to|changed to|became)\b"
)


def subject_of(text: str) -> str:
    """Return what a sentence is about: "my budget is 700" replaces "my budget is 500"."""
    subject = _COPULA.match(text)
    about = subject[1] if subject else re.sub(r"\b\d+\b", "0", text)
    return " ".join(_words(about)) or text
