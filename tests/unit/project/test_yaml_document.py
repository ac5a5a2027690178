import math
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import ConfigError
from recollect.project.yaml_document import Document, parse


def value_of(text: str) -> Any:
    return parse(text, file="a.yaml").value


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, file="a.yaml")
    return str(caught.value)


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


def test_a_document_compares_by_what_it_says() -> None:
    one, other = (parse(text, file="a.yaml") for text in ("a: 1", "\na:   1"))
    assert one == other
    assert repr(one) == "Document(file='a.yaml', value={'a': 1}, warnings=())"
    assert isinstance(one, Document)


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
        "from recollect.project.yaml_document import parse\n"
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
