"""The ports of a simulated kernel. At each call the process stops, and the scheduler says how it goes on."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from engine.adapters.memory.blob_store import InMemoryBlobStore
from engine.domain.values import Json
from engine.ports.blob_store import BlobInfo
from engine.ports.changes import Changes, Refused, Written
from engine.ports.job_transport import JobNotification
from engine.ports.persistence import Claim, ClaimRequest, Decision, NoClaim
from engine.ports.transaction import Tx
from tests.faults.simulation.faults import (
    BLOB_DELETE,
    BLOB_GET,
    BLOB_PUT,
    CLAIM,
    DECIDE,
    NOTIFY,
    READ,
    TRANSACT,
    WAKE,
    WRITE,
    Resume,
    unavailable,
)

if TYPE_CHECKING:
    from tests.faults.simulation.world import World


class SimulatedPersistence:
    """The memory store behind a connection that can fail. `AGAIN` is the repetition that an adapter makes itself."""

    def __init__(self, world: "World") -> None:
        self._world, self._inner = world, world.store

    def read[T](self, work: Callable[[Tx], T]) -> T:
        if self._world.pause(READ) is Resume.UNAVAILABLE:
            raise unavailable(READ)
        return self._inner.read(work)

    def transact[T](self, work: Callable[[Tx], T]) -> T:
        return self._world.call(TRANSACT, lambda: self._inner.transact(work))

    def write(self, changes: Changes) -> Written | Refused:
        written = self._world.call(WRITE, lambda: self._inner.write(changes))
        self._world.answers.of_write(written)
        return written

    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused:
        decide = self._inner.decide
        written = self._world.call(DECIDE, lambda: decide(run_id, decision, job_id=job_id, whole=whole))
        self._world.answers.of_decision(written)
        return written

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        return self._world.call(CLAIM, lambda: self._claim(request))

    def _claim(self, request: ClaimRequest) -> Claim | NoClaim:
        claim = self._inner.claim(request)
        self._world.answers.of_claim(request, claim)
        return claim

    def close(self) -> None:
        self._inner.close()


class SimulatedBlobStore(InMemoryBlobStore):
    def __init__(self, world: "World") -> None:
        super().__init__()
        self._world = world

    def put_bytes(self, key: str, data: bytes, *, content_type: str) -> BlobInfo:
        put = super().put_bytes
        return self._world.call(BLOB_PUT, lambda: put(key, data, content_type=content_type))

    def get(self, key: str) -> Json:
        if self._world.pause(BLOB_GET) is Resume.UNAVAILABLE:
            raise unavailable(BLOB_GET)
        return super().get(key)

    def delete_prefix(self, prefix: str) -> int:
        delete = super().delete_prefix
        return self._world.call(BLOB_DELETE, lambda: delete(prefix))


class SimulatedTransport:
    """Sends a message for each job."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def notify(self, notifications: Sequence[JobNotification]) -> None:
        if notifications:
            self._world.call(NOTIFY, lambda: self._send(notifications))

    def _send(self, notifications: Sequence[JobNotification]) -> None:
        now = self._world.clock.now()
        for each in notifications:
            self._world.jobs.send(each, now + timedelta(seconds=each.delay))


class SimulatedScheduler:
    """Sends each wake as a message that becomes visible at its time; one that is there already, once."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def wake(self, command: Mapping[str, Json], at: datetime) -> None:
        self._world.call(WAKE, lambda: self._send(dict(command), at))

    def _send(self, command: dict[str, Any], at: datetime) -> None:
        wakes = self._world.wakes
        self._world.answers.of_wake(command, at)
        if not any(each.visible_at == at and each.received == 0 and each.body == command for each in wakes.messages):
            wakes.send(command, at)
