"""Whose memories a project works with (issue 4, part 6; specs/memory.md §3.3)."""

import re

from recollect.errors import ConfigError
from recollect.memory.keys import DEFAULT_TENANT
from recollect.project.loading import Project

_TENANT = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def tenant_of(project: Project) -> str:
    """Return the tenant that the project file names; ``default`` without one.

    Raises:
        ConfigError: what its template gives cannot be one.
    """
    template = project.settings.tenant
    if template is None:
        return DEFAULT_TENANT
    from recollect.templates import render_text  # noqa: PLC0415 - few projects have tenants

    tenant = render_text(template, {"env": dict(project.env)})
    if not _TENANT.fullmatch(tenant):
        raise ConfigError(
            f"tenant is {tenant[:40]!r}: use letters, digits, _ . and - (at most 100, and neither . "
            "nor - first)",
            file=project.file,
            line=project.document.line_of(("tenant",)) if project.document else None,
        )
    return tenant
