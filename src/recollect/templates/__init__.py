"""The template dialect of YAML files: Go's text/template with the Sprig functions in use.

Text and a scope go in, a value comes out. Knows nothing of memory, workflows or YAML, and never
evaluates what it prints. Only maps, lists, scalars and times are reachable from a template.
"""

from recollect.templates.functions.escapes import escape_key_part, escape_whole_key
from recollect.templates.template import (
    Template,
    is_template,
    parse,
    render,
    render_key,
    render_text,
    render_tree,
)

__all__ = [
    "Template",
    "escape_key_part",
    "escape_whole_key",
    "is_template",
    "parse",
    "render",
    "render_key",
    "render_text",
    "render_tree",
]
