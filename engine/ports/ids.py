from typing import Protocol


class Ids(Protocol):
    """Ids, secrets and randomness.

    `new` gives UUIDv7 text: unique, and sorting in order of creation within one process. `token` gives an
    unguessable secret for one lease or claim. `random` gives a float in [0, 1).
    """

    def new(self) -> str: ...
    def token(self) -> str: ...
    def random(self) -> float: ...
