"""The place of a call in the ledger, and its budget caps."""

from dataclasses import dataclass

from engine.ai.messages import ChatRequest, texts_of, tokens_of_files
from engine.ai.model_info import ModelInfo, Price, Usage
from engine.definition.budget import Budget
from engine.domain.ai_calls import Cap
from engine.domain.errors import BudgetExceeded

MOST_OUTPUT = 16_384
"""The assumed limit of output tokens when neither the caller nor the list of models gives one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSite:
    """The run, stage and attempt that calls belong to. Outside a run all but `scope` and `caps` is None or 0."""

    workflow_run_id: str | None = None
    stage_record_id: str | None = None
    stage_id: str | None = None
    generation: int = 0
    attempt: int = 0
    scope: str | None = None
    caps: tuple[Cap, ...] = ()

    def check_price(self, model: ModelInfo, price: Price | None) -> None:
        """Raises `BudgetExceeded` for a call of unknown price under a cap on cost."""
        capped = next((cap for cap in self.caps if cap.max_cost is not None), None)
        if capped is not None and price is None:
            raise BudgetExceeded(
                f"the price of model {model.key!r} is not known, and {capped.scope} has a budget of "
                f"${capped.max_cost:g}; give the call a price=, or register the model with one"
            )


def cap_of(scope: str, budget: Budget | None) -> tuple[Cap, ...]:
    if budget is None:
        return ()
    return (Cap(scope=scope, max_cost=budget.max_cost, max_tokens=budget.max_tokens),)


def most_output(model: ModelInfo, max_tokens: int | None) -> int:
    if max_tokens is not None:
        return max_tokens
    return model.max_output_tokens or MOST_OUTPUT


def texts_to_count(request: ChatRequest) -> list[str]:
    return [*texts_of(request.messages), *(str(tool) for tool in request.tools), str(request.response_format or "")]


def chat_bound(request: ChatRequest, counted: int) -> Usage:
    """The upper bound of a chat's tokens, given the count of its texts."""
    files = tokens_of_files(request.messages)
    return Usage(input_tokens=counted + files, output_tokens=most_output(request.model, request.max_tokens))
