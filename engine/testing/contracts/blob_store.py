import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.domain.blob_keys import KEY_BYTES, SEGMENT_BYTES
from engine.domain.errors import BlobNotFound, InvalidBlobKey, InvalidInput
from engine.ports.blob_store import BlobInfo, BlobStore
from engine.testing.contracts.threads import together

BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    "..",
    "a/../b",
    "../../victim",
    "a/..",
    ".",
    "a/./b",
    "a\\b",
    "a/%2e%2e/b",
    "a%2Fb",
    "a%00",
    "a\nb",
    "a\x00b",
    "a\x7fb",
    "half \ud800",
    "a" * (SEGMENT_BYTES + 1),
    "a/" + "é" * (SEGMENT_BYTES // 2 + 1),
    "/".join(["a" * 99] * (KEY_BYTES // 100 + 1)),
]
ODD_KEYS = ["a/b.c/d-e_f", "with space", "ünï/コード", "100%", "a%zz", "...", "a..b", "~x", "a+b=c&d"]
LONGEST_KEYS = ["a" * SEGMENT_BYTES, "é" * (SEGMENT_BYTES // 2), f"{'/'.join(['a' * 99] * (KEY_BYTES // 100))}"]


def _shown(key: str) -> str:
    return ascii(key if len(key) < 40 else f"{key[:10]}… {len(key)} {key.count('/')}")


class BlobStoreContract:
    """The contract of `BlobStore`. A subclass provides the fixture `blobs`: an empty store."""

    @pytest.fixture
    def blobs(self) -> BlobStore:
        raise NotImplementedError("give a fixture `blobs`")

    @pytest.mark.parametrize("value", [None, 0, 1.5, "", "ü\x00 😀", [], {"a": [1, {"b": None}]}, True], ids=ascii)
    def test_json_comes_back(self, blobs: BlobStore, value: Any) -> None:
        info = blobs.put("a/value.json", value)
        assert blobs.get("a/value.json") == value
        assert (info.key, info.content_type) == ("a/value.json", "application/json")
        assert blobs.info("a/value.json") == info

    @pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"x", ["half \ud800"]], ids=ascii)
    def test_what_is_not_json_is_refused(self, blobs: BlobStore, value: Any) -> None:
        with pytest.raises(InvalidInput):
            blobs.put("a", value)
        assert not blobs.has("a")

    @pytest.mark.parametrize("data", [b"", b"\x00\xff\r\n", b"x" * 3_000_000], ids=len)
    def test_bytes_come_back_with_what_is_known_of_them(self, blobs: BlobStore, data: bytes) -> None:
        info = blobs.put_bytes("a", data, content_type="image/png")
        sha256 = hashlib.sha256(data).hexdigest()
        assert info == BlobInfo(key="a", size=len(data), sha256=sha256, content_type="image/png")
        assert blobs.info("a") == info
        with blobs.open("a") as file:
            assert file.read() == data

    def test_a_file_is_stored_and_read_piece_by_piece(self, blobs: BlobStore, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"one two three")
        assert blobs.put_file("a/file", source, content_type="text/plain").size == 13
        with blobs.open("a/file") as file:
            assert [file.read(4), file.read(4), file.read(), file.read()] == [b"one ", b"two ", b"three", b""]
        assert source.exists()

    def test_a_put_replaces_what_was_there(self, blobs: BlobStore) -> None:
        blobs.put("a", {"long": "value" * 100})
        blobs.put_bytes("a", b"2", content_type="text/plain")
        assert (blobs.get("a"), blobs.info("a").content_type) == (2, "text/plain")
        assert list(blobs.list("a")) == ["a"]

    def test_a_missing_key_is_not_found_and_deleting_it_is_nothing(self, blobs: BlobStore) -> None:
        for use in (blobs.get, blobs.open, blobs.info):
            with pytest.raises(BlobNotFound):
                use("a/missing")
        assert not blobs.has("a/missing")
        blobs.delete("a/missing")

    def test_a_deleted_blob_is_gone(self, blobs: BlobStore) -> None:
        blobs.put("a/b", 1)
        blobs.put("a/c", 2)
        blobs.delete("a/b")
        assert (blobs.has("a/b"), blobs.has("a/c")) == (False, True)
        with pytest.raises(BlobNotFound):
            blobs.get("a/b")

    @pytest.mark.parametrize("key", BAD_KEYS, ids=_shown)
    def test_no_method_takes_a_bad_key(self, blobs: BlobStore, key: str, tmp_path: Path) -> None:
        uses: list[Callable[[], object]] = [
            partial(blobs.put, key, 1),
            partial(blobs.put_bytes, key, b"", content_type="text/plain"),
            partial(blobs.put_file, key, tmp_path / "missing", content_type="text/plain"),
            partial(blobs.get, key),
            partial(blobs.open, key),
            partial(blobs.has, key),
            partial(blobs.info, key),
            partial(blobs.delete, key),
            partial(blobs.delete_prefix, key),
            lambda: list(blobs.list(key)),
        ]
        for use in uses:
            with pytest.raises(InvalidBlobKey):
                use()

    @pytest.mark.parametrize("key", [*ODD_KEYS, *LONGEST_KEYS], ids=_shown)
    def test_keys_mean_what_they_say(self, blobs: BlobStore, key: str) -> None:
        blobs.put(key, key)
        assert (blobs.get(key), list(blobs.list(key))) == (key, [key])

    def test_a_prefix_never_matches_half_a_segment(self, blobs: BlobStore) -> None:
        for key in ("run/1/b", "run/1/a/x", "run/10/a", "run/1", "run/1.json", "other"):
            blobs.put(key, key)
        assert list(blobs.list("run/1")) == ["run/1", "run/1/a/x", "run/1/b"]
        assert list(blobs.list("run")) == ["run/1", "run/1.json", "run/1/a/x", "run/1/b", "run/10/a"]
        assert list(blobs.list("ru")) == []

    def test_a_prefix_is_deleted_as_a_whole(self, blobs: BlobStore) -> None:
        for key in ("run/1/a", "run/1/b/c", "run/10/a"):
            blobs.put(key, key)
        assert blobs.delete_prefix("run/1") == 2
        assert list(blobs.list("run")) == ["run/10/a"]
        assert blobs.delete_prefix("run/1") == 0
        blobs.put("run/1/a", "again")
        assert blobs.get("run/1/a") == "again"

    def test_a_reader_sees_the_old_blob_or_the_new_one(self, blobs: BlobStore) -> None:
        values = [{"value": str(number) * 50_000} for number in range(4)]
        blobs.put("a/b", values[0])

        def write(value: Any) -> list[Any]:
            for _ in range(20):
                blobs.put("a/b", value)
            return []

        def read() -> list[Any]:
            return [blobs.get("a/b") for _ in range(40)]

        works: list[Callable[[], list[Any]]] = [read, read, *(partial(write, value) for value in values)]
        seen = together(works)
        assert all(value in values for part in seen for value in part)
        info = blobs.info("a/b")
        with blobs.open("a/b") as file:
            assert hashlib.sha256(file.read()).hexdigest() == info.sha256

    def test_writing_beside_deleting_loses_nothing(self, blobs: BlobStore) -> None:
        def write_and_delete(name: str) -> None:
            for _ in range(20):
                blobs.put(f"deep/er/{name}", name)
                assert blobs.get(f"deep/er/{name}") == name
                blobs.delete(f"deep/er/{name}")

        together([partial(write_and_delete, str(name)) for name in range(6)])
        assert list(blobs.list("deep")) == []
