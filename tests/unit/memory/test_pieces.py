"""Texts with long runs are counted in linear time, and exactly as tiktoken counts them."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recollect.memory.counting import pieces
from recollect.memory.counting.tokens import _load, counter_for

NAMES = ("cl100k_base", "o200k_base")
for _name in NAMES:  # loaded before anything is timed
    counter_for(None, _name).count("x" * pieces.RUN)
SHORT = 70  # a run that is long enough to be shortened
CHARS = "aAbß字語กé\u0301̣1 \t\xa0\u3000\n\r!'/#😀\x1c\x85ǅʰ़क\u200dſ"

runs = st.builds(
    lambda kinds, length: (kinds * length)[:length],
    st.text(CHARS, min_size=1, max_size=3),
    st.integers(SHORT - 10, 3 * SHORT),
)
texts = st.lists(runs | st.text(CHARS, max_size=4) | st.sampled_from(["'s", "'LL"]), max_size=8)


@given(texts.map("".join))
@example("!\n" + "/" * 100 + "!" * 100)
@example("'" + "s" * 100 + "'" + "S" * 100 + "a")
@example("word" + " " * 100 + "\n" + "\t" * 100 + "word")
def test_shortening_runs_changes_no_count(text: str) -> None:
    for name in NAMES:
        encoding = _load(name)
        long = pieces.runs(name, text, SHORT)
        short = len(encoding.encode_ordinary(pieces.shortened(text, long)))
        whole = len(encoding.encode_ordinary(text))
        assert short + pieces.difference(encoding, text, long) == whole


WORDS = ["international", "extraordinary", "understanding", "notwithstanding", "字", "!", " ", "é"]


@given(
    st.lists(st.sampled_from(WORDS) | st.text(max_size=3), min_size=1, max_size=8).map("".join),
    st.integers(1, 30),
    st.integers(256, 512),  # at least twice the longest token (128 bytes); smaller ones may differ
)
def test_a_piece_in_chunks_has_the_tokens_of_the_piece(unit: str, times: int, chunk: int) -> None:
    piece = (unit * times).encode() or b"a"
    for name in NAMES:
        encoding = _load(name)
        assert pieces.piece_tokens(encoding, piece, chunk) == len(
            encoding._encode_single_piece(piece)
        )


@pytest.mark.parametrize("unit", ["x", " ", "\n", "字", "!", "word " * 20 + "é"])
def test_ten_times_the_text_takes_about_ten_times_as_long(unit: str) -> None:
    count = counter_for("openai", "gpt-4").count

    def seconds(size: int) -> float:
        text = unit * (size // len(unit.encode()))
        taken = []
        for _ in range(3):
            start = time.thread_time()
            count(text)
            taken.append(time.thread_time() - start)
        return min(taken)

    assert seconds(1_000_000) < 20 * seconds(100_000)  # 11-13; before, 19
