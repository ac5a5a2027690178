"""A run that is cancelled while it stores."""

import asyncio
from typing import Any

import pytest

from recollect import CompletedOutcome, run
from tests.agent_parts import ScriptedModel, SixMethods, config, lines, state


async def test_what_is_being_stored_is_stored_whole() -> None:
    storing, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(SixMethods):
        async def append_messages(self, *args: Any, **kwargs: Any) -> Any:
            storing.set()
            await goes_on.wait()
            return await super().append_messages(*args, **kwargs)

    provider = Slow()
    task = asyncio.create_task(run(state("a"), config(ScriptedModel(), provider=provider)))
    await storing.wait()
    task.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lines(provider.kept["c-1"]) == ["user: a", "assistant: reply 1"]
    again = await run(state("b"), config(ScriptedModel("c"), provider=provider))
    assert isinstance(again.outcome, CompletedOutcome)
    assert len(provider.kept["c-1"]) == 4


async def test_who_is_cancelled_twice_waits_no_longer() -> None:
    storing = asyncio.Event()

    class Hanging(SixMethods):
        async def append_messages(self, *args: Any, **kwargs: Any) -> Any:
            storing.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run(state("a"), config(ScriptedModel(), provider=Hanging())))
    await storing.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
