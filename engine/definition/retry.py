"""The retry policy of a stage."""

from dataclasses import dataclass

from engine.definition.durations import Duration, seconds
from engine.domain.errors import (
    AICallRefused,
    BudgetExceeded,
    DefinitionError,
    InvalidStageData,
    MissingStageOutput,
    StageCancelled,
)

NEVER_RETRIED = (InvalidStageData, MissingStageOutput, StageCancelled, BudgetExceeded, AICallRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The number of attempts, and the delays between them: `initial`, times `factor` after each, up to `max`.

    `jitter`, from 0 to 1, is the share of a delay that is added at random. An error is retried when it is a `retry_on`
    and not a `give_up_on`. Invalid data, cancellation, spent budgets and refused model calls are never retried.
    """

    max_attempts: int = 3
    initial: Duration = 2.0
    factor: float = 2.0
    max: Duration = 300.0
    jitter: float = 0.1
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        problem = self._wait_problem() or self._choice_problem()
        if problem:
            raise DefinitionError(f"RetryPolicy: {problem}")

    def delay(self, attempt: int, random: float) -> float:
        """Seconds to wait after the given failed attempt (1 first). `random` is drawn from 0 to 1."""
        longest = seconds(self.max, "max")
        wait = min(seconds(self.initial, "initial") * self.factor ** min(attempt - 1, 64), longest)
        return min(wait * (1 + self.jitter * random), longest)

    def allows(self, error: BaseException) -> bool:
        """True when the error is retried."""
        return isinstance(error, self.retry_on) and not isinstance(error, (*self.give_up_on, *NEVER_RETRIED))

    def _wait_problem(self) -> str | None:
        try:
            shortest, longest = seconds(self.initial, "initial"), seconds(self.max, "max")
        except ValueError as error:
            return str(error)
        if longest < shortest:
            return f"max ({longest:g} s) is shorter than initial ({shortest:g} s)"
        if self.factor < 1:
            return f"factor must be 1 or more, not {self.factor!r}"
        return None if 0 <= self.jitter <= 1 else f"jitter must be between 0 and 1, not {self.jitter!r}"

    def _choice_problem(self) -> str | None:
        if type(self.max_attempts) is not int or self.max_attempts < 1:
            return f"max_attempts must be a whole number, 1 or more, not {self.max_attempts!r}"
        if not (_are_exceptions(self.retry_on) and _are_exceptions(self.give_up_on)):
            return "retry_on and give_up_on must be tuples of exception classes"
        return None


def _are_exceptions(classes: object) -> bool:
    return isinstance(classes, tuple) and all(
        isinstance(each, type) and issubclass(each, BaseException) for each in classes
    )
