"""What was measured, beside its target."""

import json
from typing import Any


class Report:
    """Rows of (name, what was measured, value, target), and whether each target is met."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.missed = 0

    def add(
        self,
        name: str,
        text: str,
        value: float,
        target: float,
        *,
        at_least: bool = False,
        unit: str = "x",
    ) -> None:
        """Add a row; ``unit`` x is that of a ratio."""
        met = value >= target if at_least else value <= target
        self.missed += not met
        goal = f"{'>=' if at_least else '<='} {target:g}{unit}"
        row = {"name": name, "text": text, "ratio": round(value, 3), "unit": unit, "met": met}
        self.rows.append({**row, "target": goal})

    def note(self, name: str, text: str) -> None:
        """Add a row without a target."""
        self.rows.append({"name": name, "text": text})

    def take(self, other: "Report") -> None:
        """Add the rows of another report."""
        self.rows += other.rows
        self.missed += other.missed

    def lines(self) -> list[str]:
        """Return the rows as text."""
        return [_line(row) for row in self.rows]

    def json(self, machine: str) -> str:
        """Return everything as one JSON document."""
        return json.dumps({"machine": machine, "missed": self.missed, "rows": self.rows})


def _line(row: dict[str, Any]) -> str:
    line = f"{row['name']:<47} {row['text']:<38}"
    if "ratio" in row:
        verdict = "ok" if row["met"] else "MISSED"
        value = f"{row['ratio']:.2f}{row['unit']}"
        line += f" {value:>9}  {row['target']:<10} {verdict}"
    return line.rstrip()


def us(value: float) -> str:
    """Return microseconds as text."""
    return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"
