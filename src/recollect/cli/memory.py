"""``recollect memory``: the eight operations on one conversation."""

from pathlib import Path
from typing import Annotated, Any

import typer

from recollect.cli.options import AsJson, ProjectFolder, load, read_payload
from recollect.cli.output import print_json, print_memory, say

app = typer.Typer(
    help="Read, write and manage one memory: REF is the resource's id, --key the conversation's key.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Ref = Annotated[str, typer.Argument(metavar="REF", help="Id of the memory resource.")]
Key = Annotated[str, typer.Option("--key", "-k", metavar="KEY", help="Key of the conversation.")]
OptionalKey = Annotated[
    str | None, typer.Option("--key", "-k", metavar="KEY", help="Key; without it the whole store.")
]
Content = Annotated[
    str | None, typer.Argument(metavar="[CONTENT]", help="Text of one message; - reads stdin.")
]
RoleName = Annotated[str, typer.Option("--role", help="Role of CONTENT.")]
Payload = Annotated[
    str | None,
    typer.Option("--payload", metavar="JSON", help="A message {role, content} or a list of them."),
]
PayloadFile = Annotated[
    Path | None, typer.Option("--payload-file", metavar="FILE", help="The payload as a JSON file.")
]
OnceKey = Annotated[
    str | None,
    typer.Option("--idempotency-key", metavar="ID", help="Repeating with it takes effect once."),
]


def _perform(
    operation: str,
    ref: str,
    key: str | None,
    project: Path | None,
    as_json: bool,
    *,
    payload: Any = None,
    config: dict[str, Any] | None = None,
    once: str | None = None,
) -> int:
    loaded = load(project, only_memories=True)
    if not as_json:
        for note in loaded.notes:
            say(f"note: {note}")

    async def perform() -> dict[str, Any]:
        from recollect.project.app import open_app

        async with open_app(loaded) as opened:
            return await opened.memory(
                operation, ref, key, payload=payload, config=config, idempotency_key=once
            )

    import asyncio

    output = asyncio.run(perform())
    (print_json if as_json else print_memory)(output)
    return 0 if output.get("healthy", True) else 1


@app.command()
def read(
    ref: Ref,
    key: Key,
    limit: Annotated[int | None, typer.Option(help="At most this many (1-1000).")] = None,
    offset: Annotated[int, typer.Option(help="Skip this many of the oldest.")] = 0,
    last: Annotated[int | None, typer.Option(help="The newest ones instead.")] = None,
    archive: Annotated[bool, typer.Option("--archive", help="What was moved away.")] = False,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Show messages, oldest first; without --limit all, but no more than the newest 1000."""
    config: dict[str, Any] = {"offset": offset, "source": "archive" if archive else "live"}
    config |= {"limit": limit} if limit is not None else {}
    config |= {"last": last} if last is not None else {}
    return _perform("read", ref, key, project, as_json, config=config)


@app.command()
def write(
    ref: Ref,
    key: Key,
    content: Content = None,
    role: RoleName = "user",
    payload: Payload = None,
    payload_file: PayloadFile = None,
    idempotency_key: OnceKey = None,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Replace the content; what was there goes to the archive."""
    messages = read_payload(content, payload, payload_file, role)
    return _perform("write", ref, key, project, as_json, payload=messages, once=idempotency_key)


@app.command()
def append(
    ref: Ref,
    key: Key,
    content: Content = None,
    role: RoleName = "user",
    payload: Payload = None,
    payload_file: PayloadFile = None,
    idempotency_key: OnceKey = None,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Add messages after the existing ones, all or none."""
    messages = read_payload(content, payload, payload_file, role)
    return _perform("append", ref, key, project, as_json, payload=messages, once=idempotency_key)


@app.command()
def delete(
    ref: Ref,
    key: Key,
    idempotency_key: OnceKey = None,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Remove everything under the key, archive included."""
    return _perform("delete", ref, key, project, as_json, once=idempotency_key)


@app.command()
def flush(
    ref: Ref,
    key: Key,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report only.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Flush below the threshold too.")] = False,
    threshold: Annotated[float | None, typer.Option(help="Instead of the resource's, 0-1.")] = None,
    idempotency_key: OnceKey = None,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Move the oldest messages to the archive when a limit is near."""
    config: dict[str, Any] = {"dry_run": dry_run, "force": force}
    config |= {"threshold": threshold} if threshold is not None else {}
    return _perform("flush", ref, key, project, as_json, config=config, once=idempotency_key)


@app.command()
def clear(
    ref: Ref,
    key: Key,
    confirm: Annotated[bool, typer.Option("--confirm", help="Yes, remove all messages.")] = False,
    backup: Annotated[bool, typer.Option("--backup", help="Keep them in the archive.")] = False,
    idempotency_key: OnceKey = None,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Remove all messages but keep the conversation; needs --confirm."""
    config = {"confirm": confirm, "backup": backup}
    return _perform("clear", ref, key, project, as_json, config=config, once=idempotency_key)


@app.command()
def health(
    ref: Ref,
    key: OptionalKey = None,
    include_stats: Annotated[
        bool, typer.Option("--include-stats", help="Add totals over all keys.")
    ] = False,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Report whether the memory can be used; exit code 1 if not."""
    config = {"include_stats": include_stats}
    return _perform("health", ref, key, project, as_json, config=config)


@app.command()
def stats(
    ref: Ref,
    key: Key,
    include_content: Annotated[
        bool, typer.Option("--include-content", help="Add the newest 100 messages.")
    ] = False,
    by_role: Annotated[bool, typer.Option("--by-role", help="Count messages by role.")] = False,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Show counts, limits and times."""
    config: dict[str, Any] = {"include_content": include_content}
    config |= {"group_by": "role"} if by_role else {}
    return _perform("stats", ref, key, project, as_json, config=config)
