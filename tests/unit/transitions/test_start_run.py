"""A run is created, started, annotated from outside, or run again from one of its stages."""

from dataclasses import replace
from typing import Any

import pytest

from engine.domain.ai_calls import Spent
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import AnnotationRecord, KeyRecord
from engine.domain.values import inline
from engine.ports.changes import Changes, Insert, Reason, Refused
from engine.testing.contracts.rows import a_key, a_run, an_annotation, an_event, at
from engine.transitions.facts import AnnotationDraft
from engine.transitions.snapshots import RunSnapshot
from engine.transitions.start_run import (
    Rerun,
    RunCreation,
    attach,
    create_run,
    next_generation,
    removed_by,
    rerun,
    start_run,
)
from tests.kernel.workflows import pipeline, stage
from tests.unit.transitions.deciding import (
    LOST,
    NOW,
    a_context,
    a_snapshot,
    after,
    condition_of_run,
    created,
    decided,
    job_in,
    last_event,
    stage_in,
    states,
    told,
    wide,
    with_job,
    with_stage,
)

TWO = wide("a", "b", then="last")
PENDING = a_run(status=RunStatus.PENDING, started_at=None)


def a_note(annotation_id: str, **columns: Any) -> AnnotationDraft:
    return AnnotationDraft(record=an_annotation(annotation_id, **columns), event=an_event())


class TestCreation:
    def test_a_run_that_starts_at_once_has_its_first_group(self) -> None:
        changes = create_run(RunCreation(run=a_run()), TWO, a_context())
        now = created(changes)
        assert (now.run.status, now.run.group_no, now.run.group_open, now.run.version) == (RunStatus.RUNNING, 1, 2, 1)
        assert (now.run.event_seq, now.run.last_event_at) == (2, at(10))
        assert states(now) == {"a": "PENDING PENDING", "b": "PENDING PENDING"}
        assert job_in(now, "a").due_at == NOW
        assert told(changes) == ["workflow:created", "workflow:started"]

    def test_a_run_that_waits_has_nothing_but_its_row(self) -> None:
        changes = create_run(RunCreation(run=PENDING), TWO, a_context())
        assert changes.writes == ()
        assert created(changes).run == replace(PENDING, event_seq=1, last_event_at=at(10))
        assert told(changes) == ["workflow:created"]

    def test_its_key_is_written_along_and_names_the_cause(self) -> None:
        changes = create_run(RunCreation(run=a_run(), key=a_key()), TWO, a_context())
        assert changes.inserted(KeyRecord) == (a_key(),)
        assert changes.causation_id == "k"
        # Whoever comes second under the key must fail: the key is no row to skip.
        assert not any(write.skip_existing for write in changes.writes if isinstance(write, Insert))

    def test_of_annotations_under_one_key_the_first_counts(self) -> None:
        notes = (a_note("1", idempotency_key="once"), a_note("2", idempotency_key="once"), a_note("3"))
        changes = create_run(RunCreation(run=PENDING, annotations=notes), TWO, a_context())
        assert [note.id for note in changes.inserted(AnnotationRecord)] == ["1", "3"]
        assert len(told(changes)) == 3
        assert told(changes)[-1] == "workflow:created"


class TestStart:
    def test_a_pending_run_gets_its_first_group(self) -> None:
        before = RunSnapshot(PENDING, [], [])
        changes = start_run(PENDING, TWO, a_context())
        now = after(before, changes)
        assert (now.run.status, now.run.started_at) == (RunStatus.RUNNING, at(10))
        assert (now.run.group_no, now.run.group_open, now.run.version) == (1, 2, 2)
        assert states(now) == {"a": "PENDING PENDING", "b": "PENDING PENDING"}
        assert (told(changes), condition_of_run(changes)) == (["workflow:started"], {"status": RunStatus.PENDING})

    def test_records_that_are_there_already_stay(self) -> None:
        whole = a_snapshot(TWO, run={"status": RunStatus.PENDING, "group_no": 0}, a=LOST)
        now = after(whole, start_run(whole.run, TWO, a_context(), whole=whole))
        assert states(now) == {"a": "PENDING PENDING", "b": "PENDING PENDING"}
        assert stage_in(now, "a").id == "r.a"

    @pytest.mark.parametrize("status", sorted(set(RunStatus) - {RunStatus.PENDING}))
    def test_only_a_pending_run_starts(self, status: RunStatus) -> None:
        assert start_run(a_run(status=status), TWO, a_context()) == Refused(Reason.GHOST)


class TestRerun:
    WORKFLOW = pipeline(stage("first"), [stage("a"), stage("b")], stage("last"))

    def ended(self, **run: Any) -> RunSnapshot:
        columns = {
            "status": RunStatus.FAILED,
            "output": inline(1),
            "completed_at": at(9),
            "duration_ms": 9000,
            "failure_code": "X",
            "failure_message": "x",
            "total_cost": 1.5,
            "total_tokens": 7,
            **run,
        }
        return a_snapshot(self.WORKFLOW, run=columns, first="COMPLETED", a="COMPLETED", b="FAILED")

    def rerun(self, before: RunSnapshot, **fields: Any) -> Changes | Refused:
        fact = Rerun(**{"from_stage_id": "a", "group_no": 2, **fields})
        return rerun(before, fact, self.WORKFLOW, a_context(spent={"a": Spent(0.5, 3)}))

    def test_the_stages_of_the_group_and_after_it_are_replaced(self) -> None:
        now = after(self.ended(), self.rerun(self.ended()))
        assert states(now) == {"first": "COMPLETED COMPLETED", "a": "PENDING PENDING", "b": "PENDING PENDING"}
        assert [record.generation for record in now.stages] == [0, 1, 1]
        assert not {"r.a", "r.b"} & {record.id for record in now.stages}
        assert (stage_in(now, "a").total_cost, stage_in(now, "a").output_data) == (0.5, None)

    def test_the_run_is_as_if_it_had_come_to_that_group(self) -> None:
        changes = self.rerun(self.ended())
        run = after(self.ended(), changes).run
        assert (run.status, run.group_no, run.group_open, run.version) == (RunStatus.RUNNING, 2, 2, 2)
        assert (run.output, run.started_at, run.completed_at, run.duration_ms) == (None, at(10), None, None)
        assert (run.failure_code, run.failure_message) == (None, None)
        assert (told(changes), last_event(changes)["from_stage_id"]) == (["workflow:started"], "a")

    def test_jobs_of_the_old_records_never_run(self) -> None:
        before = with_job(self.ended(), "b", status=JobStatus.PENDING)
        now = after(before, self.rerun(before))
        assert {job.id: job.status for job in now.jobs[:3]} == {
            "r.first.job": JobStatus.COMPLETED,
            "r.a.job": JobStatus.COMPLETED,
            "r.b.job": JobStatus.CANCELLED,
        }

    def test_the_next_generation_is_above_all_that_are_removed(self) -> None:
        before = with_stage(self.ended(), "b", generation=4)
        assert next_generation(removed_by(before, 2)) == 5
        assert next_generation(removed_by(before, 4)) == 0
        assert [record.stage_id for record in removed_by(before, 1)] == ["first", "a", "b"]
        assert stage_in(after(before, self.rerun(before)), "a").generation == 5

    def test_only_the_stage_it_starts_from_gets_another_input(self) -> None:
        now = after(self.ended(), self.rerun(self.ended(), input_data=inline("other")))
        assert (stage_in(now, "a").input_data, stage_in(now, "b").input_data) == (inline("other"), None)

    def test_it_can_start_from_a_group_the_run_never_reached(self) -> None:
        before = with_stage(self.ended(), "b", status=StageStatus.COMPLETED)
        now = after(before, self.rerun(before, from_stage_id="last", group_no=3))
        assert states(now)["last"] == "PENDING PENDING"
        assert [stage.id for stage in now.stages[:3]] == ["r.first", "r.a", "r.b"]

    def test_its_key_is_written_along_and_names_the_cause(self) -> None:
        changes = decided(self.rerun(self.ended(), key=a_key()))
        assert (changes.inserted(KeyRecord), changes.causation_id) == ((a_key(),), "k")

    @pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED])
    def test_a_run_that_has_ended_runs_again_as_it_was_read(self, status: RunStatus) -> None:
        changes = self.rerun(self.ended(status=status, version=3))
        assert condition_of_run(changes) == {"status": status, "version": 3}

    @pytest.mark.parametrize("status", [RunStatus.PENDING, RunStatus.RUNNING])
    def test_a_run_that_has_not_ended_does_not_run_again(self, status: RunStatus) -> None:
        assert self.rerun(self.ended(status=status)) == Refused(Reason.GHOST)

    def test_nothing_is_claimed_along(self) -> None:
        now = after(self.ended(), self.rerun(self.ended()))
        new = [record for record in now.stages if record.generation]
        assert {record.status for record in new} == {StageStatus.PENDING}


class TestAttaching:
    def test_annotations_with_events_take_their_numbers_from_the_run(self) -> None:
        changes = decided(attach(a_run(), (a_note("1"), a_note("2")), frozenset(), at(5)))
        assert [note.id for note in changes.inserted(AnnotationRecord)] == ["1", "2"]
        assert len(changes.events) == 2
        assert after(RunSnapshot(a_run(), [], []), changes).run == a_run(event_seq=2, last_event_at=at(5))

    def test_annotations_without_events_do_not_write_the_run(self) -> None:
        changes = decided(attach(a_run(), (AnnotationDraft(record=an_annotation("1")),), frozenset(), at(5)))
        assert (changes.run, changes.events, changes.at) == (None, (), at(5))

    def test_repeats_and_their_events_go(self) -> None:
        again = (a_note("1", idempotency_key="once"), a_note("2", idempotency_key="other"), a_note("3"))
        changes = decided(attach(a_run(), again, frozenset({("k", "once")}), at(5)))
        assert [note.id for note in changes.inserted(AnnotationRecord)] == ["2", "3"]
        assert len(changes.events) == 2

    def test_nothing_but_repeats_is_refused_as_one(self) -> None:
        again = (a_note("1", idempotency_key="once"),)
        assert attach(a_run(), again, frozenset({("k", "once")}), at(5)) == Refused(Reason.REPEAT)

    @pytest.mark.parametrize("status", RunStatus)
    def test_a_run_in_any_state_can_be_annotated(self, status: RunStatus) -> None:
        assert isinstance(attach(a_run(status=status), (a_note("1"),), frozenset(), at(5)), Changes)
