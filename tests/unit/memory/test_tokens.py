"""Exact where it can be, named an estimate where it cannot, and never over the network."""

import gzip
import hashlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import recollect
from recollect.errors import ConfigError, MissingExtra
from recollect.memory.counting.estimates import ESTIMATORS
from recollect.memory.counting.tokens import (
    MEDIA_TOKENS,
    MESSAGE_OVERHEAD_TOKENS,
    Counter,
    counter_for,
    message_tokens,
)
from recollect.memory.sections import TokenProvider
from recollect.messages import Attachment, ContentPart, Message, ToolCall, ToolCallFunction

CL100K, O200K = counter_for(None, "cl100k_base"), counter_for(None, "o200k_base")

# text, tokens as cl100k_base, as o200k_base: made once with tiktoken 0.14.0 from its own definitions
GOLDEN = [
    ("", 0, 0),
    ("hello world", 2, 2),
    ("Contact jane.doe@example.com now", 7, 7),
    ("The quick brown fox jumps over the lazy dog.", 10, 10),
    ("I'll say it's YOURS, they've said we'RE done", 14, 12),
    ("你好，世界！今天天气怎么样？", 17, 9),
    ("日本語のテキストを数えます。", 13, 11),
    ("안녕하세요 세계", 9, 3),
    ("مرحبا بالعالم", 10, 4),
    ("Привет, мир! Как дела?", 12, 8),
    ("नमस्ते दुनिया", 13, 5),
    (
        "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family "
        "\U0001f389\U0001f389 \U0001f1e9\U0001f1ea",
        31,
        20,
    ),
    ("naïve café é", 6, 6),
    ("1234567890 3.14159 0x1F", 14, 14),
    ("def f(x):\n    return x ** 2  # square\n", 14, 14),
    ('{"city": "Paris", "days": [1, 2, 3], "ok": true}', 23, 23),
    ("line\r\nline\n\n\n\tindented  two  spaces   ", 12, 12),
    ("<|endoftext|>", 7, 7),
    ("a\x00b\x07\u200b\ufeff", 6, 6),
    ("SELECT * FROM users WHERE id = 'x'; --", 11, 11),
    ("https://example.com/a/b?c=d&e=%20f#g", 14, 14),
    (
        "abababababababababababababababababababababababababababababababababababababababababababababababababab",
        50,
        25,
    ),
    ("                                                                                 ", 1, 2),
    ("\U0010ffff\ue000", 7, 6),
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tiktoken.Encoding]:
    """The encodings as tiktoken itself defines them; it checks the ranks against its own sums."""
    cache = tmp_path_factory.mktemp("tiktoken")
    source = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
    names = ("cl100k_base", "o200k_base")
    for name in names:
        data = (
            files("recollect.memory.counting").joinpath("ranks", f"{name}.tiktoken.gz").read_bytes()
        )
        address = hashlib.sha1(source.format(name).encode()).hexdigest()
        (cache / address).write_bytes(gzip.decompress(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        return {name: tiktoken.get_encoding(name) for name in names}


# ---- exact ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "cl100k", "o200k"), GOLDEN)
def test_counts_the_tokens_that_openai_counts(text: str, cl100k: int, o200k: int) -> None:
    assert (CL100K.count(text), O200K.count(text)) == (cl100k, o200k)


@given(st.text() | st.text(st.sampled_from("aA1é字😀 \n\t'!/\u0301s\xa0")))
def test_counts_any_text_as_tiktokens_own_definitions_do(
    reference: dict[str, tiktoken.Encoding], text: str
) -> None:
    assert CL100K.count(text) == len(reference["cl100k_base"].encode_ordinary(text))
    assert O200K.count(text) == len(reference["o200k_base"].encode_ordinary(text))


def test_special_tokens_in_a_text_are_plain_text() -> None:
    assert CL100K.count("<|endoftext|>") == 7
    assert O200K.count("<|endoftext|>") == 7


@given(st.text(max_size=200))
def test_a_text_has_at_most_as_many_tokens_as_bytes_and_at_least_one(text: str) -> None:
    for counter in (CL100K, O200K, counter_for("anthropic", "claude")):
        tokens = counter.count(text)
        assert tokens <= len(text.encode())
        assert (tokens == 0) == (text == "")


@pytest.mark.parametrize("unit", ["a", " ", "\n"])
def test_a_mebibyte_of_one_character_is_counted(unit: str) -> None:
    text = unit * (2**20 // len(unit.encode()))
    for counter in (CL100K, O200K):
        assert 0 < counter.count(text) <= len(text.encode())


WORDS = [
    "hello",
    " world",
    "字漢",
    "語を書く",
    "😀",
    "👩‍👩‍👧",
    "é",
    "\u0301",
    "\n",
    "  ",
    "12345",
    "<|endoftext|>",
]


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=5), min_size=1, max_size=12))
def test_long_texts_with_emoji_and_chinese_are_counted_as_tiktoken_does(
    reference: dict[str, tiktoken.Encoding], parts: list[str]
) -> None:
    """Row 19 of memory.md §13, beyond the length from which no list of tokens is made."""
    text = "".join(parts)
    text *= 4_001 // len(text) + 1 if text else 1
    for counter, name in ((CL100K, "cl100k_base"), (O200K, "o200k_base")):
        assert counter.count(text) == len(reference[name].encode_ordinary(text))


# Around 100,000 blanks the counter leaves tiktoken's pattern, which breaks at a million of them.
@pytest.mark.parametrize("before", ["", "word", "!\n", " \n", "x\x1c"])
@pytest.mark.parametrize("after", ["", "word", "!", "\nword", "\x1cx"])
@pytest.mark.parametrize("blanks", [" " * 100_059, " \t\xa0\u3000" * 25_001])
def test_long_runs_of_blanks_are_counted_as_exactly_as_short_ones(
    reference: dict[str, tiktoken.Encoding], before: str, after: str, blanks: str
) -> None:
    text = before + blanks + after
    assert CL100K.count(text) == len(reference["cl100k_base"].encode_ordinary(text))
    assert O200K.count(text) == len(reference["o200k_base"].encode_ordinary(text))


def test_runs_that_are_too_long_for_tiktoken_are_counted() -> None:
    text = "word" + " " * 1_000_001 + "word"
    for counter in (CL100K, O200K):
        assert counter.count(text) > 1_000_001 // 512


def test_threads_that_count_at_the_same_time_agree() -> None:
    with ThreadPoolExecutor(8) as pool:
        counts = set(pool.map(lambda _: CL100K.count("hello world"), range(64)))
    assert counts == {2}


# ---- which counter -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "encoding"),
    [
        (None, None, "cl100k_base"),
        ("", "", "cl100k_base"),
        ("openai", None, "cl100k_base"),
        ("openai", "gpt-3.5-turbo", "cl100k_base"),
        ("OpenAI", " GPT-4 ", "cl100k_base"),
        ("openai", "gpt-4-0613", "cl100k_base"),
        ("openai", "text-embedding-3-small", "cl100k_base"),
        ("openai", "ft:gpt-3.5-turbo:acme::id", "cl100k_base"),
        ("azure", "gpt-35-turbo", "cl100k_base"),
        ("tiktoken", "cl100k_base", "cl100k_base"),
        ("openai", "gpt-4o", "o200k_base"),
        ("openai", "gpt-4o-mini", "o200k_base"),
        ("openai", "gpt-4.1-nano", "o200k_base"),
        ("openai", "gpt-5-mini", "o200k_base"),
        ("openai", "o1", "o200k_base"),
        ("openai", "o3-mini", "o200k_base"),
        ("openai", "o4-mini", "o200k_base"),
        ("openai", "chatgpt-4o-latest", "o200k_base"),
        ("openai", "gpt-oss-120b", "o200k_base"),
        ("openai", "not-known-yet", "o200k_base"),
        (None, "gpt-4o", "o200k_base"),
        (None, "gpt-4", "cl100k_base"),
        (None, "gpt-99", "o200k_base"),
    ],
)
def test_openai_models_are_counted_with_their_encoding(
    provider: str | None, model: str | None, encoding: str
) -> None:
    counter = counter_for(provider, model)
    assert counter.method == f"tiktoken:{encoding}"
    assert counter.count("hello world") == 2


@pytest.mark.parametrize(
    ("provider", "model", "estimate"),
    [
        ("google", "gemini-1.5-pro", "english"),
        ("googleai", None, "english"),
        ("cohere", "command-r", "english"),
        ("openai", "text-davinci-003", "english"),
        (None, "gemini-2.5-flash", "english"),
        (None, "llama-3.1-70b", "english"),
        ("anthropic", "claude-3-haiku", "conservative"),
        (None, "claude-3-haiku", "conservative"),
        ("deepseek", "v2", "conservative"),
        ("mistral", None, "conservative"),
        ("somebody", "gpt-4", "conservative"),
        ("openai", "estimate:chinese", "chinese"),
        ("anthropic", " Estimate:English ", "english"),
        (None, "estimate: unicode", "unicode"),
    ],
)
def test_other_vendors_are_estimated_and_the_method_says_so(
    provider: str | None, model: str | None, estimate: str
) -> None:
    counter = counter_for(provider, model)
    assert counter.method == f"estimate:{estimate}"
    assert counter.count is ESTIMATORS[estimate]


@pytest.mark.parametrize(
    ("estimate", "tokens"),  # of nothing, 1, 4 and 5 letters, 3 Chinese characters, one emoji
    [
        ("english", [0, 1, 1, 2, 3, 1]),
        ("unicode", [0, 1, 2, 3, 2, 1]),
        ("chinese", [0, 1, 3, 4, 2, 1]),
        ("conservative", [0, 1, 2, 2, 3, 2]),
    ],
)
def test_estimates_have_their_rates_and_round_up(estimate: str, tokens: list[int]) -> None:
    texts = ["", "a", "four", "five5", "字字字", "😀"]
    assert [ESTIMATORS[estimate](text) for text in texts] == tokens


def test_an_unknown_estimate_names_the_closest() -> None:
    with pytest.raises(ConfigError, match=r"no token estimate 'englich'. Did you mean 'english'"):
        counter_for("openai", "estimate:englich")
    with pytest.raises(ValidationError, match=r"Did you mean 'english'"):
        TokenProvider(model="estimate:englich")
    assert TokenProvider(model="estimate:english").model == "estimate:english"


@pytest.mark.parametrize("estimate", ESTIMATORS)
@given(left=st.text(), right=st.text())
def test_estimates_of_the_parts_cover_the_whole(estimate: str, left: str, right: str) -> None:
    count = ESTIMATORS[estimate]
    assert count(left) + count(right) >= count(left + right) >= max(count(left), count(right))


@given(st.text(), st.text())
def test_a_new_line_of_words_costs_what_its_parts_cost(left: str, right: str) -> None:
    left, right = f"{left}word", f"Word{right}"
    for counter in (CL100K, O200K):
        parts = counter.count(left) + counter.count("\n") + counter.count(right)
        assert counter.count(f"{left}\n{right}") == parts


# ---- loading --------------------------------------------------------------------------------------


def test_a_counting_knows_whether_it_has_to_load(tmp_path: Path) -> None:
    done = run(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(recollect.__file__).parent.parent)!r})\n"
        "from recollect.memory.counting.tokens import Counting\n"
        "one, two = Counting('openai', 'gpt-4'), Counting('openai', 'gpt-4')\n"
        "estimate = Counting('anthropic')\n"
        "print(one.is_loaded, estimate.is_loaded)\n"
        "print(one() is one(), one.is_loaded, estimate().count('a'), estimate.is_loaded)\n"
        "one().count('x')\n"
        "print(one.is_loaded, two.is_loaded, two().is_loaded, two.is_loaded)\n",
        tmp_path,
    )
    assert done.stdout.splitlines() == [
        "False False",
        "True False 1 True",
        "True False True True",
    ], done.stderr


# ---- messages ------------------------------------------------------------------------------------


def test_a_message_costs_its_content_only() -> None:
    message = Message("user", "hello world", message_id="long id " * 9, metadata={"long": "x " * 9})
    assert message_tokens(CL100K, message) == 2
    assert MESSAGE_OVERHEAD_TOKENS == 4


def test_text_parts_are_counted_as_they_are_joined() -> None:
    parts = (ContentPart("text", "hello"), ContentPart("text", "world"))
    assert message_tokens(CL100K, Message("user", parts)) == CL100K.count("hello world")


def test_media_cost_a_fixed_estimate() -> None:
    message = Message(
        "user",
        (ContentPart("text", "hello"), ContentPart("image_url", image_url={"url": "https://x.y"})),
        attachments=(Attachment("document", data="eA=="), Attachment("image", url="https://x.y")),
    )
    assert message_tokens(CL100K, message) == 1 + 3 * MEDIA_TOKENS


def test_names_and_arguments_of_tool_calls_are_counted() -> None:
    call = ToolCall("call_1", ToolCallFunction("get_weather", '{"city": "Paris"}'))
    expected = 2 * (CL100K.count("get_weather") + CL100K.count('{"city": "Paris"}'))
    assert expected > 0
    assert message_tokens(CL100K, Message("assistant", tool_calls=(call, call))) == expected


def test_any_way_to_count_will_do() -> None:
    words = Counter(method="words", count=lambda text: len(text.split()))
    assert message_tokens(words, Message("user", "three short words")) == 3


# ---- the ranks -----------------------------------------------------------------------------------


def run(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(home), "HOME": str(home), "TMPDIR": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the installed package whose files may be broken."""
    source = Path(recollect.__file__).parent
    shutil.copytree(source, tmp_path / "recollect", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


DAMAGE = [b"", b"no gzip", gzip.compress(b"IQ== 0\n"), None]


@pytest.mark.parametrize("content", DAMAGE, ids=["empty", "text", "other", "missing"])
def test_damaged_ranks_are_refused_with_the_way_out(copy: Path, content: bytes | None) -> None:
    file = copy / "recollect/memory/counting/ranks/cl100k_base.tiktoken.gz"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    done = run(
        "from recollect.errors import ConfigError\n"
        "from recollect.memory.counting.tokens import counter_for\n"
        "try: counter_for('openai', 'gpt-4').count('x')\n"
        "except ConfigError as error: print(error)\n",
        copy,
    )
    assert str(file) in done.stdout, done.stderr
    assert "reinstall recollect" in done.stdout


def test_ranks_cut_short_are_refused(copy: Path) -> None:
    file = copy / "recollect/memory/counting/ranks/o200k_base.tiktoken.gz"
    file.write_bytes(file.read_bytes()[:-1000])
    done = run(
        "from recollect.memory.counting.tokens import *; counter_for('', 'gpt-4o').count('x')", copy
    )
    assert "ConfigError" in done.stderr
    assert "reinstall recollect" in done.stderr


def test_counting_neither_opens_a_socket_nor_writes_a_file(tmp_path: Path) -> None:
    source = Path(recollect.__file__).parent.parent
    done = run(
        "import sys\n"
        f"sys.path.insert(0, {str(source)!r})\n"
        "sys.dont_write_bytecode = True\n"
        "def audit(event, args):\n"
        "    if event.startswith('socket.'): raise SystemExit('network: ' + event)\n"
        "    if event == 'open' and 'w' in str(args[1]): raise SystemExit('writes: ' + args[0])\n"
        "sys.addaudithook(audit)\n"
        "from recollect.memory.counting.tokens import counter_for\n"
        "print(*(counter_for('openai', m).count('hello world') for m in ('gpt-4', 'gpt-4o')))\n",
        tmp_path,
    )
    assert (done.stdout, done.stderr) == ("2 2\n", "")
    assert list(tmp_path.iterdir()) == []


def test_importing_and_choosing_a_counter_reads_no_ranks(tmp_path: Path) -> None:
    source = Path(recollect.__file__).parent.parent
    done = run(
        "import sys\n"
        f"sys.path.insert(0, {str(source)!r})\n"
        "import recollect.memory.counting.tokens as tokens\n"
        "print('tiktoken' in sys.modules)\n"
        "sys.addaudithook(lambda event, args: print(args[0]) if '.gz' in str(args[:1]) else None)\n"
        "tokens.counter_for('openai', 'gpt-4')\n",
        tmp_path,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_missing_tiktoken_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken.model", None)
    with pytest.raises(MissingExtra, match=r"recollect\[workflows\]"):
        counter_for("openai", "gpt-4")
    assert counter_for("anthropic").count("four") == 2
