"""``recollect export``, ``import``, ``erase`` and ``migrate``: what becomes of data as a whole."""

import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from recollect.cli.exits import EXIT_FAILED
from recollect.cli.options import AsJson, ProjectFolder, checked_text, load
from recollect.cli.output import on_terminal, print_json, say, say_notes
from recollect.errors import ConfigError

if TYPE_CHECKING:
    from recollect.memory.data.erasure import Receipt
    from recollect.project.app import App
    from recollect.project.data import WholeExtent
    from recollect.project.loading import Project

T = TypeVar("T")

_EVERY_SECONDS = 0.1

MemoryRefs = Annotated[
    list[str] | None,
    typer.Option("--memory", metavar="REF", help="Only this memory, as often as needed; else all."),
]
Namespaces = Annotated[
    list[str] | None,
    typer.Option("--namespace", metavar="NAME", help="A provider's key_prefix or table_name, too."),
]
DataFile = Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines, as export wrote them.")]


class Progress:
    """Counts on stderr while something long goes on; says nothing where nobody watches."""

    def __init__(self) -> None:
        from recollect.clock import SystemClock

        self._live = on_terminal()
        self._clock = SystemClock()
        self._shown = -_EVERY_SECONDS

    def __call__(self, conversations: int, messages: int) -> None:
        """Show how far it is."""
        now = self._clock.monotonic()
        if self._live and now - self._shown >= _EVERY_SECONDS:
            self._shown = now
            text = f"\r\x1b[2K  {_count(conversations, 'conversation')}, {messages:,} messages"
            print(text, end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave a clean line."""
        if self._live and self._shown >= 0:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _in_project(loaded: "Project", work: "Callable[[App, Progress], Awaitable[T]]") -> T:
    """Open the project, do something in it, close it."""
    import asyncio

    from recollect.project.app import open_app

    async def opened() -> T:
        async with open_app(loaded) as app:
            return await work(app, progress)

    progress = Progress()
    try:
        return asyncio.run(opened())
    finally:
        progress.end()


def _loaded(project: Path | None, *, as_json: bool) -> "Project":
    loaded = load(project, only_memories=True)
    if not as_json:
        say_notes(loaded)
    return loaded


# ---- export and import ---------------------------------------------------------------------------


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file; JSON Lines.")],
    memory: MemoryRefs = None,
    namespace: Namespaces = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="USER", help="Only what this user owns.")
    ] = None,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Write conversations to a file, archive included.

    Every record has a checksum.
    Others may go on writing. The file appears when it is whole.
    """
    from recollect.project.data import export_project, namespaces_of

    async def work(app: "App", progress: Progress) -> Any:
        names = namespaces_of(app, memory or [], _texts(namespace, "--namespace"))
        owner = None if user is None else checked_text(user, "--user")
        return await export_project(app, file, names, owner=owner, on_progress=progress)

    sums = _in_project(_loaded(project, as_json=as_json), work)
    shown = {
        "file": str(file),
        "conversations": sums.conversations,
        "messages": sums.messages,
        "archived": sums.archived,
        "damaged": sums.damaged,
    }
    _print(shown, as_json=as_json)
    if sums.damaged and not as_json:
        say(f"note: {_count(sums.damaged, 'message')} could not be read and are not in the file")
    return 0


def import_(
    file: DataFile,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and say what would be; store nothing.")
    ] = False,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Bring the conversations of a file into the project.

    The same file again changes nothing.
    What is there already is never overwritten. Exit code 1 says that something was kept so.
    """
    from recollect.project.data import import_project

    async def work(app: "App", progress: Progress) -> Any:
        return await import_project(app, file, dry_run=dry_run, on_progress=progress)

    done, unknown = _in_project(_loaded(project, as_json=as_json), work)
    _print({"file": str(file), "dry_run": dry_run, **asdict(done)}, as_json=as_json)
    if not as_json:
        for id_ in unknown:
            say(f"note: the project has no memory {id_!r}: no reference leads to what was imported")
        if done.kept:
            say(
                f"note: {_count(done.kept, 'conversation')} of the file are there with another "
                "content and were left as they are"
            )
    return EXIT_FAILED if done.kept else 0


# ---- erase ---------------------------------------------------------------------------------------


def erase(
    user: Annotated[
        str, typer.Option("--user", metavar="USER", help="Whose conversations and runs go.")
    ],
    prefix: Annotated[
        list[str] | None,
        typer.Option(
            "--prefix",
            metavar="TEXT",
            help="Keys that begin so are the user's, unless they are another's.",
        ),
    ] = None,
    namespace: Namespaces = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Remove everything of a user for good; print a receipt.

    What is left is looked for again before the receipt is given.
    Exit code 1 says that something of the user is still there: do it again.
    """
    from recollect.project.data import whole_extent

    checked_text(user, "--user")

    async def work(app: "App", progress: Progress) -> "tuple[WholeExtent, Receipt]":
        prefixes, others = _texts(prefix, "--prefix"), _texts(namespace, "--namespace")
        whole = await whole_extent(app, prefixes, others)
        if not yes:
            _confirm(user, await app.count_user(user, whole.extent), as_json=as_json)
        return whole, await app.erase_user(user, whole.extent)

    whole, receipt = _in_project(_loaded(project, as_json=as_json), work)
    if as_json:
        print_json(receipt.as_json())
    else:
        _print_receipt(receipt, asked_for_prefix=bool(prefix))
        _say_where(whole)
        say("complete" if receipt.is_complete else "recollect: not complete: erase again")
    return 0 if receipt.is_complete else EXIT_FAILED


def _confirm(user: str, found: dict[str, Any], *, as_json: bool) -> None:
    """Ask a person; refuse where nobody can answer.

    Raises:
        ConfigError: nobody can. Exit: the answer is no.
    """
    if as_json or not (sys.stdin and sys.stdin.isatty()):
        raise ConfigError("erase removes for good and cannot ask here: repeat with --yes")
    what = ", ".join(f"{number:,} {name}" for name, number in found.items())
    if not typer.confirm(f"Remove for good what is {user!r}'s: {what}?", err=True):
        say("nothing was removed")
        raise typer.Exit(EXIT_FAILED)


def _print_receipt(receipt: "Receipt", *, asked_for_prefix: bool) -> None:
    for name, number in receipt.removed.items():
        print(f"{name:>14}  {number:,}")
    verified = receipt.verified
    say(
        f"verified: {_count(verified.conversations, 'address')} and {_count(verified.walks, 'walk')} "
        f"read again, {verified.found:,} found; gone through {_count(receipt.rounds, 'time')}"
    )
    if receipt.medium:
        say(f"note: {receipt.medium}")
    if receipt.of_others:
        say(f"note: {receipt.of_others:,} under the prefix belong to other users and were left")
    if not receipt.removed["conversations"] and not asked_for_prefix:
        say(
            "note: memories in YAML name no owner, their keys do: --prefix takes how they begin, "
            "such as --prefix user:42"
        )


def _say_where(whole: "WholeExtent") -> None:
    if whole.former:
        say(f"note: looked in what is in YAML no more, too: {', '.join(whole.former)}")
    if whole.hiding:
        say(
            f"note: {', '.join(whole.hiding)} hides a part of --prefix: there it finds the key that it "
            "is, and none that goes on; name each whole key with a --prefix of its own"
        )


# ---- migrate -------------------------------------------------------------------------------------


def migrate(
    where: Annotated[
        str,
        typer.Argument(
            metavar="URL_OR_PROJECT", help="postgresql://…, or the folder of a project."
        ),
    ],
    table: Annotated[
        str, typer.Option("--table", metavar="NAME", help="The table; SCHEMA.NAME is allowed.")
    ] = "conversations",
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it; else only say what would be done.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Bring over a PostgreSQL table that another library made.

    Exit code 1 says that rows cannot be read; each is named.
    """
    import asyncio

    from recollect.memory.data import migration
    from recollect.stores.factory import seed_source

    url = where if "://" in where else load(Path(where), only_memories=True).store_url
    progress = Progress()

    async def work() -> migration.Survey:
        async with seed_source(url, table) as source:
            work = migration.migrate if apply else migration.survey
            return await work(source, table, on_progress=progress)

    try:
        found = asyncio.run(work())
    finally:
        progress.end()
    if found.state == "absent":
        raise ConfigError(
            f"there is no table {table!r} of that shape (conversation_id, user_id, messages, "
            "metadata) in this database: --table names another"
        )
    _print({"table": table, "applied": apply, **asdict(found)}, as_json=as_json)
    if not as_json:
        _say_migration(found, table, applied=apply)
    return EXIT_FAILED if found.unreadable_count else 0


def _say_migration(found: Any, table: str, *, applied: bool) -> None:
    if applied or found.state == "done":
        say(f"done: {table} is a view now, and {table}_before_recollect has the rows as they were")
    elif found.unreadable_count:
        say("recollect: rows that cannot be read stop a migration: mend or remove them first")
    else:
        say(
            f"nothing was changed. --apply renames the table to {table}_migrating, stores its rows as "
            f"conversations, compares them, renames it to {table}_before_recollect and makes the "
            f"view {table}. Stop what writes to it before"
        )


# ---- printing ------------------------------------------------------------------------------------


def _print(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        if isinstance(value, dict):
            for key, reason in value.items():
                print(f"{name:>16}  {key!r}: {reason}")
        elif isinstance(value, bool):
            print(f"{name:>16}  {'yes' if value else 'no'}")
        else:
            print(f"{name:>16}  {value:,}" if isinstance(value, int) else f"{name:>16}  {value}")


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _texts(values: list[str] | None, option: str) -> list[str]:
    return [checked_text(value, option) for value in values or ()]
