import pytest

from engine.kernel import RunCreate
from engine.testing import FakeClock
from tests.properties.rows import Rows, differences
from tests.properties.run_machine import StoreMachine
from tests.properties.test_runs_under_all_conditions import in_memory


def test_a_difference_names_table_row_and_columns() -> None:
    expected: Rows = {"runs": {"r": {"status": "RUNNING", "version": 1}, "s": {}}, "jobs": {}}
    found: Rows = {"runs": {"r": {"status": "FAILED", "version": 1.0}}, "jobs": {"j": {}}}
    assert differences(expected, found) == [
        "runs r: status is 'FAILED' instead of 'RUNNING', version is 1.0 instead of 1",
        "runs s: missing",
        "jobs j: not expected",
    ]


def test_a_store_with_another_clock_is_noticed() -> None:
    late = FakeClock()
    late.advance(1)
    machine = StoreMachine({"memory": in_memory, "late": lambda _clock: in_memory(late)})
    machine.begin([RunCreate(workflow_id="line", start=True)])
    with pytest.raises(AssertionError, match=r"step 1, create: late differs from memory\n  jobs .*: due_at is"):
        machine.stores_are_equal_and_sound()
