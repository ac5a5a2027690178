"""What ``render`` and ``render_tree`` give: values where a template is one value, else text."""

from datetime import UTC, datetime

import pytest

from recollect.errors import TemplateError, TemplateMissingKey
from recollect.templates import parse, render, render_text, render_tree


class Transcript(dict[str, object]):
    """An alias as the workflow scope holds it: a map whose text form is its content."""

    def __str__(self) -> str:
        return "user: hi"

    def __bool__(self) -> bool:
        return bool(self["messages"])


HISTORY = Transcript(messages=[{"role": "user"}], count=1)
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
SCOPE: dict[str, object] = {
    "n": 5,
    "f": 1.5,
    "yes": True,
    "nil": None,
    "s": "5",
    "l": [1, {"a": "b"}],
    "m": {"k": [1.0]},
    "when": WHEN,
    "history": HISTORY,
    "json": '{"a": [1]}',
    "empty": Transcript(messages=[]),
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ .n }}", 5),
        ("{{.f}}", 1.5),
        ("{{- .yes -}}", True),
        ("{{ .nil }}", None),
        ("{{ .s }}", "5"),
        ("{{ .l }}", [1, {"a": "b"}]),
        ("{{ (.m) }}", {"k": [1.0]}),
        ("{{ $.m.k }}", [1.0]),
        ("{{ .when }}", WHEN),
        ("{{ .l.1.a }}", "b"),
        ("{{ .l[0] }}", 1),
        ("{{ index .l 0 }}", 1),
        ("{{ index .l 1 'a' }}", "b"),
        ("{{ index .m 'nope' }}", None),
        ("{{ (index .l 1).a }}", "b"),
        ("{{/* note */}}{{ .n }}", 5),
        ("{{ . }}", SCOPE),
        ("{{ list 1 2 }}", [1, 2]),
        ("{{ dict 'a' (dict 'b' 1) }}", {"a": {"b": 1}}),
        ("{{ fromJson .json }}", {"a": [1]}),
        ("{{ .l | rest }}", [{"a": "b"}]),
        ("{{ .nope | default .l }}", [1, {"a": "b"}]),
        ("{{ or .nope .m }}", {"k": [1.0]}),
    ],
)
def test_one_value_alone_keeps_its_type(template: str, value: object) -> None:
    found = render(template, SCOPE)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ .n }} ", "5 "),
        ("{{ .n }}{{ .n }}", "55"),
        ("{{ add .n 1 }}", "6"),
        ("{{ .n | toString }}", "5"),
        ("{{ .nope | default 5 }}", "5"),
        ("{{ eq .n 5 }}", "true"),
        ("{{ 5 }}", "5"),
        ("{{ if true }}{{ .l }}{{ end }}", '[1,{"a":"b"}]'),
        ("{{ .m | toJson }}", '{"k":[1]}'),
        ("{{ .json }}", '{"a": [1]}'),
        ("{{ $x := .l }}", ""),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_everything_else_is_text_that_is_never_parsed_as_json(template: str, text: str) -> None:
    found = render(template, SCOPE)
    assert found == text
    assert type(found) is str


def test_made_maps_leave_as_plain_dicts_at_every_level() -> None:
    made = render("{{ list (dict 'a' (list (dict))) }}", {})
    assert made == [{"a": [{}]}]
    assert isinstance(made, list)
    assert type(made[0]) is dict
    assert type(made[0]["a"][0]) is dict


def test_an_alias_is_a_value_alone_and_its_own_text_inside_text() -> None:
    assert render("{{ .history }}", SCOPE) is HISTORY
    assert render("{{ .history | default 'none' }}", SCOPE) is HISTORY
    assert render_text("{{ .history }}", SCOPE) == "user: hi"
    assert render("so far: {{ .history }}", SCOPE) == "so far: user: hi"
    assert render("{{ .history | upper | printf '%s!' }}", SCOPE) == "USER: HI!"
    assert render("{{ eq .history 'user: hi' }}", SCOPE) == "true"


def test_an_alias_is_still_a_map() -> None:
    assert render("{{ .history.count }}", SCOPE) == 1
    assert render("{{ .history | toJson }}", SCOPE) == '{"count":1,"messages":[{"role":"user"}]}'


def test_an_alias_decides_itself_whether_it_is_true() -> None:
    template = "{{ if .empty }}some{{ else }}none{{ end }} {{ .empty | default 'new' }}"
    assert render(template, SCOPE) == "none new"


def test_a_tree_is_rendered_through_and_through_with_its_keys_untouched() -> None:
    tree = {"{{ .n }}": ["{{ .n }}", {"c": "n={{ .n }}"}], "x": 1, "y": None}
    assert render_tree(tree, SCOPE) == {"{{ .n }}": [5, {"c": "n=5"}], "x": 1, "y": None}


def test_a_tree_has_one_now() -> None:
    times = render_tree(["{{ now }}", "{{ now }}"], {})
    assert isinstance(times, list)
    assert times[0] == times[1]


def test_a_tree_is_rendered_once() -> None:
    scope = {"text": "{{ .secret }}", "secret": "s3cret"}
    assert render_tree({"content": "{{ .text }}"}, scope) == {"content": "{{ .secret }}"}
    assert render_tree(["say: {{ .text }}"], scope) == ["say: {{ .secret }}"]


def test_a_failing_field_of_a_tree_is_named() -> None:
    tree = {"payload": {"metadata": [{"user_id": "{{ .user_id }}"}]}}
    with pytest.raises(TemplateMissingKey) as error:
        render_tree(tree, SCOPE)
    assert error.value.details["field"] == "payload.metadata[0].user_id"


class Locked:
    """Not data: nothing of it may be reached."""

    def __init__(self) -> None:
        self.secret = "s3cret"


@pytest.mark.parametrize(
    "template",
    [
        "{{ .locked.secret }}",
        "{{ .locked.__class__ }}",
        "{{ .n.real }}",
        "{{ .s.upper }}",
        "{{ .s.__class__ }}",
        "{{ .m.keys }}",
        "{{ .l.append }}",
        "{{ .when.tzinfo }}",
        "x {{ .locked }}",
        "{{ .locked | toJson }}",
        "{{ printf '%v' .locked }}",
    ],
)
def test_python_objects_are_out_of_reach(template: str) -> None:
    with pytest.raises(TemplateError) as error:
        render(template, {**SCOPE, "locked": Locked()})
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("template", "roots"),
    [
        ("{{ .a.b }}{{ $.c }}{{ if .d }}{{ .e-f }}{{ end }}", {"a", "c", "d", "e-f"}),
        (
            "{{ range .items }}{{ .n }}{{ $.root }}{{ else }}{{ .other }}{{ end }}",
            {"items", "root", "other"},
        ),
        ("{{ with .x }}{{ .y }}{{ else }}{{ .z }}{{ end }}", {"x", "z"}),
        ("{{ upper (.a).b | printf '%s' .c }}{{ $x := .d }}{{ $x.e }}", {"a", "c", "d"}),
        ("{{ now.Year }} plain", set()),
    ],
)
def test_a_template_tells_what_it_reads_from_the_scope(template: str, roots: set[str]) -> None:
    assert parse(template).roots() == roots


@pytest.mark.parametrize(
    "call",
    [
        "set .m 'k' 9",
        "set .m 'new' 9",
        "unset .m 'k'",
        "merge .m (dict 'new' 9)",
        "mergeOverwrite .m (dict 'k' 9)",
        "append .m.k 9",
        "set (deepCopy .m) 'k' 9",
    ],
)
def test_a_function_changes_nothing_of_the_scope(call: str) -> None:
    scope: dict[str, object] = {"m": {"k": [1]}}
    render(f"{{{{ $_ := {call} }}}}", scope)
    assert scope == {"m": {"k": [1]}}


def test_a_map_made_by_the_template_can_be_filled() -> None:
    template = "{{ $d := dict }}{{ range .l }}{{ $_ := set $d . 1 }}{{ end }}{{ $d }}"
    assert render(template, {"l": ["a", "b"]}) == '{"a":1,"b":1}'
