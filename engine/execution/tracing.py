"""The W3C trace context of a run. Its jobs carry it, so a trace continues after a suspension and in other processes.

Only OpenTelemetry's API is used. Without an SDK in the process nothing is recorded, and the incoming context is kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from engine.ports.persistence import Claim

_FIELD = "traceparent"
_PROPAGATOR = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("engine")


def current_trace() -> str | None:
    """The `traceparent` of the active span, if any."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(_FIELD)


@contextmanager
def stage_span(claim: Claim) -> Iterator[None]:
    """A span for one attempt of a stage, in the trace of its job."""
    job, stage, run = claim.job, claim.stage, claim.run
    parent = _PROPAGATOR.extract({_FIELD: job.trace_context}) if job.trace_context else None
    attributes: dict[str, str | int] = {
        "workflow.id": run.workflow_id,
        "workflow.run.id": run.id,
        "workflow.stage.id": stage.stage_id,
        "workflow.stage.generation": stage.generation,
        "workflow.job.attempt": job.attempt,
    }
    with _TRACER.start_as_current_span(f"stage {stage.stage_id}", context=parent, attributes=attributes):
        yield
