"""Values that may be large: into a row or the blob store, and back."""

import hashlib
from collections.abc import Mapping, Sequence

from engine.domain.records import RunRecord, StageRecord
from engine.domain.stored_value import Json, StoredValue, in_blob, inline, inlined
from engine.ports.blob_store import BlobStore
from engine.ports.persistence import Claim, Persistence

ROOT = "workflow-v2"


def run_prefix(run: RunRecord) -> str:
    return f"{ROOT}/{run.workflow_type}/{run.id}"


def generation_prefix(run: RunRecord, stage: StageRecord) -> str:
    """All that one generation of a stage left; a rerun deletes it as a whole."""
    return f"{run_prefix(run)}/{stage.stage_id}/{stage.generation}"


def claim_prefix(run: RunRecord, stage: StageRecord, lease_token: str) -> str:
    """Where one attempt writes, so that a late worker never overwrites what another committed."""
    claim = hashlib.sha256(lease_token.encode()).hexdigest()[:16]
    return f"{generation_prefix(run, stage)}/{claim}"


def store_value(value: Json, key: str, blob_store: BlobStore, inline_max: int) -> StoredValue:
    """`value` as its row holds it; written under `key` when it is too large for the row."""
    stored = inline(value)
    if len(stored["json"].encode(errors="surrogatepass")) <= inline_max:
        return stored
    return in_blob(key, blob_store.put(key, value).size)


def load_value(stored: StoredValue, blob_store: BlobStore) -> Json:
    """The value a row stands for. One blob read for each key it names."""
    if "json" in stored:
        return inlined(stored)
    if "blob" in stored:
        return blob_store.get(stored["blob"])
    return {stage_id: load_value(part, blob_store) for stage_id, part in stored["stages"].items()}


class RunOutputs:
    """Outputs of the groups before a stage's own, for `ctx.require`. Reads rows once and each blob once, when asked."""

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
