"""The list of workflows."""

from importlib import import_module

import pytest

from functions.workflows.registry import WORKFLOWS


@pytest.mark.parametrize("workflow_id", WORKFLOWS)
def test_each_entry_names_a_workflow_of_that_id(workflow_id: str) -> None:
    module, attribute = WORKFLOWS[workflow_id].split(":")
    assert getattr(import_module(module), attribute).id == workflow_id
