from dataclasses import replace
from typing import Any

from engine.domain.lifecycle import RunStatus, StageStatus
from engine.domain.records import AnnotationRecord, LogRecord, RunRecord
from engine.ports.changes import Changes, Check, Insert, StageUpdate
from engine.testing.contracts.rows import a_log, an_annotation, an_event, at
from engine.transitions.annotations import KnownAnnotations
from engine.transitions.facts import AnnotationDraft, Recorded
from engine.transitions.poll_stage import keep_waiting
from tests.unit.transitions.deciding import (
    a_context,
    a_snapshot,
    after,
    condition_of_run,
    of_stage,
    stage_in,
    straight,
    told,
)

BEFORE = a_snapshot(straight("a"), a="SUSPENDED")
SILENT = AnnotationDraft(record=an_annotation("silent"))
LOUD = AnnotationDraft(record=an_annotation("loud"), event=an_event())


def waits(known: KnownAnnotations = frozenset(), **recorded: Any) -> Changes:
    snapshot = replace(of_stage(BEFORE, "a", whole=False), annotations=known)
    return keep_waiting(snapshot, "poll", at(90), Recorded(**recorded), a_context())


def test_the_stage_waits_for_its_next_poll_by_anybody() -> None:
    stage = stage_in(after(BEFORE, waits()), "a")
    assert (stage.status, stage.next_poll_at) == (StageStatus.SUSPENDED, at(90))
    assert (stage.poll_token, stage.poll_until, stage.version) == (None, None, 1)


def test_only_the_poller_with_the_claim_may_say_so_and_only_in_a_running_run() -> None:
    (update,) = [write for write in waits().writes if isinstance(write, StageUpdate)]
    assert update.expect == {"status": StageStatus.SUSPENDED, "poll_token": "poll"}
    assert waits().writes[0] == Check(record=RunRecord, id="r", expect={"status": RunStatus.RUNNING})


def test_logs_and_annotations_of_the_check_are_kept() -> None:
    changes = waits(logs=(a_log("1"),), annotations=(SILENT,))
    assert (changes.inserted(LogRecord), changes.inserted(AnnotationRecord)) == ((a_log("1"),), (SILENT.record,))
    assert all(write.skip_existing for write in changes.writes if isinstance(write, Insert))
    assert (changes.run, changes.events) == (None, ())


def test_events_of_annotations_take_their_sequence_from_the_run() -> None:
    changes = waits(annotations=(SILENT, LOUD))
    assert told(changes) == ["workflow:created"]
    assert condition_of_run(changes) == {"status": RunStatus.RUNNING}
    assert len(changes.inserted(AnnotationRecord)) == 2
    assert after(BEFORE, changes).run.event_seq == 1


def test_an_annotation_that_exists_is_neither_written_nor_published() -> None:
    again = AnnotationDraft(record=an_annotation("again", idempotency_key="once"), event=an_event())
    assert told(waits(annotations=(again, again))) == ["workflow:created"]
    repeated = waits(frozenset({("k", "once")}), annotations=(again,))
    assert (repeated.events, repeated.inserted(AnnotationRecord)) == ((), ())
