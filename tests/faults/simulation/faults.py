"""What can go wrong at a call of a port."""

from dataclasses import dataclass
from enum import Enum

from engine.domain.errors import StoreUnavailable


class Crash(BaseException):
    """The simulated operating-system process dies: every call of a port raises this from then on."""


class Resume(Enum):
    """How a process goes on with the call it stands before."""

    GO = "goes on"
    CRASH_BEFORE = "crashes before"
    CRASH_AFTER = "crashes after"
    UNAVAILABLE = "cannot reach"
    LOST = "loses the answer of"
    AGAIN = "repeats, not knowing whether it was done,"
    REFUSED = "is refused by"
    PARTLY = "is partly refused by"


@dataclass(frozen=True, slots=True)
class Point:
    """A place where a process can be stopped: before a call of a port, or in the middle of a body."""

    name: str
    faults: tuple[Resume, ...] = ()


_CRASHES = (Resume.CRASH_BEFORE, Resume.CRASH_AFTER)
_ANY = (*_CRASHES, Resume.UNAVAILABLE, Resume.LOST)

READ = Point("persistence.read", (Resume.CRASH_BEFORE, Resume.UNAVAILABLE))
WRITE = Point("persistence.write", (*_ANY, Resume.AGAIN, Resume.AGAIN))
DECIDE = Point("persistence.decide", (*_ANY, Resume.AGAIN, Resume.AGAIN))
CLAIM = Point("persistence.claim", (*_ANY, Resume.AGAIN, Resume.AGAIN))
TRANSACT = Point("persistence.transact", _ANY)
BLOB_PUT = Point("blob_store.put", _ANY)
BLOB_GET = Point("blob_store.get", (Resume.CRASH_BEFORE, Resume.UNAVAILABLE))
BLOB_DELETE = Point("blob_store.delete", _ANY)
NOTIFY = Point("job_transport.notify", _CRASHES)
WAKE = Point("scheduler.wake", _ANY)
EMIT = Point("event_sink.emit", (*_ANY, Resume.REFUSED, Resume.REFUSED, Resume.PARTLY))
BODY = Point("body", (Resume.CRASH_BEFORE,))
HEARTBEAT = Point("heartbeat", ())
WAIT = Point("wait", ())
CRASHING = (WRITE, DECIDE, CLAIM, TRANSACT, BLOB_PUT, NOTIFY, WAKE, EMIT)
"""The points whose crashes, before and after, a batch of histories must have reached."""


def unavailable(point: Point) -> StoreUnavailable:
    return StoreUnavailable(f"{point.name}: the simulated connection was lost")
