"""Functions that a model may call."""

import asyncio
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import to_jsonable_python

from engine.ai.messages import ToolCall
from engine.domain.errors import DefinitionError
from engine.domain.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool. `run` takes the fields of `arguments` by name and may be async. The model gets its result as JSON."""

    name: str
    description: str
    arguments: type[BaseModel]
    run: Callable[..., Any]

    def schema(self) -> Json:
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self.arguments.model_json_schema(),
        }
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """The result of a tool call. `error`: the model's arguments did not fit; the model gets the reason."""

    call: ToolCall
    arguments: Json
    result: Json
    error: bool = False

    def message(self) -> dict[str, Any]:
        content = self.result if isinstance(self.result, str) else json.dumps(self.result, ensure_ascii=False)
        return {"role": "tool", "tool_call_id": self.call.id, "content": content}


def tool(function: Callable[..., Any]) -> Tool:
    """Makes a tool from a function's name, docstring and annotations. Raises `DefinitionError` when one is missing."""
    name = getattr(function, "__name__", "")
    hints = get_type_hints(function)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise DefinitionError(f"tool {name!r}: *{parameter.name} cannot be described to a model")
        if parameter.name not in hints:
            raise DefinitionError(f"tool {name!r}: annotate its parameter {parameter.name!r}")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    model = create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
    return Tool(name=name, description=inspect.getdoc(function) or "", arguments=model, run=function)


def as_tools(given: Sequence[Callable[..., Any] | Tool]) -> dict[str, Tool]:
    """The tools by name. Raises `DefinitionError` when two have the same name."""
    tools = [each if isinstance(each, Tool) else tool(each) for each in given]
    names = [each.name for each in tools]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DefinitionError(f"tools need names of their own; repeated: {', '.join(repeated)}")
    return dict(zip(names, tools, strict=True))


async def run_tool(call: ToolCall, tools: dict[str, Tool]) -> ToolResult:
    """Runs the tool that the model called. The model gets its own mistakes as results; the tool's errors are raised."""
    wanted = tools.get(call.name)
    if wanted is None:
        known = ", ".join(tools)
        return ToolResult(call=call, arguments=call.arguments, result=f"no tool {call.name!r}; use {known}", error=True)
    try:
        arguments = wanted.arguments.model_validate_json(call.arguments or "{}")
    except ValidationError as error:
        reason = f"the arguments do not fit: {error}"
        return ToolResult(call=call, arguments=call.arguments, result=reason, error=True)
    given = {name: getattr(arguments, name) for name in type(arguments).model_fields}
    result = await _called(partial(wanted.run, **given), wanted.run)
    return ToolResult(call=call, arguments=arguments.model_dump(mode="json"), result=to_jsonable_python(result))


async def _called(run: Callable[[], Any], function: Callable[..., Any]) -> object:
    if inspect.iscoroutinefunction(function):
        return await run()
    return await asyncio.to_thread(run)
