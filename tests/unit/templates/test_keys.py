"""Memory keys: no two values may meet in one key, and no value may select others."""

import pytest

from recollect.errors import TemplateMissingKey
from recollect.templates import render, render_key, render_text

SCOPE: dict[str, object] = {
    "x": "a:b",
    "star": "*",
    "brace": "{t}",
    "percent": "50%",
    "n": 7,
    "m": {"k": 1},
}


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("conv:{{.x}}:{{.n}}", "conv:a%3Ab:7"),
        ("user:{{.star}}", "user:%2A"),
        ("user:{{.brace}}", "user:%7Bt%7D"),
        ("user:{{.percent}}", "user:50%25"),
        ("user:{{ .x | upper }}", "user:A%3AB"),
        ("user:{{ .m }}", 'user:%7B"k"%3A1%7D'),
        ("{{.n}}{{.x}}", "7a%3Ab"),
        ("{{ if .x }}k:{{ .x }}{{ end }}", "k:a%3Ab"),
        (" {{ .x }}", " a%3Ab"),
    ],
)
def test_a_value_inside_a_key_is_escaped(template: str, key: str) -> None:
    assert render_key(template, SCOPE) == key


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{{ .x }}", "a:b"),
        ("{{ printf 'conv:%s' .x }}", "conv:a:b"),
        ("{{- .star -}}", "%2A"),
        ("{{ .brace }}", "%7Bt%7D"),
        ("{{ .percent }}", "50%"),
    ],
)
def test_one_expression_alone_keeps_its_colons_but_selects_nothing(template: str, key: str) -> None:
    assert render_key(template, SCOPE) == key


@pytest.mark.parametrize("template", ["user:*", "user:{a}:%3A", "{{ `x` }}:*", "*:{{ .n }}"])
def test_the_templates_own_text_is_not_escaped(template: str) -> None:
    assert render_key(template, SCOPE) == render_text(template, SCOPE)


def test_a_missing_path_in_a_key_is_an_error() -> None:
    with pytest.raises(TemplateMissingKey):
        render_key("user:{{ .user_id }}", SCOPE)


def test_key_safe_escapes_like_a_key() -> None:
    assert render("k:{{ keySafe .x }}{{ .star | keySafe }}", SCOPE) == "k:a%3Ab%2A"
