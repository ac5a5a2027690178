"""Cancels a run like ``recollect runs cancel`` does, and kills itself at the n-th event.

usage: cancel_driver.py PROJECT RUN_ID EVENT_NUMBER. Prints "survived" if there are fewer events.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from recollect.project.app import open_app
from recollect.project.users import load_project
from recollect.telemetry import Telemetry


async def main(root: Path, run_id: str, fatal: int) -> None:
    seen = 0

    def count(event: str, /, **labels: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    telemetry = Telemetry()
    telemetry.listen(count)
    async with open_app(load_project(root), telemetry=telemetry) as app:
        await app.cancel(run_id)
    print("survived")


asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
