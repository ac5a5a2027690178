"""A project's conversations as a whole: to a file, from a file, and all of a user's."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from recollect.memory.data import transfer
from recollect.memory.data.erasure import Extent
from recollect.memory.data.export_format import Trailer
from recollect.memory.former import Remembered
from recollect.memory.keys import namespace_of
from recollect.memory.registry import MEMORIES
from recollect.project.app import App

_PARTS = 3  # of a namespace: tenant, project, resource


class Restored(NamedTuple):
    """What an import did; ``unknown`` are the memories of the file that the project does not have."""

    done: transfer.Imported
    unknown: list[str]


def namespaces_of(app: App, refs: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the namespaces of these memories and these others; without any, of all memories.

    Raises:
        MemoryResourceNotFound: there is no such memory.
    """
    known = app.memories.namespaces
    ids = [app.memories.registry.get(ref, used_by="--memory").id for ref in refs]
    chosen = [known[id_] for id_ in ids] if refs or others else list(known.values())
    return list(dict.fromkeys([*chosen, *others]))


class WholeExtent(NamedTuple):
    """Where an erasure has to look.

    Attributes:
        former: the memories that are in YAML no more.
        hiding: the memories in which a prefix finds only the key that it is, and none that goes on:
            their policy hides a part of it, and keeps the same in its place for everybody.
    """

    extent: Extent
    former: list[str]
    hiding: list[str]


async def whole_extent(app: App, prefixes: Sequence[str], others: Sequence[str]) -> WholeExtent:
    """Return the namespaces of all memories that ever kept something, and these others.

    Raises:
        StoreError: the store failed.
    """
    places = await app.memories.ever_used()
    former = sorted(places.keys() - app.memories.namespaces.keys())
    names = list(dict.fromkeys([*places.values(), *others]))
    kept = [app.memories.hidden_prefixes(prefix) for prefix in prefixes]
    stored = [text for hidden in kept for texts in hidden.values() for text in texts]
    hiding = sorted({id_ for hidden in kept for id_, texts in hidden.items() if len(texts) == 1})
    looked_for = list(dict.fromkeys([*prefixes, *stored]))
    return WholeExtent(Extent(namespaces=names, prefixes=looked_for), former, hiding)


async def export_project(
    app: App,
    path: Path,
    namespaces: Sequence[str],
    *,
    owner: str | None,
    on_progress: transfer.Progress,
) -> Trailer:
    """Write conversations to a new file; see ``transfer.export_file``."""
    return await transfer.export_file(
        app.memories.durable, path, namespaces, owner=owner, on_progress=on_progress
    )


async def import_project(
    app: App, path: Path, *, dry_run: bool, on_progress: transfer.Progress
) -> Restored:
    """Bring the conversations of a file into the project; see ``transfer.import_file``.

    Those of another project's memory go to the memory of the same id; other namespaces stay.
    """
    known = app.memories.namespaces
    header = await transfer.file_header(path)
    names: dict[str, str] = {}
    unknown: list[str] = []
    for namespace in header.namespaces:
        parts = [unquote(part) for part in namespace.split("/")]
        if len(parts) == _PARTS and namespace_of(parts[1], parts[2], parts[0]) == namespace:
            names[namespace] = namespace_of(app.memories.project_id, parts[2], parts[0])
            unknown += [parts[2]] if parts[2] not in known else []
            if not dry_run:
                place = namespace_of(app.memories.project_id, MEMORIES, parts[0])
                await Remembered(place).remember(app.memories.durable, parts[2])
    done = await transfer.import_file(
        app.memories.durable, path, namespaces=names, dry_run=dry_run, on_progress=on_progress
    )
    return Restored(done, unknown)
