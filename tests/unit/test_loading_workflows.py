"""The errors for a registry or workflow module that cannot be used."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import DefinitionError, SettingsError
from engine.bootstrap.registry import WorkflowRegistry

MODULE = "a_broken_workflow"
TARGET = f"{MODULE}:workflow"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / f"{MODULE}.py"
    sys.modules.pop(MODULE, None)


def _complaint(target: object) -> str:
    with pytest.raises(SettingsError) as raised:
        WorkflowRegistry({"broken": target}).get_workflow("broken")  # type: ignore[dict-item]  # what a user may write
    return str(raised.value)


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("def f(:\n", f"SyntaxError: invalid syntax ({MODULE}.py, line 1)"),
        ("import os\n1 / 0\n", f"{MODULE}.py:2"),
        ("import os\nos.nothing()\n", "AttributeError: module 'os' has no attribute 'nothing', at "),
        ("from engine import nothing\n", "ImportError: cannot import name 'nothing'"),
        ("import no_such_library\n", "No module named 'no_such_library'"),
        ("other = 1\n", f"module {MODULE} has no 'workflow'"),
        ("workflow = 1\n", "is not a workflow; end its definition with .build()"),
    ],
)
def test_a_module_that_cannot_be_used_is_named_with_the_cause(module: Path, source: str, cause: str) -> None:
    module.write_text(source)
    complaint = _complaint(TARGET)
    assert complaint.startswith("workflow 'broken': ")
    assert cause in complaint


def test_a_faulty_definition_says_what_is_wrong_with_it(module: Path) -> None:
    module.write_text("from engine import define_workflow\ndefine_workflow(id='broken', name='Broken').build()\n")
    with pytest.raises(DefinitionError, match="it has no stages"):
        WorkflowRegistry({"broken": TARGET}).get_workflow("broken")


@pytest.mark.parametrize("target", [MODULE, f"{MODULE}:", ":workflow", "", 5, None])
def test_a_target_of_another_form_is_refused(target: object) -> None:
    assert _complaint(target) == f"workflow 'broken': {target!r} is not of the form \"module:attribute\""
