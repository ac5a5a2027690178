"""What is kept of a run when it has ended, for ``runs show``."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from recollect.errors import PrivacyError, StoreError
from recollect.memory.privacy.recording import Recorder
from recollect.workflows.runs import RunEnd

Json = dict[str, Any]


def kept_of(end: RunEnd, recorder: Recorder, journals: Path) -> Json:
    """Return input, output, tasks, error and note of a run as its record may hold them.

    What was said in the run is in it as far as no privacy policy refuses it; if that cannot be told,
    not at all, and the note says so. May take as long as redaction does: seconds at worst.
    """
    outcome = cast("Json", end.outcome) if end.error is None else {}
    error = end.error or outcome.get("error")
    journaled = _journaled(end.run_id, journals)
    if not journaled:
        return _withheld(error, "its journal could not be read")
    try:
        return recorder.record(
            input_=cast("Json", end.request).get("input"),
            output=outcome.get("output"),
            tasks=outcome.get("tasks") or {},
            error=error,
            steps=journaled,
        )
    except PrivacyError:
        return _withheld(error, "redaction could not finish")


def _journaled(run_id: str, journals: Path) -> list[Any]:
    """Return all that the journal holds of a run, its input and the results of its steps."""
    from recollect.workflows.journal_file import contents_of  # noqa: PLC0415 - takes a while

    for file in journals.glob("*/journal.sqlite"):
        with suppress(StoreError):  # another process's may be damaged
            if found := [value for _, value in contents_of(file, run_id)]:
                return found
    return []


def _withheld(error: Mapping[str, Any] | None, why: str) -> Json:
    kept = error and {"code": error["code"], "message": f"not kept: {why}", "details": {}}
    return {"error": kept, "note": f"its input and outputs were not kept: {why}"}
