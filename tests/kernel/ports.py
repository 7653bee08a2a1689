"""Ports that pass everything on: a test overrides what should go wrong."""

from collections.abc import Callable

from engine.domain.stored_value import Json
from engine.ports.persistence import Claim, ClaimRequest, NoClaim, Persistence
from engine.ports.transaction import Tx
from engine.ports.write_set import Applied, WriteSet
from engine.testing import InMemoryBlobStore


class WrappedPersistence:
    def __init__(self, inner: Persistence) -> None:
        self.inner = inner

    def transact[T](self, work: Callable[[Tx], T]) -> T:
        return self.inner.transact(work)

    def read[T](self, work: Callable[[Tx], T]) -> T:
        return self.inner.read(work)

    def apply(self, write_set: WriteSet) -> Applied:
        return self.inner.apply(write_set)

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        return self.inner.claim(request)

    def close(self) -> None:
        self.inner.close()


class Meanwhile(WrappedPersistence):
    """Lets something else happen between a command's reading and its writing, once."""

    def __init__(self, inner: Persistence) -> None:
        super().__init__(inner)
        self.do: Callable[[], object] | None = None

    def apply(self, write_set: WriteSet) -> Applied:
        do, self.do = self.do, None
        if do is not None:
            do()
        return self.inner.apply(write_set)


class CountingBlobStore(InMemoryBlobStore):
    """Remembers which keys were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, key: str) -> Json:
        self.read.append(key)
        return super().get(key)
