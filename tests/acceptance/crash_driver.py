"""Runs a workflow like ``recollect run`` does, and kills itself at the n-th event of the run.

usage: crash_driver.py PROJECT WORKFLOW EVENT_NUMBER [EVENT_NAME]; with a name only events of that name
are counted. Prints "survived" if there are fewer events.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from recollect.project.app import open_app
from recollect.project.users import add_workflow_file, load_project
from recollect.telemetry import Telemetry


async def main(root: Path, file: Path, fatal: int, name: str | None = None) -> None:
    seen = 0

    def count(event: str, /, **labels: Any) -> None:
        nonlocal seen
        seen += name in {None, event}
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    telemetry = Telemetry()
    telemetry.listen(count)
    project = load_project(root)
    workflow = add_workflow_file(project, file).workflow
    async with open_app(project, mock_model=True, telemetry=telemetry) as app:
        await app.run(workflow, {"user_id": "u1", "text": "hello"}, on_found=print)
    print("survived")


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
