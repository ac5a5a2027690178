import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
    with_config,
)
from typing_extensions import TypedDict

from recollect.errors import ConfigError
from recollect.project.yaml_file import Document, parse, read, read_text, validate

BLOCKS = Path(__file__).parent / "seed_blocks"


def value_of(text: str) -> Any:
    return parse(text, file="a.yaml").value


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, file="a.yaml")
    return str(caught.value)


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Root may read and write everything, so these tests step down while they look."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder any user may enter: pytest's own belong to one user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("TRUE", True),
        ("False", False),
        ("tRue", "tRue"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("OFF", "OFF"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-12", -12),
        ("+5", 5),
        ("0", 0),
        ("0123", "0123"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("190:20:30", "190:20:30"),
        ("1.0", 1.0),
        ("1.0.0", "1.0.0"),
        ("-.5", -0.5),
        ("1e3", 1000.0),
        ("01.5", "01.5"),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("2024-01-02", "2024-01-02"),
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        ("24h", "24h"),
        ('"12"', "12"),
        ("'true'", "true"),
        ("=", "="),
        ("9" * 5000, "9" * 5000),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!float 1", 1.0),
        ('!!int "12"', 12),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says_or_stays_text(written: str, meant: object) -> None:
    value = value_of(f"a: {written}")["a"]
    assert (value, type(value)) == (meant, type(meant))


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(value_of("a: .nan")["a"])


def test_an_on_key_stays_text() -> None:
    assert value_of("on: 1\nyes: 2") == {"on": 1, "yes": 2}


def test_a_byte_order_mark_is_accepted() -> None:
    assert value_of("\ufeffa: 1") == {"a": 1}


def test_a_merge_key_fills_in_what_the_map_does_not_say() -> None:
    value = value_of("base: &b {p: 1, q: 2}\nmine:\n  q: 3\n  <<: *b")
    assert value["mine"] == {"p": 1, "q": 3}


def test_of_several_merged_maps_the_first_wins() -> None:
    value = value_of("a: &a {p: 1}\nb: &b {p: 2, q: 2}\nc: {<<: [*a, *b]}")
    assert value["c"] == {"p": 1, "q": 2}


def test_a_quoted_merge_sign_is_an_ordinary_key() -> None:
    assert value_of('"<<": 1') == {"<<": 1}


def test_merging_something_else_than_a_map_is_refused() -> None:
    assert refusal("a:\n  <<: 3").startswith("a.yaml:2: `<<` takes a map")


def test_a_key_may_carry_an_anchor() -> None:
    assert value_of("&k name: x\nb: *k") == {"name": "x", "b": "name"}


@pytest.mark.parametrize("use", ["*a", "{<<: *a}"])
def test_changing_an_aliased_value_leaves_the_other_places_alone(use: str) -> None:
    value = value_of(f"a: &a {{list: [1]}}\nb: {use}")
    value["b"]["list"].append(2)
    assert value["a"] == {"list": [1]}


# --- positions ------------------------------------------------------------------------------------

PLACES = """\
# a comment
name: x
tasks:

    - id: a
      payload:
          role: user
          content: |
              one
              two
          tags: [p,
                 q]
    -
      id: b
"""
LINES = {
    (): 2,
    ("name",): 2,
    ("tasks",): 3,
    ("tasks", 0): 5,
    ("tasks", 0, "id"): 5,
    ("tasks", 0, "payload"): 6,
    ("tasks", 0, "payload", "role"): 7,
    ("tasks", 0, "payload", "content"): 8,
    ("tasks", 0, "payload", "tags"): 11,
    ("tasks", 0, "payload", "tags", 0): 11,
    ("tasks", 0, "payload", "tags", 1): 12,
    ("tasks", 1, "id"): 14,
}


@pytest.mark.parametrize(("path", "line"), LINES.items(), ids=str)
def test_every_value_knows_its_line(path: tuple[str | int, ...], line: int) -> None:
    assert parse(PLACES, file="a.yaml").line_of(path) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("nothing",), 2),
        (("tasks", 0, "payload", "nothing", "deeper"), 6),
        (("tasks", 9, "id"), 3),
        (("tasks", "0"), 3),
        (("name", 0), 2),
    ],
)
def test_a_path_that_leads_nowhere_has_the_line_of_its_nearest_parent(
    path: tuple[str | int, ...], line: int
) -> None:
    assert parse(PLACES, file="a.yaml").line_of(path) == line


def test_positions_are_the_same_without_the_c_library() -> None:
    script = (
        "import sys; sys.modules['yaml._yaml'] = None\n"
        "import yaml; assert not yaml.__with_libyaml__\n"
        "from recollect.project.yaml_file import parse\n"
        "text, paths = eval(sys.stdin.read())\n"
        "print([parse(text, file='a').line_of(path) for path in paths])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=repr((PLACES, list(LINES))),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(list(LINES.values()))


def test_what_an_alias_brings_stands_where_its_anchor_was_written() -> None:
    document = parse("a: &a\n  p: 1\nb: *a\nc:\n  <<: *a\n  q: 2\n", file="a.yaml")
    assert [document.line_of(path) for path in (["b"], ["b", "p"], ["c", "p"], ["c", "q"])] == [
        3,
        2,
        2,
        6,
    ]


def test_a_replaced_value_keeps_the_lines_of_the_file_and_leaves_the_original_alone() -> None:
    document = parse("tasks:\n  - id: a\n    task: memory\n", file="a.yaml")
    changed = document.replaced(["tasks", 0], {"id": "a", "type": "memory"})
    assert changed.value == {"tasks": [{"id": "a", "type": "memory"}]}
    assert document.value == {"tasks": [{"id": "a", "task": "memory"}]}
    assert changed.line_of(["tasks", 0, "id"]) == 2
    assert document.replaced([], 3).value == 3


# --- refusals -------------------------------------------------------------------------------------


def test_a_duplicate_key_names_both_lines() -> None:
    assert refusal("a: 1\nb: 2\na: 3") == (
        "a.yaml:3: 'a' is written twice, on line 1 and on line 3: keep one of them"
    )


def test_of_two_top_level_tasks_the_last_counts_and_a_warning_names_both_lines() -> None:
    document = parse("tasks: [1]\nname: x\ntasks: [2]", file="a.yaml")
    assert document.value == {"tasks": [2], "name": "x"}
    assert document.line_of(["tasks"]) == 3
    assert document.warnings == (
        "a.yaml:3: 'tasks' is written twice, on line 1 and on line 3: the last one counts",
    )


def test_two_tasks_keys_deeper_down_are_refused() -> None:
    assert "written twice" in refusal("workflow:\n  tasks: [1]\n  tasks: [2]")


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("a: {{ .x }}", 'write a: "{{ .x }}"'),
        ("- {{ .x }}", 'write - "{{ .x }}"'),
        ("- id: {{ .x }}", 'write - id: "{{ .x }}"'),
        ("Full name: {{ .x }}  # why", 'write Full name: "{{ .x }}"'),
        ("a: {{ .x }}: {{ .y }}", 'write a: "{{ .x }}: {{ .y }}"'),
        ("a: {{ .x }} and more", 'write a: "{{ .x }} and more"'),
        ("a: user: {{ .x }}", 'write a: "user: {{ .x }}"'),
        ('a: {{ now | date "2006" }}', "write a: '{{ now | date \"2006\" }}'"),
        ("""a: {{ f "x" 'y' }}""", """write a: '{{ f "x" ''y'' }}'"""),
        ('a: {{ printf "%s, %s" .x }}', "write a: '{{ printf \"%s, %s\" .x }}'"),
        ("a: [{{ .x }}]", 'as in key: "{{ .name }}"'),
    ],
)
def test_an_unquoted_template_is_answered_with_how_to_write_it(line: str, remedy: str) -> None:
    assert refusal(f"x: \n  - 1\ny:\n  {line}").startswith("a.yaml:4: put quotes around templates")
    assert refusal(line).endswith(remedy)


@pytest.mark.parametrize("line", ["a: {{ .x }}", 'a: {{ now | date "2006" }}', "- {{ .x }}"])
def test_the_way_to_write_a_template_is_right(line: str) -> None:
    remedy = refusal(line).split("write ")[1]
    assert "{{" in str(value_of(remedy))


def test_a_quoted_template_is_not_blamed_for_another_mistake() -> None:
    assert "templates" not in refusal('a: "{{ .x }}" b')


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("1", 'not 1: put quotes around it, "1":'),
        ("true", 'not true: put quotes around it, "true":'),
        ("~", "not nothing"),
        ("[a]", "not a list"),
        ("{a: 1}", "not a map"),
    ],
)
def test_a_key_that_is_not_text_is_refused(key: str, says: str) -> None:
    message = refusal(f"x: 1\n{key}: b")
    assert message.startswith("a.yaml:2: a key must be text")
    assert says in message


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!!python/name:os", "!mine", "!!set"])
@pytest.mark.parametrize("value", ["x", "{}", "[]"])
def test_custom_tags_are_refused(tag: str, value: str) -> None:
    assert refusal(f"x: 1\na: {tag} {value}").startswith(f"a.yaml:2: the tag {tag} is refused")


def test_a_standard_tag_that_does_not_fit_its_value_is_refused() -> None:
    assert refusal("a: !!int x") == "a.yaml:1: 'x' is no !!int"


@pytest.mark.parametrize("text", ["", "\n\n", "# only words\n", "---\n", "null"])
def test_an_empty_file_is_refused(text: str) -> None:
    assert refusal(text) == "a.yaml: the file is empty"


def test_a_second_document_is_refused_with_its_line() -> None:
    message = refusal("---\na: 1\n---\nb: 2")
    assert message.startswith("a.yaml:3: a second document begins here")


@pytest.mark.parametrize("text", ["x:\n  a:\n\tb: 1", "a: 1\nx:\n\tb: 1", "x:\n  - b\n\t- c"])
def test_indentation_by_tab_is_named_with_its_line(text: str) -> None:
    assert refusal(text) == (
        "a.yaml:3: the line is indented with a tab: YAML wants spaces, replace each tab by two"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x: 1\na: b: c", "a.yaml:2: this is not YAML: mapping values are not allowed"),
        ("x: 1\na: @x", "needs quotes"),
        ("x: 1\na: *.log", "begins with `*` or `&` needs quotes"),
        ("x: 1\na: 'b\nc: d", "a.yaml:2: this is not YAML: found unexpected end of stream"),
        ("x: 1\na: [1,\nb: 2", "a.yaml:2: this is not YAML"),
        ("- a\nb: 1", "must begin in the same column"),
        ("x: 1\na: *b", "a.yaml:2: no anchor &b comes before this"),
        ("x: 1\na: &b [*b]", "a.yaml:2: *b contains itself"),
        ("x: 1\n? *b\n: 1", "a.yaml:2: an alias cannot be a key"),
        ("x: 1\na: \x07", "a.yaml:2: the character U+0007 may not stand in YAML"),
        ("x: 1\na: \ud800", "a.yaml:2: the character U+D800 may not stand in YAML"),
    ],
)
def test_broken_yaml_is_explained_with_its_line(text: str, says: str) -> None:
    assert says in refusal(text)


def test_aliases_cannot_multiply_without_bound() -> None:
    levels = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "grow beyond 100,000 values" in refusal("\n".join(levels))


def test_a_large_list_without_aliases_is_read() -> None:
    assert len(value_of("a: [" + "1," * 120_000 + "]")["a"]) == 120_000


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_a_hundred_levels_are_read_and_one_more_is_refused(brackets: str) -> None:
    left, right = ("[", "]") if brackets == "[]" else ("{a: ", "}")
    assert value_of(left * 100 + right * 100)
    assert refusal(left * 101 + right * 101) == "a.yaml:1: nested deeper than 100 levels"
    assert refusal(left * 100_000) == "a.yaml:1: nested deeper than 100 levels"


def test_aliases_cannot_nest_deeper_than_100_levels() -> None:
    levels = ["a0: &a0 [1]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200))]
    assert "nested deeper than 100 levels" in refusal("\n".join(levels))


yamlish = st.lists(
    st.sampled_from([*"abk1:-?[]{}&*!|>'\"%@`#,=~<\n\t .", "\n  ", ": ", "- ", "<<", "---\n"]),
    max_size=40,
).map("".join)


@given(yamlish | st.text() | st.text(st.characters(codec=None)))
def test_whatever_the_text_nothing_but_a_config_error_comes_out(text: str) -> None:
    with suppress(ConfigError):
        assert parse(text, file="a.yaml").value is not None


# --- files ----------------------------------------------------------------------------------------


def test_reading_a_file_gives_its_value_and_name(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("\ufeffname: Zoë\r\nage: 3\r\n".encode())
    document = read(path)
    assert document.value == {"name": "Zoë", "age": 3}
    assert document.file == path
    assert document.line_of(["age"]) == 2


def test_the_text_of_a_file_is_given_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert read_text(path) == "\ufeffa: 1\r\n"


def test_a_file_that_is_not_utf_8_names_the_byte_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}:2: byte 0xe9 at byte offset 11 is not UTF-8: save it as UTF-8"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: there is no such file"):
        read(tmp_path / "gone.yaml")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this is a folder"):
        read(tmp_path)


def test_a_path_that_cannot_exist_is_a_config_error(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read(tmp_path / name)


def test_a_file_without_permission_is_named(open_folder: Path) -> None:
    path = open_folder / "a.yaml"
    path.write_text("a: 1")
    path.chmod(0o000)
    with an_ordinary_user(), pytest.raises(ConfigError, match=r"a\.yaml: permission denied"):
        read(path)


def test_a_file_over_ten_mebibytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * (10 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="larger than 10 MiB"):
        read(path)


# --- the seeds ------------------------------------------------------------------------------------


def seed_names() -> list[str]:
    return sorted(path.name for path in BLOCKS.glob("*.yaml") if ".flat." not in path.name)


def test_all_blocks_of_the_seeds_are_here() -> None:
    counts = {seed: sum(name.startswith(seed) for name in seed_names()) for seed in SEEDS}
    assert counts == SEEDS


SEEDS = {"000": 11, "001": 3, "002": 14, "003": 3}


@pytest.mark.parametrize("name", seed_names())
def test_every_block_of_the_seeds_is_read(name: str) -> None:
    document = read(BLOCKS / name)
    assert isinstance(document.value, dict)
    assert bool(document.warnings) == (name == "002_13_migration.yaml")


def test_the_migration_block_means_its_second_half() -> None:
    document = read(BLOCKS / "002_13_migration.yaml")
    assert document.value == {
        "tasks": [
            {
                "id": "save_state",
                "type": "memory",
                "operation": "write",
                "memory_ref": "conversation_memory",
            }
        ]
    }
    assert "on line 2 and on line 8" in document.warnings[0]


def test_the_resource_block_keeps_its_pattern_and_version_like_values() -> None:
    value: Any = read(BLOCKS / "000_9_resource.yaml").value
    assert value["privacy_policy"]["redact_patterns"] == [
        r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b"
    ]
    assert value["persistence"] == {"type": "redis", "ttl": "24h"}
    assert value["max_tokens"] == 4000
    complete: Any = read(BLOCKS / "000_10_complete.yaml").value
    assert complete["version"] == "1.0.0"
    assert [message["role"] for message in complete["tasks"][2]["payload"]] == ["user", "assistant"]


# --- validation -----------------------------------------------------------------------------------


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Kind(StrEnum):
    NONE = "none"
    REDIS = "redis"


class Persistence(Strict):
    refused: ClassVar[Mapping[str, str]] = {"pool": "the store opens its own connections"}
    type: Kind = Kind.NONE
    ttl: str = ""

    @field_validator("ttl")
    @classmethod
    def _has_a_unit(cls, value: str) -> str:
        if value.isdigit():
            raise ValueError("needs a unit, as in 24h")
        return value


class Signal(Strict):
    type: Literal["signal"]
    id: str
    signal: dict[str, str] = {}
    tasks: list["Task"] = []


class Wait(Strict):
    type: Literal["wait"]
    id: str
    workers: int = Field(1, gt=0)


Task = Annotated[Signal | Wait, Field(discriminator="type")]


class Reference(Strict):
    id: str
    mode: Literal["read-only", "read-write"] = "read-write"


def shape(value: Any) -> str:
    return "many" if isinstance(value, list) else "one"


def named(value: str) -> str:
    if not value.islower():
        raise ValueError("must be written in lower case")
    return value


@with_config(ConfigDict(extra="forbid"))
class Size(TypedDict):
    width: int


class Move(Strict):
    way: str
    far: int


class File(Strict):
    refused: ClassVar[Mapping[str, str]] = {"depth": "files are flat"}
    name: Annotated[str, AfterValidator(named)] | int = "x"
    max_tokens: int | None = None
    is_open: bool = Field(False, alias="open")
    persistence: Persistence = Persistence()
    tasks: list[Task] = []
    memory: str | bool | list[Reference | str] = False
    payload: Annotated[
        Annotated[list[Reference], Tag("many")] | Annotated[Reference, Tag("one")],
        Discriminator(shape),
    ] = []
    labels: dict[str, int] = {}
    pair: tuple[int, Reference] | None = None
    limits: dict[Literal["low", "high"], int] = {}
    size: Size = {"width": 1}
    step: Reference | Move | None = None
    colour: str = Field("", validation_alias=AliasChoices("colour", "color"))

    @model_validator(mode="after")
    def _tokens_need_a_name(self) -> "File":
        if self.max_tokens and self.name == "nameless":
            raise ValueError("max_tokens needs a name")
        return self


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(File, parse(text, file="a.yaml"))
    return str(caught.value).splitlines()


def test_a_document_that_fits_becomes_the_model() -> None:
    file = validate(File, parse("max_tokens: 3\nopen: true\nmemory: [a, {id: b}]", file="a.yaml"))
    assert (file.max_tokens, file.is_open) == (3, True)
    assert file.memory == ["a", Reference(id="b")]


def test_a_part_of_a_document_is_validated_with_its_own_lines() -> None:
    document = parse("x: 1\nitems:\n  - id: a\n  - id: b\n    mod: c\n", file="a.yaml")
    assert validate(Reference, document, at=["items", 0]) == Reference(id="a")
    with pytest.raises(ConfigError, match=r"^a\.yaml:5: items\[1\]\.mod: unknown field 'mod'"):
        validate(Reference, document, at=["items", 1])


def test_an_unknown_field_names_the_closest_and_the_known_ones() -> None:
    assert problems_of("persistence:\n  tpye: redis") == [
        "a.yaml:2: persistence.tpye: unknown field 'tpye'. Did you mean 'type'? "
        "Known fields: ttl, type."
    ]


def test_a_field_with_another_name_in_yaml_is_known_by_that() -> None:
    assert "Did you mean 'open'?" in problems_of("opne: true")[0]


def test_a_field_with_two_spellings_is_known_by_both() -> None:
    assert "Did you mean 'color'?" in problems_of("colr: red")[0]
    assert problems_of("color: 3") == [
        "a.yaml:1: color: must be text, not 3 (put quotes around it)"
    ]


def test_a_refused_field_is_answered_with_the_reason() -> None:
    assert problems_of("persistence:\n  pool: {}") == [
        "a.yaml:2: persistence.pool: 'pool' is refused: the store opens its own connections"
    ]


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = "nmae: x\npersistence:\n  type: reddis\n  ttl: '5'\nmax_tokens: ten\nlabels:\n  p: x\n"
    assert [problem.split("Known")[0].strip() for problem in problems_of(text)] == [
        "a.yaml:1: nmae: unknown field 'nmae'. Did you mean 'name'?",
        "a.yaml:3: persistence.type: must be one of 'none' or 'redis', not 'reddis'. "
        "Did you mean 'redis'?",
        "a.yaml:4: persistence.ttl: needs a unit, as in 24h",
        "a.yaml:5: max_tokens: must be a whole number, not 'ten'",
        "a.yaml:7: labels.p: must be a whole number, not 'x'",
    ]


def test_the_details_hold_line_field_and_message_of_each_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(File, parse("max_tokens: x\nlabels: 3\n", file="a.yaml"))
    assert caught.value.details["problems"] == [
        {"line": 1, "field": "max_tokens", "message": "must be a whole number, not 'x'"},
        {"line": 2, "field": "labels", "message": "must be a map, not 3"},
    ]
    assert (caught.value.details["line"], caught.value.details["field"]) == (1, "max_tokens")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("persistence: {ttl: 5}", "persistence.ttl: must be text, not 5 (put quotes around it)"),
        ("persistence: [1]", "persistence: must be a map, not a list"),
        ("tasks: {a: 1}", "tasks: must be a list, not a map"),
        ("open: perhaps", "open: must be true or false, not 'perhaps'"),
        ("max_tokens: 1.5", "max_tokens: must be a whole number, not 1.5"),
        ("tasks: [{type: wait, id: a, workers: 0}]", "workers: must be greater than 0, not 0"),
        ("tasks: [3]", "tasks[0]: must be a map, not 3"),
        ("persistence:", "persistence: must be a map, not nothing"),
        ("pair: [1, {id: a, x: 2}]", "pair[1].x: unknown field 'x'"),
        ("limits: {mid: 2}", "limits.mid: must be one of 'low' or 'high', not 'mid'"),
        ("size: {width: 2, depth: 1}", "size.depth: unknown field 'depth'."),
        ("max_tokens: 1\nname: nameless", "a.yaml:1: max_tokens needs a name"),
        ("- 1", "a.yaml:1: must be a map, not a list"),
    ],
)
def test_a_wrong_value_is_described_in_plain_words(text: str, says: str) -> None:
    assert says in problems_of(text)[0]


def test_the_kind_of_a_task_leads_to_lines_inside_it() -> None:
    text = """\
tasks:
  - type: signal
    signal: {a: 1}
    tasks:
      - type: wait
        worker: 2
      - type: wiat
      - id: x
"""
    assert problems_of(text) == [
        "a.yaml:2: tasks[0].id: is missing",
        "a.yaml:3: tasks[0].signal.a: must be text, not 1 (put quotes around it)",
        "a.yaml:5: tasks[0].tasks[0].id: is missing",
        "a.yaml:6: tasks[0].tasks[0].worker: unknown field 'worker'. Did you mean 'workers'? "
        "Known fields: id, type, workers.",
        "a.yaml:7: tasks[0].tasks[1].type: must be one of 'signal', 'wait', not 'wiat'. "
        "Did you mean 'wait'?",
        "a.yaml:8: tasks[0].tasks[2].type: is missing: one of 'signal', 'wait'",
    ]


def test_a_kind_told_by_shape_leads_to_lines_inside_it() -> None:
    assert problems_of("payload:\n  - id: a\n  - id: b\n    mode: rw\n") == [
        "a.yaml:4: payload[1].mode: must be one of 'read-only' or 'read-write', not 'rw'"
    ]


def test_of_a_choice_of_shapes_only_the_one_meant_is_reported() -> None:
    assert problems_of("memory:\n  - a\n  - id: b\n    mod: c\n") == [
        "a.yaml:4: memory[1].mod: unknown field 'mod'. Did you mean 'mode'? Known fields: id, mode."
    ]


def test_of_two_models_the_one_with_fewer_problems_is_reported() -> None:
    assert problems_of("step: {way: up, fra: 3}") == [
        "a.yaml:1: step.far: is missing",
        "a.yaml:1: step.fra: unknown field 'fra'. Did you mean 'far'? Known fields: far, way.",
    ]


def test_a_value_that_fits_no_shape_hears_all_of_them() -> None:
    assert problems_of("memory: 3.5") == [
        "a.yaml:1: memory: must be text or true or false or a list, not 3.5"
    ]


def test_a_value_of_the_right_shape_hears_only_what_its_check_says() -> None:
    assert problems_of("name: ABC") == ["a.yaml:1: name: must be written in lower case"]


def test_long_values_are_cut() -> None:
    (problem,) = problems_of(f"max_tokens: {'x' * 500}")
    assert problem == f"a.yaml:1: max_tokens: must be a whole number, not '{'x' * 56}..."


def test_the_validation_error_of_the_library_with_its_values_is_not_attached() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(File, parse("max_tokens: secret", file="a.yaml"))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_document_compares_by_what_it_says() -> None:
    one, other = (parse(text, file="a.yaml") for text in ("a: 1", "\na:   1"))
    assert one == other
    assert repr(one) == "Document(file='a.yaml', value={'a': 1}, warnings=())"
    assert isinstance(one, Document)
