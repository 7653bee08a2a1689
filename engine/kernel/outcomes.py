"""How one attempt of a stage can end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from engine.domain.records import ArtifactRecord
from engine.domain.stored_value import Json, StoredValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    output: StoredValue
    metrics: Mapping[str, Json] = field(default_factory=dict)
    embeddings: Mapping[str, Json] | None = None
    artifacts: tuple[ArtifactRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """`state` is the stored form of `SuspendedState`."""

    state: Mapping[str, Json]
    next_poll_at: datetime
    poll_interval_s: float
    max_wait_until: datetime
    metrics: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """`retry_in`: seconds until the next try, None when there must be none."""

    code: str
    message: str
    trace: str | None = None
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Ghost:
    """Nothing was committed: the run or the job belongs to a later decision. `why` is for the log."""

    why: str


type Outcome = Completed | Suspended | Failed
