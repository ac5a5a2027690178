"""No small template makes huge output or keeps the machine busy."""

import pytest

from recollect.errors import TemplateError
from recollect.templates import parse, render, render_text

DOUBLED = "{{ $x := list 1 }}{{ range until %d }}{{ $x = list $x $x }}{{ end }}"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ range until 2000 }}{{ repeat 1000 'x' }}{{ end }}", "larger than 1048576 bytes"),
        ("{{ range until 300 }}{{ repeat 2000 '✓' }}{{ end }}", "larger than 1048576 bytes"),
        ("{{ repeat 2000000 'x' }}", "longer than 1048576"),
        ("{{ range until 200 }}{{ range until 200 }}{{ end }}{{ end }}", "10000 turns"),
        ("{{ range 10001 }}{{ end }}", "10000 turns"),
        ("{{ until 10001 }}", "more than 10000 numbers"),
        ("{{ untilStep 0 1000000000000 1 }}", "more than 10000 numbers"),
        ("{{ seq 1000000000 }}", "more than 10000 numbers"),
        ("{{ printf '%20000d' 1 }}", "10000"),
        ("{{ printf '%.*f' 20000 1.5 }}", "10000"),
        ("{{ indent 2000000 'x' }}", "longer than 1048576"),
        ("{{ $x := repeat 1000000 'a' }}{{ replace 'a' $x $x }}", "longer than 1048576"),
        ("{{ $x := repeat 1000000 'a' }}{{ print $x $x }}", "longer than 1048576"),
        ("{{ $x := repeat 1000000 'a' }}{{ join $x (list 1 2 3) }}", "longer than 1048576"),
        ("{{ $x := repeat 9999 'a' }}{{ regexReplaceAll 'a' $x $x }}", "longer than 1048576"),
        ("{{ $x := 'ab' }}{{ range until 100 }}{{ $x = print $x $x }}{{ end }}", "longer than"),
        (DOUBLED % 200 + "{{ toJson $x }}", "nested deeper than 100"),
        (DOUBLED % 25 + "{{ $x }}", "too much data"),
        (DOUBLED % 25 + "{{ list $x }}", "too much data"),
        (
            DOUBLED % 15 + "{{ range until 10000 }}{{ if has 2 $x }}{{ end }}{{ end }}",
            "too much data",
        ),
        ("{{ $x := list 1 }}{{ range until 99 }}{{ $x = concat $x $x }}{{ end }}", "too much data"),
        ("{{ $d := dict }}{{ $_ := set $d 'd' $d }}{{ toJson $d }}", "nested deeper than 100"),
        ("{{ $d := dict }}{{ $_ := set $d 'd' $d }}{{ $_ := merge $d $d }}", "merge failed"),
    ],
)
def test_a_rendering_ends_at_its_limits(template: str, why: str) -> None:
    with pytest.raises(TemplateError) as error:
        render(template, {})
    assert why in str(error.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ if .x }}" * 21 + "{{ end }}" * 21,
        "{{ " + "(" * 21 + ".x" + ")" * 21 + " }}",
        "{{ .a" + "[.a" * 500 + "]" * 500 + " }}",
        "{{ " + "len(" * 500 + ".x" + ")" * 500 + " }}",
        "{{ .x " + "| upper " * 21 + "}}",
    ],
)
def test_nesting_has_a_limit(template: str) -> None:
    with pytest.raises(TemplateError):
        parse(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ if .x }}" * 20 + "a" + "{{ end }}" * 20,
        "{{ " + "(" * 20 + ".x" + ")" * 20 + " }}",
        "{{ if not .x }}" + "{{ else if not .x }}" * 100 + "{{ end }}",
    ],
)
def test_nesting_within_the_limit_renders(template: str) -> None:
    assert isinstance(render_text(template, {"x": "a"}), str)


def test_a_full_mebibyte_is_allowed() -> None:
    assert len(render_text("{{ .x }}", {"x": "a" * 1024 * 1024})) == 1024 * 1024


def test_a_pattern_cannot_make_matching_slow() -> None:
    assert render("{{ regexMatch '^(a+)+$' .x }}", {"x": "a" * 50_000 + "b"}) == "false"
