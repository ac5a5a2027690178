"""A table of the seed's shape: refused on opening, shown, brought over, kept aside, seen as a view."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest
import pytest_asyncio

from recollect.errors import InvalidInput, MigrationNeeded
from recollect.memory.data.migration import Survey, migrate, survey
from recollect.messages import Message
from recollect.stores.factory import postgres_store, seed_source
from recollect.stores.postgres.seed_shape import SeedTable
from recollect.stores.postgres.seed_table import SeedSource
from recollect.stores.records import Conversation, ConversationId, NewRecord

pytest_plugins = ["tests.servers.postgres_server"]

SEED = """
CREATE TABLE talks (
    id SERIAL PRIMARY KEY,
    conversation_id VARCHAR(255) UNIQUE NOT NULL,
    user_id VARCHAR(255),
    messages JSONB NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);
CREATE INDEX idx_talks_user_id ON talks(user_id);
CREATE INDEX idx_talks_created_at ON talks(created_at);
"""
ORIGINAL = """
CREATE TABLE IF NOT EXISTS talks (
    conversation_id TEXT PRIMARY KEY, user_id TEXT, messages JSONB, metadata JSONB
);
"""
LATER = "2024-01-16T10:00:00+00:00"
NEXT_DAY = datetime(2024, 1, 16, 10, tzinfo=UTC)


@pytest_asyncio.fixture
async def database(postgres_url: str, postgres_schema: str) -> AsyncIterator[Any]:
    """A connection to the test's own schema."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"SET search_path TO {postgres_schema}")
    yield connection
    await connection.close()


@pytest.fixture
def table(postgres_schema: str) -> str:
    return f"{postgres_schema}.talks"


TALK = [
    {"role": "user", "content": "hällo 😀", "message_id": "msg_1"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "content": "42", "tool_call_id": "c1", "tool_calls": None, "unknown": 1},
]


async def fill_seed(database: Any) -> None:
    await database.execute(SEED)
    insert = (
        "INSERT INTO talks (conversation_id, user_id, messages, metadata, created_at, updated_at)"
    )
    for name, user, talk, metadata, day in (
        ("user-1:chat", "user-1", TALK, {"topic": "x", "none": None, "user_id": "user-1"}, 15),
        ("empty", None, [], None, 14),
        ("long 😀", "user-2", TALK * 300, {"total_messages": 3, "last_activity": LATER}, 12),
    ):
        await database.execute(
            f"{insert} VALUES ($1, $2, $3, $4, $5, $5)",
            *(name, user, json.dumps(talk), metadata and json.dumps(metadata)),
            datetime(2024, 1, day, tzinfo=UTC),
        )


async def migrated(url: str, table: str, *, apply: bool = True) -> Survey:
    async with seed_source(url, table) as source:
        return await (migrate if apply else survey)(source, table)


async def loaded(url: str, table: str, name: str) -> Conversation:
    async with postgres_store(url, table_name=table) as store:
        found = await store.load(ConversationId(table, name))
    assert found is not None
    return found


async def relations(database: Any, schema: str) -> dict[str, str]:
    rows = await database.fetch(
        "SELECT relname, relkind::text FROM pg_class WHERE relnamespace = to_regnamespace($1)"
        " AND relkind IN ('r', 'v')",
        schema,
    )
    return dict(rows)


@pytest.mark.parametrize("ddl", [SEED, ORIGINAL], ids=["seed", "original"])
async def test_opening_beside_such_a_table_is_refused(
    ddl: str, postgres_url: str, postgres_schema: str, table: str, database: Any
) -> None:
    await database.execute(ddl)
    with pytest.raises(MigrationNeeded, match="recollect migrate") as caught:
        await postgres_store(postgres_url, table_name=table).open()
    assert "postgres:" not in str(caught.value)
    assert await relations(database, postgres_schema) == {"talks": "r"}


async def test_a_table_of_another_shape_is_none_of_our_business(
    postgres_url: str, postgres_schema: str, table: str, database: Any
) -> None:
    await database.execute("CREATE TABLE talks (speaker TEXT, room INT)")
    async with postgres_store(postgres_url, table_name=table) as store:
        await store.append(ConversationId("n", "c"), [NewRecord(Message("user", "hi"))])
    assert (await relations(database, postgres_schema))["talks"] == "r"
    assert (await migrated(postgres_url, table)).state == "absent"
    assert (await relations(database, postgres_schema))["talks"] == "r"


async def test_a_dry_run_counts_and_changes_nothing(
    postgres_url: str, postgres_schema: str, table: str, database: Any
) -> None:
    await fill_seed(database)
    found = await migrated(postgres_url, table, apply=False)
    assert found == Survey(state="waiting", conversations=3, messages=903)
    assert await relations(database, postgres_schema) == {"talks": "r"}


async def test_a_table_of_the_seeds_shape_is_brought_over(
    postgres_url: str, postgres_schema: str, table: str, database: Any
) -> None:
    await fill_seed(database)
    before = await database.fetch("SELECT * FROM talks ORDER BY id")
    assert await migrated(postgres_url, table) == Survey(
        state="done", conversations=3, messages=903
    )
    talk = await loaded(postgres_url, table, "user-1:chat")
    assert [m.text for m in talk.messages] == ["hällo 😀", "", "42"]
    assert talk.messages[0].message_id == "msg_1"
    assert talk.messages[2].tool_call_id == "c1"
    assert talk.decoded_metadata() == {"topic": "x", "none": {"$value": None}}
    assert talk.head.owner == "user-1"
    assert talk.head.created_at == talk.head.updated_at == datetime(2024, 1, 15, tzinfo=UTC)
    assert {m.at for m in talk.messages} == {talk.head.created_at}
    long = await loaded(postgres_url, table, "long 😀")
    assert [m.text for m in long.messages] == ["hällo 😀", "", "42"] * 300
    assert long.head.updated_at == NEXT_DAY
    async with postgres_store(postgres_url, table_name=table) as store:
        page = await store.find(table, order="created")
    assert [head.conversation.id for head in page.heads] == ["long 😀", "empty", "user-1:chat"]
    kept = await database.fetch("SELECT * FROM talks_before_recollect ORDER BY id")
    assert kept == before
    found = await relations(database, postgres_schema)
    assert (found["talks"], "talks_migrating" in found) == ("v", False)


async def test_a_table_of_the_originals_shape_is_brought_over(
    postgres_url: str, table: str, database: Any
) -> None:
    await database.execute(ORIGINAL)
    metadata = {"created_at": "2024-01-15T09:00:00+00:00", "updated_at": LATER}
    insert = "INSERT INTO talks VALUES ($1, NULL, $2, $3)"
    await database.execute(insert, "dated", json.dumps(TALK), json.dumps(metadata))
    await database.execute(insert, "bare", None, None)
    before = datetime.now(UTC)
    found = await migrated(postgres_url, table)
    after = datetime.now(UTC)
    assert (found.conversations, found.messages) == (2, 3)
    dated = (await loaded(postgres_url, table, "dated")).head
    assert (dated.created_at.hour, dated.updated_at) == (9, NEXT_DAY)
    assert dated.created_at.date() == datetime(2024, 1, 15, tzinfo=UTC).date()
    bare = (await loaded(postgres_url, table, "bare")).head
    assert bare.message_count == 0
    minute = timedelta(minutes=1)  # the machine's clock may be set meanwhile
    assert before - minute < bare.created_at < after + minute


async def test_a_second_migration_has_nothing_to_do(
    postgres_url: str, table: str, database: Any
) -> None:
    await fill_seed(database)
    await migrated(postgres_url, table)
    heads = await database.fetch("SELECT * FROM talks_heads ORDER BY uid")
    assert (await migrated(postgres_url, table)).state == "done"
    assert await database.fetch("SELECT * FROM talks_heads ORDER BY uid") == heads


BAD_ROWS = {
    "messages": '{"role": "user"}',
    "message": "[1]",
    "role": '[{"role": "wizard", "content": "secret"}]',
    "no role": '[{"content": "secret"}]',
    "timestamp and metadata": '[{"role": "user", "content": "x", "metadata": "secret"}]',
    "number": '[{"role": "user", "content": "x", "metadata": {"n": 99999999999999999999}}]',
}


@pytest.mark.parametrize("text", BAD_ROWS.values(), ids=BAD_ROWS)
async def test_rows_that_cannot_be_read_stop_it_before_anything_is_changed(
    text: str, postgres_url: str, postgres_schema: str, table: str, database: Any
) -> None:
    await fill_seed(database)
    insert = "INSERT INTO talks (conversation_id, messages) VALUES ('bad', $1)"
    await database.execute(insert, text)
    found = await migrated(postgres_url, table, apply=False)
    assert (found.conversations, found.unreadable_count, list(found.unreadable)) == (3, 1, ["bad"])
    assert "secret" not in str(found)
    with pytest.raises(InvalidInput, match=r"'bad'.*nothing was changed"):
        await migrated(postgres_url, table)
    assert await relations(database, postgres_schema) == {"talks": "r"}


# ---- interrupted ---------------------------------------------------------------------------------

MIGRATE = """
import asyncio, os, signal, sys
from recollect.memory.data.migration import migrate
from recollect.stores.factory import seed_source
from recollect.stores.postgres.session import Session

statements = 0

async def main(url, table, kill_at):
    for name in ("in_transaction", "write_at_once"):
        def dying(inner):
            async def step(self, *args):
                global statements
                result = await inner(self, *args)
                statements += 1
                if statements == int(kill_at):
                    os.kill(os.getpid(), signal.SIGKILL)
                return result
            return step
        setattr(Session, name, dying(getattr(Session, name)))
    async with seed_source(url, table) as source:
        await migrate(source, table)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_migration_goes_on_and_doubles_nothing(
    postgres_url: str, postgres_schema: str, table: str, database: Any
) -> None:
    kill_at = 0
    killed = True
    while killed:  # after every step that changes anything
        kill_at += 1
        await database.execute(f"DROP SCHEMA {postgres_schema} CASCADE")
        await database.execute(f"CREATE SCHEMA {postgres_schema}")
        await fill_seed(database)
        command = [sys.executable, "-c", MIGRATE, postgres_url, table, str(kill_at)]
        code = subprocess.run(command, check=False).returncode
        assert code in {0, -signal.SIGKILL}
        killed = code != 0
        ended = (await relations(database, postgres_schema)).get("talks") == "v"
        if not ended:
            with pytest.raises(MigrationNeeded, match="begun"):
                await postgres_store(postgres_url, table_name=table).open()
        again = await migrated(postgres_url, table)
        assert again.state == "done"
        assert ended or (again.conversations, again.messages) == (3, 903)
        rows = await database.fetch(
            "SELECT conversation_id, jsonb_array_length(messages), metadata FROM talks ORDER BY 2, 1"
        )
        assert [tuple(row)[:2] for row in rows] == [
            ("empty", 0),
            ("user-1:chat", 3),
            ("long 😀", 900),
        ]
        assert not any("recollect.import" in row["metadata"] for row in rows)
        assert await database.fetchval("SELECT count(*) FROM talks_messages") == 903
    assert kill_at > 8


async def test_two_migrations_at_once_bring_everything_over_once(
    postgres_url: str, table: str, database: Any
) -> None:
    await fill_seed(database)
    done = await asyncio.gather(*(migrated(postgres_url, table) for _ in range(2)))
    assert {found.state for found in done} == {"done"}
    assert await database.fetchval("SELECT count(*) FROM talks_messages") == 903


async def test_a_table_that_another_migration_moves_away_is_found_where_it_is(
    postgres_url: str, table: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill_seed(database)
    real, is_moved = SeedSource.look, False

    async def look_and_let_another_move_it(source: SeedSource) -> SeedTable:
        nonlocal is_moved
        found = await real(source)
        if not is_moved:
            is_moved = True
            async with seed_source(postgres_url, table) as other:
                await other.begin()
        return found

    monkeypatch.setattr(SeedSource, "look", look_and_let_another_move_it)
    assert (await migrated(postgres_url, table)).state == "done"
    assert await database.fetchval("SELECT count(*) FROM talks_messages") == 903


async def test_a_table_made_anew_meanwhile_is_told_and_nothing_is_lost(
    postgres_url: str, table: str, database: Any
) -> None:
    await fill_seed(database)
    async with seed_source(postgres_url, table) as source:
        await source.begin()
        await database.execute(ORIGINAL)
    with pytest.raises(MigrationNeeded, match="anew"):
        await migrated(postgres_url, table)
    await database.execute("DROP TABLE talks")
    assert (await migrated(postgres_url, table)).conversations == 3


async def test_what_is_there_under_the_same_id_stops_it(
    postgres_url: str, table: str, database: Any
) -> None:
    async with postgres_store(postgres_url, table_name=table) as store:
        await store.append(ConversationId(table, "empty"), [NewRecord(Message("user", "mine"))])
    await database.execute("DROP VIEW talks")
    await fill_seed(database)
    with pytest.raises(MigrationNeeded, match="another conversation 'empty'"):
        await migrated(postgres_url, table)
    found = await database.fetchval("SELECT count(*) FROM talks_migrating")
    assert found == 3


# ---- the view ------------------------------------------------------------------------------------


async def test_a_new_database_shows_conversations_in_the_seeds_columns(
    postgres_url: str, table: str, database: Any
) -> None:
    nul, backslash = "a\0b", "\\u0000 \\\0 \\\\u0000"
    async with postgres_store(postgres_url, table_name=table) as store:
        here = ConversationId(table, "c 1")
        await store.append(
            here,
            [
                NewRecord(Message("user", nul, message_id="m1")),
                NewRecord(Message("user", backslash)),
            ],
            owner="ann",
            metadata={"topic": {"deep": [1, "x\0"]}, "na\0me\\000": "v", "ü": None},
        )
        await store.append(ConversationId(table, "empty"), [])
        written = await store.load(here, last=0)
    assert written is not None
    rows = await database.fetch("SELECT * FROM talks ORDER BY id")
    assert list(rows[0].keys()) == [
        *("id", "conversation_id", "user_id", "messages", "metadata", "created_at", "updated_at")
    ]
    first, second = (dict(row) for row in rows)
    assert (first["conversation_id"], first["user_id"]) == ("c 1", "ann")
    assert first["created_at"] == written.head.created_at
    assert first["updated_at"] == written.head.updated_at
    messages = json.loads(first["messages"])
    assert [m["content"] for m in messages] == ["a\ufffdb", "\\u0000 \\\ufffd \\\\u0000"]
    assert messages[0]["message_id"] == "m1"
    metadata = json.loads(first["metadata"])
    assert metadata == {"topic": {"deep": [1, "x\ufffd"]}, "name\\000": "v"}
    assert (second["messages"], second["metadata"], second["user_id"]) == ("[]", "{}", None)
    types = await database.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
        " WHERE attrelid = 'talks'::regclass AND attnum > 0"
    )
    assert dict(types)["messages"] == dict(types)["metadata"] == "jsonb"
    assert dict(types)["created_at"] == "timestamp with time zone"


async def test_what_has_expired_or_was_deleted_is_not_in_the_view(
    postgres_url: str, table: str, database: Any
) -> None:
    async with postgres_store(postgres_url, table_name=table) as store:
        await store.append(ConversationId("n", "short"), [], ttl=timedelta(microseconds=1))
        await store.append(ConversationId("n", "gone"), [])
        await store.delete(ConversationId("n", "gone"))
        await store.append(ConversationId("n", "there"), [], ttl=timedelta(days=1))
    assert await database.fetchval("SELECT array_agg(conversation_id) FROM talks") == ["there"]
