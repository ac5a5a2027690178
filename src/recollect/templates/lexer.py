"""Template text -> tokens: the text between actions, and the words inside them.

Beyond Go: strings in single quotes, hyphens inside path segments (``.my-task.output``), segments of
digits (``.items.0``). A token that follows another without a space is ``glued`` to it.
"""

import math
import re
from typing import Literal

import msgspec

from recollect.errors import TemplateSyntaxError
from recollect.templates.rendering import located

Kind = Literal["text", "begin", "end", "value", "field", "variable", "word", "mark"]


class Token(msgspec.Struct, frozen=True):
    """``value`` is the text, the name, the mark, or for kind ``value`` the literal itself."""

    kind: Kind
    value: str | int | float
    at: int
    glued: bool = False


def lex(template: str) -> list[Token]:
    """Split a template into tokens; the comments are gone and the trim markers applied.

    Raises:
        TemplateSyntaxError: an action or a string does not end, or a character fits nowhere.
    """
    tokens: list[Token] = []
    at, trim = 0, False
    while True:
        begin = template.find("{{", at)
        text = template[at:] if begin < 0 else template[at:begin]
        if trim:
            text = text.lstrip(_SPACE)
        inside = begin + 2
        if begin >= 0 and _TRIM_LEFT.match(template, inside):
            text, inside = text.rstrip(_SPACE), inside + 1
        if text:
            tokens.append(Token("text", text, at))
        if begin < 0:
            return tokens
        if comment := _COMMENT.match(template, inside):
            at, trim = _after_comment(template, begin, comment.end())
            continue
        tokens.append(Token("begin", "{{", begin))
        at, trim = _lex_action(template, begin, inside, tokens)


_SPACE = " \t\r\n"
_TRIM_LEFT = re.compile(r"-[ \t\r\n]")
_COMMENT = re.compile(r"\s*/\*")
_END = re.compile(r"(?:(?<=\s)(-))?}}")
_SEGMENT = re.compile(r"\.\w+(?:-+\w+)*")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<raw>`[^`]*`)
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+
        |(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)(?!\w))
    |(?P<field>\.\w+(?:-+\w+)*)
    |(?P<variable>\$\w*)
    |(?P<word>[^\W\d]\w*)
    |(?P<mark>:=|[=!<>]=|&&|\|\||[.()|,=\[\]?:+\-*/%<>!])""",
    re.VERBOSE,
)
_CHAINABLE = frozenset({"field", "variable", "word"})


def _after_comment(template: str, begin: int, inside: int) -> tuple[int, bool]:
    stop = template.find("*/", inside)
    if stop < 0:
        raise located(TemplateSyntaxError, template, begin, "the comment is not closed: */ }}")
    at = stop + 2
    while at < len(template) and template[at].isspace():
        at += 1
    end = _END.match(template, at)
    if not end:
        raise located(TemplateSyntaxError, template, begin, "a comment stands alone in its {{ }}")
    return end.end(), end[1] is not None


def _lex_action(template: str, begin: int, at: int, tokens: list[Token]) -> tuple[int, bool]:
    glued = False
    while at < len(template):
        if end := _END.match(template, at):
            tokens.append(Token("end", "}}", at))
            return end.end(), end[1] is not None
        if template[at] == "." and glued and _is_chainable(tokens[-1]):
            found = _SEGMENT.match(template, at) or _TOKEN.match(template, at)
        else:
            found = _TOKEN.match(template, at)
        if not found:
            raise located(TemplateSyntaxError, template, at, _why_unreadable(template, at))
        kind = found.lastgroup or "field"
        if kind != "space":
            tokens.append(_token(kind, found[0], template, at, glued=glued))
        glued = kind != "space"
        at = found.end()
    raise located(TemplateSyntaxError, template, begin, "the action is not closed: }} is missing")


def _is_chainable(token: Token) -> bool:
    return token.kind in _CHAINABLE or (token.kind == "mark" and token.value in {")", "]"})


def _why_unreadable(template: str, at: int) -> str:
    character = template[at]
    if character in "\"'`":
        return f"the string is not closed: {character} is missing"
    if character.isdigit():
        return "this is not a number"
    return f"unexpected character {character!r}"


def _token(kind: str, text: str, template: str, at: int, *, glued: bool) -> Token:
    match kind:
        case "string":
            return Token("value", _unquoted(text[1:-1], template, at), at, glued)
        case "raw":
            return Token("value", text[1:-1].replace("\r", ""), at, glued)
        case "number":
            return Token("value", _number(text.replace("_", ""), template, at), at, glued)
        case "field":
            return Token("field", text[1:], at, glued)
        case "variable":
            return Token("variable", text, at, glued)
        case "word":
            return Token("word", text, at, glued)
        case _:
            return Token("mark", text, at, glued)


_ESCAPE = re.compile(
    r"\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{3})|([abfnrtv\\'\"])|.)"
)
_OCTAL = re.compile(r"([+-]?)0([0-7]+)")
_REAL = re.compile(r"[+-]?[0-9.]*[.eE].*")
_SIMPLE_ESCAPES = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))


def _unquoted(text: str, template: str, at: int) -> str:
    def character(escape: re.Match[str]) -> str:
        if simple := escape[5]:
            return _SIMPLE_ESCAPES[simple]
        digits = escape[1] or escape[2] or escape[3]
        code = int(digits, 16) if digits else int(escape[4], 8) if escape[4] else -1
        if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise located(
                TemplateSyntaxError, template, at, f"{escape[0]} is no escape: a backslash is \\\\"
            )
        return chr(code)

    return _ESCAPE.sub(character, text) if "\\" in text else text


def _number(text: str, template: str, at: int) -> int | float:
    octal = _OCTAL.fullmatch(text)
    try:
        if _REAL.fullmatch(text):
            number: int | float = float(text)
        else:
            number = int(f"{octal[1]}0o{octal[2]}" if octal else text, 0)
    except ValueError:
        raise located(TemplateSyntaxError, template, at, "this is not a number") from None
    if (isinstance(number, int) and not -(2**63) <= number < 2**63) or abs(number) == math.inf:
        raise located(TemplateSyntaxError, template, at, "the number is too large")
    return number
