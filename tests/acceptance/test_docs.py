"""The documentation is executed, and names everything there is.

A page is read from top to bottom in a folder of its own. Its fenced blocks are one of these:

    ```yaml title="memory/talk.yaml"    a file (of any language), written into the folder
    ```console                          lines after `$` are commands, the others what they print;
                                        `…` stands for what varies, on a line of its own for lines.
                                        A line `^C` or `Killed` ends the command at that point
    ```sh                               setting up: run by sh, but `make` only says what it would do

Where a page says $DATABASE_URL, that leads to an empty schema of a PostgreSQL database.
Whatever is exported as OPENAI_*, requests go to the local stand-in for OpenAI.
"""

import asyncio
import io
import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest

from recollect.cli import main

if TYPE_CHECKING:
    from tests.fake_openai import FakeOpenAI

pytest_plugins = ["tests.servers.postgres_server"]

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("docs/**/*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
FENCE = re.compile(r'^```(\S+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
DRIVER = str(Path(__file__).with_name("ending_driver.py"))
ENDINGS = {"^C": signal.SIGINT, "Killed": signal.SIGKILL}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# ---- execution -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_everything_a_page_shows_is_so(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fake_openai: "FakeOpenAI",
    request: pytest.FixtureRequest,
) -> None:
    text = page.read_text(encoding="utf-8")
    shell = Shell(tmp_path, monkeypatch, fake_openai.base_url)
    if "$DATABASE_URL" in text:
        url = asyncio.run(empty_schema(request.getfixturevalue("postgres_url")))
        monkeypatch.setenv("DATABASE_URL", url)
    blocks = list(FENCE.finditer(text))
    assert 2 * len(blocks) == text.count("```"), (
        "a fence without a language, indented, or not closed"
    )
    for block in blocks:
        kind, title, body = block.groups()
        where = f"{name_of(page)}:{text.count(chr(10), 0, block.start()) + 1}"
        if title:
            shell.write(title, body)
        elif kind == "console":
            for command, shown in commands(body):
                printed = shell.run(command, shown)
                assert agree(shown, printed), f"{where}: $ {command}\n{printed}"
        elif kind == "sh":
            set_up(body)
        else:
            pytest.fail(f"{where}: a block of {kind} without a title is not executed")


async def empty_schema(url: str) -> str:
    """Make an empty place in a database; return the URL that leads there."""
    name = f"docs_{os.getpid()}"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
        await connection.execute(f"CREATE SCHEMA {name}")
    finally:
        await connection.close()
    return f"{url}{'&' if '?' in url else '?'}search_path={name}"


def commands(body: str) -> Iterator[tuple[str, str]]:
    """Split a console block into commands and what they should print."""
    assert body.startswith("$ "), body
    for part in body.removeprefix("$ ").split("\n$ "):
        lines = part.removesuffix("\n").split("\n")
        length = 1 + sum(1 for _ in itertools.takewhile(lambda line: line.endswith("\\"), lines))
        command = " ".join(line.removesuffix("\\").strip() for line in lines[:length])
        yield command, "".join(f"{line}\n" for line in lines[length:])


def agree(shown: str, printed: str) -> bool:
    """Compare line by line, blanks at their ends aside; `…` agrees with anything."""
    pattern = "".join(
        r"(?:.*\n)*"
        if line == "…"
        else ".*".join(map(re.escape, line.rstrip().split("…"))) + r" *\n"
        for line in shown.splitlines()
    )
    return re.fullmatch(pattern, printed) is not None


def set_up(body: str) -> None:
    subprocess.run(
        [
            "sh",
            "-ec",
            'make() { command make --dry-run "$@"; }\n' + body.replace(".venv", sys.prefix),
        ],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
    )


class Shell:
    """Runs the commands of one page; `recollect` in this process, where that is possible."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, base_url: str) -> None:
        self._base_url = base_url
        self._patch = monkeypatch
        self._exit_code = 0
        self._patch.chdir(folder)
        for name in os.environ:
            if name.startswith(("RECOLLECT_", "OPENAI_")):
                self._patch.delenv(name)
        self._patch.setenv("COLUMNS", "80")
        self._patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)

    def write(self, name: str, text: str) -> None:
        file = Path.cwd() / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run(self, command: str, shown: str) -> str:
        """Run one command; return what a terminal would show."""
        words = shlex.split(command, comments=True)
        for ending in ENDINGS:
            before, found, _ = shown.partition(f"{ending}\n")
            if found:
                return self._interrupted(words, before.count("\n"), ending)
        match words:
            case ["echo", "$?"]:
                return f"{self._exit_code}\n"
            case ["cd", folder]:
                self._patch.chdir(folder)
                return ""
            case ["export", pair]:
                return self._export(*pair.split("=", 1))
            case ["recollect", *args] if not ({"|", ">"} & set(words) or "$(" in command):
                return self._recollect([os.path.expandvars(arg) for arg in args])
        done = subprocess.run(
            command, shell=True, stdout=-1, stderr=subprocess.STDOUT, text=True, check=False
        )
        self._exit_code = done.returncode
        return done.stdout

    def _export(self, name: str, value: str) -> str:
        self._patch.setenv(name, value)
        if name.startswith("OPENAI_"):
            self._patch.setenv("OPENAI_BASE_URL", self._base_url)
        return ""

    def _recollect(self, args: list[str]) -> str:
        screen: list[str] = []
        with redirect_stdout(Terminal(screen)), redirect_stderr(Stream(screen)):
            self._exit_code = main(args)
        return "".join(screen)

    def _interrupted(self, words: list[str], lines: int, ending: str) -> str:
        """End a command once it has printed so many lines."""
        assert words[0] == "recollect"
        command = [sys.executable, DRIVER, str(lines), str(int(ENDINGS[ending])), *words[1:]]
        done = subprocess.run(command, stdout=-1, stderr=subprocess.STDOUT, text=True, check=False)
        self._exit_code = done.returncode
        printed = done.stdout.splitlines(keepends=True)
        return "".join([*printed[:lines], f"{ending}\n", *printed[lines:]])


class Stream(io.TextIOBase):
    """Writes to a screen."""

    def __init__(self, screen: list[str]) -> None:
        self._screen = screen

    def write(self, text: str) -> int:
        self._screen.append(text)
        return len(text)


class Terminal(Stream):
    """Says that a person reads it."""

    def isatty(self) -> bool:
        return True


# ---- completeness --------------------------------------------------------------------------------


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """What stands below a heading, up to the next one."""
    text = FENCE.sub("", read(page))
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no heading {heading!r}"
    return found[1]


def rows(text: str) -> dict[str, str]:
    """The tables of a text: name in the first column -> rest of the row."""
    found = re.findall(r"^\| `([^`]+)`[^|]*\|(.*)\|$", text, re.MULTILINE)
    assert len({name for name, _ in found}) == len(found), "a name has two rows"
    return dict(found)


def test_every_command_and_option_has_its_row() -> None:
    import typer

    from recollect.cli.commands import app

    tables = (
        section("docs/workflows.md", "The command line"),
        section("docs/memory-tasks.md", "From the command line"),
        section("docs/data.md", "From the command line"),
    )
    documented = {
        name: set(re.findall(r"`(--[a-z-]+)", row))
        for table in tables
        for name, row in rows(table).items()
    }
    assert documented == dict(options_of(typer.main.get_command(app), "recollect"))


def options_of(command: Any, name: str) -> Iterator[tuple[str, set[str]]]:
    if children := getattr(command, "commands", None):
        for child in children.values():
            yield from options_of(child, f"{name} {child.name}")
        return
    yield name, {opt for p in command.params for opt in p.opts if opt.startswith("--")}


TASK_FIELDS = ("workflows.md", "What every task has")
MODELS = {
    "Resource": ("memory-tasks.md", "The resource file"),
    "Flushing": ("memory-tasks.md", "`flushing`"),
    "EvictionPolicy": ("flushing.md", "`eviction_policy`"),
    "PriorityBlock": ("flushing.md", "`priority_blocks`"),
    "TokenAllocation": ("flushing.md", "`token_allocation`"),
    "Persistence": ("memory-tasks.md", "`persistence`"),
    "TokenProvider": ("memory-tasks.md", "`token_provider`"),
    "PrivacyPolicy": ("memory-tasks.md", "`privacy_policy`"),
    "Locking": ("memory-tasks.md", "`locking`"),
    "Cleanup": ("keys.md", "`cleanup`"),
    "CircuitBreaker": ("keys.md", "`circuit_breaker`"),
    "MemorySwitch": ("keys.md", "`memory`"),
    "MemoryTask": ("memory-tasks.md", "The memory task"),
    "ReadConfig": ("memory-tasks.md", "`read`"),
    "FlushConfig": ("memory-tasks.md", "`flush`"),
    "ClearConfig": ("memory-tasks.md", "`clear`"),
    "HealthConfig": ("memory-tasks.md", "`health`"),
    "StatsConfig": ("memory-tasks.md", "`stats`"),
    "ProjectFile": ("workflows.md", "The project file"),
    "Autoload": ("workflows.md", "`autoload`"),
    "WorkflowSource": ("workflows.md", "`workflows`"),
    "ModelEntry": ("workflows.md", "`models`"),
    "WorkflowFile": ("workflows.md", "A workflow file"),
    "WorkflowConfig": ("workflows.md", "`config` of a workflow"),
    "Task": TASK_FIELDS,
    "TaskType": TASK_FIELDS,
    "TaskConfig": ("workflows.md", "`config` of a task"),
    "RetryPolicy": ("workflows.md", "`retry_policy`"),
    "OnSuccess": ("workflows.md", "`on_success`"),
    "OnError": ("workflows.md", "`on_error`"),
    "BasicTask": ("workflows.md", "The basic task"),
    "PromptMessage": ("workflows.md", "`messages`"),
    "Agent": ("workflows.md", "Agents"),
    "MemoryReference": ("workflows.md", "`memories` of an agent"),
}


def models() -> dict[str, Any]:
    import recollect.project.users  # noqa: F401  # imports every model of a YAML file
    from recollect.memory.sections import Section

    found, waiting = {}, [Section]
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        found[model.__name__] = model
    return {name: model for name, model in found.items() if model is not Section}


def test_every_model_of_a_yaml_file_has_its_section() -> None:
    assert sorted(models()) == sorted(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_field_has_its_row(name: str) -> None:
    page, heading = MODELS[name]
    fields = {field.alias or key for key, field in models()[name].model_fields.items()}
    if name in {"MemoryTask", "BasicTask"}:
        fields -= set(rows(section("docs/workflows.md", TASK_FIELDS[1])))
    assert set(rows(section(f"docs/{page}", heading))) == fields


def test_every_error_has_its_row() -> None:
    from recollect.errors import RecollectError

    found, waiting = {}, [RecollectError]
    while waiting:
        error = waiting.pop()
        waiting += [
            child for child in error.__subclasses__() if child.__module__ == error.__module__
        ]
        found[error.__name__] = (error.code, "yes" if error.retryable else "no")
    documented = {
        name: tuple(cell.strip().strip("`") for cell in row.split("|")[:2])
        for name, row in rows(section("docs/workflows.md", "Errors")).items()
    }
    assert documented == found


def test_every_primitive_of_a_store_has_its_row() -> None:
    from recollect.stores.base import Store

    documented = rows(section("docs/store-contract.md", "The primitives"))
    assert set(documented) == set(Store.__abstractmethods__)


def test_every_make_target_has_its_row() -> None:
    targets = re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)
    documented = rows(section("CONTRIBUTING.md", "Commands"))
    assert {name.removeprefix("make ") for name in documented} == set(targets)


def test_every_folder_and_layer_of_the_house_has_its_paragraph() -> None:
    source = ROOT / "src" / "recollect"
    folders = {f.name for f in source.iterdir() if (f / "__init__.py").exists()}
    text = read("docs/architecture.md")
    assert folders == set(re.findall(r"^\*\*`(\w+)/`\*\*", text, re.MULTILINE))


# ---- references ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in (link for link in links if not re.match(r"[a-z]+:", link)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name_of(page)}: {link}"


def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_and_test_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path, test in re.findall(
        r"`((?:src|tests|docs|benchmarks|examples)/[\w./-]+)(?:::(\w+))?`", text
    ):
        file = ROOT / path
        assert file.exists(), f"{name_of(page)}: {path}"
        assert not test or re.search(
            rf"\b(def|class) {test}\b", file.read_text(encoding="utf-8")
        ), f"{name_of(page)}: {path}::{test}"
