"""What `--input` and `--config` mean, decided before anything is opened or written.

A value that is JSON, or begins like a JSON object, array or string, is JSON. `-` is standard input, which holds JSON.
Anything else names a file: the content of a `.json` file is the value; any other file stands for `{"path": …}` where
the workflow's input has a field `path`. A file whose name looks like JSON is written with `./` before it.
"""

import json
import sys
from pathlib import Path
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.errors import InvalidInput
from engine.domain.stored_value import Json

type AnyWorkflow = Workflow[Any, Any]

_BEGINS_LIKE_JSON = ("{", "[", '"')
_SHOWN = 60


def run_input(given: str | None, workflow: AnyWorkflow) -> Json:
    """The workflow's input in its stored form. Raises `InvalidInput`."""
    if given is None:
        return _default_input(workflow)
    value = _value_of(given, "--input", workflow)
    return workflow.validate_input(value)


def refuse_for_stack(given: str | None, *, resume: bool, cloud: bool) -> None:
    """Raises `InvalidInput` for what `run --stack` cannot do: a file of this machine is not there."""
    if resume or cloud:
        raise InvalidInput("--stack runs where it is deployed; leave out --resume and --cloud")
    if given is None or given == "-" or given.lstrip().startswith(_BEGINS_LIKE_JSON):
        return
    if Path(given).suffix.lower() != ".json" and Path(given).expanduser().is_file():
        raise InvalidInput(f"--input: {given!r} is a file of this machine, which the stack cannot read; give JSON")


def stage_input(given: str) -> Json:
    """JSON for one stage, whose schema is checked when it runs. Raises `InvalidInput`."""
    return _value_of(given, "--input", None)


def run_config(given: str | None, workflow: AnyWorkflow) -> dict[str, dict[str, Json]]:
    """The options given, checked against the workflow. Raises `InvalidInput`."""
    value = {} if given is None else _value_of(given, "--config", None)
    if not isinstance(value, dict):
        raise InvalidInput(f"--config is {_brief(json.dumps(value))}; give an object with the options of each stage")
    workflow.validate_config(value)
    return value


def _default_input(workflow: AnyWorkflow) -> Json:
    try:
        return workflow.validate_input({})
    except InvalidInput as error:
        wanted = f"workflow {workflow.id!r} needs an input; give --input with a file, JSON, or - for standard input"
        raise InvalidInput(wanted, error.problems) from error


def _value_of(given: str, option: str, workflow: AnyWorkflow | None) -> Json:
    if given == "-":
        return _parsed(sys.stdin.read(), f"{option}: standard input")
    if given.lstrip().startswith(_BEGINS_LIKE_JSON):
        return _parsed(given, option)
    try:
        return json.loads(given)
    except ValueError:
        return _from_file(given, option, workflow)


def _from_file(given: str, option: str, workflow: AnyWorkflow | None) -> Json:
    path = Path(given).expanduser()
    if path.is_dir():
        raise InvalidInput(f"{option}: {given!r} is a folder; name a file")
    if not path.exists():
        raise InvalidInput(f"{option}: there is no file {given!r}, and it is not JSON either")
    if path.suffix.lower() == ".json":
        return _parsed(_text(path, option), f"{option}: {given!r}")
    if workflow is not None and "path" in workflow.input_type.json_schema.get("properties", {}):
        return {"path": str(path.absolute())}
    raise InvalidInput(f"{option}: {given!r} is not a .json file, and a file of another kind means nothing here")


def _text(path: Path, option: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not UTF-8 ({error})"
        raise InvalidInput(f"{option}: cannot read {str(path)!r}: {reason}") from error


def _parsed(text: str, what: str) -> Json:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1] if text.strip() else ""
        near = f" near {_brief(line[max(0, error.colno - 21) :])}" if line else ""
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput(f"{what} is not JSON: {error.msg} at {where}{near}") from error
    except RecursionError as error:
        raise InvalidInput(f"{what} is not usable JSON: it is nested too deeply") from error


def _brief(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")
