"""What is told about an operation that has just been done: numbers, never content or keys."""

from collections.abc import Mapping
from typing import Any

from recollect.memory.budget import held_tokens, limits_of
from recollect.memory.resource import Resource
from recollect.telemetry import Label

_NUMBERS: Mapping[str, str] = {
    "messages_added": "messages_stored",
    "messages_written": "messages_stored",
    "tokens_added": "tokens_stored",
    "messages_flushed": "messages_flushed",
    "tokens_freed": "tokens_freed",
    "redactions": "redactions",
    "dropped_by_policy": "dropped",
}
"""Field of an output -> label of the event."""


def measures(output: Mapping[str, Any], resource: Resource) -> dict[str, Label]:
    """Return the labels that ``memory.operation`` carries beside operation, status and seconds.

    ``held_tokens`` and ``max_tokens`` only where an output speaks of one conversation and the resource
    has a limit.
    """
    labels: dict[str, Label] = {
        label: output[field] for field, label in _NUMBERS.items() if output.get(field)
    }
    if output.get("dry_run"):
        labels.pop("messages_flushed", None)
        labels.pop("tokens_freed", None)
    if output["operation"] == "read":
        labels["messages_read"] = output.get("count", 0)
    limit = limits_of(resource).max_tokens
    if limit and "token_count" in output and output.get("key") is not None:
        labels["held_tokens"] = held_tokens(output["message_count"], output["token_count"])
        labels["max_tokens"] = limit
    return labels
