"""Patterns with names: ``preset:email`` stands for what an e-mail address looks like.

An expression finds candidates; where it cannot tell (a card number has a check digit), a check says how
much of a candidate is real. Source of the list: specs/memory.md §7. The shapes of keys are those their
vendors document.
"""

import re
from collections.abc import Callable, Mapping
from socket import AF_INET6, inet_pton
from typing import Final

import msgspec

PREFIX: Final = "preset:"

Check = Callable[[bytes, int, int], int]
"""``(text, start, stop)`` of a candidate -> where the real one in it ends; ``start`` if it is none."""


class Part(msgspec.Struct, frozen=True):
    """One expression of a preset.

    Attributes:
        expression: RE2; with a ``check`` its matches begin with an ASCII character.
        check: None takes every match.
        again: after a refused candidate look again one character on, else behind it. Only for
            expressions whose matches are short: it costs the candidate's length each time.
    """

    expression: str
    check: Check | None = None
    again: bool = True


def named(pattern: str) -> str | None:
    """Return the preset's name that a pattern says, known or not; None if it is an expression."""
    return pattern.removeprefix(PREFIX).strip() if pattern.startswith(PREFIX) else None


# ---- checks --------------------------------------------------------------------------------------


_DIGIT: Final = re.compile(rb"\d")
_LETTER: Final = re.compile(rb"[A-Za-z]")
_LAST_GROUP: Final = re.compile(rb"[ .-]\d+$")
_GOES_ON: Final = re.compile(rb"[\w:]|\.\d")
_BASE36: Final = {ord(letter): str(int(letter, 36)) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_MARKS: Final = b" -.()/+"
_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")  # cast-out nines: 5 -> 10 -> 1


def _digits(text: bytes) -> bytes:
    return text.translate(None, _MARKS)


def _luhn(digits: bytes) -> bool:
    total = sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_DOUBLED))
    return (total - 48 * len(digits)) % 10 == 0


def _is_card(digits: bytes) -> bool:
    """13-19 digits with a right check digit whose first ones belong to an issuer of cards."""
    issued = digits[0] in b"3456" or b"2221" <= digits[:4] <= b"2720"
    return issued and 13 <= len(digits) <= 19 and _luhn(digits)


def _card(text: bytes, start: int, stop: int) -> int:
    """The candidate, or it without its last group: an expiry date or code may follow a number."""
    candidate = text[start:stop]
    while candidate:
        if _is_card(_digits(candidate)):
            return start + len(candidate)
        last = _LAST_GROUP.search(candidate)
        candidate = candidate[: last.start()] if last else b""
    return start


def _phone(text: bytes, start: int, stop: int) -> int:
    return stop if 8 <= len(_digits(text[start:stop])) <= 15 else start


def _ipv6(text: bytes, start: int, stop: int) -> int:
    """An address that stands alone and has a digit: ``std::array`` and ``12:30:45`` are none."""
    if _GOES_ON.fullmatch(text[start - 1 : start]) or _GOES_ON.match(text, stop):
        return start
    candidate = text[start:stop]
    if not _DIGIT.search(candidate):
        return start
    try:
        inet_pton(AF_INET6, candidate.decode())
    except OSError:
        return start
    return stop


def _long_token(text: bytes, start: int, stop: int) -> int:
    """A word or a line of dashes is no token: it has letters and digits."""
    token = text[start:stop]
    return stop if _DIGIT.search(token) and _LETTER.search(token) else start


def _bearer(text: bytes, start: int, stop: int) -> int:
    """What follows the word: with a digit or 20 characters it is no plain English."""
    token = text[start:stop].split()[-1]
    return stop if _DIGIT.search(token) or len(token) >= 20 else start


def _is_iban(account: str) -> bool:
    return (
        15 <= len(account) <= 34 and int((account[4:] + account[:4]).translate(_BASE36)) % 97 == 1
    )


def _iban(text: bytes, start: int, stop: int) -> int:
    """The candidate, or it without its last groups: words in capitals may follow."""
    candidate = text[start:stop].decode()
    while candidate:
        if _is_iban(candidate.replace(" ", "")):
            return start + len(candidate)
        candidate = candidate.rpartition(" ")[0]
    return start


def _routing(text: bytes, start: int, stop: int) -> int:
    """The check digit of the American Bankers Association: weights 3, 7, 1."""
    digits = [byte - 48 for byte in text[start:stop]]
    total = sum(digit * weight for digit, weight in zip(digits, (3, 7, 1) * 3, strict=True))
    return stop if total and total % 10 == 0 else start


# ---- the presets ---------------------------------------------------------------------------------

_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_LETTERS = r"\p{Latin}\p{Greek}\p{Cyrillic}\p{N}"

_KEYS = "|".join(
    (
        r"\bsk-[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic, DeepSeek
        r"\b[sprw]k_(?:live|test)_[A-Za-z0-9]{10,}",  # Stripe
        r"\bgh[pousr]_[A-Za-z0-9]{36,}",  # GitHub
        r"\bgithub_pat_[A-Za-z0-9_]{22,}",
        r"\bglpat-[A-Za-z0-9_-]{20,}",  # GitLab
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",  # AWS
        r"\bAIza[A-Za-z0-9_-]{35}",  # Google
        r"\bya29\.[A-Za-z0-9_-]{20,}",
        r"\bxox[a-z]-[A-Za-z0-9-]{10,}",  # Slack
        r"\bxapp-[A-Za-z0-9-]{10,}",
        r"\b(?:AC|SK)[0-9a-f]{32}\b",  # Twilio
        r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",  # SendGrid
        r"\bhf_[A-Za-z0-9]{30,}",  # Hugging Face
        r"\bnpm_[A-Za-z0-9]{36}",
        r"\bpypi-[A-Za-z0-9_-]{16,}",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+",  # JSON web tokens
        r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[A-Za-z0-9+/=\s\\]*"
        r"(?:-----END (?:[A-Z]+ )*PRIVATE KEY-----)?",
    )
)

PRESETS: Final[Mapping[str, tuple[Part, ...]]] = {
    "email": (Part(rf"[{_LETTERS}._%+'-]+@(?:[{_LETTERS}-]+\.)+[\p{{L}}][{_LETTERS}-]+"),),
    "card": (
        Part(
            r"\b(?:\d{13,19}|\d{4}(?:[ .-]\d{4}){2}[ .-]\d{1,4}(?:[ .-]\d{1,3})?"
            r"|\d{4}[ .-]\d{6}[ .-]\d{4,5})\b",
            _card,
        ),
    ),
    "phone": (
        Part(r"(?:\+|\b00)[1-9]\d{0,2}(?:[ ./-]{0,2}\(?\d{1,5}\)?){2,7}", _phone),
        Part(r"(?:\([2-9]\d{2}\) ?|\b[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}\b"),
    ),
    "ssn": (Part(r"\b\d{3}[- ]\d{2}[- ]\d{4}\b"),),
    "ip": (
        Part(
            r"(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}\b)?(?:(?:\.\d{1,3}){3})?",
            _ipv6,
            again=False,
        ),
        Part(rf"\b(?:{_OCTET}\.){{3}}{_OCTET}\b"),
    ),
    "api_key": (Part(_KEYS), Part(r"\b[A-Za-z0-9_-]{40,}", _long_token, again=False)),
    "bearer": (
        Part(r"(?i)\bbearer\s+[A-Za-z0-9._~+/-]{8,}=*", _bearer),
        Part(r"(?i)\bauthorization[\"']?\s*[:=]\s*[\"']?(?:basic|token|apikey)\s+[^\s\"',;]{8,}"),
    ),
    "iban": (Part(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", _iban),),
    "routing": (Part(r"\b\d{2}-\d{7}\b"), Part(r"\b[0-3678]\d{8}\b", _routing)),
    "uuid": (Part(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"),),
    "case_id": (Part(r"\b[A-Z]{2,3}-\d{4,6}\b"),),
}
"""Every preset by its name, in the order in which the documentation shows them."""


def parts_of(pattern: str) -> tuple[Part, ...]:
    """Return what a checked pattern looks for."""
    name = named(pattern)
    return (Part(pattern),) if name is None else PRESETS[name]
