import pytest

from engine.domain.errors import InvalidTransition
from engine.domain.lifecycle import MOVES, TERMINAL, Status, check_move

P, R, SUS, C, F, X = (
    Status.PENDING,
    Status.RUNNING,
    Status.SUSPENDED,
    Status.COMPLETED,
    Status.FAILED,
    Status.CANCELLED,
)
ALLOWED = {
    "run": {P: {R, X, F}, R: {C, F, X}, C: {R}, F: {R}},
    "stage": {P: {R, X, F}, R: {C, SUS, F, X, P}, SUS: {C, F, X, R}, F: {R}},
    "job": {P: {R, X}, R: {C, SUS, F, P, X}, SUS: {C, F, X, P}},
}
EVERY_MOVE = [(kind, before, after) for kind in ALLOWED for before in Status for after in Status if before != after]


@pytest.mark.parametrize(("kind", "before", "after"), EVERY_MOVE)
def test_a_move_is_allowed_or_raises(kind: str, before: Status, after: Status) -> None:
    if after in ALLOWED[kind].get(before, set()):
        check_move(kind, before, after)
    else:
        with pytest.raises(InvalidTransition, match=f"a {kind} cannot go from {before} to {after}"):
            check_move(kind, before, after)


@pytest.mark.parametrize("kind", MOVES)
def test_staying_is_no_move(kind: str) -> None:
    for status in Status:
        check_move(kind, status, status)


def test_what_is_cancelled_or_skipped_stays_so() -> None:
    for moves in MOVES.values():
        assert not moves.get(Status.CANCELLED)
        assert not moves.get(Status.SKIPPED)
    assert {C, F, X, Status.SKIPPED} == TERMINAL
