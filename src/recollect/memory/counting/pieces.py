"""Counting the tokens of texts with very long runs of one kind of character.

An encoding cuts a text into pieces by a pattern, and each piece into tokens. The pattern's engine fails
at a run of a million blanks, and a piece costs more than its length: a megabyte of one letter takes half
a second. So runs are shortened, which leaves all pieces but theirs as they are, and the long pieces are
counted in chunks. The count is exact.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from tiktoken import Encoding

RUN: Final = 5_000
"""Characters from which a run is long."""

CHUNK: Final = 4_096  # bytes counted at once
_KEPT: Final = 64  # characters that stay of a run, half of them at each end
_LOOK: Final = 64  # characters that are looked at where a run may be

# Characters of a run between which the encoding's pattern never cuts, whatever stands around the run.
_ANYWHERE: Final = (r"[[\p{P}\p{S}]--[/]]", "/", r"[\r\n]", r"[\p{White_Space}--[\r\n]]")
_KINDS: Final = {
    "cl100k_base": (r"\p{L}", *_ANYWHERE),
    "o200k_base": (r"\p{Ll}", r"\p{Lu}", r"[\p{Lo}]", *_ANYWHERE),
}


class _Run(NamedTuple):
    """A long run: where it is in the text, and where what is left of it is in the shortened one."""

    start: int
    stop: int
    short: int

    @property
    def cut(self) -> int:
        """How many characters were taken out of it."""
        return self.stop - self.start - _KEPT


@cache
def _of_one_kind(encoding: str, least: int) -> Any:
    import regex  # type: ignore[import-untyped]  # noqa: PLC0415 - part of tiktoken

    kinds = (f"{kind}{{{least},}}+" for kind in _KINDS[encoding])
    return regex.compile(f"(?V1){'|'.join(kinds)}")


@cache
def _as_tiktoken_reads(pattern: str) -> Any:
    """Return an encoding's pattern; white space is Unicode's, without the separators of ASCII."""
    import regex  # noqa: PLC0415 - see above

    blank = pattern.replace(r"\s", r"\p{White_Space}").replace(r"\S", r"\P{White_Space}")
    return regex.compile(blank)


def runs(encoding: str, text: str, least: int = RUN) -> list[_Run]:
    """Return the long runs of a text, in order.

    A run of ``least`` characters or more holds the whole of some step of half as many, so the text is
    only looked at where steps begin.
    """
    step = least // 2
    begins = _of_one_kind(encoding, min(step, _LOOK))
    long = _of_one_kind(encoding, least)
    found: list[_Run] = []
    removed = end = 0
    for position in range(0, len(text), step):
        if position < end or not begins.match(text, position, position + _LOOK):
            continue
        match = long.search(text, max(end, position - step), position + least)
        if match is None:
            continue
        whole = long.match(text, match.start())
        end = whole.end()
        run = _Run(match.start(), end, match.start() - removed)
        found.append(run)
        removed += run.cut
    return found


def shortened(text: str, long: list[_Run]) -> str:
    """Return the text with the middle of each run taken out."""
    parts: list[str] = []
    end = 0
    for run in long:
        parts.append(text[end : run.start + _KEPT // 2])
        end = run.stop - _KEPT // 2
    return "".join((*parts, text[end:]))


def difference(encoding: "Encoding", text: str, long: list[_Run]) -> int:
    """Return how many tokens a text has more than its shortened form."""
    pattern = _as_tiktoken_reads(encoding._pat_str)
    short = shortened(text, long)
    more = 0
    for start, stop, within in _pieces_with_runs(pattern, short, long):
        first, last = within[0], within[-1]
        before, after = first.short - start, stop - (last.short + _KEPT)
        whole = text[first.start - before : last.stop + after]
        more += piece_tokens(encoding, whole.encode())
        more -= len(encoding._encode_single_piece(short[start:stop]))
    return more


def _pieces_with_runs(
    pattern: Any, short: str, long: list[_Run]
) -> Iterator[tuple[int, int, list[_Run]]]:
    """Yield the pieces that hold the middle of a run, where they are, and their runs."""
    waiting = list(reversed(long))
    for piece in pattern.finditer(short):
        start, stop = piece.span()
        within: list[_Run] = []
        while waiting and waiting[-1].short + _KEPT // 2 < stop:
            within.append(waiting.pop())
        if within:
            yield start, stop, within
        if not waiting:
            return


def piece_tokens(encoding: "Encoding", piece: bytes, chunk: int = CHUNK) -> int:
    """Return how many tokens one piece has, in time linear in its length.

    Tokens of a chunk are kept up to one that goes with the first token of the next chunk: a sequence of
    tokens is the encoding of its bytes if each two neighbours are the encoding of theirs. (Antwerpen and
    Neubeck, "So many tokens, so little time", GitHub 2024.)
    """
    encode, spell = encoding._encode_single_piece, encoding.decode_single_token_bytes
    count = start = 0
    tokens = encode(piece[:chunk])
    while start + chunk < len(piece):
        end = start + sum(len(spell(token)) for token in tokens)
        for kept in range(len(tokens) - 1, 0, -1):
            end -= len(spell(tokens[kept]))
            following = encode(piece[end : end + chunk])
            pair = [tokens[kept - 1], following[0]]
            if encode(spell(pair[0]) + spell(pair[1])) == pair:
                break
        else:  # no two tokens of a chunk stand beside each other: it is all one
            return count + len(encode(piece[start:]))
        count += kept
        start, tokens = end, following
    return count + len(tokens)
