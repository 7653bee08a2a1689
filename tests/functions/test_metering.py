"""The functions' metrics, read from their log lines."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from aws_lambda_powertools.metrics import MetricUnit

import functions.jobs
import functions.maintenance
from engine.bootstrap.aws import AwsEngine
from engine.domain.events import Event, WorkflowFailed
from engine.ports.event_sink import SinkUnavailable
from engine.ports.transaction import RunFilter
from engine.testing import CollectingEventSink, FakeClock, InMemoryPersistence
from engine.testing.contracts.ai_call_logger import a_call, settled
from functions.metering import NAMESPACE, UNITS, MeteredCallLogger, MeteredSink, Metric, metrics
from tests.functions.calling import RecordingAws, context, event


def measured(written: str) -> dict[str, list[float]]:
    """Every value of every metric by name. Checks their units."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for line in written.splitlines():
        document = json.loads(line)
        if "_aws" not in document or "ColdStart" in document:  # a line of the log, or the library's own
            continue
        (directive,) = document["_aws"]["CloudWatchMetrics"]
        assert (directive["Namespace"], directive["Dimensions"]) == (NAMESPACE, [["service"]])
        for metric in directive["Metrics"]:
            assert metric["Unit"] == UNITS.get(Metric(metric["Name"]), MetricUnit.Count).value
            found: Any = document[metric["Name"]]
            values[metric["Name"]] += found if isinstance(found, list) else [found]
    return dict(values)


def notifications_of(aws: RecordingAws) -> list[str]:
    """The bodies of the job messages sent since the last time."""
    found = [entry["MessageBody"] for call in aws.sent("send_message_batch") for entry in call["Entries"]]
    aws.sqs.calls.clear()
    return found


@pytest.fixture
def written(engine: AwsEngine, aws: RecordingAws, capsys: pytest.CaptureFixture[str]) -> dict[str, list[float]]:
    """The metrics of one document analysis."""
    functions.maintenance.handler(event("direct-run-create"), context())
    (record,) = event("sqs-one-job")["Records"]
    while bodies := notifications_of(aws):
        for body in bodies:
            functions.jobs.handler({"Records": [record | {"body": body}]}, context())
    return measured(capsys.readouterr().out)


def test_a_run_is_measured_from_its_start_to_its_end(written: dict[str, list[float]], engine: AwsEngine) -> None:
    (listed,) = engine.kernel.reads.runs(RunFilter()).runs
    run = engine.kernel.reads.run(listed.id)
    assert written["RunsStarted"] == written["RunsCompleted"] == [1]
    assert "RunsFailed" not in written
    assert sorted(written["StageDuration"]) == sorted(stage.duration_ms or 0 for stage in run.stages)
    assert len(written["QueueDelay"]) == len(run.stages)
    assert len(written["OutboxLag"]) == len(engine.kernel.reads.events(run.run.id))


class OneByOne(CollectingEventSink):
    """Accepts one event of several, and raises while it is `away`."""

    away = False

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:
        if self.away:
            raise SinkUnavailable("away")
        super().emit(event, skip=skip)

    def emit_first(self, events: Sequence[Event]) -> int:
        if self.away:
            return 0
        self.emit(events[0])
        return 1


def test_an_event_that_cannot_be_published_shows_its_age_and_is_not_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock, inner = FakeClock(), OneByOne()
    failed = WorkflowFailed(timestamp=clock.now(), workflow_run_id="r", workflow_id="w")
    sink = MeteredSink(inner, clock)
    clock.advance(90)
    inner.away = True
    with pytest.raises(SinkUnavailable):
        sink.emit(failed)
    assert sink.emit_first([failed, failed]) == 0
    inner.away = False
    clock.advance(10)
    assert sink.emit_first([failed, failed]) == 1
    metrics.flush_metrics()
    assert measured(capsys.readouterr().out) == {"OutboxLag": [90, 100], "RunsFailed": [1]}


OUTSIDE: dict[str, Any] = {"workflow_run_id": None, "stage_record_id": None, "stage_id": None}


def test_what_a_model_call_costs_is_measured_once(capsys: pytest.CaptureFixture[str]) -> None:
    log = MeteredCallLogger(InMemoryPersistence(FakeClock()))
    log.reserve(a_call("a", **OUTSIDE), [])
    assert log.settle(settled(a_call("a", **OUTSIDE), cost=0.25))
    assert not log.settle(settled(a_call("a", **OUTSIDE), cost=0.25))
    assert log.log_call(settled(a_call("b", **OUTSIDE), cost=0.5))
    assert log.log_call(settled(a_call("free", **OUTSIDE), cost=None))
    batch = [settled(a_call(each, **OUTSIDE), cost=0.125) for each in ("c", "d")]
    assert log.log_batch_results("batch", batch)
    assert not log.log_batch_results("batch", batch)
    metrics.flush_metrics()
    assert measured(capsys.readouterr().out) == {"AICost": [0.25, 0.5, 0.25]}
