"""Every error says where, what, and what is near; none tells a value of the data."""

import sys

import pytest

from recollect.errors import MissingExtra, TemplateError, TemplateMissingKey, TemplateSyntaxError
from recollect.templates import parse, render, render_text

SECRET = "s3cret-value"
SCOPE: dict[str, object] = {
    "workflow": {"input": {"name": SECRET, "number": 5}},
    "user_id": SECRET,
    "list": [SECRET],
    "map": {"k": SECRET},
    "nil": None,
    "many": {f"k{number:02}": SECRET for number in range(30)},
}


def failure(template: str, kind: type[TemplateError] = TemplateError) -> TemplateError:
    with pytest.raises(kind) as error:
        render_text(template, SCOPE)
    return error.value


def test_a_missing_path_names_the_closest_key() -> None:
    error = failure("Hi {{ .workflow.input.nmae }}", TemplateMissingKey)
    assert str(error) == (
        "line 1, column 7: .workflow.input.nmae is missing: .workflow.input is a map and has no "
        "'nmae'. Available there: name, number. Did you mean 'name'?"
    )
    assert error.details == {
        "line": 1,
        "column": 7,
        "path": ".workflow.input.nmae",
        "segment": "nmae",
        "available": ["name", "number"],
    }


def test_a_missing_path_names_the_first_segment_that_fails() -> None:
    error = failure("{{ .workflow.inptu.name.x }}", TemplateMissingKey)
    assert error.details["segment"] == "inptu"
    assert "Did you mean 'input'?" in str(error)


def test_a_missing_path_names_twenty_keys_at_most() -> None:
    error = failure("{{ .many.x }}")
    assert error.details["available"] == [f"k{number:02}" for number in range(20)]
    assert "k19, … (30 in all)" in str(error)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ .user_id.x }}", ".user_id is a text and has no 'x'"),
        ("{{ .list.x }}", ".list is a list and has no 'x'"),
        ("{{ .list.7 }}", ".list is a list and has no '7'"),
        ("{{ .nil.x }}", ".nil is nil and has no 'x'"),
        ("{{ (index .list 0).x }}", "(…) is a text"),
        ("{{ $m := .map }}{{ $m.x }}", "$m is a map"),
        ("{{ range .list }}{{ .x }}{{ end }}", ". is a text"),
        ("{{ (.nope) }}", ".nope is missing"),
        ("{{ .map[.user_id] }}", ".map[…] is missing"),
    ],
)
def test_a_missing_path_says_what_stands_in_its_place(template: str, why: str) -> None:
    assert why in str(failure(template, TemplateMissingKey))


def test_a_bare_path_alone_must_exist() -> None:
    with pytest.raises(TemplateMissingKey):
        render("{{ .nope }}", SCOPE)


@pytest.mark.parametrize(
    ("template", "line", "column"),
    [
        ("{{ .nope }}", 1, 4),
        ("a\nbc {{ upper 5 }}", 2, 7),
        ("{{ if true }}\n\n  {{ nosuch }}{{ end }}", 3, 6),
        ("x\n{{ .a", 2, 1),
        ("{{ upper (lower 5) }}", 1, 11),
        ("{{ range .user_id }}{{ end }}", 1, 4),
        ("é{{ 'x }}", 1, 5),
    ],
)
def test_an_error_says_line_and_column(template: str, line: int, column: int) -> None:
    error = failure(template)
    assert (error.details["line"], error.details["column"]) == (line, column)
    assert str(error).startswith(f"line {line}, column {column}: ")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("uper", "Did you mean 'upper'?"),
        ("regexFnd", "Did you mean 'regexFind'?"),
        ("user_id", "A value of the scope is .user_id"),
        ("map", "use range"),
        ("filter", "use range with if"),
        ("sort", "use sortAlpha"),
        ("group", "use range with set"),
        ("bool", "eq .value true"),
        ("toNumber", "use int or float64"),
        ("sum", "use add"),
        ("take", "use slice"),
        ("urlpath", "use urlquery"),
        ("unique", "use uniq"),
        ("variance", "compute it in a tool"),
        ("dateAdd", "use dateModify"),
        ("env", "left out on purpose"),
        ("expandenv", "left out on purpose"),
        ("getHostByName", "left out on purpose"),
        ("genPrivateKey", "left out on purpose"),
        ("uuidv4", "left out on purpose"),
        ("randAlphaNum", "left out on purpose"),
        ("call", "left out on purpose"),
        ("__import__", "there is no function"),
    ],
)
def test_an_unknown_function_says_what_to_use(name: str, hint: str) -> None:
    with pytest.raises(TemplateSyntaxError) as error:
        parse(f"{{{{ {name} .x }}}}")
    assert repr(name) in str(error.value)
    assert hint in str(error.value)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ upper }}", "upper takes 1 argument, 0 given"),
        ("{{ .x | replace 'a' }}", "replace takes 3 arguments, 2 given"),
        ("{{ round 1 2 3 4 }}", "round takes 2 to 3 arguments, 4 given"),
        ("{{ eq 1 }}", "eq takes at least 2 arguments, 1 given"),
        ("{{ or }}", "or takes at least 1 argument, 0 given"),
        ("{{ if .x }}", "if is not closed: {{ end }} is missing"),
        ("{{ range .x }}{{ if .y }}{{ end }}", "range is not closed"),
        ("{{ end }}", "{{ end }} closes nothing here"),
        ("{{ .a", "}} is missing"),
        ("{{ 'a }}", "' is missing"),
        ("{{ (add 1 2 }}", ") is missing"),
        ("{{ .a[0 }}", "] is missing"),
        ("{{/* a }}", "the comment is not closed"),
        ("{{ $nmae := 1 }}{{ $name }}", "Did you mean '$nmae'?"),
        ("{{ nil }}", "nil stands alone"),
        ("{{ }}", "an expression is missing"),
        ("{{ .a | }}", "an expression is missing"),
        ("{{ 12ab }}", "this is not a number"),
        ("{{ 0x_ }}", "this is not a number"),
        ("{{ 1e999 }}", "the number is too large"),
        ("{{ '\\q' }}", "is no escape"),
        ("{{ .a.b(1) }}", "a space is missing"),
        ("{{ 5 .a }}", "not a function"),
        ("{{ break }}", "outside of a range"),
        ("{{ . # }}", "unexpected character '#'"),
    ],
)
def test_a_template_is_refused_before_it_is_rendered(template: str, why: str) -> None:
    with pytest.raises(TemplateSyntaxError) as error:
        parse(template)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (
            "{{ upper .nope.x }}",
            "upper: argument 1 must be a text, not nil (.nope.x: missing or nil)",
        ),
        ("{{ .list | upper }}", "upper: argument 1 must be a text, not a list"),
        ("{{ trunc .user_id 'x' }}", "trunc: argument 1 must be a whole number, not a text"),
        ("{{ until 1.5 }}", "until: argument 1 must be a whole number, not a number"),
        ("{{ keys .list }}", "keys: argument 1 must be a map, not a list"),
        ("{{ first .map }}", "first: argument 1 must be a list, not a map"),
        ("{{ ternary 1 2 'x' }}", "ternary: argument 3 must be true or false, not a text"),
        ("{{ eq .user_id 5 }}", "eq: cannot compare a text with a whole number"),
        ("{{ lt .nope 5 }}", "lt: cannot compare nil with a whole number (.nope: missing or nil)"),
        ("{{ eq .list .list }}", "use deepEqual"),
        ("{{ div 1 0 }}", "div: division by zero"),
        ("{{ divf 1 0 }}", "divf: division by zero"),
        ("{{ mod 1 0 }}", "mod: division by zero"),
        ("{{ index .list 9 }}", "index: out of range"),
        ("{{ .user_id | date '2006' }}", "date: argument 2 is a text but not a time"),
        ("{{ .user_id | mustFromJson }}", "mustFromJson failed with its arguments"),
        ("{{ regexFind '(' .user_id }}", "regexFind: the pattern is not a regular expression"),
        ("{{ regexFind .user_id '(' }}{{ printf .user_id 1 }}", "printf: 1 arguments"),
        ("{{ range .user_id }}{{ end }}", "not over a text"),
        ("{{ .map.k 1 }}", ".map.k cannot be given arguments"),
        ("{{ round 1e300 400 }}", "round failed with its arguments (OverflowError)"),
        ("{{ printf '%y' .user_id }}", "%y is no verb"),
    ],
)
def test_a_function_fails_with_its_name_and_without_the_data(template: str, why: str) -> None:
    error = failure(template)
    assert why in str(error)
    assert SECRET not in f"{error}{error.details}"
    assert error.__cause__ is None


def test_a_pattern_function_without_its_library_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "recollect.templates.functions.patterns", raising=False)
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(
        MissingExtra, match="template regular expressions needs the extra 'workflows'"
    ):
        parse("{{ regexMatch 'only here' .x }}")
