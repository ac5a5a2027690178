"""Where the dialect leaves Go on purpose: what users write, and what JSON data need."""

from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from recollect.errors import TemplateError, TemplateSyntaxError
from recollect.templates import is_template, parse, render_text

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SCOPE: dict[str, object] = {
    "a": {
        "x": 1.0,
        "n": None,
        "l": [1, 2],
        "s": "<a&b>é",
        "big": 123456789.0,
        "f": 0.00001,
        "huge": 1e21,
        "d": Decimal("12.50"),
    },
    "tasks": {"my-task": {"output": "done"}, "t-1": {"k": 1}},
    "ts": "2024-03-05T14:07:09Z",
    "epoch": 1700000000,
    "when": datetime(2024, 3, 5, 14, 7, 9, tzinfo=timezone(timedelta(hours=2))),
    "naive": datetime(2024, 3, 5, 14, 7, 9, 250_000),  # noqa: DTZ001  # as YAML gives them
    "i": 1,
    "key": "x",
    "nested": [[1], [2, 3]],
    "numbered": {1: "one"},
}

DIFFERENCES = {
    "strings in single quotes": [
        ("{{ now | date '2006-01-02' }}", "2026-01-02"),
        (r"{{ 'it\'s' }}", "it's"),
        (r"""{{ 'say "hi"' }}""", 'say "hi"'),
    ],
    "hyphens inside path segments": [
        ("{{ .tasks.my-task.output }}", "done"),
        ("{{ $.tasks.my-task.output | upper }}", "DONE"),
        ("{{ .tasks.t-1.k }}", "1"),
        ("{{ (.tasks).my-task.output }}", "done"),
        ("{{ add .tasks.t-1.k -1 }}", "0"),
    ],
    "items by number and by key": [
        ("{{ .a.l[0] }}{{ .a.l.1 }}", "12"),
        ("{{ .a['x'] }}{{ .a[`x`] }}", "11"),
        ("{{ .a.l[.i] }}{{ .a[.key] }}", "21"),
        ("{{ .nested[1][0] }}{{ .nested.1.1 }}", "23"),
        ("{{ .numbered.1 }}", "one"),
        ("{{ $l := .a.l }}{{ $l.0 }}{{ $l[1] }}", "12"),
        ("{{ $.a.l.0 }}", "1"),
    ],
    "calls with parentheses": [
        ("{{ .nope | default('x') }}", "x"),
        ("{{ len(.a.l) }}", "2"),
        ("{{ replace('a', 'b', 'cac') }}", "cbc"),
        ("{{ if and(eq .i 1) (eq .key 'x') }}both{{ end }}", "both"),
        ("{{ add(len(.a.l), 1) }}", "3"),
        ("{{ dict('k', list(7)).k[0] }}", "7"),
    ],
    "numbers of all kinds compare": [
        (
            "{{ eq .a.x 1 }}{{ ne .a.x 2 }}{{ lt .i 1.5 }}{{ ge .a.big 5 }}{{ gt .a.d 12 }}",
            "true" * 5,
        ),
        ("{{ has 1.0 .a.l }}", "true"),
    ],
    "what is missing is nil": [
        ("{{ .a.y | default 'd' }}", "d"),
        ("{{ .no.where.at.all | default 'd' }}", "d"),
        ("{{ if .tasks.nope }}y{{ else }}n{{ end }}", "n"),
        ("{{ with .nope }}y{{ else }}n{{ end }}", "n"),
        ("{{ range .nope }}y{{ else }}n{{ end }}", "n"),
        ("{{ index .tasks 'no' 'output' }}", ""),
        ("{{ if index .a 'zz' }}y{{ else }}n{{ end }}", "n"),
        ("{{ coalesce .nope .a.nope 'z' }}", "z"),
        ("{{ and .nope true }}|{{ or .nope 'x' }}|{{ not .nope }}", "|x|true"),
        ("{{ ternary 'y' 'n' .nope }}", "n"),
        ("{{ empty .nope }}{{ hasKey .nope 'k' }}", "truefalse"),
        ("{{ dig 'a' 'b' 'd' .nope }}{{ get .nope 'k' }}", "d"),
        ("{{ .nope | toJson }}{{ kindIs 'invalid' .nope }}", "nulltrue"),
        ("{{ eq .nope 1 }}{{ eq .nope nil }}{{ ne .nope 'x' }}", "falsetruetrue"),
        ("{{ keys .nope }}{{ join ',' .nope }}{{ first .nope }}{{ len .nope }}", "[]0"),
        ("{{ .a.s.x | default 'd' }}{{ .a.l.9 | default 'd' }}", "dd"),
        ("{{ $x := .nope }}{{ $x }}", ""),
    ],
    "nil prints nothing": [
        ("[{{ .a.n }}]", "[]"),
        ("{{ .a.n | default 'd' }}", "d"),
        ("{{ len .a.n }}", "0"),
        ("{{ .a.n | toString }}", ""),
    ],
    "times are RFC 3339 in UTC": [
        ("{{ now }}", "2026-01-02T03:04:05Z"),
        ("{{ .when }}", "2024-03-05T12:07:09Z"),
        ("{{ .naive }}", "2024-03-05T14:07:09.250000Z"),
        ("{{ now | toJson }}", '"2026-01-02T03:04:05Z"'),
        ("{{ toDate '2006-01-02' '2024-02-29' }}", "2024-02-29T00:00:00Z"),
    ],
    "text that is a time is a time": [
        ("{{ .ts | date '02.01.2006 15:04' }}", "05.03.2024 14:07"),
        ("{{ date '15:04:05' '2024-03-05 07:08:09' }}", "07:08:09"),
        ("{{ date '2006-002' '2024-03-05' }}", "2024-065"),
        ("{{ date '15:04' '2024-03-05T01:00:00+02:00' }}", "23:00"),
        ("{{ .ts | dateModify '+24h' | htmlDate }}", "2024-03-06"),
        ("{{ .ts | unixEpoch }}", "1709647629"),
        ("{{ dateInZone '15:04' .ts 'Asia/Tokyo' }}", "23:07"),
        ("{{ 1700000000.0 | date '2006' }}", "2023"),
        ("{{ .when | date '15:04' }}", "12:07"),
        ("{{ ago '2026-01-02T01:04:00Z' }}", "2h0m5s"),
    ],
    "times have methods": [
        ("{{ now.Year }} {{ (now).Format 'Jan 2' }} {{ now.Unix }}", "2026 Jan 2 1767323045"),
        ("{{ .when.Weekday }} {{ .when.Hour }} {{ .when.UTC.Hour }}", "Tuesday 14 12"),
    ],
    "lists and maps print as JSON": [
        ("{{ .a.l }}{{ print .a.l }}", "[1,2][1,2]"),
        ("{{ dict 'z' 1 'a' (list 'é' nil) }}", '{"a":["é",null],"z":1}'),
        ("{{ .a.s | toJson }}", '"<a&b>é"'),
        ("{{ printf '%v %s' .a.l .nested }}", "[1,2] [[1],[2,3]]"),
        ("{{ join ' ' .nested }}", "[1] [2,3]"),
    ],
    "numbers print plainly": [
        (
            "{{ .a.big }} {{ .a.x }} {{ .a.huge }} {{ .a.f }} {{ .a.d }}",
            "123456789 1 1e+21 0.00001 12.50",
        ),
        (
            "{{ 1000000.0 }} {{ printf '%v' 1e6 }} {{ 1e20 }}",
            "1000000 1000000 100000000000000000000",
        ),
        ("{{ toJson .a.big }} {{ toJson 1.0 }} {{ toJson .a.d }}", "123456789 1 12.5"),
        ("{{ printf '%d' .a.x }} {{ until 2.0 }}", "1 [0,1]"),
    ],
    "length and cutting count characters": [
        ("{{ len .a.s }}", "6"),
        ("{{ trunc 6 .a.s }}{{ substr 5 6 .a.s }}", "<a&b>éé"),
    ],
    "text is read as a decimal number": [
        ("{{ int '010' }} {{ int '1.7' }} {{ add '1.5' 1 }}", "10 1 2"),
    ],
    "text between braces and percent signs is text": [
        ("{% if x %}{{ .i }}{% endif %}", "{% if x %}1{% endif %}"),
    ],
    "a comment may have spaces": [("a{{ /* note */ }}b", "ab")],
    "range takes a number": [
        ("{{ range 3 }}{{ . }}{{ end }}{{ range $i := 2 }}{{ $i }}{{ end }}", "01201")
    ],
    "else with": [("{{ with .nope }}1{{ else with .i }}{{ . }}{{ end }}", "1")],
    "printf %s takes every value": [("{{ printf '%s-%s' .i .a.x }}", "1-1")],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param(template, expected, id=f"{name}: {template}")
        for name, rows in DIFFERENCES.items()
        for template, expected in rows
    ],
)
def test_a_difference_from_go_holds(template: str, expected: str) -> None:
    assert render_text(template, SCOPE, now=NOW) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'tuesday' | date '2006' }}",
        "{{ 'tuesday' | dateModify '1h' }}",
        "{{ '2024-02-30' | date '2006' }}",
        "{{ .nope | date '2006' }}",
        "{{ true | date '2006' }}",
        "{{ 1e300 | date '2006' }}",
        "{{ now | dateModify 'tomorrow' }}",
        "{{ now | dateModify '90000000h' }}",
        "{{ toDate '2006-01-02' 'x' }}",
        "{{ dateInZone '15:04' .ts 'Mars/Olympus' }}",
        "{{ dateInZone '15:04' .ts '../../etc/passwd' }}",
        "{{ printf '%d' 'x' }}",
        "{{ printf '%d' }}",
        "{{ printf 'x' 1 }}",
        "{{ printf '%s' .nope }}",
        "{{ b64dec '%%%' }}",
        "{{ add 9223372036854775807 1 }}",
        "{{ mul 9000000000 9000000000 }}",
        "{{ upper .nope }}",
        "{{ .i | . }}",
        "{{ .i | }}",
    ],
)
def test_what_go_lets_pass_or_marks_in_the_text_is_an_error(template: str) -> None:
    with pytest.raises(TemplateError):
        render_text(template, SCOPE, now=NOW)


@pytest.mark.parametrize(
    ("template", "hint"),
    [
        ("{{ .a ? 'b' : 'c' }}", "{{ if a }}b{{ else }}c{{ end }}"),
        ("{{ .a + 1 }}", "add a b"),
        ("{{ .i - 1 }}", "sub a b"),
        ("{{ if .i == 1 }}{{ end }}", "eq a b"),
        ("{{ if .i >= 1 }}{{ end }}", "ge a b"),
        ("{{ if .i && .key }}{{ end }}", "and a b"),
        ("{{ if !.i }}{{ end }}", "not a"),
        ("{{ define 'x' }}{{ end }}", "define is not supported"),
        ("{{ template 'x' }}", "template is not supported"),
        ("{{ block 'x' . }}{{ end }}", "block is not supported"),
    ],
)
def test_other_languages_operators_are_answered_with_the_go_form(template: str, hint: str) -> None:
    with pytest.raises(TemplateSyntaxError) as error:
        parse(template)
    assert hint in str(error.value)


@pytest.mark.parametrize("layout", ["2024-12-31", "31/12/1999", "no reference"])
def test_a_date_used_as_a_layout_is_noted(layout: str) -> None:
    assert layout in parse(f"{{{{ now | date '{layout}' }}}}").notes[0]


@pytest.mark.parametrize("layout", ["2006-01-02", "20060102_150405", "Jan 2, 2006", "15:04:05"])
def test_a_layout_is_not_noted(layout: str) -> None:
    assert parse(f"{{{{ now | date '{layout}' }}}}").notes == ()


def test_now_is_one_time_within_a_rendering() -> None:
    first, second = render_text("{{ now }} {{ now }}", {}).split()
    assert first == second


def test_only_text_with_braces_is_a_template() -> None:
    assert is_template("a {{ .b }}")
    assert not is_template("a { .b } %}")


def test_any_mapping_serves_as_scope() -> None:
    assert render_text("{{ .b.c }}", OrderedDict(b=OrderedDict(c="d"))) == "d"
