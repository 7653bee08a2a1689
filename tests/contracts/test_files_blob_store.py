import errno
import os
from pathlib import Path

import pytest

from engine.adapters.files.blob_store import FileBlobStore
from engine.domain.errors import InvalidBlobKey, StoreError
from engine.testing.contracts.blob_store import BlobStoreContract


class TestFileBlobStore(BlobStoreContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> FileBlobStore:
        return FileBlobStore(tmp_path / "blobs")


def test_a_blob_can_be_read_from_any_place(tmp_path: Path) -> None:
    blobs = FileBlobStore(tmp_path)
    blobs.put_bytes("a", b"0123456789", content_type="text/plain")
    with blobs.open("a") as file:
        assert (file.seek(-3, os.SEEK_END), file.read()) == (7, b"789")
        assert (file.seek(2), file.read(2), file.tell()) == (2, b"23", 4)


def test_a_blob_that_is_replaced_can_still_be_read_to_its_end(tmp_path: Path) -> None:
    blobs = FileBlobStore(tmp_path)
    blobs.put_bytes("a", b"old", content_type="text/plain")
    with blobs.open("a") as file:
        blobs.put_bytes("a", b"new and longer", content_type="text/plain")
        assert file.read() == b"old"


def test_a_write_that_fails_leaves_the_old_blob_and_no_draft(tmp_path: Path) -> None:
    blobs = FileBlobStore(tmp_path / "blobs")
    blobs.put("a", "old")
    with pytest.raises(IsADirectoryError):
        blobs.put_file("a", tmp_path, content_type="text/plain")
    assert blobs.get("a") == "old"
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == ["a%00"]


def test_empty_folders_go_with_their_last_blob(tmp_path: Path) -> None:
    blobs = FileBlobStore(tmp_path)
    blobs.put("a/b/c", 1)
    blobs.delete("a/b/c")
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_cannot_be_written_is_named_with_a_remedy(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(StoreError, match=r"file.*make the directory writable"):
        FileBlobStore(in_the_way).put("a", 1)


def test_a_full_disk_is_named_with_a_remedy(tmp_path: Path) -> None:
    class Full(FileBlobStore):
        def _draft(self) -> object:  # type: ignore[override]  # stands for a disk that has no room
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match=r"No space left.*free some space"):
        Full(tmp_path).put("a", 1)


def test_a_name_too_long_for_the_disk_is_an_invalid_key(tmp_path: Path) -> None:
    class OfShortNames(FileBlobStore):
        def _draft(self) -> object:  # type: ignore[override]  # stands for a disk whose names are shorter than usual
            raise OSError(errno.ENAMETOOLONG, "File name too long")

    with pytest.raises(InvalidBlobKey, match="too long"):
        OfShortNames(tmp_path).put("a" * 200, 1)
