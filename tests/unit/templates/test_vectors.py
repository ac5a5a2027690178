"""Golden values: the shared vectors, and more that Go's own text/template with Sprig gave."""

import json
from pathlib import Path
from typing import Any

import pytest

from recollect.errors import TemplateError
from recollect.templates import render_text

HERE = Path(__file__).parent


def vectors(name: str) -> list[Any]:
    data, *rows = map(json.loads, (HERE / name).read_text(encoding="utf-8").splitlines())
    return [
        pytest.param(data["data"], row, id=f"{name}:{number} {row['template'][:40]}")
        for number, row in enumerate(rows, start=2)
    ]


@pytest.mark.parametrize(
    ("data", "row"), [*vectors("template_vectors.jsonl"), *vectors("go_vectors.jsonl")]
)
def test_a_template_gives_what_go_gives(data: dict[str, object], row: dict[str, Any]) -> None:
    """Row 30 of specs/memory.md section 13."""
    if row.get("error"):
        with pytest.raises(TemplateError):
            render_text(row["template"], data)
    else:
        assert render_text(row["template"], data) == row["out"]


def test_rendering_leaves_the_scope_as_it_was() -> None:
    data, *rows = map(json.loads, (HERE / "go_vectors.jsonl").read_text("utf-8").splitlines())
    before = json.dumps(data)
    for row in rows:
        if not row.get("error"):
            render_text(row["template"], data["data"])
    assert json.dumps(data) == before
