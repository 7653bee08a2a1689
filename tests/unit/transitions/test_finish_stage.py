"""An attempt of a stage ends: by what it may, what it writes, and how its repetition is recognised."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import AnnotationRecord, ArtifactRecord, LogLevel, LogRecord
from engine.domain.values import inline
from engine.ports.changes import Changes, Insert, JobUpdate, Reason, Refused, RunUpdate, StageUpdate
from engine.testing.contracts.rows import a_log, an_annotation, an_artifact, an_event, at
from engine.transitions.facts import AnnotationDraft, Outcome, Progress, Recorded
from engine.transitions.finish_stage import StageFinish, finish_stage, is_alone, needs_whole_run
from engine.transitions.snapshots import RunSnapshot
from tests.unit.transitions.deciding import (
    NOW,
    a_context,
    a_snapshot,
    after,
    completes,
    condition_of_run,
    decided,
    fails,
    finish,
    job_in,
    of_stage,
    stage_in,
    straight,
    suspends,
    told,
    wide,
    with_job,
    with_stage,
)

ONE = straight("a", "next")
OUTCOMES: Mapping[str, Outcome] = {
    "completed": completes("a"),
    "suspended": suspends(),
    "failed": fails("a"),
    "retry": fails("a", retry_in=5),
}
each_outcome = pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
RECORDED = Recorded(
    logs=(a_log("1"), a_log("2")),
    progress=Progress(0.5, "half", None, at(7)),
    annotations=(
        AnnotationDraft(record=an_annotation("n"), event=an_event()),
        AnnotationDraft(record=an_annotation("silent")),
    ),
)


def running(**run: Any) -> RunSnapshot:
    return a_snapshot(ONE, run=run, a="RUNNING")


def suspended() -> RunSnapshot:
    return a_snapshot(ONE, a="SUSPENDED")


def written_to[U: (StageUpdate, JobUpdate)](answer: Changes | Refused, kind: type[U]) -> U:
    (update,) = [write for write in decided(answer).writes if isinstance(write, kind)]
    return update


def inserted[R](answer: Changes | Refused, record: type[R]) -> list[R]:
    return list(decided(answer).inserted(record))


class TestRightToFinish:
    @each_outcome
    def test_the_holder_of_the_job_may(self, outcome: Outcome) -> None:
        assert isinstance(finish(running(), ONE, "a", outcome), Changes)

    @each_outcome
    def test_another_token_is_refused(self, outcome: Outcome) -> None:
        assert finish(running(), ONE, "a", outcome, token="another") == Refused(Reason.LOST)

    @each_outcome
    @pytest.mark.parametrize("status", sorted(set(RunStatus) - {RunStatus.RUNNING}))
    def test_a_run_in_another_state_is_a_ghost(self, outcome: Outcome, status: RunStatus) -> None:
        assert finish(running(status=status), ONE, "a", outcome) == Refused(Reason.GHOST)

    @each_outcome
    def test_a_job_that_was_cancelled_is_no_repeat(self, outcome: Outcome) -> None:
        cancelled = with_job(running(status=RunStatus.CANCELLED), "a", status=JobStatus.CANCELLED)
        assert finish(cancelled, ONE, "a", outcome) == Refused(Reason.GHOST)

    @each_outcome
    def test_a_stage_that_is_not_running_is_lost(self, outcome: Outcome) -> None:
        for status in sorted(set(StageStatus) - {StageStatus.RUNNING}):
            other = with_stage(running(), "a", status=status)
            assert finish(other, ONE, "a", outcome) == Refused(Reason.LOST), status

    @each_outcome
    def test_a_job_whose_lease_was_released_is_lost(self, outcome: Outcome) -> None:
        taken = with_job(running(), "a", status=JobStatus.PENDING, lease_token=None, lease_until=None)
        assert finish(with_stage(taken, "a", status=StageStatus.PENDING), ONE, "a", outcome) == Refused(Reason.LOST)

    @each_outcome
    def test_a_job_that_is_not_running_is_lost(self, outcome: Outcome) -> None:
        for status in sorted(set(JobStatus) - {JobStatus.RUNNING}):
            assert finish(with_job(running(), "a", status=status), ONE, "a", outcome) == Refused(Reason.LOST), status

    @each_outcome
    def test_a_finish_is_guarded_by_the_token_and_the_statuses(self, outcome: Outcome) -> None:
        changes = finish(running(), ONE, "a", outcome)
        assert written_to(changes, JobUpdate).expect == {"status": JobStatus.RUNNING, "lease_token": "a"}
        assert written_to(changes, StageUpdate).expect["status"] is StageStatus.RUNNING
        assert condition_of_run(changes)["status"] is RunStatus.RUNNING
        assert condition_of_run(changes)["failure_code"] is None

    @each_outcome
    def test_no_finish_looks_at_the_version(self, outcome: Outcome) -> None:
        changes = decided(finish(running(), ONE, "a", outcome))
        updates = [
            write for write in (changes.run, *changes.writes) if isinstance(write, RunUpdate | StageUpdate | JobUpdate)
        ]
        assert len(updates) == 3
        assert not any("version" in update.expect for update in updates)


class TestRepetition:
    @each_outcome
    def test_the_same_finish_again_is_a_repeat(self, outcome: Outcome) -> None:
        now = after(running(), finish(running(), ONE, "a", outcome))
        assert finish(now, ONE, "a", outcome) == Refused(Reason.REPEAT)

    def test_a_repeat_is_recognised_after_the_run_has_ended(self) -> None:
        workflow = straight("a")
        before = a_snapshot(workflow, a="RUNNING")
        now = after(before, finish(before, workflow, "a", completes("a")))
        assert now.run.status is RunStatus.COMPLETED
        assert finish(now, workflow, "a", completes("a")) == Refused(Reason.REPEAT)

    @each_outcome
    def test_an_attempt_that_a_failing_run_gave_up_is_a_repeat(self, outcome: Outcome) -> None:
        before = a_snapshot(ONE, run={"failure_code": "X"}, a="RUNNING")
        now = after(before, finish(before, ONE, "a", outcome))
        assert now.run.status is RunStatus.FAILED
        assert finish(now, ONE, "a", outcome) == Refused(Reason.REPEAT)

    @pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED"])
    def test_a_suspension_is_a_repeat_whatever_became_of_the_stage(self, state: str) -> None:
        now = with_job(a_snapshot(ONE, a="SUSPENDED"), "a", status=JobStatus(state))
        assert finish(now, ONE, "a", suspends()) == Refused(Reason.REPEAT)

    @pytest.mark.parametrize("status", [JobStatus.SUSPENDED, JobStatus.FAILED, JobStatus.PENDING, JobStatus.CANCELLED])
    def test_a_completion_is_no_repeat_of_another_outcome(self, status: JobStatus) -> None:
        now = with_job(running(), "a", status=status, lease_until=None)
        assert finish(now, ONE, "a", completes("a")) == Refused(Reason.LOST)

    @pytest.mark.parametrize("status", [JobStatus.SUSPENDED, JobStatus.COMPLETED])
    def test_a_failure_is_no_repeat_of_another_outcome(self, status: JobStatus) -> None:
        now = with_job(running(), "a", status=status, lease_until=None)
        assert finish(now, ONE, "a", fails("a")) == Refused(Reason.LOST)


class TestCompletion:
    def test_the_stage_gets_its_outcome(self) -> None:
        failed_before = with_stage(running(), "a", error_code="E", error_message="earlier", metrics={"old": 1, "m": 0})
        outcome = completes("a", metrics={"m": 2}, embeddings={"model": "e"})
        stage = stage_in(after(failed_before, finish(failed_before, ONE, "a", outcome)), "a")
        assert (stage.status, stage.output_data) == (StageStatus.COMPLETED, inline("out of a"))
        assert (stage.metrics, stage.embedding_info) == ({"old": 1, "m": 2}, {"model": "e"})
        assert (stage.completed_at, stage.duration_ms, stage.version) == (at(10), 9000, 2)
        assert (stage.error_code, stage.error_message) == (None, None)

    def test_the_job_keeps_its_token_and_has_no_lease(self) -> None:
        job = job_in(after(running(), finish(running(), ONE, "a", completes("a"))), "a")
        assert (job.status, job.lease_token, job.lease_until, job.worker_id) == (
            JobStatus.COMPLETED,
            "a",
            None,
            "worker of a",
        )

    def test_the_event_tells_what_the_stage_has_cost(self) -> None:
        before = with_stage(running(), "a", total_cost=0.5, total_tokens=7)
        changes = finish(before, ONE, "a", completes("a"))
        event = decided(changes).events[0].payload()
        assert (event["total_cost"], event["total_tokens"], event["duration_ms"]) == (0.5, 7, 9000)
        expect = written_to(changes, StageUpdate).expect
        assert (expect["total_cost"], expect["total_tokens"]) == (0.5, 7)

    def test_artifacts_are_listed(self) -> None:
        changes = finish(running(), ONE, "a", completes("a", artifacts=(an_artifact("f"), an_artifact("g"))))
        assert inserted(changes, ArtifactRecord) == [an_artifact("f"), an_artifact("g")]

    def test_metrics_of_no_kind_are_none(self) -> None:
        assert stage_in(after(running(), finish(running(), ONE, "a", completes("a"))), "a").metrics is None


class TestSuspension:
    def test_the_stage_waits_for_its_poll_and_stays_open(self) -> None:
        before = with_stage(running(), "a", error_code="E", error_message="earlier")
        changes = finish(before, ONE, "a", suspends())
        now = after(before, changes)
        stage, job = stage_in(now, "a"), job_in(now, "a")
        assert (stage.status, stage.suspended_state, stage.metrics) == (
            StageStatus.SUSPENDED,
            {"batch": 7},
            {"asked": 1},
        )
        assert (stage.next_poll_at, stage.poll_interval_s, stage.max_wait_until) == (at(60), 30.0, at(600))
        assert (stage.completed_at, stage.error_code, stage.error_message) == (None, None, None)
        assert (job.status, job.lease_token, job.lease_until) == (JobStatus.SUSPENDED, "a", None)
        assert (now.run.group_open, now.run.version, now.run.status) == (1, 1, RunStatus.RUNNING)
        assert told(changes) == ["stage:suspended", "workflow:suspended"]


class TestFailure:
    def test_a_retry_is_due_later_on_the_stores_clock(self) -> None:
        changes = finish(running(), ONE, "a", fails("a", retry_in=5))
        now = after(running(), changes)
        stage, job = stage_in(now, "a"), job_in(now, "a")
        assert (stage.status, stage.error_code, stage.error_message) == (StageStatus.FAILED, "BROKEN", "a broke")
        assert (stage.completed_at, stage.duration_ms) == (None, None)
        assert (job.status, job.worker_id, job.last_error, job.lease_until) == (
            JobStatus.PENDING,
            None,
            "a broke",
            None,
        )
        assert (job.due_at - NOW).total_seconds() == 5
        assert (job.due_at - job.rank).total_seconds() == 5 * 60
        assert (now.run.status, now.run.group_open, now.run.failure_code) == (RunStatus.RUNNING, 1, None)
        assert told(changes) == ["stage:failed"]
        assert decided(changes).events[0].payload()["will_retry"] is True

    def test_a_failure_for_good_ends_the_stage(self) -> None:
        changes = finish(running(), ONE, "a", fails("a"))
        now = after(running(), changes)
        stage, job = stage_in(now, "a"), job_in(now, "a")
        assert (stage.status, stage.error_code, stage.error_message) == (StageStatus.FAILED, "BROKEN", "a broke")
        assert (stage.completed_at, stage.duration_ms) == (at(10), 9000)
        assert (job.status, job.last_error, job.lease_token, job.lease_until) == (
            JobStatus.FAILED,
            "a broke",
            "a",
            None,
        )
        assert decided(changes).events[0].payload()["will_retry"] is False

    @pytest.mark.parametrize("retry_in", [None, 5.0])
    def test_the_trace_is_in_a_log(self, retry_in: float | None) -> None:
        (log,) = inserted(finish(running(), ONE, "a", fails("a", retry_in=retry_in)), LogRecord)
        assert (log.level, log.message, log.metadata) == (
            LogLevel.ERROR,
            "a broke",
            {"code": "BROKEN", "trace": "line 1"},
        )
        assert (log.stage_id, log.stage_record_id, log.created_at) == ("a", "r.a", at(10))

    def test_a_retry_in_a_failing_run_has_the_event_of_a_last_attempt(self) -> None:
        before = a_snapshot(ONE, run={"failure_code": "X"}, a="RUNNING")
        changes = finish(before, ONE, "a", fails("a", retry_in=5))
        assert told(changes) == ["stage:failed", "workflow:failed"]
        assert decided(changes).events[0].payload()["will_retry"] is False
        assert stage_in(after(before, changes), "a").error_message == "a broke"


class TestRecordedFacts:
    @each_outcome
    def test_it_is_committed_with_every_outcome(self, outcome: Outcome) -> None:
        changes = finish(running(), ONE, "a", outcome, recorded=RECORDED)
        assert [log.id for log in inserted(changes, LogRecord)][-2:] == ["1", "2"]
        assert [note.id for note in inserted(changes, AnnotationRecord)] == ["n", "silent"]
        assert stage_in(after(running(), changes), "a").progress == {
            "progress": 0.5,
            "message": "half",
            "details": None,
            "at": at(7).isoformat(),
        }

    @each_outcome
    def test_its_events_come_before_the_outcome(self, outcome: Outcome) -> None:
        types = told(finish(running(), ONE, "a", outcome, recorded=RECORDED))
        assert types[:2] == ["workflow:created", "stage:progress"]
        assert types[2:] == told(finish(running(), ONE, "a", outcome))

    @each_outcome
    def test_rows_that_a_heartbeat_wrote_before_are_skipped(self, outcome: Outcome) -> None:
        changes = decided(finish(running(), ONE, "a", outcome, recorded=RECORDED))
        kept = [write for write in changes.writes if isinstance(write, Insert) and write.rows[-1] == a_log("2")]
        assert [write.skip_existing for write in kept] == [True]

    @each_outcome
    def test_an_annotation_that_exists_is_neither_written_nor_published(self, outcome: Outcome) -> None:
        again = AnnotationDraft(record=an_annotation("again", idempotency_key="once"), event=an_event())
        recorded = Recorded(annotations=(again, AnnotationDraft(record=an_annotation("n"), event=an_event()), again))
        first = finish(running(), ONE, "a", outcome, recorded=recorded)
        assert [note.id for note in inserted(first, AnnotationRecord)] == ["again", "n"]
        assert told(first).count("workflow:created") == 2
        known = replace(of_stage(running(), "a"), annotations=frozenset({("k", "once")}))
        fact = StageFinish(outcome=outcome, token="a", workflow=ONE, recorded=recorded)
        repeated = finish_stage(known, fact, a_context())
        assert [note.id for note in inserted(repeated, AnnotationRecord)] == ["n"]
        assert told(repeated).count("workflow:created") == 1

    def test_nothing_recorded_leaves_the_progress_as_it_is(self) -> None:
        assert "progress" not in written_to(finish(running(), ONE, "a", completes("a")), StageUpdate).set


class TestPolls:
    def test_the_poller_finishes_a_suspended_stage(self) -> None:
        before = suspended()
        changes = finish(before, ONE, "a", completes("a"), token="poll", by_poll=True)
        now = after(before, changes)
        stage, job = stage_in(now, "a"), job_in(now, "a")
        assert (stage.status, job.status) == (StageStatus.COMPLETED, JobStatus.COMPLETED)
        assert (stage.next_poll_at, stage.poll_token, stage.poll_until) == (None, None, None)
        assert (now.run.group_no, now.run.group_open) == (2, 1)
        assert written_to(changes, StageUpdate).expect["poll_token"] == "poll"
        assert written_to(changes, JobUpdate).expect == {"status": JobStatus.SUSPENDED}

    def test_a_poll_that_fails_ends_the_stage(self) -> None:
        now = after(suspended(), finish(suspended(), ONE, "a", fails("a"), token="poll", by_poll=True))
        stage = stage_in(now, "a")
        assert (stage.status, stage.poll_token, now.run.status) == (StageStatus.FAILED, None, RunStatus.FAILED)

    def test_another_poller_has_lost_it(self) -> None:
        answer = finish(suspended(), ONE, "a", completes("a"), token="another", by_poll=True)
        assert answer == Refused(Reason.LOST)

    def test_a_stage_that_is_not_suspended_is_not_polled(self) -> None:
        before = with_stage(running(), "a", poll_token="poll")
        assert finish(before, ONE, "a", completes("a"), token="poll", by_poll=True) == Refused(Reason.LOST)

    def test_a_poll_is_never_a_repeat(self) -> None:
        done = after(suspended(), finish(suspended(), ONE, "a", completes("a"), token="poll", by_poll=True))
        assert finish(done, ONE, "a", completes("a"), token="poll", by_poll=True) == Refused(Reason.LOST)

    def test_a_poll_of_a_cancelled_run_is_a_ghost(self) -> None:
        cancelled = replace(suspended(), run=replace(suspended().run, status=RunStatus.CANCELLED))
        assert finish(cancelled, ONE, "a", completes("a"), token="poll", by_poll=True) == Refused(Reason.GHOST)


class TestNeedOfTheWholeRun:
    def test_a_stage_alone_in_its_group_never_needs_the_whole_run(self) -> None:
        for outcome in OUTCOMES.values():
            fact = StageFinish(outcome=outcome, token="a", workflow=ONE)
            assert not needs_whole_run(of_stage(running(), "a", whole=False), fact)

    @pytest.mark.parametrize(
        ("outcome", "run", "needs"),
        [
            (completes("a"), {"group_open": 2}, False),
            (completes("a"), {"group_open": 1}, True),
            (completes("a"), {"group_open": 2, "failure_code": "X"}, True),
            (fails("a"), {"group_open": 2}, True),
            (fails("a", retry_in=1), {"group_open": 1}, False),
            (suspends(), {"group_open": 1}, False),
            (suspends(), {"group_open": 1, "failure_code": "X"}, True),
        ],
    )
    def test_in_a_wide_group_the_last_and_the_failing_need_it(
        self, outcome: Outcome, run: Mapping[str, Any], needs: bool
    ) -> None:
        workflow = wide("a", "b")
        snapshot = a_snapshot(workflow, run=run, a="RUNNING", b="RUNNING")
        fact = StageFinish(outcome=outcome, token="a", workflow=workflow)
        assert needs_whole_run(of_stage(snapshot, "a", whole=False), fact) is needs

    @each_outcome
    @pytest.mark.parametrize("run", [{}, {"failure_code": "X", "failure_message": "x"}], ids=["running", "failing"])
    def test_a_stage_alone_decides_the_same_with_and_without_the_whole_run(
        self, outcome: Outcome, run: Mapping[str, Any]
    ) -> None:
        before = running(**run)
        fact = StageFinish(outcome=outcome, token="a", workflow=ONE)
        ways: list[Callable[[], Changes | Refused]] = [
            lambda: finish_stage(of_stage(before, "a", whole=False), fact, a_context()),
            lambda: finish_stage(of_stage(before, "a"), fact, a_context()),
        ]
        known, read = (after(before, way()) for way in ways)
        assert (known.run, list(known.stages), list(known.jobs)) == (read.run, list(read.stages), list(read.jobs))

    def test_a_group_is_as_wide_as_the_workflow_says(self) -> None:
        stage = stage_in(running(), "a")
        assert is_alone(stage, ONE)
        assert not is_alone(stage, wide("a", "b"))
        assert not is_alone(stage, None)
        assert not is_alone(replace(stage, execution_group=3), ONE)
