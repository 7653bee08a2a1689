"""S3 as the emulator speaks it, over real HTTP: what is signed is what is enforced."""

import hashlib
import io
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.adapters.aws.blob_store import S3BlobStore
from engine.adapters.aws.clients import AwsClients, Clients
from engine.adapters.aws.presigner import MIN_PART_BYTES, Part, PresignedRequest, S3Presigner
from engine.adapters.aws.s3_location import S3Location
from engine.domain.errors import (
    InvalidBlobKey,
    InvalidInput,
    NotFound,
    RefusedError,
    StoreError,
    StoreUnavailable,
)
from engine.ports.blob_store import BlobStore
from engine.testing.contracts.blob_store import BlobStoreContract
from tests.support.ministack import CREDENTIALS, REGION, Ministack

TEXT = b"what the worker made"
BAD_KEYS = ["../victim.json", "a/../../victim.json", "/a", "a//b", "a/", "a/%2e%2e/b", "a\\b", "", "a/./b", "a\n"]


class TestS3BlobStore(BlobStoreContract):
    @pytest.fixture
    def blobs(self, store: S3BlobStore) -> BlobStore:
        return store


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Ministack]:
    with Ministack() as emulator:
        yield emulator


@pytest.fixture
def clients(emulator: Ministack, monkeypatch: pytest.MonkeyPatch) -> Clients:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return AwsClients(region=REGION, endpoint=emulator.url)


@pytest.fixture
def location(clients: Clients) -> S3Location:
    bucket = f"test-{uuid.uuid4().hex}"
    clients("s3").create_bucket(Bucket=bucket)
    return S3Location(bucket, "some/prefix")


@pytest.fixture
def store(clients: Clients, location: S3Location) -> S3BlobStore:
    return S3BlobStore(clients, location)


@pytest.fixture
def presigner(clients: Clients, location: S3Location) -> S3Presigner:
    return S3Presigner(clients, location, SystemClock())


def sent(request: PresignedRequest, data: bytes = b"", headers: Mapping[str, str] | None = None) -> int:
    """The status S3 answers with."""
    return answered(request, data, headers)[0]


def answered(
    request: PresignedRequest, data: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    outgoing = urllib.request.Request(
        request.url, data=data or None, method=request.method, headers=dict(headers or request.headers)
    )
    try:
        with urllib.request.urlopen(outgoing, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


def hex_digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put_request(presigner: S3Presigner, key: str = "run/out.json", seconds: int = 900) -> PresignedRequest:
    return presigner.presign_put(
        key, size=len(TEXT), sha256=hex_digest(TEXT), content_type="text/plain", seconds=seconds
    )


def test_a_presigned_put_makes_the_blob_it_was_signed_for(presigner: S3Presigner, store: S3BlobStore) -> None:
    assert sent(put_request(presigner), TEXT) == 200
    info = store.info("run/out.json")
    assert (info.size, info.sha256, info.content_type) == (len(TEXT), hex_digest(TEXT), "text/plain")
    assert answered(presigner.presign_get("run/out.json")) == (200, TEXT)


def test_a_presigned_put_refuses_other_bytes_of_the_same_size(presigner: S3Presigner, store: BlobStore) -> None:
    assert sent(put_request(presigner), TEXT.upper()) == 400
    assert not store.has("run/out.json")


def test_a_presigned_put_never_replaces(presigner: S3Presigner, store: BlobStore) -> None:
    request = put_request(presigner)
    assert sent(request, TEXT) == 200
    assert sent(request, TEXT) == 412


@pytest.mark.parametrize("header", ["If-None-Match", "x-amz-checksum-sha256", "x-amz-meta-sha256", "Content-Type"])
def test_no_signed_header_may_be_left_out_or_changed(presigner: S3Presigner, store: BlobStore, header: str) -> None:
    request = put_request(presigner)
    without = {name: value for name, value in request.headers.items() if name != header}
    assert sent(request, TEXT, without) == 403
    assert sent(request, TEXT, without | {header: "AAAA"}) == 403
    assert not store.has("run/out.json")


def test_a_presigned_put_is_bound_to_size_key_and_method(presigner: S3Presigner, store: BlobStore) -> None:
    request = put_request(presigner)
    longer = dict(request.headers) | {"Content-Length": str(len(TEXT) + 1)}
    assert sent(request, TEXT + b"!", longer) == 403
    assert sent(replace(request, url=request.url.replace("out.json", "other.json")), TEXT) == 403
    assert sent(replace(request, method="POST"), TEXT) in {403, 405}
    assert list(store.list("run")) == []


def test_an_expired_url_is_refused(presigner: S3Presigner, store: BlobStore) -> None:
    store.put("there", 1)
    get, put = presigner.presign_get("there", seconds=1), put_request(presigner, seconds=1)
    deadline = time.monotonic() + 10
    while sent(get) == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert sent(get) == 403
    assert sent(put, TEXT) == 403
    assert not store.has("run/out.json")


@pytest.mark.parametrize("seconds", [0, -1, 901])
def test_no_url_lives_longer_than_a_quarter_of_an_hour(presigner: S3Presigner, seconds: int) -> None:
    with pytest.raises(InvalidInput):
        put_request(presigner, seconds=seconds)
    with pytest.raises(InvalidInput):
        presigner.presign_get("a", seconds=seconds)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_that_leaves_its_prefix_is_never_signed(presigner: S3Presigner, key: str) -> None:
    part = Part(size=1, sha256=hex_digest(b"x"))
    for sign in (
        lambda: presigner.presign_get(key),
        lambda: put_request(presigner, key),
        lambda: presigner.presign_multipart(key, [part], sha256=part.sha256, content_type="a/b"),
        lambda: presigner.complete_multipart(key, "upload", [part]),
        lambda: presigner.abort_multipart(key, "upload"),
    ):
        with pytest.raises(InvalidBlobKey):
            sign()


@pytest.mark.parametrize(("size", "sha256"), [(-1, "0" * 64), (6 * 1024**3, "0" * 64), (1, "0" * 63), (1, "Z" * 64)])
def test_a_size_or_digest_that_cannot_be_is_refused(presigner: S3Presigner, size: int, sha256: str) -> None:
    with pytest.raises(InvalidInput):
        presigner.presign_put("a", size=size, sha256=sha256, content_type="a/b")


CHUNKS = [b"a" * MIN_PART_BYTES, b"the end"]
PARTS = [Part(size=len(chunk), sha256=hex_digest(chunk)) for chunk in CHUNKS]
WHOLE = hex_digest(b"".join(CHUNKS))


def test_an_upload_in_parts_can_be_resumed_and_makes_one_blob(presigner: S3Presigner, store: BlobStore) -> None:
    begun = presigner.presign_multipart("big", PARTS, sha256=WHOLE, content_type="a/b")
    assert sent(begun.parts[0], CHUNKS[0]) == 200
    with pytest.raises(RefusedError, match="parts 2"):
        presigner.complete_multipart("big", begun.upload_id, PARTS)
    again = presigner.presign_multipart("big", PARTS, sha256=WHOLE, content_type="a/b", upload_id=begun.upload_id)
    assert again.upload_id == begun.upload_id
    assert sent(again.parts[1], b"THE END") == 400
    assert sent(again.parts[1], CHUNKS[1]) == 200
    other = [PARTS[0], replace(PARTS[1], sha256=WHOLE)]
    with pytest.raises(RefusedError, match="parts 2"):
        presigner.complete_multipart("big", begun.upload_id, other)
    assert not store.has("big")
    presigner.complete_multipart("big", begun.upload_id, PARTS)
    with store.open("big") as stream:
        assert hex_digest(stream.read()) == WHOLE
    assert store.info("big").sha256 == WHOLE


def test_an_upload_in_parts_never_replaces(presigner: S3Presigner, store: BlobStore) -> None:
    store.put("big", "first")
    begun = presigner.presign_multipart("big", PARTS[1:], sha256=PARTS[1].sha256, content_type="a/b")
    assert sent(begun.parts[0], CHUNKS[1]) == 200
    with pytest.raises(RefusedError, match="big"):
        presigner.complete_multipart("big", begun.upload_id, PARTS[1:])
    assert store.get("big") == "first"


def test_an_aborted_upload_is_gone(presigner: S3Presigner) -> None:
    begun = presigner.presign_multipart("big", PARTS, sha256=WHOLE, content_type="a/b")
    presigner.abort_multipart("big", begun.upload_id)
    presigner.abort_multipart("big", begun.upload_id)
    with pytest.raises(NotFound):
        presigner.complete_multipart("big", begun.upload_id, PARTS)


def test_small_parts_in_the_middle_are_refused_before_anything_is_signed(presigner: S3Presigner) -> None:
    with pytest.raises(InvalidInput, match="parts 1 are smaller"):
        presigner.presign_multipart("big", PARTS[::-1], sha256=WHOLE, content_type="a/b")
    with pytest.raises(InvalidInput, match="1 to 10000 parts"):
        presigner.presign_multipart("big", [], sha256=WHOLE, content_type="a/b")


def test_a_large_file_goes_up_in_parts_and_comes_back_in_a_stream(
    clients: Clients, location: S3Location, tmp_path: Path
) -> None:
    store = S3BlobStore(clients, location, multipart_from=MIN_PART_BYTES)
    path = tmp_path / "large"
    path.write_bytes(b"0123456789abcdef" * (2 * 1024 * 1024))
    info = store.put_file("a/large", path, content_type="application/x-large")
    assert store.info("a/large") == info
    assert clients("s3").head_object(**location.target("a/large"))["ETag"].endswith('-2"')
    with store.open("a/large") as stream:
        assert hex_digest(stream.read()) == hex_digest(path.read_bytes())
    assert store.put_bytes("a/bytes", path.read_bytes(), content_type="x/y").sha256 == info.sha256


def test_listing_and_deleting_go_past_the_first_page_and_stay_in_whole_segments(store: BlobStore) -> None:
    keys = [f"run.1/{number:04}" for number in range(1003)]
    threads = [threading.Thread(target=put_all, args=(store, keys[first::4])) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.put("run.10/x", 1)
    assert list(store.list("run.1")) == keys
    assert store.delete_prefix("run.1") == 1003
    assert list(store.list("run.1")) == []
    assert store.get("run.10/x") == 1


def put_all(store: BlobStore, keys: list[str]) -> None:
    for key in keys:
        store.put(key, 1)


def test_stores_with_different_prefixes_do_not_see_each_other(clients: Clients, location: S3Location) -> None:
    bare, inner = (S3BlobStore(clients, replace(location, prefix=prefix)) for prefix in ("", "inner"))
    inner.put("a", 1)
    bare.put("a", 2)
    assert (inner.get("a"), bare.get("a"), bare.get("inner/a")) == (1, 2, 1)
    assert list(inner.list("a")) == ["a"]


def test_a_store_that_does_not_answer_is_unavailable(clients: Clients) -> None:
    silent = S3BlobStore(AwsClients(region=REGION, endpoint="http://127.0.0.1:9"), S3Location("bucket"))
    for call in (
        lambda: silent.put("a", 1),
        lambda: silent.get("a"),
        lambda: silent.has("a"),
        lambda: silent.delete("a"),
        lambda: list(silent.list("a")),
    ):
        with pytest.raises(StoreUnavailable):
            call()


def test_a_missing_bucket_is_not_a_missing_blob(clients: Clients) -> None:
    store = S3BlobStore(clients, S3Location("nobody-made-this"))
    with pytest.raises(StoreError, match="NoSuchBucket"):
        store.put("a", 1)
    with pytest.raises(StoreError, match="NoSuchBucket"):
        store.get("a")


def test_a_stream_reads_in_pieces_and_gives_its_connection_back(store: BlobStore) -> None:
    store.put_bytes("a", b"line 1\nline 2\n", content_type="text/plain")
    with store.open("a") as stream:
        assert stream.read(4) == b"line"
        assert list(io.TextIOWrapper(stream)) == [" 1\n", "line 2\n"]
    assert stream.closed
