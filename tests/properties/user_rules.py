from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from engine.domain.errors import EngineError
from engine.domain.lifecycle import ENDED_RUNS, RunStatus
from engine.kernel import ActorInput, AnnotationInput, RunCancel, RunCreate, RunRerunFrom
from tests.properties.behaviours import BIG, STAGE_IDS
from tests.properties.benches import Stores
from tests.properties.machine_state import MachineState, any_one, pick, seldom

MAX_RUNS = 3

inputs = st.sampled_from(["in", None, {"n": 1.5, "ü": [True, None, -0.0]}, BIG])
keys = st.sampled_from([None, None, "k1", "k2"])
annotations = st.sampled_from(
    [
        (),
        (AnnotationInput(attributes={"from": "caller", "n": 1}, actor=ActorInput(kind="user", id="u")),),
        (AnnotationInput(attributes={"keyed": None, "more": [1]}, idempotency_key="once", emit_event=True),) * 2,
    ]
)
creations = st.builds(
    RunCreate,
    workflow_id=st.sampled_from(["line", "wide", "waiting", "mixed"]),
    start=st.sampled_from([True, True, False]),
    input=inputs,
    idempotency_key=keys,
    annotations=annotations,
    priority=st.sampled_from([5, 5, 0, 9]),
    tenant=st.sampled_from([None, None, "t"]),
    metadata=st.sampled_from([None, {"old": 1}]),
)
notes = st.fixed_dictionaries(
    {
        "attributes": st.sampled_from([{"k": 1}, {"k": None}, {"k": {"a": [None]}, "keyed": "outside"}]),
        "idempotency_key": st.sampled_from([None, "once"]),
        "emit_event": st.booleans(),
    }
)


class UserRules(MachineState):
    def __init__(self, stores: Stores) -> None:
        super().__init__(stores)
        self.asked: list[RunCreate] = []

    @initialize(commands=st.lists(creations, min_size=1, max_size=2))
    def begin(self, commands: list[RunCreate]) -> None:
        for command in commands:
            self._create(command)

    @precondition(lambda self: len(self.runs) < MAX_RUNS)
    @rule(command=creations)
    def create(self, command: RunCreate) -> None:
        self._create(command)

    @precondition(lambda self: self.asked)
    @rule(which=any_one, is_other=st.booleans())
    def create_again(self, which: int, is_other: bool) -> None:
        """Under the same key, with the same content or another."""
        command = self.asked[which % len(self.asked)]
        self._create(command.model_copy(update={"input": "other"}) if is_other else command)

    def _create(self, command: RunCreate) -> None:
        self.know_key(command.type, command.idempotency_key, command.tenant)
        if command.idempotency_key is not None:
            self.asked.append(command)
        self.do("create", lambda bench: bench.dispatch(command))

    @precondition(lambda self: self.runs)
    @rule(which=any_one, is_meant=seldom, reason=st.sampled_from([None, "enough"]))
    def cancel(self, which: int, is_meant: bool, reason: str | None) -> None:
        if not is_meant:
            return
        command = RunCancel(workflow_run_id=self.run_id(which), reason=reason)
        answer = self.do_one("cancel", lambda bench: bench.dispatch(command))
        assert isinstance(answer, EngineError) or self.bench.run_of(self.run_id(which)).status in ENDED_RUNS

    @precondition(lambda self: self.has("runs", *ENDED_RUNS))
    @rule(
        which=any_one,
        of_ended=st.sampled_from([True, True, True, False]),
        stage_id=st.sampled_from(f"aaa{STAGE_IDS}z"),
        override=st.sampled_from([None, None, "other", BIG]),
        key=keys,
    )
    def rerun(self, which: int, of_ended: bool, stage_id: str, override: str | None, key: str | None) -> None:
        ended = {run_id: run for run_id, run in self.rows["runs"].items() if run.status in ENDED_RUNS}
        run = pick(ended if of_ended else self.rows["runs"], which)
        self.know_key("run.rerunFrom", key, run.tenant)
        command = RunRerunFrom(
            workflow_run_id=run.id, from_stage_id=stage_id, input_override=override, idempotency_key=key
        )
        answer = self.do_one("rerun", lambda bench: bench.dispatch(command))
        if not isinstance(answer, EngineError) and key is None:
            assert self.bench.run_of(run.id).status is RunStatus.RUNNING

    @precondition(lambda self: self.runs)
    @rule(which=any_one, note=notes)
    def attach(self, which: int, note: dict[str, Any]) -> None:
        self.do("attach", lambda bench: bench.annotations.attach(self.run_id(which), **note))
