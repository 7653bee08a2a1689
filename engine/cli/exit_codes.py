"""Exit codes of the process, which scripts depend on, and the report of an error with its code."""

import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from typer import TyperException

from engine.cli.formats import json_text, printable
from engine.domain.errors import (
    DefinitionError,
    EngineError,
    InvalidInput,
    NotFound,
    SettingsError,
    StoreError,
)
from engine.domain.lifecycle import RunStatus


class ExitCode(IntEnum):
    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    NOT_REACHABLE = 4
    TIMEOUT = 5
    INTERRUPTED = 130


OF_STATUS: Mapping[RunStatus, ExitCode] = {
    RunStatus.COMPLETED: ExitCode.COMPLETED,
    RunStatus.FAILED: ExitCode.FAILED,
    RunStatus.CANCELLED: ExitCode.CANCELLED,
}
"""The exit codes of ended runs."""

USAGE = (InvalidInput, NotFound, SettingsError, DefinitionError)


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    message: str
    exit_code: int
    problems: tuple[str, ...] = ()


def failure_of(error: Exception) -> Failure:
    match error:
        case TyperException():
            return Failure("USAGE", error.format_message(), error.exit_code)
        case EngineError():
            return Failure(error.code, str(error), _exit_code(error), getattr(error, "problems", ()))
        case OSError():
            return Failure("IO_ERROR", _system_sentence(error), ExitCode.FAILED)
        case UnicodeEncodeError() if error.reason == "surrogates not allowed":
            message = f"{error.object!r} has bytes that are not UTF-8; write it in UTF-8"
            return Failure("INVALID_INPUT", message, ExitCode.USAGE)
        case _:
            message = f"something unexpected went wrong ({type(error).__name__}: {error}); --debug shows where"
            return Failure("INTERNAL_ERROR", message, ExitCode.FAILED)


def report(error: Exception, *, as_json: bool, debug: bool) -> int:
    """Prints the error. Gives the exit code."""
    failure = failure_of(error)
    if debug:
        sys.stderr.write(printable("".join(traceback.format_exception(error))))
    message = _LONG_WORD.sub(r"\1…\2", failure.message)
    if message:  # empty when no command was given: typer has printed the help
        sys.stderr.write(f"error: {printable(message)}\n")
    if as_json:
        sentence = message.splitlines()[0] if failure.problems else message
        document = {"code": failure.code, "message": sentence, "problems": failure.problems}
        sys.stdout.write(f"{json_text({'error': document}, indent=2)}\n")
    return failure.exit_code


_LONG_WORD = re.compile(r"(\S{60})\S{240,}?(['\"]?[;:,.)]?)(?=\s|$)")
"""Longer than a path: somebody's value, and the quote and stop after it."""


def _exit_code(error: EngineError) -> ExitCode:
    if isinstance(error, USAGE):
        return ExitCode.USAGE
    return ExitCode.NOT_REACHABLE if isinstance(error, StoreError) else ExitCode.FAILED


def _system_sentence(error: OSError) -> str:
    named = f"{error.filename!r}: " if error.filename is not None else ""
    return f"{named}{error.strerror or error}"
