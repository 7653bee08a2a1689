"""The functions' metrics, in CloudWatch's embedded metric format. Ids are never dimensions.

Events are counted when they are published, at least once each: a repeated flush counts them again.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from engine.adapters.sql.ai_call_logger import SqlAICallLogger
from engine.ai.binding import StageAI
from engine.bootstrap.aws import AwsEngine
from engine.domain.ai_calls import AICallRecord
from engine.domain.events import Event, StageCompleted
from engine.execution.attempt import Attempt
from engine.kernel.kernel import Kernel
from engine.ports.clock import Clock
from engine.ports.event_sink import BatchingSink

NAMESPACE = "WorkflowEngine"
SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "workflow-engine")
"""The deployment, the only dimension. Deployments in one account have different names."""


class Metric(StrEnum):
    """The metrics. `UNITS` has the units of those that are not counts."""

    MESSAGES = "Messages"
    MESSAGES_UNREAD = "MessagesUnread"
    WAKES = "Wakes"
    DIRECT_CALLS = "DirectCalls"
    EVENTS_REFUSED = "EventsRefused"
    JOBS_COMPLETED = "JobsCompleted"
    JOBS_SUSPENDED = "JobsSuspended"
    JOBS_FAILED = "JobsFailed"
    JOBS_GHOST = "JobsGhost"
    RUNS_STARTED = "RunsStarted"
    RUNS_COMPLETED = "RunsCompleted"
    RUNS_FAILED = "RunsFailed"
    RUNS_CANCELLED = "RunsCancelled"
    LEASES_REAPED = "LeasesReaped"
    STUCK_RUNS = "StuckRuns"
    STAGE_DURATION = "StageDuration"
    QUEUE_DELAY = "QueueDelay"
    OUTBOX_LAG = "OutboxLag"
    AI_COST = "AICost"


UNITS = {
    Metric.STAGE_DURATION: MetricUnit.Milliseconds,
    Metric.QUEUE_DELAY: MetricUnit.Milliseconds,
    Metric.OUTBOX_LAG: MetricUnit.Seconds,
    Metric.AI_COST: MetricUnit.NoUnit,
}
"""`AICost` is in US dollars; calls of unknown price are not in it."""

BY_EVENT = {
    "workflow:started": Metric.RUNS_STARTED,
    "workflow:completed": Metric.RUNS_COMPLETED,
    "workflow:failed": Metric.RUNS_FAILED,
    "workflow:cancelled": Metric.RUNS_CANCELLED,
}

metrics = Metrics(namespace=NAMESPACE, service=SERVICE)


def measure(metric: Metric, value: float = 1) -> None:
    metrics.add_metric(name=metric, unit=UNITS.get(metric, MetricUnit.Count), value=value)


def metered(engine: AwsEngine) -> AwsEngine:
    """The engine with metrics of its published events and of the cost of its model calls."""
    deps = engine.kernel.deps
    sink, ai = deps.event_sink, deps.ai_for
    assert isinstance(sink, BatchingSink), "the aws profile publishes to EventBridge"
    assert isinstance(ai, StageAI), "the aws profile makes stages a helper"
    metered_ai = replace(ai, log=MeteredCallLogger(deps.persistence))
    return replace(engine, kernel=Kernel(replace(deps, event_sink=MeteredSink(sink, deps.clock), ai_for=metered_ai)))


def queue_delay(attempt: Attempt) -> None:
    """Measures the time from a job's due time to its claim."""
    job = attempt.claim.job
    measure(Metric.QUEUE_DELAY, max(0.0, (job.updated_at - job.due_at).total_seconds() * 1000))


class MeteredSink:
    """Measures the age of every event, also of one that fails to arrive: an unavailable sink must be visible."""

    def __init__(self, sink: BatchingSink, clock: Clock) -> None:
        self._sink, self._clock = sink, clock
        self.max_retries = sink.max_retries

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:
        self._measure_lag(event)
        self._sink.emit(event, skip=skip)
        _count(event)

    def emit_first(self, events: Sequence[Event]) -> int:
        arrived = self._sink.emit_first(events)
        for event in events[:arrived]:
            self._measure_lag(event)
            _count(event)
        return arrived

    def _measure_lag(self, event: Event) -> None:
        measure(Metric.OUTBOX_LAG, max(0.0, (self._clock.now() - event.timestamp).total_seconds()))


def _count(event: Event) -> None:
    if event.type in BY_EVENT:
        measure(BY_EVENT[event.type])
    if isinstance(event, StageCompleted):
        measure(Metric.STAGE_DURATION, event.duration_ms)


class MeteredCallLogger(SqlAICallLogger):
    def settle(self, call: AICallRecord) -> bool:
        return _spent([call], settled=super().settle(call))

    def log_call(self, call: AICallRecord) -> bool:
        return _spent([call], settled=super().log_call(call))

    def log_batch_results(self, batch_id: str, calls: Sequence[AICallRecord]) -> bool:
        return _spent(calls, settled=super().log_batch_results(batch_id, calls))


def _spent(calls: Sequence[AICallRecord], *, settled: bool) -> bool:
    cost = sum(call.cost or 0.0 for call in calls)
    if settled and cost:
        measure(Metric.AI_COST, cost)
    return settled
