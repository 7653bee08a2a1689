"""A mismatch is only reported where pydantic indeed refuses the stored value."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    model_validator,
)

from engine.definition.compatibility import mismatches
from engine.definition.schemas import Misfit, Schema


class Small(BaseModel):
    text: str


class Large(BaseModel):
    text: str
    number: int = 0


class Needy(BaseModel):
    text: str
    more: str


class Nested(BaseModel):
    inner: Small


class NestedNeedy(BaseModel):
    inner: Needy


class OpenModel(BaseModel):
    model_config = ConfigDict(extra="allow")


class Reshaping(BaseModel):
    other: str

    @model_validator(mode="before")
    @classmethod
    def rename(cls, data: Any) -> Any:
        return {"other": data["text"]}


class Aliased(BaseModel):
    label: str = Field(validation_alias=AliasChoices("content", "text"))


class TextIsNumber(BaseModel):
    text: int


class Coercing(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)
    number: str


class NumberIsText(BaseModel):
    number: str


class Softened(BaseModel):
    number: Annotated[str, BeforeValidator(str)]


class WrittenAsText(BaseModel):
    number: Annotated[int, PlainSerializer(str)]


class Root(RootModel[list[int]]):
    pass


def found(given: Any, wanted: Any) -> list[str]:
    return list(mismatches(given, wanted))


@pytest.mark.parametrize(
    ("given", "wanted", "problem"),
    [
        (Small, Needy, "more is missing"),
        (Nested, NestedNeedy, "inner.more is missing"),
        (Small, TextIsNumber, "text is text but boolean or integer or number is needed"),
        (Large, NumberIsText, "number is integer but text is needed"),
        (int, Small, "the value is integer but object is needed"),
        (list[Small], Small, "the value is array but object is needed"),
        (Small, list[Small], "the value is object but array is needed"),
        (int | None, str, "the value is integer or null but text is needed"),
        ({"a": int}, Small, "text is missing"),
        ({"text": int}, Small, "text is integer but text is needed"),
    ],
)
def test_what_can_never_fit_is_named(given: Any, wanted: Any, problem: str) -> None:
    assert found(given, wanted) == [problem]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (Small, Small),
        (Large, Small),
        (Small, Large),
        (Small, Aliased),
        (Small, Reshaping),
        (OpenModel, Needy),
        (dict[str, Any], Needy),
        (Any, Needy),
        (Small, Any),
        (Large, Coercing),
        (Large, Softened),
        (WrittenAsText, NumberIsText),
        (list[int], Root),
        (Small | None, Small),
        ({"text": str, "other": int}, Small),
    ],
)
def test_what_might_fit_is_not_refused(given: Any, wanted: Any) -> None:
    assert found(given, wanted) == []


SAMPLES: dict[Any, list[Any]] = {
    str: ["", "a", "2026-01-02"],
    bytes: [b"a"],
    UUID: [UUID(int=1)],
    int: [0, 1, 7],
    float: [0.0, 1.0, 1.5],
    bool: [True, False],
    None: [None],
    list[int]: [[], [1]],
    tuple[int, ...]: [(), (1,)],
    set[int]: [set(), {1}],
    dict[str, int]: [{}, {"a": 1}],
    Decimal: [Decimal("1.5"), Decimal(1)],
    datetime: [datetime(2026, 1, 2, tzinfo=UTC)],
    date: [date(2026, 1, 2)],
    time: [time(1, 2)],
    timedelta: [timedelta(seconds=5)],
}
NUMBERS = (int, float, bool)


@pytest.mark.parametrize("given", SAMPLES, ids=str)
@pytest.mark.parametrize("wanted", SAMPLES, ids=str)
def test_refused_pairs_are_refused_by_pydantic_too(given: Any, wanted: Any) -> None:
    if not found(given, wanted) or (given is str and wanted in NUMBERS):
        return
    for sample in SAMPLES[given]:
        with pytest.raises(Misfit):
            Schema(wanted).load(Schema(given).store(sample))
