"""Ports that delegate every call. Tests override those that should fail."""

from collections.abc import Callable

from engine.domain.values import Json
from engine.ports.changes import Changes, Refused, Written
from engine.ports.persistence import Claim, ClaimRequest, Decision, NoClaim, Persistence
from engine.ports.transaction import Tx
from engine.testing import InMemoryBlobStore


class WrappedPersistence:
    def __init__(self, inner: Persistence) -> None:
        self.inner = inner

    def transact[T](self, work: Callable[[Tx], T]) -> T:
        return self.inner.transact(work)

    def read[T](self, work: Callable[[Tx], T]) -> T:
        return self.inner.read(work)

    def write(self, changes: Changes) -> Written | Refused:
        return self.inner.write(changes)

    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused:
        return self.inner.decide(run_id, decision, job_id=job_id, whole=whole)

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        return self.inner.claim(request)

    def close(self) -> None:
        self.inner.close()


class Meanwhile(WrappedPersistence):
    """Runs a function once between a command's read and its write."""

    def __init__(self, inner: Persistence) -> None:
        super().__init__(inner)
        self.do: Callable[[], object] | None = None

    def write(self, changes: Changes) -> Written | Refused:
        self._do()
        return self.inner.write(changes)

    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused:
        self._do()
        return self.inner.decide(run_id, decision, job_id=job_id, whole=whole)

    def _do(self) -> None:
        do, self.do = self.do, None
        if do is not None:
            do()


class CountingBlobStore(InMemoryBlobStore):
    """Records the keys of reads."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, key: str) -> Json:
        self.read.append(key)
        return super().get(key)
