from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """How hosts pace themselves. Times in seconds, counts per maintenance tick.

    `lease`: how long a job stays with a worker that says nothing. `heartbeat`: how often a quiet lease is renewed.
    `flush`: how soon logs and progress are written. `cancel_check`: how often a body that says nothing is looked
    after. `job_poll` and `orchestration` are fallbacks: doorbells and timers
    come first. `max_continued`: stages of one run taken in a row before the most urgent job is asked for again.
    """

    lease: float = 300.0
    heartbeat: float = 60.0
    flush: float = 1.0
    cancel_check: float = 5.0
    job_poll: float = 1.0
    orchestration: float = 10.0
    longest_backoff: float = 30.0
    max_continued: int = 8
    max_claims: int = 10
    max_suspended_checks: int = 10
    max_outbox: int = 100
    max_stuck: int = 50

    @property
    def stuck(self) -> float:
        """How long a run must have been quiet before it may count as stuck."""
        return max(3 * self.lease, 300.0)


DEFAULTS = HostOptions()
