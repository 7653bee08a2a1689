"""JSON that a person, a file or another program wrote."""

import json
import sys
from functools import partial

from engine.domain.errors import InvalidInput
from engine.domain.shortened import shortened
from engine.domain.values import Json


def read_json(text: str, what: str) -> Json:
    """The value of a JSON text. Raises `InvalidInput` with `what`, the place or the value of the fault, and a remedy.

    NaN and infinities are read: `checked` refuses them with their path.
    """
    try:
        return json.loads(text, parse_int=partial(_whole_number, what=what))
    except json.JSONDecodeError as error:
        line = text.split("\n")[error.lineno - 1]  # the JSON parser counts lines like this
        near = f" near {shortened(line[max(0, error.colno - 21) :])}" if line else ""
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput(f"{what} is not JSON: {error.msg} at {where}{near}") from error
    except RecursionError as error:
        raise InvalidInput(f"{what} is not usable JSON: it is nested too deeply") from error


def _whole_number(digits: str, *, what: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        raise InvalidInput(
            f"{what} has the number {shortened(digits)} of {len(digits.lstrip('-')):,} digits; whole numbers have at "
            f"most {sys.get_int_max_str_digits():,}, so write it as a string"
        ) from error
