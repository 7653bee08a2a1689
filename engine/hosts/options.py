from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """Intervals in seconds, and limits per maintenance tick.

    `lease`: length of a lease. `heartbeat`: interval at which a lease is renewed. `flush`: longest time that logs and
    progress wait to be written. `cancel_check`: interval at which a running attempt looks for a cancellation.
    `job_poll` and `orchestration`: intervals of polling, for when no notification or timer comes first.
    `max_continued`: stages of one run that a worker runs in a row before it claims the most urgent job again.
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
        """The seconds without any change after which a run may be stuck."""
        return max(3 * self.lease, 300.0)


DEFAULTS = HostOptions()
