"""Outputs of earlier stages for a body."""

from collections.abc import Mapping, Sequence

from engine.domain.values import Json, StoredValue
from engine.ports.blob_store import BlobStore, load_value
from engine.ports.persistence import Claim, Persistence


class RunOutputs:
    """Outputs of earlier groups, for `ctx.require`. Rows and blobs are read once, at the first access."""

    def __init__(self, claim: Claim, *, persistence: Persistence, blob_store: BlobStore) -> None:
        self._run_id, self._known = claim.run.id, dict(claim.previous)
        self._groups = range(1, claim.stage.execution_group)
        self._persistence, self._blob_store = persistence, blob_store
        self._complete = False

    def available(self) -> Sequence[str]:
        """Stage ids in the order of the pipeline."""
        return tuple(self._all())

    def load(self, stage_id: str) -> Json:
        """Raises `KeyError` for a stage without output."""
        stored = self._known.get(stage_id) or self._all()[stage_id]
        return load_value(stored, self._blob_store)

    def _all(self) -> Mapping[str, StoredValue]:
        if not self._complete:
            self._known = dict(self._persistence.read(lambda tx: tx.stages.outputs(self._run_id, self._groups)))
            self._complete = True
        return self._known
