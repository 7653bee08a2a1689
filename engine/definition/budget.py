"""Budgets for the model calls of a run or a stage."""

from dataclasses import dataclass
from math import isfinite

from engine.domain.errors import DefinitionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Caps on the cost (US dollars) and the tokens of all calls together, over all attempts and generations.

    A call is refused with `BudgetExceeded` before it is sent when its upper bound would pass the cap.
    """

    max_cost: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.max_cost is None and self.max_tokens is None:
            raise DefinitionError("Budget: give max_cost (US dollars), max_tokens, or both")
        if self.max_cost is not None and not (isfinite(self.max_cost) and self.max_cost >= 0):
            raise DefinitionError(f"Budget: max_cost must be an amount of US dollars, not {self.max_cost!r}")
        if self.max_tokens is not None and self.max_tokens < 0:
            raise DefinitionError(f"Budget: max_tokens must be 0 or more, not {self.max_tokens!r}")
