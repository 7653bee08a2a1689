"""Rare states that a batch of histories must have reached, so that its silence about them means something."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The states, as the table names them."""

    GHOST = "a late finish is a ghost"
    LOST_MESSAGE = "a job whose message was lost is claimed all the same"
    SECOND_CLAIM = "a claim of a job that is held is refused"
    LEASE_REAPED = "an expired lease is reaped"
    LEASE_TAKEN_OVER = "an expired lease is taken over by a claim"
    LEASE_FAILED = "a job ends because its attempts are lost"
    CLAIM_REPEATED = "a claim is repeated under its token"
    FINISH_REPEATED = "a finish whose answer was lost is recognised"
    DECIDED_LATE = "a one-trip write is refused and decided under the lock"
    LAST_SIBLING = "a stage finds late that it is the last of a wide group"
    RERUN_OF_LATE = "a run is run again while an old worker is at it"
    CANCEL_OF_FINISH = "a run is cancelled while a finish is under way"
    DEAD_LETTER = "an event goes to the dead-letter queue"
    REDRIVEN = "a dead letter is published after all"
    HELD_BACK = "events wait behind one that was refused"
    POLL_LOST = "a poll finds another one at it"
    POLL_EXPIRED = "a poll claim is taken from a poller that died"
    RETRY_WHILE_FAILING = "a retry is given up because the run is failing"
    SUSPEND_WHILE_FAILING = "a suspension is given up because the run is failing"
    FAIL_FAST = "a stage that fails cancels waiting siblings"
    FAILING_WAITS = "a failing run waits for running siblings"
    UNCOUNTED = "a lease is given back uncounted"
    TIMED_OUT = "a body past its time is failed by its keeper"
    CONTINUED = "a worker goes on with the next stage"
    CONTINUED_AFTER_LOSS = "a worker goes on although the answer was lost"
    BLOB_OUTPUT = "a large output is in the blob store"
    RETRIED = "a stage completes after a failed attempt"
    POLLED = "a suspended stage is completed by a poll"
    WAITED_TOO_LONG = "a suspended stage passes its longest wait"
    REDELIVERED = "a message is delivered again"
    DUPLICATED = "a message is delivered twice at once"
    REPLAYED_KEY = "a key is answered with its first result"
    FLUSH_OVERTAKEN = "a flusher loses its claim to another"
    RERUN = "a run is run again"
    OVERDUE_NOTIFIED = "an overdue job is notified again"
    ZOMBIE = "a frozen worker goes on after the end"
    OUTBOX_BUSY = "events are left to the flusher that holds the run"


@dataclass(slots=True)
class Sometimes:
    """How often each state, and each crash, was reached."""

    counts: Counter[str]

    def reached(self, state: str) -> None:
        self.counts[state] += 1


def table(counts: Counter[str]) -> str:
    names = [*State, *sorted(counts.keys() - set(State))]
    return "\n".join(f"{counts[name]:>9,}  {name}" for name in names)


def missing(counts: Counter[str], crashes: list[str], least: int) -> list[str]:
    """The states and crashes that were reached less than `least` times."""
    return [f"{name}: {counts[name]}" for name in (*State, *crashes) if counts[name] < least]
