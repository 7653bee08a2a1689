"""Values that may be large: into a row or the blob store, and back."""

from engine.domain.stored_value import Json, StoredValue, in_blob, inline, inlined
from engine.ports.blob_store import BlobStore


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
