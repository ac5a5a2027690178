"""Whether a table of the seed's shape has the name that ours have (seed 004, the original's too)."""

import msgspec

from recollect.errors import MigrationNeeded
from recollect.stores.postgres.session import Session
from recollect.stores.postgres.statements import Statements

_COLUMNS = {"conversation_id", "user_id", "messages", "metadata"}


class SeedTable(msgspec.Struct, frozen=True):
    """What has the name ``T`` of the tables, and what migrations have left.

    Attributes:
        is_there: ``T`` is a table of the seed's shape.
        name_is_free: nothing has the name ``T``.
        is_begun: a migration moved it aside, and has not ended.
        was_done: a migration has ended before.
    """

    is_there: bool
    name_is_free: bool
    is_begun: bool
    was_done: bool


async def found_seed_table(session: Session, statements: Statements) -> SeedTable:
    """Look at the catalog."""
    row = await session.row("find_seed_table", **statements.seed_tables)
    is_table = row["kind"] in {"r", "p"}  # plain or partitioned
    return SeedTable(
        is_table and set(row["columns"]) >= _COLUMNS,
        row["kind"] is None,
        row["is_begun"],
        row["was_done"],
    )


async def refuse_seed_table(session: Session, statements: Statements, where: str) -> None:
    """Refuse to open beside conversations that nobody would see.

    Raises:
        MigrationNeeded: there is a table of the seed's shape, or one that was moved aside.
    """
    found = await found_seed_table(session, statements)
    if found.is_begun:
        raise MigrationNeeded(
            f"the migration of {statements.seed_tables['table']} in {where} was begun and did not "
            "end: do it again with `recollect migrate`, it goes on where it stopped"
        )
    if found.is_there:
        raise MigrationNeeded(
            f"{statements.seed_tables['table']} in {where} is a table of conversations that another "
            "library made: `recollect migrate` shows what is in it and brings it over"
        )
