"""Memory switched off: of a whole project, or of one resource (specs/memory.md §1.8, §13 row 50).

Nothing is read or stored while it is off, and nothing that is stored is lost.
"""

from collections.abc import Mapping
from typing import Any, Literal

from recollect.errors import MemoryDisabled
from recollect.memory.operations import READ_CAP, Operation
from recollect.memory.resource import Resource
from recollect.memory.sections import Section

Json = dict[str, Any]

_NOTHING: Mapping[Operation, Json] = {
    "read": {
        "messages": [], "count": 0, "total_count": 0, "offset": 0, "limit": READ_CAP,
        "has_more": False,
    },
    "write": {"messages_written": 0, "replaced_count": 0},
    "append": {"messages_added": 0, "total_count": 0, "messages_flushed": 0},
    "delete": {"deleted": False},
    "flush": {"dry_run": False, "messages_flushed": 0, "remaining_messages": 0, "tokens_freed": 0},
    "health": {"healthy": True, "store_status": "disabled"},
    "clear": {"messages_cleared": 0, "backup_created": False},
    "stats": {"archived_count": 0, "utilization": None, "last_updated": None},
}  # fmt: skip


class MemorySwitch(Section):
    """The switch of a project.

    Attributes:
        enabled: False turns all memories off; files still load, workflows still run.
        when_disabled: what a use of a memory that is off does: ``skip`` does nothing and says so in
            the output, ``error`` fails with MEMORY_DISABLED.
    """

    enabled: bool = True
    when_disabled: Literal["skip", "error"] = "skip"

    def reason(self, resource: Resource) -> str | None:
        """Return why a memory is off; None if it is on."""
        if not self.enabled:
            return "memory is switched off for the project (memory: {enabled: false})"
        if not resource.enabled:
            return f"memory {resource.id!r} is switched off (enabled: false)"
        return None

    def check(self, resource: Resource) -> None:
        """Refuse a memory that is off.

        Raises:
            MemoryDisabled: it is.
        """
        if reason := self.reason(resource):
            raise MemoryDisabled(
                f"{reason}: switch it on to use it. Nothing was read or stored",
                memory_ref=resource.id,
            )

    def skipped(self, operation: Operation, resource: Resource, key: str | None) -> Json | None:
        """Return the output of an operation on a memory that is off; None if it is on.

        It has the fields that templates after it read, as of an empty conversation.

        Raises:
            MemoryDisabled: it is off, and that is to be an error.
        """
        reason = self.reason(resource)
        if reason is None:
            return None
        if self.when_disabled == "error":
            self.check(resource)
        return {
            "success": True,
            "skipped": True,
            "reason": reason,
            "operation": operation,
            "memory_ref": resource.id,
            "key": key,
            "message_count": 0,
            "token_count": 0,
            **_NOTHING[operation],
        }
