from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from engine.domain.ai_calls import AICallRecord, CallState, Cap, run_scope, stage_scope
from engine.domain.errors import BudgetExceeded, InvalidInput
from engine.domain.limits import TOPIC
from engine.ports.ai_call_logger import AICallLogger
from engine.ports.persistence import Persistence
from engine.testing.contracts.changes import insert
from engine.testing.contracts.rows import AT, a_stage
from engine.testing.contracts.store import StoreContract
from engine.testing.contracts.threads import together


def a_call(call_id: str, run_id: str = "r", **columns: Any) -> AICallRecord:
    """A reserved call of stage "a", bounded by a dollar and 100 tokens."""
    blank = AICallRecord(
        id=call_id,
        topic=stage_scope(run_id, "a"),
        call_type="text",
        model_key="m",
        state=CallState.RESERVED,
        created_at=AT,
        updated_at=AT,
        workflow_run_id=run_id,
        stage_record_id=f"{run_id}.a",
        stage_id="a",
        attempt=1,
        scope=stage_scope(run_id, "a"),
        reserved_cost=1.0,
        reserved_tokens=100,
        request_hash="h",
    )
    return replace(blank, **columns)


def settled(call: AICallRecord, **columns: Any) -> AICallRecord:
    known = {"state": CallState.SETTLED, "cost": 0.25, "input_tokens": 7, "output_tokens": 3}
    return replace(call, **{**known, **columns})


class AICallLoggerContract(StoreContract):
    """The contract of `AICallLogger`. A subclass provides the fixtures `persistence`, a store on `clock`, and `log`
    over it."""

    @pytest.fixture
    def log(self, persistence: Persistence) -> AICallLogger:
        raise NotImplementedError("give a fixture `log` that takes `persistence`")

    @pytest.fixture(autouse=True)
    def stage(self, store: Persistence) -> None:
        insert(store, a_stage("a"))
        insert(store, a_stage("a", "s"))

    def totals(self, store: Persistence) -> tuple[float, int, float, int]:
        run, stage = store.read(lambda tx: (tx.runs.get("r"), tx.stages.get("r.a")))
        return run.total_cost, run.total_tokens, stage.total_cost, stage.total_tokens

    def test_every_column_of_a_call_comes_back(self, store: Persistence, log: AICallLogger) -> None:
        call = settled(
            a_call("c", model_id="p/m", provider="p", batch_id="b", metadata={"x": [1]}, prompt=["hi"], response="yes"),
            cached_tokens=2,
            reasoning_tokens=1,
            duration_ms=12,
            error="no",
        )
        assert log.log_call(call)
        assert store.read(lambda tx: tx.ai_calls.find("c")) == call

    def test_a_settled_call_is_in_the_totals_of_stage_and_run_at_once(
        self, store: Persistence, log: AICallLogger
    ) -> None:
        log.reserve(a_call("c"), ())
        assert self.totals(store) == (0.0, 0, 0.0, 0)
        assert log.settle(settled(a_call("c")))
        assert self.totals(store) == (0.25, 10, 0.25, 10)
        assert not log.settle(settled(a_call("c")))
        assert self.totals(store) == (0.25, 10, 0.25, 10)

    def test_a_call_is_logged_once_for_each_id(self, store: Persistence, log: AICallLogger) -> None:
        assert log.log_call(settled(a_call("c")))
        assert not log.log_call(settled(a_call("c")))
        assert self.totals(store) == (0.25, 10, 0.25, 10)

    def test_a_cap_counts_what_is_spent_and_what_is_reserved(self, store: Persistence, log: AICallLogger) -> None:
        cap = Cap(scope=run_scope("r"), max_cost=2.25)
        log.reserve(a_call("1"), [cap])
        log.settle(settled(a_call("1")))
        log.reserve(a_call("2"), [cap])
        log.reserve(a_call("3"), [cap])
        with pytest.raises(BudgetExceeded, match=r"\$2.25"):
            log.reserve(a_call("4"), [cap])
        assert store.read(lambda tx: tx.ai_calls.find("4")) is None
        log.settle(settled(a_call("3"), cost=0.0))
        log.reserve(a_call("5"), [cap])

    @pytest.mark.parametrize("scope", [run_scope("r"), stage_scope("r", "a")])
    def test_a_refused_call_leaves_no_trace(self, log: AICallLogger, scope: str) -> None:
        cap = Cap(scope=scope, max_tokens=150)
        log.reserve(a_call("1"), [cap])
        with pytest.raises(BudgetExceeded):
            log.reserve(a_call("2"), [cap])
        log.settle(settled(a_call("1"), input_tokens=50, output_tokens=0))
        log.reserve(a_call("3"), [cap])

    def test_a_call_that_alone_passes_the_cap_is_refused_first_of_all(self, log: AICallLogger) -> None:
        with pytest.raises(BudgetExceeded):
            log.reserve(a_call("1"), [Cap(scope=stage_scope("r", "a"), max_cost=0.99)])

    def test_sums_that_floating_point_makes_a_little_larger_still_fit(self, log: AICallLogger) -> None:
        cap = Cap(scope=run_scope("r"), max_cost=0.3)
        for number in range(3):
            log.reserve(a_call(str(number), reserved_cost=0.1), [cap])

    def test_of_many_at_once_only_as_many_pass_as_the_cap_allows(self, store: Persistence, log: AICallLogger) -> None:
        cap = Cap(scope=run_scope("r"), max_cost=3.0)
        refused: list[str] = []

        def reserve(call_id: str) -> None:
            try:
                log.reserve(a_call(call_id), [cap])
            except BudgetExceeded:
                refused.append(call_id)

        together([partial(reserve, str(number)) for number in range(8)])
        assert len(refused) == 5
        assert len(store.read(lambda tx: tx.ai_calls.of_run("r"))) == 3

    def test_a_failure_whose_charge_is_unknown_goes_on_counting(self, log: AICallLogger) -> None:
        cap = Cap(scope=run_scope("r"), max_cost=1.5)
        log.reserve(a_call("1"), [cap])
        log.settle(replace(a_call("1"), state=CallState.FAILED))
        with pytest.raises(BudgetExceeded):
            log.reserve(a_call("2"), [cap])
        stats = log.get_stats("workflow.r")
        assert (stats.calls, stats.unknown, stats.unsettled_cost) == (1, 1, 1.0)

    def test_a_failure_that_was_free_gives_its_reservation_back(self, log: AICallLogger) -> None:
        cap = Cap(scope=run_scope("r"), max_cost=1.5)
        log.reserve(a_call("1"), [cap])
        log.settle(replace(a_call("1"), state=CallState.FAILED, cost=0.0))
        log.reserve(a_call("2"), [cap])

    def test_a_batch_is_recorded_once_and_in_place_of_its_reservation(
        self, store: Persistence, log: AICallLogger
    ) -> None:
        cap = Cap(scope=run_scope("r"), max_cost=1.5)
        log.reserve(a_call("b", call_type="batch"), [cap])
        log.name_batch("b", "batch-1")
        assert not log.is_recorded("batch-1")
        items = [settled(a_call(f"b.{number}", call_type="batch_item")) for number in range(2)]
        assert log.log_batch_results("batch-1", items)
        assert not log.log_batch_results("batch-1", items)
        assert log.is_recorded("batch-1")
        assert [call.id for call in log.batch_calls("batch-1")] == ["b", "b.0", "b.1"]
        assert self.totals(store) == (0.5, 20, 0.5, 20)
        log.reserve(a_call("next"), [cap])

    def test_a_batch_nobody_reserved_is_recorded_once_too(self, store: Persistence, log: AICallLogger) -> None:
        assert log.log_batch_results("batch-2", [settled(a_call("x"))])
        assert not log.log_batch_results("batch-2", [settled(a_call("y"))])
        assert self.totals(store) == (0.25, 10, 0.25, 10)

    @pytest.mark.parametrize("what", ["topic", "scope", "batch_id", "request_hash"])
    def test_a_text_that_no_index_holds_is_refused(self, log: AICallLogger, what: str) -> None:
        longest = "\U0001f9fe" * TOPIC
        log.reserve(a_call("longest", **{what: longest}), [])
        with pytest.raises(InvalidInput, match=f"^{what} .* has 501 characters; use at most 500"):
            log.reserve(a_call("too long", **{what: f"{longest}x"}), [])
        with pytest.raises(InvalidInput, match=f"^{what} "):
            log.log_call(settled(a_call("too long", **{what: f"{longest}x"})))

    def test_the_id_of_a_batch_is_limited(self, log: AICallLogger) -> None:
        longest = "\U0001f9fe" * TOPIC
        assert log.log_batch_results(longest, [settled(a_call("x"))])
        log.reserve(a_call("b", call_type="batch"), [])
        with pytest.raises(InvalidInput, match=r"^batch_id "):
            log.name_batch("b", f"{longest}x")
        with pytest.raises(InvalidInput, match=r"^batch_id "):
            log.log_batch_results(f"{longest}x", [settled(a_call("y"))])

    def test_stats_are_of_whole_segments(self, log: AICallLogger) -> None:
        outside: dict[str, Any] = {"workflow_run_id": None, "stage_id": None, "stage_record_id": None, "scope": None}
        for topic in ("workflow.1", "workflow.1.stage.a", "workflow.10", "workflow.1x.stage.a", "workflow"):
            log.log_call(settled(a_call(topic, topic=topic, **outside)))
        log.log_call(settled(a_call("u", topic="workflow.1.tool.t", model_key="free", cost=None, **outside), cost=None))
        stats = log.get_stats("workflow.1")
        assert (stats.calls, stats.tokens, stats.cost, stats.unknown) == (3, 30, 0.5, 1)
        assert {key: (each.calls, each.cost) for key, each in stats.models.items()} == {"m": (2, 0.5), "free": (1, 0.0)}
        assert log.get_stats("workflow").calls == 6
        assert log.get_stats("work").calls == 0

    def test_only_earlier_attempts_of_the_same_generation_answer_a_request(self, log: AICallLogger) -> None:
        again = a_call("now", attempt=3)
        different: dict[str, dict[str, Any]] = {
            "1": {"attempt": 1},
            "2": {"attempt": 2},
            "3": {"attempt": 3},
            "4": {"generation": 1},
            "5": {"request_hash": "other"},
            "6": {"stage_id": "b", "scope": stage_scope("r", "b")},
            "7": {"workflow_run_id": "s", "scope": stage_scope("s", "a")},
        }
        for call_id, columns in different.items():
            log.log_call(settled(a_call(call_id, **columns)))
        log.reserve(a_call("8"), ())
        log.reserve(a_call("9"), ())
        log.name_batch("9", "batch")
        assert [call.id for call in log.answered_before(again)] == ["1", "2", "9"]

    def test_the_calls_of_a_run_go_with_it(self, store: Persistence, log: AICallLogger) -> None:
        log.log_call(settled(a_call("c")))
        log.log_call(settled(a_call("d", "s")))
        store.transact(lambda tx: tx.runs.delete(["r"]))
        assert log.get_stats("workflow").calls == 1
        assert store.read(lambda tx: tx.ai_calls.spent("r")) == {}
