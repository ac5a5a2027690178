"""A tool made of a function: its name, docstring and annotations are what the model sees."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints, overload

import msgspec

from recollect.agents.tools import NeedsApproval, ToolSchema
from recollect.errors import ConfigError, InvalidInput

_CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A tool that calls a function; made by ``function_tool``."""

    schema: ToolSchema
    function: Callable[..., Any]
    arguments: type[msgspec.Struct]
    takes_context: bool
    needs_approval: NeedsApproval = False
    timeout: float | None = None

    async def execute(self, args: dict[str, Any], context: Any) -> Any:
        """Check the arguments, convert them to what the function expects, and call it.

        A function that is not async runs in a thread, which goes on when its time is over.

        Raises:
            InvalidInput: the arguments do not fit; the text names the first that does not.
        """
        try:
            checked = msgspec.convert(args, self.arguments)
        except msgspec.ValidationError as error:
            raise InvalidInput(str(error)) from None
        given = {name: getattr(checked, name) for name in self.arguments.__struct_fields__}
        if self.takes_context:
            given[_CONTEXT] = context
        if inspect.iscoroutinefunction(self.function):
            return await self.function(**given)
        return await asyncio.to_thread(self.function, **given)


@overload
def function_tool(function: Callable[..., Any], /) -> FunctionTool: ...


@overload
def function_tool(
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: NeedsApproval = False,
    timeout: float | None = None,
) -> Callable[[Callable[..., Any]], FunctionTool]: ...


def function_tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: NeedsApproval = False,
    timeout: float | None = None,
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """Make a tool of a function; a decorator, with or without settings.

    A parameter named ``context`` is given the run's context and is not shown to the model.

    Args:
        function: async or not; every parameter can be given by name.
        name: instead of the function's own.
        description: instead of the first paragraph of its docstring.
        needs_approval: a person has to allow each call; or a function of the context and the arguments
            that says so.
        timeout: seconds; without it, the run's ``default_tool_timeout``.

    Raises:
        ConfigError: a parameter has no name of its own, or a type that JSON has no place for.
    """
    if function is None:
        return lambda f: _make(f, name, description, needs_approval, timeout)
    return _make(function, name, description, needs_approval, timeout)


def _make(
    function: Callable[..., Any],
    name: str | None,
    description: str | None,
    needs_approval: NeedsApproval,
    timeout: float | None,
) -> FunctionTool:
    name = name or function.__name__
    arguments = _arguments(function, name)
    schema = ToolSchema(
        name=name,
        description=description or (inspect.getdoc(function) or "").split("\n\n")[0],
        parameters=_json_schema(arguments, name),
    )
    takes_context = _CONTEXT in inspect.signature(function).parameters
    return FunctionTool(schema, function, arguments, takes_context, needs_approval, timeout)


def _arguments(function: Callable[..., Any], name: str) -> type[msgspec.Struct]:
    hints = get_type_hints(function)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise ConfigError(f"tool {name!r}: the parameter {parameter} cannot be given by name")
        if parameter.name == _CONTEXT:
            continue
        kind = hints.get(parameter.name, Any)
        if parameter.default is parameter.empty:
            fields.append((parameter.name, kind))
        else:
            fields.append((parameter.name, kind, _default(parameter.default)))
    return msgspec.defstruct(
        f"{name}_arguments", fields, kw_only=True, forbid_unknown_fields=True, module=__name__
    )


def _default(value: Any) -> Any:
    return msgspec.field(default_factory=lambda: value)


def _json_schema(arguments: type[msgspec.Struct], name: str) -> dict[str, Any]:
    try:
        _, parts = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    except TypeError as error:
        raise ConfigError(f"tool {name!r}: {error}") from None
    schema: dict[str, Any] = parts.pop(arguments.__name__)
    schema.pop("title", None)
    if parts:
        schema["$defs"] = parts
    return schema
