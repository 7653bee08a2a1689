"""Modules and functions that fit on a screen. Ruff counts branches, returns and positional parameters."""

import statistics

from tests.architecture.source import ROOT, functions, length, modules

MODULE_LINES = 400
FUNCTION_LINES = 50
MEDIAN_FUNCTION_LINES = 10
NINE_IN_TEN_FUNCTION_LINES = 30


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {name: len((ROOT / name).read_text().splitlines()) for name in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_no_function_is_longer_than_50_lines() -> None:
    lengths = {where: length(function) for where, function in functions()}
    assert {where: lines for where, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_functions_are_short_as_a_rule() -> None:
    lengths = sorted(length(function) for _, function in functions())
    assert statistics.median(lengths) <= MEDIAN_FUNCTION_LINES
    assert lengths[len(lengths) * 9 // 10] <= NINE_IN_TEN_FUNCTION_LINES
