"""Two thousand histories, and what they must have reached together."""

from collections import Counter

import pytest

from tests.faults.simulation.choices import Step
from tests.faults.simulation.facts import FACTS
from tests.faults.simulation.faults import CRASHING
from tests.faults.simulation.histories import play
from tests.faults.simulation.shrinking import from_text, report, to_text
from tests.faults.simulation.sometimes import missing

BATCH, BATCHES = 250, 8
LEAST = 5
CRASHES = [f"crash {when} {point.name}" for point in CRASHING for when in ("before", "after")]
reached = Counter[str]()
played = set[int]()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_history_keeps_the_promises(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        history = play(seed)
        assert history.failure is None, report(history)
        reached.update(history.counts)
    played.add(batch)


def test_rare_states_are_reached() -> None:
    """Of the batches above; one that was not run says nothing."""
    if len(played) < BATCHES:
        pytest.skip("needs the histories of all batches")
    assert missing(reached, CRASHES, LEAST) == []


def test_a_seed_is_one_history() -> None:
    first, second = play(11), play(11)
    assert (first.steps, first.counts) == (second.steps, second.counts)


def test_a_recorded_history_is_played_back() -> None:
    first = play(12)
    again = play(0, from_text(to_text(first.steps)))
    assert again.counts == first.counts


def test_a_step_that_is_left_out_leaves_the_others_what_they_were() -> None:
    steps = play(13).steps
    fewer: list[Step] = [step for step in steps if step.part != "chaos 0" or step.number % 3]
    assert play(13, fewer).failure is None


def test_facts_have_names_of_their_own() -> None:
    names = [fact.name for fact in FACTS]
    assert len(names) == len(set(names))
