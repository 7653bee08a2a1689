from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from engine.domain.ai_calls import Spent
from engine.ports.clock import Clock
from engine.ports.ids import Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionContext:
    """Time, source of ids, trace of new jobs, and the spending of earlier generations by stage id."""

    at: datetime
    ids: Ids
    trace: str | None = None
    spent: Mapping[str, Spent] = field(default_factory=dict)

    @classmethod
    def of(cls, clock: Clock, ids: Ids, *, trace: str | None = None, spent: Mapping[str, Spent] | None = None) -> Self:
        return cls(at=clock.now(), ids=ids, trace=trace, spent=spent or {})
