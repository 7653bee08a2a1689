import pytest

from engine.adapters.memory.blob_store import InMemoryBlobStore
from engine.testing.contracts.blob_store import BlobStoreContract


class TestInMemoryBlobStore(BlobStoreContract):
    @pytest.fixture
    def blobs(self) -> InMemoryBlobStore:
        return InMemoryBlobStore()
