"""``recollect memory``: the eight operations on one conversation."""

from pathlib import Path
from typing import Annotated, Any

import typer

from recollect.cli.exits import EXIT_FAILED
from recollect.cli.options import AsJson, ProjectFolder, load, read_payload
from recollect.cli.output import print_json, print_memory, say, say_notes
from recollect.errors import InvalidInput, StoreError

app = typer.Typer(
    help="Read, write and manage the conversations of a memory.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Ref = Annotated[str, typer.Argument(metavar="REF", help="Id of the memory, as its YAML file says.")]
Key = Annotated[
    str,
    typer.Option("--key", "-k", metavar="KEY", help="Key of the conversation, such as user:42."),
]
Keys = Annotated[
    str,
    typer.Option("--key", "-k", metavar="KEY", help="Key; a * in it names several."),
]
MaxKeys = Annotated[
    int,
    typer.Option("--max-keys", metavar="N", min=1, max=50_000, help="How many a * may name."),
]
OptionalKey = Annotated[
    str | None,
    typer.Option("--key", "-k", metavar="KEY", help="One conversation; a * names several."),
]
Content = Annotated[
    str | None, typer.Argument(metavar="CONTENT", help="Text of one message; - reads stdin.")
]
RoleName = Annotated[
    str,
    typer.Option("--role", metavar="ROLE", help="Who says CONTENT."),
]
Payload = Annotated[
    str | None,
    typer.Option("--payload", metavar="JSON", help="A message {role, content} or a list of them."),
]
PayloadFile = Annotated[
    Path | None,
    typer.Option("--payload-file", metavar="FILE", help="The same from a JSON file; - is stdin."),
]
OnceKey = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key", metavar="ID", help="The same ID again changes nothing again."
    ),
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
    max_keys: int = 1_000,
) -> int:
    loaded = load(project, only_memories=True)
    if not as_json:
        say_notes(loaded)
    resource = loaded.registry.get(ref, used_by=f"memory {operation}")

    async def perform() -> dict[str, Any]:
        from recollect.project.app import open_app

        async with open_app(loaded) as opened:
            return await opened.memory(
                operation,
                ref,
                key,
                payload=payload,
                config=config,
                idempotency_key=once,
                wildcards=True,
                max_keys=max_keys,
            )

    import asyncio

    try:
        output = asyncio.run(perform())
    except StoreError as error:
        if operation != "health":
            raise
        output = _unhealthy(resource.id, key, error)
    (print_json if as_json else print_memory)(output)
    forgotten = resource.persistence.type == "in_memory" or loaded.store_url.startswith("memory:")
    if operation in {"write", "append"} and forgotten and not as_json:
        say("note: this memory lives in the process alone: now that the command ends, it is empty")
    return 0 if output["success"] and output.get("healthy", True) else EXIT_FAILED


def _unhealthy(ref: str, key: str | None, error: StoreError) -> dict[str, Any]:
    """A store that cannot even be opened is reported like one that fails later."""
    from recollect.memory.health import unhealthy

    about = {"success": True, "operation": "health", "memory_ref": ref, "key": key}
    return {**about, **unhealthy(error)}


@app.command()
def read(
    ref: Ref,
    key: Keys,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=1000, help="At most this many.")
    ] = None,
    offset: Annotated[
        int, typer.Option(metavar="N", min=0, max=2**31, help="Skip this many of the oldest.")
    ] = 0,
    last: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1000, help="The newest N instead.")
    ] = None,
    archive: Annotated[
        bool, typer.Option("--archive", help="What a flush, write or clear moved away.")
    ] = False,
    max_keys: MaxKeys = 1_000,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Show messages, oldest first.

    Without --limit these are all, but no more than the newest 1000.
    """
    if last is not None and (limit is not None or offset):
        raise InvalidInput("choose by --last, or by --limit and --offset, not by both")
    config: dict[str, Any] = {"offset": offset, "source": "archive" if archive else "live"}
    config |= {"limit": limit} if limit is not None else {}
    config |= {"last": last} if last is not None else {}
    return _perform("read", ref, key, project, as_json, config=config, max_keys=max_keys)


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
    """Replace all messages; the former go to the archive."""
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
    """Add messages after the existing ones."""
    messages = read_payload(content, payload, payload_file, role)
    return _perform("append", ref, key, project, as_json, payload=messages, once=idempotency_key)


@app.command()
def delete(
    ref: Ref,
    key: Keys,
    idempotency_key: OnceKey = None,
    max_keys: MaxKeys = 1_000,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Remove everything under the key, archive included."""
    return _perform("delete", ref, key, project, as_json, once=idempotency_key, max_keys=max_keys)


@app.command()
def flush(
    ref: Ref,
    key: Keys,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what would go, change nothing.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Flush even if no limit is near.")] = False,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="X", min=0, max=1, help="Share of a limit, if not the YAML's."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="simple_fifo, priority or hybrid_summary.",
        ),
    ] = None,
    idempotency_key: OnceKey = None,
    max_keys: MaxKeys = 1_000,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Move the oldest messages to the archive if it gets full."""
    config: dict[str, Any] = {"dry_run": dry_run, "force": force}
    config |= {"threshold": threshold} if threshold is not None else {}
    config |= {"strategy": strategy} if strategy is not None else {}
    return _perform(
        "flush", ref, key, project, as_json, config=config, once=idempotency_key, max_keys=max_keys
    )


@app.command()
def clear(
    ref: Ref,
    key: Keys,
    confirm: Annotated[bool, typer.Option("--confirm", help="Yes, remove all messages.")] = False,
    backup: Annotated[bool, typer.Option("--backup", help="Keep them in the archive.")] = False,
    idempotency_key: OnceKey = None,
    max_keys: MaxKeys = 1_000,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Remove all messages of a key; needs --confirm."""
    if not confirm:
        raise InvalidInput(
            "clear removes all messages: repeat with --confirm (and --backup to keep them in the "
            "archive)"
        )
    config = {"confirm": confirm, "backup": backup}
    return _perform(
        "clear", ref, key, project, as_json, config=config, once=idempotency_key, max_keys=max_keys
    )


@app.command()
def health(
    ref: Ref,
    key: OptionalKey = None,
    include_stats: Annotated[
        bool, typer.Option("--include-stats", help="Add totals over all keys.")
    ] = False,
    max_keys: MaxKeys = 1_000,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Tell whether the memory can be used.

    The exit code is 1 if not.
    """
    config = {"include_stats": include_stats}
    return _perform("health", ref, key, project, as_json, config=config, max_keys=max_keys)


@app.command()
def stats(
    ref: Ref,
    key: Keys,
    include_content: Annotated[
        bool, typer.Option("--include-content", help="Add the newest 100 messages.")
    ] = False,
    by_role: Annotated[bool, typer.Option("--by-role", help="Count messages by role.")] = False,
    no_prompt_cache: Annotated[
        bool,
        typer.Option("--no-prompt-cache", help="Leave out what takes reading all messages."),
    ] = False,
    max_keys: MaxKeys = 1_000,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Show counts, limits and times."""
    config: dict[str, Any] = {
        "include_content": include_content,
        "prompt_cache": not no_prompt_cache,
    }
    config |= {"group_by": "role"} if by_role else {}
    return _perform("stats", ref, key, project, as_json, config=config, max_keys=max_keys)
