"""What holds for every text."""

import contextlib
import string

from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import TemplateError
from recollect.templates import render, render_key, render_text, render_tree

SCOPE: dict[str, object] = {
    "a": {"b": [1, "x", None]},
    "s": "text",
    "n": 3,
    "f": 2.5,
    "m": {"k": {}},
}
HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(["{{ .secret }}", "{{", "}}", "{{ end }}", "{{/*", "{{ env `HOME` }}", "%s%n"]),
)
WORDS = """
{{ }} {{- -}} ( ) [ ] | , . := = $ $x $x.b .a .a.b .a.b.0 .s .n .f .m .nope if else end range with
break continue define nil true 0 1 -1 2.5 'x' "y" `z` /* */ len index slice print printf eq lt and
or not default toJson fromJson list dict set merge date dateModify toDate now join splitList substr
trunc repeat wrap abbrev until int add div mod round first last rest keys pluck dig has uniq chunk
regexFind b64dec snakecase kindOf html ternary toString '%d' '%5.2f|%q' '2006-01-02' '+1h'
"""
PIECES = st.lists(
    st.one_of(st.sampled_from(WORDS.split()), st.text(alphabet=string.printable, max_size=4)),
    max_size=14,
).map(" ".join)


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_renders_to_itself(text: str) -> None:
    assert render(text, SCOPE) == text
    assert render_text(text, SCOPE) == text


@given(HOSTILE)
def test_data_come_back_verbatim_and_are_never_evaluated(value: str) -> None:
    scope = {"x": value, "secret": "s3cret", "l": [value]}
    assert render("{{ .x }}", scope) == value
    assert render("<{{ .x }}>", scope) == f"<{value}>"
    assert render("{{ range .l }}{{ . }}{{ end }}", scope) == value
    assert render("{{ print .x }}{{ printf `%s` .x }}", scope) == value + value
    assert render_tree({"c": ["{{ .x }}"]}, scope) == {"c": [value]}


@given(st.one_of(st.text(), PIECES, PIECES.map(lambda inside: "{{ " + inside + " }}")))
def test_any_text_renders_or_fails_as_a_template_error(template: str) -> None:
    with contextlib.suppress(TemplateError):
        render(template, SCOPE)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_different_values_never_meet_in_one_key(a: str, b: str, c: str, d: str) -> None:
    first = render_key("a:{{.x}}:{{.y}}", {"x": a, "y": b})
    second = render_key("a:{{.x}}:{{.y}}", {"x": c, "y": d})
    assert (first == second) is ((a, b) == (c, d))


@given(st.text(alphabet=":*%{}ab3A", max_size=6), st.text(alphabet=":*%{}ab3A", max_size=6))
def test_a_colon_in_a_value_cannot_move_the_border(a: str, b: str) -> None:
    key = render_key("a:{{.x}}:{{.y}}", {"x": a, "y": b})
    assert key.count(":") == 2
    assert not set("*{}") & set(key)
