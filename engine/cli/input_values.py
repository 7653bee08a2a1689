"""Parses `--input` and `--config` before anything is opened or written.

A value that is JSON, or begins like a JSON object, array or string, is JSON. `-` is standard input, which holds JSON.
Anything else names a file: the content of a `.json` file is the value; any other file stands for `{"path": …}` where
the workflow's input has a field `path`. A file whose name looks like JSON is written with `./` before it.

A run on another machine cannot read this machine's files: there a text file stands for
`{"content": …, "name": …}` if the input has these fields.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.errors import InvalidInput
from engine.domain.foreign_json import read_json
from engine.domain.shortened import shortened
from engine.domain.values import Json, checked

type AnyWorkflow = Workflow[Any, Any]
type OfFile = Callable[[Path], Json]
"""The value of a file that is not JSON; None when the input has no field for it."""

_BEGINS_LIKE_JSON = ("{", "[", '"')
_MOST_CONTENT = 4 * 2**20
"""Bytes. Lambda takes requests of 6 MB, and JSON makes text longer that has many line ends or is not ASCII."""


def run_input(given: str | None, workflow: AnyWorkflow, *, elsewhere: bool = False) -> Json:
    """The workflow's input in its stored form. `elsewhere`: the run is on another machine. Raises `InvalidInput`."""
    if given is None:
        return _default_input(workflow)
    value = _value_of(given, "--input", _sent(workflow) if elsewhere else _named(workflow))
    return workflow.validate_input(value)


def stage_input(given: str) -> Json:
    """The JSON input of one stage, which is validated when the stage runs. Raises `InvalidInput`."""
    return _value_of(given, "--input", _no_file)


def run_config(given: str | None, workflow: AnyWorkflow) -> dict[str, dict[str, Json]]:
    """The given options, validated against the workflow. Raises `InvalidInput`."""
    value = {} if given is None else _value_of(given, "--config", _no_file)
    if not isinstance(value, dict):
        raise InvalidInput(f"--config is {shortened(json.dumps(value))}; give an object with the options of each stage")
    workflow.validate_config(value)
    return value


def _default_input(workflow: AnyWorkflow) -> Json:
    try:
        return workflow.validate_input({})
    except InvalidInput as error:
        wanted = f"workflow {workflow.id!r} needs an input; give --input with a file, JSON, or - for standard input"
        raise InvalidInput(wanted, error.problems) from error


def _value_of(given: str, option: str, of_file: OfFile) -> Json:
    return checked(_read(given, option, of_file), option)


def _read(given: str, option: str, of_file: OfFile) -> Json:
    if given == "-":
        what = f"{option}: standard input"
        return read_json(_decoded(sys.stdin.buffer.read(), what), what)
    if _is_json(given):
        return read_json(given, option)
    return _from_file(given, option, of_file)


def _is_json(given: str) -> bool:
    """Whether it is, or begins like, JSON rather than a file's name."""
    if given.lstrip().startswith(_BEGINS_LIKE_JSON):
        return True
    try:
        json.loads(given, parse_int=str)  # a number of any length
    except ValueError:
        return False
    return True


def _from_file(given: str, option: str, of_file: OfFile) -> Json:
    path = _existing_file(given, option)
    if path.suffix.lower() == ".json":
        what = f"{option}: {shortened(given)}"
        return read_json(_text(path, option), what)
    value = of_file(path)
    if value is None:
        raise InvalidInput(
            f"{option}: {shortened(given)} is not a .json file, and no file of another kind is accepted here"
        )
    return value


def _existing_file(given: str, option: str) -> Path:
    try:
        path = Path(given).expanduser()
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError) as error:  # too long a name; a home folder of nobody
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(
            f"{option}: {shortened(given)} is not JSON, and no file can be read there: {reason}"
        ) from error
    if is_folder:
        raise InvalidInput(f"{option}: {shortened(given)} is a folder; name a file")
    if not exists:
        raise InvalidInput(f"{option}: there is no file {shortened(given)}, and it is not JSON either")
    return path


def _no_file(_path: Path) -> None:
    return None


def _named(workflow: AnyWorkflow) -> OfFile:
    return lambda path: {"path": _unicode(path.absolute())} if "path" in _fields(workflow) else None


def _sent(workflow: AnyWorkflow) -> OfFile:
    """The value of a file for another machine."""

    def value(path: Path) -> Json:
        fields = _fields(workflow)
        if "content" not in fields and "path" not in fields:
            return None
        if "content" not in fields or path.stat().st_size > _MOST_CONTENT:
            why = "it is more than 4 MiB" if "content" in fields else "its path does not exist there"
            raise InvalidInput(
                f"--input: {str(path)!r} cannot be sent to the stack: {why}; put it where the stack can read it, and"
                " give JSON that says where"
            )
        return {"content": _text(path, "--input"), **({"name": _unicode(Path(path.name))} if "name" in fields else {})}

    return value


def _fields(workflow: AnyWorkflow) -> Mapping[str, Json]:
    fields: Mapping[str, Json] = workflow.input_type.json_schema.get("properties", {})
    return fields


def _unicode(path: Path) -> str:
    """The path as text, which a run stores."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"--input: the name of {str(path)!r} is not UTF-8; rename it") from error
    return str(path)


def _text(path: Path, option: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{option}: cannot read {str(path)!r}: {error.strerror}") from error
    return _decoded(data, f"{option}: {str(path)!r}")


def _decoded(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fault = f"{error.reason} at byte {error.start + 1:,}"
        raise InvalidInput(f"{what} is not UTF-8 ({fault}); save it as UTF-8") from error
