"""The frequent queries of hosts, the command line and the console."""

from collections.abc import Callable, Mapping

from engine.domain.lifecycle import RunStatus
from engine.ports.changes import Changes
from engine.ports.persistence import LockedRun, Persistence
from engine.ports.transaction import AnnotationFilter, RunFilter, Tx
from engine.testing.contracts.changes import applied, begun, changes, completes
from engine.testing.contracts.rows import AT, a_lease, at, claim, claim_any
from engine.transitions.keep_lease import renew_lease

type Operation = Callable[[Persistence], object]


def _read(work: Callable[[Tx], object]) -> Operation:
    return lambda persistence: persistence.read(work)


def _write(work: Callable[[Tx], object]) -> Operation:
    return lambda persistence: persistence.transact(work)


def _look_at_all(locked: LockedRun) -> Changes:
    assert locked.stages()
    assert locked.jobs()
    return changes(run_id="live4")


def _runs(**where: object) -> Operation:
    return _read(lambda tx: tx.runs.search(RunFilter(**where), 20))  # type: ignore[arg-type]  # one of its fields


def _annotations(**where: object) -> Operation:
    return _read(lambda tx: tx.annotations.of_run("noted", AnnotationFilter(**where)))  # type: ignore[arg-type]  # one of its fields


OPERATIONS: Mapping[str, Operation] = {
    "create": lambda persistence: applied(persistence, begun("a", run_id="created")),
    "claim by id": lambda persistence: persistence.claim(claim(run_id="created")),
    "finish": lambda persistence: applied(persistence, completes(run_id="created")),
    "claim any": lambda persistence: persistence.claim(claim_any()),
    "claim of a run": lambda persistence: persistence.claim(claim_any("u", run_id="live1")),
    "due jobs": _read(lambda tx: tx.jobs.due(["default", "big"], 20)),
    "expired leases": _read(lambda tx: tx.jobs.expired(20)),
    "jobs held": _read(lambda tx: tx.jobs.held_by(["worker of t"])),
    "jobs waiting": _read(lambda tx: tx.jobs.waiting(20)),
    "renew": lambda persistence: applied(persistence, renew_lease("live1", "live1.a.job", "t", 60, AT)),
    "decide": lambda persistence: persistence.decide("live4", _look_at_all),
    "decide about a job": lambda persistence: persistence.decide("live4", _look_at_all, job_id="live4.a.job"),
    "decide about all": lambda persistence: persistence.decide("live4", _look_at_all, whole=True),
    "pending runs": _read(lambda tx: tx.runs.pending(20)),
    "quiet runs": _read(lambda tx: tx.runs.quiet(at(1e9), 20)),
    "newest runs": _runs(),
    "runs of a workflow": _runs(workflow_id="w"),
    "runs of a rare workflow": _runs(workflow_id="rare"),
    "runs of a tenant": _runs(tenant="t"),
    "runs that failed": _runs(statuses=frozenset({RunStatus.FAILED})),
    "runs of a time": _runs(created_since=at(-70), created_until=at(-60)),
    "runs by prefix": _runs(id_prefix="live"),
    "next page of runs": _runs(before="done00100"),
    "ended runs": _read(lambda tx: tx.runs.ended(at(-49_990), 20)),
    "prune": _write(lambda tx: tx.runs.delete(["done00001"])),
    "due polls": _read(lambda tx: tx.stages.due(at(1e9), 20)),
    "runs with events": _read(lambda tx: tx.outbox.ready(20)),
    "claim events": _write(lambda tx: tx.outbox.claim("live1", token="t", seconds=9, limit=20)),
    "events published": _write(lambda tx: tx.outbox.published(["live1.1"], token="t", at=at(1))),
    "dead letters": _read(lambda tx: tx.outbox.dead(20)),
    "backlog": _read(lambda tx: tx.outbox.backlog()),
    "events of a run": _read(lambda tx: tx.outbox.of_run("done00100")),
    "logs of a run": _read(lambda tx: tx.logs.of_run("done00100")),
    "annotation by key": _annotations(key="decision.outcome"),
    "annotations by prefix": _annotations(key_prefix="decision."),
    "artifacts of a run": _read(lambda tx: tx.artifacts.of_run("done00100")),
    "old keys": _write(lambda tx: tx.keys.prune(at(-1e6), 20)),
    "take a poll": _write(lambda tx: tx.stages.claim_poll("live2.a", token=a_lease().token, now=at(0), until=at(60))),
}
