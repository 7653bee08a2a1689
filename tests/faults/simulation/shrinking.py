"""Shortens a failing history by leaving out steps, and tells what is left of it."""

import json
from collections.abc import Sequence

from tests.faults.simulation.choices import UNRECORDED, Step
from tests.faults.simulation.histories import History, play

MOST_PLAYS = 600


def report(history: History) -> str:
    """The seed, the fewest steps that fail alike, and the trace of the history that they make."""
    steps = shorten(history)
    lines: list[str] = []
    again = play(history.seed, _copy(steps), tell=lines.append)
    return "\n".join(
        [
            *lines,
            f"seed {history.seed} fails: {history.failure}",
            f"shortened from {len(history.steps)} to {len(steps)} steps, it fails: {again.failure}",
            f"again: python -m tests.faults.simulation --replay '{to_text(steps)}'",
        ]
    )


def shorten(history: History) -> list[Step]:
    """Leaves out runs of steps, shorter and shorter ones, then single decisions, as long as the failure stays."""
    search = _Search(history)
    search.leave_out_steps()
    search.leave_out_decisions()
    search.leave_out_steps()
    return search.steps


class _Search:
    def __init__(self, history: History) -> None:
        self.steps = [step for step in history.steps if step.number < UNRECORDED]
        self._seed, self._kind, self._plays = history.seed, _kind(history), 0

    def leave_out_steps(self) -> None:
        size = len(self.steps) // 2
        while size:
            at = len(self.steps) - size  # from the end, so that what comes after the failure goes first
            while at >= 1:
                self._try([*self.steps[:at], *self.steps[at + size :]])
                at -= size
            size //= 2

    def leave_out_decisions(self) -> None:
        """Every decision that is a number becomes 0 if it can."""
        for index, step in enumerate(self.steps):
            plain = [value if isinstance(value, str) else 0 for value in step.values]
            if plain != step.values:
                self._try([*self.steps[:index], Step(step.part, step.number, plain), *self.steps[index + 1 :]])

    def _try(self, steps: list[Step]) -> None:
        if self._plays >= MOST_PLAYS:
            return
        self._plays += 1
        tried = play(self._seed, _copy(steps))
        if tried.failure is not None and _kind(tried) == self._kind:
            self.steps = steps


def _copy(steps: Sequence[Step]) -> list[Step]:
    return [Step(step.part, step.number, list(step.values)) for step in steps]


def _kind(history: History) -> str:
    """The failure without the ids and numbers in it."""
    return "".join(letter for letter in str(history.failure) if letter.isalpha())[:30]


def to_text(steps: Sequence[Step]) -> str:
    return json.dumps([[step.part, step.number, *step.values] for step in steps], separators=(",", ":"))


def from_text(text: str) -> list[Step]:
    return [Step(part, number, values) for part, number, *values in json.loads(text)]
