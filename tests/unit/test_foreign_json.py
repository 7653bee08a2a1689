"""Values that cannot be stored, and JSON that cannot be read, are named with their place and a remedy."""

import json
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from engine.definition.schemas import Misfit, Schema
from engine.domain.errors import InvalidInput
from engine.domain.foreign_json import read_json
from engine.domain.shortened import shortened
from engine.domain.values import Json, as_json, as_readable_json, checked, json_text, plain

LONGEST = 10**4300 - 1
TOO_LONG = 10**4300


class Counted(BaseModel):
    count: int = 0
    other: object = None


@pytest.mark.parametrize("number", [LONGEST, -LONGEST, True, 2**63], ids=["longest", "lowest", "true", "large"])
def test_a_number_that_python_writes_is_stored(number: int) -> None:
    assert json.loads(json_text(checked({"n": number}, "input"))) == {"n": number}
    assert as_json([number]) == [number]


@pytest.mark.parametrize("number", [TOO_LONG, -TOO_LONG], ids=["positive", "negative"])
def test_a_number_that_python_cannot_write_is_refused_with_its_path(number: int) -> None:
    with pytest.raises(InvalidInput) as error:
        checked({"parts": [{"n": number}]}, "input")
    assert str(error.value) == (
        "input.parts[0].n is a whole number of more than 4,300 digits, which cannot be stored; use a string"
    )
    with pytest.raises(ValueError, match=r"^parts\.0\.n: a whole number of more than 4,300 digits.*; use a string$"):
        as_json({"parts": [{"n": number}]})


def test_a_value_that_is_nested_too_deeply_is_refused() -> None:
    value: Json = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidInput, match="input is nested too deeply; use fewer levels"):
        checked(value, "input")


@pytest.mark.parametrize(
    "value", [{"count": TOO_LONG}, {"other": TOO_LONG}, Counted(count=TOO_LONG), Counted(other=[TOO_LONG])]
)
def test_a_schema_names_the_place_of_a_number_that_is_too_long(value: object) -> None:
    with pytest.raises(Misfit, match=r"^  - (count|other(\.0)?): a whole number of more than 4,300 digits"):
        Schema[Counted](Counted).accept(value)


@pytest.mark.parametrize("form", [plain, as_readable_json])
def test_a_log_says_that_a_number_is_too_long(form: Callable[[object], Json]) -> None:
    assert form(TOO_LONG) == "int with a whole number of more than 4,300 digits, which cannot be stored"
    assert form({"n": TOO_LONG}) == "dict with a whole number of more than 4,300 digits, which cannot be stored"


def test_a_message_can_name_a_number_that_is_too_long() -> None:
    assert shortened([TOO_LONG]) == "list with too long a number"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9" * 5000, f"it has the number '{'9' * 60}…' of 5,000 digits; whole numbers have at most 4,300"),
        (f'{{"n": -{"9" * 4301}}}', f"it has the number '-{'9' * 59}…' of 4,301 digits"),
        ("[" * 100_000, "it is not usable JSON: it is nested too deeply"),
        ('{\n"n":: 1}', "it is not JSON: Expecting value at line 2, column 5 near '\"n\":: 1}'"),
    ],
)
def test_json_that_cannot_be_read_is_named_in_one_short_sentence(text: str, expected: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read_json(text, "it")
    assert str(error.value).startswith(expected)
    assert len(str(error.value)) < 200


def test_a_number_as_long_as_python_writes_is_read() -> None:
    assert read_json(str(-LONGEST), "it") == -LONGEST
