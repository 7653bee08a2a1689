from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from engine.domain.errors import InvalidTransition
from engine.domain.lifecycle import Status
from engine.domain.records import KeyRecord, KeyState
from engine.domain.stored_value import inline
from engine.ports.persistence import Persistence
from engine.ports.transaction import AnnotationFilter
from engine.ports.write_set import AnnotationDraft, Closes, JobChange, Verdict, WriteSet
from engine.testing.clock import FakeClock
from engine.testing.contracts.reading import events_of, everything, job_of, run_of, stage_of, told
from engine.testing.contracts.rows import (
    AT,
    a_group,
    a_lease,
    a_log,
    a_run,
    a_stage,
    an_annotation,
    an_artifact,
    at,
    begun,
    cancels,
    claim,
    completes,
    draft,
    fails,
    noted,
    releases_lease,
    suspends,
)
from engine.testing.contracts.store import StoreContract

KEY = KeyRecord(tenant="", command_type="run.create", key="k", request_hash="h", state=KeyState.DONE, acquired_at=AT)


class WriteSetContract(StoreContract):
    @pytest.fixture
    def claimed(self, persistence: Persistence) -> None:
        """Run "r" with stages "a" and "b" in its first group, "a" claimed under token "t"."""
        persistence.apply(begun("a", "b"))
        persistence.claim(claim())

    def test_creation_writes_the_run_its_group_and_its_events_at_once(self, persistence: Persistence) -> None:
        applied = persistence.apply(begun("a", "b"))
        assert (applied.verdict, applied.run_status, applied.run_version) == (Verdict.APPLIED, Status.RUNNING, 1)
        assert run_of(persistence) == a_run(event_seq=1, group_no=1, group_open=2)
        assert stage_of(persistence, "b") == a_group(1, "a", "b").stages[1]
        job = job_of(persistence)
        assert (job.status, job.attempt, job.due_at, job.lease_token) == (Status.PENDING, 0, AT, None)
        assert [event.id for event in events_of(persistence)] == ["r.1"]

    def test_creation_can_claim_the_first_job(self, persistence: Persistence) -> None:
        group = a_group(1, "a", lease=a_lease())
        applied = persistence.apply(WriteSet(run_id="r", at=AT, create=a_run(), opens=group))
        assert applied.lease_until == at(60)
        assert (stage_of(persistence).status, stage_of(persistence).started_at) == (Status.RUNNING, AT)
        job = job_of(persistence)
        assert (job.status, job.attempt, job.lease_token, job.worker_id) == (Status.RUNNING, 1, "t", "worker of t")

    def test_a_run_created_before_is_a_repeat(self, persistence: Persistence) -> None:
        persistence.apply(begun("a"))
        before = everything(persistence, "r")
        assert persistence.apply(begun("a", key=KEY)).verdict is Verdict.REPEAT
        assert everything(persistence, "r") == before
        assert persistence.read(lambda tx: tx.keys.find("", "run.create", "k")) is None

    def test_a_key_used_before_stops_everything(self, persistence: Persistence) -> None:
        assert persistence.apply(begun("a", key=KEY)).verdict is Verdict.APPLIED
        again = persistence.apply(begun("a", run_id="second", key=replace(KEY, request_hash="other")))
        assert (again.verdict, again.key) == (Verdict.KEY_EXISTS, KEY)
        assert persistence.read(lambda tx: tx.runs.find("second")) is None

    def test_a_refused_write_set_leaves_no_key_behind(self, persistence: Persistence) -> None:
        persistence.apply(begun("a"))
        refused = persistence.apply(cancels(key=KEY, run_in=frozenset({Status.PENDING})))
        assert refused.verdict is Verdict.GHOST
        assert persistence.read(lambda tx: tx.keys.find("", "run.create", "k")) is None

    def test_of_annotations_under_one_key_the_first_counts_from_the_start(self, persistence: Persistence) -> None:
        notes = (noted("1", idempotency_key="once"), noted("2", idempotency_key="once"), noted("3"))
        persistence.apply(begun("a", annotations=notes))
        found = persistence.read(lambda tx: tx.annotations.of_run("r", AnnotationFilter()))
        assert [note.id for note in found] == ["1", "3"]
        assert told(persistence) == ["annotation:created", "annotation:created", "workflow:created"]
        assert run_of(persistence).event_seq == 3

    def test_an_unknown_run_is_a_ghost(self, persistence: Persistence) -> None:
        applied = persistence.apply(cancels("unknown"))
        assert (applied.verdict, applied.run_status) == (Verdict.GHOST, None)

    @pytest.mark.usefixtures("claimed")
    def test_a_run_in_another_state_is_a_ghost(self, persistence: Persistence) -> None:
        persistence.apply(cancels())
        before = everything(persistence, "r")
        applied = persistence.apply(completes())
        assert (applied.verdict, applied.run_status) == (Verdict.GHOST, Status.CANCELLED)
        assert everything(persistence, "r") == before

    @pytest.mark.usefixtures("claimed")
    def test_another_version_is_stale(self, persistence: Persistence) -> None:
        version = run_of(persistence).version
        before = everything(persistence, "r")
        assert persistence.apply(cancels(expected_version=version - 1)).verdict is Verdict.STALE
        assert everything(persistence, "r") == before
        assert persistence.apply(cancels(expected_version=version)).verdict is Verdict.APPLIED

    @pytest.mark.parametrize(
        "change",
        [
            JobChange(job_id="r.a.job", to=Status.COMPLETED, token="another"),
            JobChange(job_id="r.b.job", to=Status.COMPLETED),
            JobChange(job_id="unknown", to=Status.COMPLETED),
            JobChange(job_id="s.a.job", to=Status.COMPLETED),
            JobChange(job_id="r.a.job", to=Status.PENDING, expired=True),
        ],
        ids=["token", "status", "unknown", "other run", "not expired"],
    )
    @pytest.mark.usefixtures("claimed")
    def test_a_job_of_somebody_else_is_lost(self, persistence: Persistence, change: JobChange) -> None:
        persistence.apply(begun("a", run_id="s"))
        persistence.claim(claim(run_id="s", token="s"))
        before = everything(persistence, "r")
        assert persistence.apply(completes(job=change)).verdict is Verdict.LOST
        assert everything(persistence, "r") == before

    @pytest.mark.parametrize(
        "change",
        [
            {"record_id": "r.b"},
            {"record_id": "unknown"},
            {"record_id": "s.a"},
            {"poll_token": "nobody's"},
        ],
        ids=["status", "unknown", "other run", "poll"],
    )
    @pytest.mark.usefixtures("claimed")
    def test_a_stage_of_somebody_else_is_lost(self, persistence: Persistence, change: dict[str, Any]) -> None:
        persistence.apply(begun("a", run_id="s"))
        persistence.claim(claim(run_id="s", token="s"))
        before = everything(persistence, "r")
        write_set = completes()
        assert write_set.stage is not None
        refused = replace(write_set, stage=replace(write_set.stage, **change))
        assert persistence.apply(refused).verdict is Verdict.LOST
        assert everything(persistence, "r") == before

    @pytest.mark.usefixtures("claimed")
    def test_moves_the_tables_do_not_list_raise(self, persistence: Persistence) -> None:
        before = everything(persistence, "r")
        for wrong in (
            cancels(run={"status": Status.PENDING}),
            completes(stage=replace(_stage_change(), patch={"status": Status.SKIPPED})),
            completes(job=JobChange(job_id="r.a.job", to=Status.SKIPPED, token="t")),
        ):
            with pytest.raises(InvalidTransition):
                persistence.apply(wrong)
        assert everything(persistence, "r") == before

    @pytest.mark.usefixtures("claimed")
    def test_a_finish_writes_all_that_belongs_to_it(self, persistence: Persistence) -> None:
        version = run_of(persistence).version
        note = noted("n", stage_record_id="r.a")
        applied = persistence.apply(
            completes(
                logs=(a_log("1"),),
                artifacts=(an_artifact("f"),),
                annotations=(note,),
                cost=0.5,
                tokens=7,
                causation_id="cause",
            )
        )
        assert (applied.verdict, applied.closed, applied.run_version) == (Verdict.APPLIED, False, version + 1)
        run, stage, job = run_of(persistence), stage_of(persistence), job_of(persistence)
        assert (run.status, run.group_open, run.total_cost, run.total_tokens) == (Status.RUNNING, 1, 0.5, 7)
        assert (run.version, run.updated_at) == (version + 1, at(2))
        assert (stage.status, stage.output_data) == (Status.COMPLETED, inline("out of a"))
        assert (stage.total_cost, stage.total_tokens, stage.version, stage.updated_at) == (0.5, 7, 3, at(2))
        assert (job.status, job.lease_token, job.lease_until) == (Status.COMPLETED, "t", None)
        rows = everything(persistence, "r")
        assert [len(rows[family]) for family in ("logs", "artifacts", "annotations")] == [1, 1, 1]
        assert told(persistence)[2:] == ["annotation:created", "stage:completed"]
        assert {event.causation_id for event in events_of(persistence)[2:]} == {"cause"}

    @pytest.mark.parametrize(
        "finish", [completes(), fails(), fails(retry_in=5), suspends()], ids=["done", "failed", "retry", "suspended"]
    )
    @pytest.mark.usefixtures("claimed")
    def test_the_same_finish_again_is_a_repeat(self, persistence: Persistence, finish: WriteSet) -> None:
        assert persistence.apply(finish).verdict is Verdict.APPLIED
        before = everything(persistence, "r")
        assert persistence.apply(finish).verdict is Verdict.REPEAT
        assert everything(persistence, "r") == before

    def test_a_repeat_is_known_after_the_run_has_ended(self, persistence: Persistence) -> None:
        persistence.apply(begun("a"))
        persistence.claim(claim())
        persistence.apply(completes())
        repeat = persistence.apply(completes())
        assert (repeat.verdict, repeat.run_status) == (Verdict.REPEAT, Status.COMPLETED)

    @pytest.mark.parametrize("token", ["t", None], ids=["by its token", "whoever it was"])
    @pytest.mark.usefixtures("claimed")
    def test_who_lost_the_lease_cannot_finish(
        self, persistence: Persistence, clock: FakeClock, token: str | None
    ) -> None:
        clock.advance(61)
        assert persistence.apply(releases_lease(token=token, expired=True)).verdict is Verdict.APPLIED
        job = job_of(persistence)
        assert (job.status, job.lease_token, job.worker_id, job.attempt) == (Status.PENDING, None, None, 1)
        assert persistence.apply(completes()).verdict is Verdict.LOST
        persistence.claim(claim(token="second"))
        assert persistence.apply(completes()).verdict is Verdict.LOST
        assert persistence.apply(completes(token="second")).verdict is Verdict.APPLIED

    @pytest.mark.usefixtures("claimed")
    def test_a_finish_after_a_cancel_is_no_repeat(self, persistence: Persistence) -> None:
        persistence.apply(cancels())
        for finish in (completes(), fails(), fails(retry_in=1), suspends()):
            assert persistence.apply(finish).verdict is Verdict.GHOST

    @pytest.mark.usefixtures("claimed")
    def test_an_annotation_there_before_is_neither_written_nor_told(self, persistence: Persistence) -> None:
        persistence.transact(lambda tx: tx.annotations.add([an_annotation("old", idempotency_key="once")]))
        persistence.apply(completes(annotations=(noted("1", idempotency_key="once"), noted("2"))))
        found = persistence.read(lambda tx: tx.annotations.of_run("r", AnnotationFilter()))
        assert [note.id for note in found] == ["old", "2"]
        assert [event.payload.get("annotation_id") for event in events_of(persistence)[2:]] == ["2", None]

    @pytest.mark.usefixtures("claimed")
    def test_a_job_taken_from_its_holder_takes_the_token_too(self, persistence: Persistence) -> None:
        persistence.apply(releases_lease())
        assert job_of(persistence).lease_token is None
        assert persistence.apply(fails(retry_in=1)).verdict is Verdict.LOST

    @pytest.mark.usefixtures("claimed")
    def test_an_attempt_that_was_released_is_not_counted(self, persistence: Persistence) -> None:
        before = job_of(persistence)
        persistence.apply(releases_lease(token="t", uncounted=True))
        after = job_of(persistence)
        assert (after.status, after.attempt) == (Status.PENDING, before.attempt)
        assert after.max_attempts == before.max_attempts + 1
        assert persistence.apply(completes()).verdict is Verdict.LOST

    @pytest.mark.usefixtures("claimed")
    def test_a_retry_is_due_later_on_the_stores_clock(self, persistence: Persistence, clock: FakeClock) -> None:
        clock.advance(10)
        persistence.apply(fails(retry_in=5))
        job, stage = job_of(persistence), stage_of(persistence)
        assert (job.status, job.due_at, job.last_error) == (Status.PENDING, at(15), "a broke")
        assert (stage.status, run_of(persistence).group_open) == (Status.FAILED, 2)

    @pytest.mark.usefixtures("claimed")
    def test_a_heartbeat_renews_and_writes(self, persistence: Persistence, clock: FakeClock) -> None:
        clock.advance(30)
        beat = completes(
            job=JobChange(job_id="r.a.job", to=Status.RUNNING, token="t", renew=60),
            stage=replace(_stage_change(), patch={"progress": {"progress": 0.5}}),
            closes=Closes.NOTHING,
            logs=(a_log("1"),),
        )
        applied = persistence.apply(beat)
        assert (applied.verdict, applied.lease_until, applied.failing) == (Verdict.APPLIED, at(90), False)
        assert (job_of(persistence).lease_until, job_of(persistence).status) == (at(90), Status.RUNNING)
        assert stage_of(persistence).progress == {"progress": 0.5}
        assert persistence.apply(beat).verdict is Verdict.APPLIED
        assert len(everything(persistence, "r")["logs"]) == 1
        assert run_of(persistence).updated_at == beat.at
        persistence.apply(completes())
        assert persistence.apply(beat).verdict is Verdict.LOST

    @pytest.mark.usefixtures("claimed")
    def test_removed_stages_take_their_jobs_with_them(self, persistence: Persistence) -> None:
        persistence.apply(completes(annotations=(AnnotationDraft(record=an_annotation("n", stage_record_id="r.a")),)))
        persistence.claim(claim("b", "u"))
        persistence.apply(fails("b", "u"))
        new = a_stage("b", id="new", generation=1)
        group = replace(a_group(1), stages=(new,), jobs=(draft("b", id="new.job", stage_record_id="new"),))
        rerun = WriteSet(
            run_id="r",
            at=at(5),
            run_in=frozenset({Status.FAILED}),
            run={"status": Status.RUNNING, "failure_code": None, "failure_message": None, "total_cost": 0.0},
            removes=("r.a", "r.b"),
            opens=group,
        )
        assert persistence.apply(rerun).verdict is Verdict.APPLIED
        rows = everything(persistence, "r")
        assert [stage["id"] for stage in rows["stages"]] == ["new"]
        assert [note["stage_record_id"] for note in rows["annotations"]] == [None]
        assert {job["id"]: job["status"] for job in rows["jobs"]} == {
            "r.a.job": Status.COMPLETED,
            "r.b.job": Status.FAILED,
            "new.job": Status.PENDING,
        }
        run = run_of(persistence)
        assert (run.status, run.group_no, run.group_open) == (Status.RUNNING, 1, 1)

    @pytest.mark.usefixtures("claimed")
    def test_queued_jobs_of_removed_stages_never_run(self, persistence: Persistence) -> None:
        persistence.apply(WriteSet(run_id="r", at=AT, removes=("r.a", "r.b")))
        assert (job_of(persistence, "a").status, job_of(persistence, "a").lease_token) == (Status.CANCELLED, None)
        assert job_of(persistence, "b").status is Status.CANCELLED

    @pytest.mark.usefixtures("claimed")
    def test_a_group_keeps_the_records_it_finds(self, persistence: Persistence) -> None:
        group = a_group(2, "a", "b", "c")
        fresh = replace(
            group,
            stages=tuple(replace(stage, id=f"fresh.{stage.stage_id}") for stage in group.stages),
            jobs=tuple(draft(name, id=f"fresh.{name}.job", stage_record_id=f"fresh.{name}") for name in "abc"),
        )
        persistence.transact(lambda tx: tx.jobs.update("r.b.job", {"status": Status.CANCELLED}))
        persistence.apply(WriteSet(run_id="r", at=AT, opens=fresh))
        rows = everything(persistence, "r")
        assert {stage["id"] for stage in rows["stages"]} == {"r.a", "r.b", "fresh.c"}
        new = {job["id"]: job["stage_record_id"] for job in rows["jobs"] if job["id"].startswith("fresh")}
        # "a" is RUNNING; "b" is PENDING and had no job left.
        assert new == {"fresh.b.job": "r.b", "fresh.c.job": "fresh.c"}
        assert run_of(persistence).group_open == 3

    @pytest.mark.usefixtures("claimed")
    def test_a_waiting_stage_without_a_job_gets_one_again_once(self, persistence: Persistence) -> None:
        persistence.transact(lambda tx: tx.jobs.update("r.b.job", {"status": Status.CANCELLED}))
        drafts = (draft("a", id="x"), draft("b", id="y"), draft("c", id="z"))
        persistence.apply(WriteSet(run_id="r", at=AT, jobs=drafts))
        again = (draft("b", id="again"),)
        persistence.apply(WriteSet(run_id="r", at=AT, jobs=again))
        jobs = persistence.read(lambda tx: tx.jobs.of_run("r"))
        assert {job.id for job in jobs} == {"r.a.job", "r.b.job", "y"}

    @pytest.mark.usefixtures("claimed")
    def test_events_follow_one_another_without_gaps(self, persistence: Persistence) -> None:
        persistence.apply(completes())
        persistence.claim(claim("b", "u"))
        persistence.apply(completes("b", "u"))
        events = events_of(persistence)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert run_of(persistence).event_seq == len(events)
        assert [event.id for event in events] == [f"r.{event.sequence}" for event in events]

    def test_leases_are_measured_on_the_stores_clock(self, persistence: Persistence, clock: FakeClock) -> None:
        clock.advance(timedelta(days=1))
        group = a_group(1, "a", lease=a_lease(seconds=5))
        applied = persistence.apply(WriteSet(run_id="r", at=AT, create=a_run(), opens=group))
        assert applied.lease_until == clock.now() + timedelta(seconds=5)


def _stage_change() -> Any:
    return completes().stage
