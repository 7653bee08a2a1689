import math
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, Json, PlainSerializer, PlainValidator, computed_field

from engine import InvalidStageData, NoConfig, NoInput, Stage, StageContext, define_stage
from tests.unit.definition.samples import Document, ExtractConfig, Text, extract, numbered


class Report(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str = Field(alias="reportTitle")
    made_at: datetime
    price: Decimal
    raw: Json[list[int]] = Field(default_factory=list)

    @computed_field
    def length(self) -> int:
        return len(self.title)


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, ser_json_bytes="base64", val_json_bytes="base64")

    at: datetime
    pair: tuple[int, int]
    data: bytes


class Token:
    def __init__(self, text: str) -> None:
        self.text = text


type StoredToken = Annotated[
    Token,
    PlainValidator(lambda value: value if isinstance(value, Token) else Token(value)),
    PlainSerializer(lambda token: token.text),
]


def giving(declared: Any) -> Stage[Any, Any, NoConfig]:
    return define_stage(id="s", name="S", input=NoInput, output=declared, config=NoConfig, execute=lambda _: None)


def problem(call: Callable[[], object]) -> str:
    with pytest.raises(InvalidStageData) as caught:
        call()
    return str(caught.value)


def test_input_is_loaded_as_its_model() -> None:
    assert extract.validate_input({"url": "u"}) == Document(url="u")


def test_an_error_names_stage_role_every_field_and_the_value() -> None:
    text = problem(lambda: giving(list[Document]).validate_output([{"url": 1}, {}]))
    assert text == (
        "stage 's': its output does not fit list[tests.unit.definition.samples.Document]\n"
        "  - 0.url: Input should be a valid string (got 1)\n"
        "  - 1.url: Field required"
    )
    assert problem(lambda: extract.validate_input(3)).startswith("stage 'extract': its input does not fit Document")
    assert "its config does not fit ExtractConfig" in problem(lambda: extract.validate_config({"max_chars": "x"}))


def test_a_long_offending_value_is_shortened() -> None:
    line = problem(lambda: extract.validate_input({"url": list(range(10_000))})).splitlines()[1]
    assert "(got [0, 1, 2, 3, ...])" in line
    assert len(problem(lambda: extract.validate_input({"url": ["x" * 5000] * 4}))) < 250


def test_a_flood_of_problems_is_counted_not_listed() -> None:
    assert problem(lambda: giving(list[int]).validate_output(["x"] * 25)).endswith("  - … and 5 more")


def test_a_stage_without_input_ignores_what_it_is_given() -> None:
    assert numbered("one").takes_no_input
    assert numbered("one").validate_input({"anything": 1}) == NoInput()


def test_config_is_loaded_with_its_defaults() -> None:
    assert extract.validate_config({}) == ExtractConfig(max_chars=50_000)


def test_output_may_be_the_model_or_anything_it_accepts() -> None:
    assert extract.validate_output(Text(text="a")) == {"text": "a"}
    assert extract.validate_output({"text": "a"}) == {"text": "a"}


@pytest.mark.parametrize("value", [0, "", False, None, [], {}])
def test_falsy_outputs_are_outputs(value: object) -> None:
    assert giving(Any).validate_output(value) == value


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Report, Report(reportTitle="t", made_at=datetime(2026, 1, 2, tzinfo=UTC), price=Decimal("1.50"), raw="[1]")),
        (Strict, Strict(at=datetime(2026, 1, 2, tzinfo=UTC), pair=(1, 2), data=b"\xff\x00")),
        (dict[int, set[str]], {1: {"a"}}),
        (Path, Path("a/b")),
    ],
)
def test_what_is_stored_loads_again_as_what_it_was(declared: Any, value: Any) -> None:
    stage = giving(declared)
    stored = stage.validate_output(value)
    assert stage.load_output(stored) == value
    assert stage.validate_output(stage.load_output(stored)) == stored


def test_types_with_their_own_json_form_are_stored_in_it() -> None:
    stage = giving(StoredToken)
    assert stage.validate_output(Token("t")) == "t"
    assert stage.load_output("t").text == "t"


def test_a_model_made_without_validation_is_never_stored_raw() -> None:
    unchecked: Any = Text.model_construct
    raw = unchecked(text=5)
    assert "text: Input should be a valid string (got 5)" in problem(lambda: extract.validate_output(raw))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinities_are_refused_with_their_place(number: float) -> None:
    assert "(value): NaN and infinities cannot be stored" in problem(lambda: giving(float).validate_output(number))
    nested = {"scores": [1.0, {"deep": number}]}
    assert "scores.1.deep: NaN and infinities" in problem(lambda: giving(Any).validate_output(nested))


def test_text_that_postgresql_cannot_hold_is_refused_with_its_place() -> None:
    assert "text: text with the character U+0000 cannot be stored" in problem(
        lambda: extract.validate_output(Text(text="a\x00b"))
    )
    assert "U+0000" in problem(lambda: giving(bytes).validate_output(b"\x00"))


def test_values_without_a_json_form_are_refused() -> None:
    assert "Unable to serialize unknown type" in problem(lambda: giving(Any).validate_output(object()))
    assert "stage 's'" in problem(lambda: giving(bytes).validate_output(b"\xff"))


def test_schemas_are_json_schemas() -> None:
    assert extract.input_schema["required"] == ["url"]
    assert extract.output_schema["properties"]["text"]["type"] == "string"
    assert extract.config_schema["properties"]["max_chars"]["default"] == 50_000


def test_a_type_without_a_json_schema_has_an_empty_one() -> None:
    assert giving(StoredToken).output_schema == {}


def test_the_context_of_a_test_need_not_be_complete() -> None:
    assert StageContext.for_test(input=1).input == 1
