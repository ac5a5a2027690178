"""What the house promises about itself."""

import filecmp
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def loaded_by(statement: str) -> set[str]:
    """The top-level modules in a fresh interpreter after a statement."""
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_layers_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_library_with_sqlite_loads_no_optional_library() -> None:
    statement = "import recollect.messages, recollect.stores.sqlite, recollect.stores.in_memory"
    heavy = {"pydantic", "yaml", "dbos", "sqlalchemy", "typer", "rich", "re2", "tiktoken"}
    assert not heavy & loaded_by(statement)


def test_the_package_itself_loads_nothing() -> None:
    assert loaded_by("import recollect") == loaded_by("pass") | {"recollect"}


def test_every_public_name_is_there_and_none_loads_an_optional_library() -> None:
    statement = "from recollect import *; from recollect.memory import *"
    heavy = {"pydantic", "yaml", "dbos", "redis", "asyncpg", "pydantic_ai", "re2", "tiktoken"}
    assert not heavy & loaded_by(statement)


def test_looking_into_a_memory_loads_neither_the_engine_nor_models() -> None:
    statement = "import recollect.cli.commands, recollect.project.app"
    assert not {"dbos", "sqlalchemy", "pydantic_ai", "openai", "cel"} & loaded_by(statement)


def test_the_example_is_what_init_makes() -> None:
    template, example = ROOT / "src/recollect/project/template", ROOT / "examples/memory-workflow"
    names = ["recollect.yaml", "workflow.yaml", "memory/conversation.yaml"]
    assert filecmp.cmpfiles(template, example, names, shallow=False) == (names, [], [])


def test_row_67_ci_asks_for_the_coverage_of_memory_and_stores() -> None:
    """Row 67 of specs/memory.md §13: `make test` measures, prints, and fails below 85 %; CI calls it."""
    dry = subprocess.run(
        ["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    commands = [shlex.split(line) for line in dry.stdout.splitlines()]
    (tests,) = (words for words in commands if "pytest" in words)
    assert "--cov" in tests
    (report,) = (words for words in commands if words[1:4] == ["-m", "coverage", "report"])
    options = dict(word.partition("=")[::2] for word in report[4:])
    assert set(options) == {"--include", "--fail-under"}
    measured = {f"src/recollect/{part}/*" for part in ("memory", "stores")}
    assert set(options["--include"].split(",")) == measured
    assert float(options["--fail-under"]) >= 85
    assert commands.index(tests) < commands.index(report)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["coverage"]
    assert settings["run"]["source"] == ["recollect"]
    hidden = {"omit", "exclude_also", "exclude_lines"}
    assert not hidden & {*settings["run"], *settings["report"]}
    script = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert "set -euo pipefail" in script
    assert "make test" in script
