import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import batched
from pathlib import Path
from typing import Any, BinaryIO, cast, override

from botocore.exceptions import ClientError

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.faults import code_of, is_passing_code, translated
from engine.adapters.aws.s3_location import S3Location, s3_checksum
from engine.domain.errors import BlobNotFound, StoreError, StoreUnavailable
from engine.domain.values import CONTENT_TYPE, Json, to_document
from engine.ports.blob_store import BlobInfo

MULTIPART_FROM = 100 * 1024 * 1024
PART_BYTES = 16 * 1024 * 1024
PAGE = 1000
READ_AHEAD = 64 * 1024
MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


class S3BlobStore:
    """Needs s3:ListBucket besides the object actions: without it S3 answers 403 for missing keys."""

    def __init__(self, clients: Clients, location: S3Location, *, multipart_from: int = MULTIPART_FROM) -> None:
        self._clients, self._location, self._multipart_from = clients, location, multipart_from

    @property
    def _s3(self) -> Any:
        return self._clients("s3")

    def put(self, key: str, value: Json) -> BlobInfo:
        return self.put_bytes(key, to_document(value, key), content_type=CONTENT_TYPE)

    def get(self, key: str) -> Json:
        with self.open(key) as stream:
            return json.load(stream)

    def put_bytes(self, key: str, data: bytes, *, content_type: str) -> BlobInfo:
        sha256 = hashlib.sha256(data).hexdigest()
        info = BlobInfo(key=key, size=len(data), sha256=sha256, content_type=content_type)
        return self._put(info, io.BytesIO(data))

    def put_file(self, key: str, path: Path, *, content_type: str) -> BlobInfo:
        self._location.full(key)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            info = BlobInfo(key=key, size=file.tell(), sha256=sha256, content_type=content_type)
            file.seek(0)
            return self._put(info, file)

    def open(self, key: str) -> BinaryIO:
        target = self._location.target(key)
        with _reading(key):
            body = self._s3.get_object(**target)["Body"]
        return cast(BinaryIO, io.BufferedReader(_Body(body, key), READ_AHEAD))

    def has(self, key: str) -> bool:
        try:
            self.info(key)
        except BlobNotFound:
            return False
        return True

    def info(self, key: str) -> BlobInfo:
        target = self._location.target(key)
        with _reading(key):
            head = self._s3.head_object(**target)
        return BlobInfo(
            key=key,
            size=head["ContentLength"],
            sha256=head["Metadata"].get("sha256", ""),
            content_type=head["ContentType"],
        )

    def delete(self, key: str) -> None:
        target = self._location.target(key)
        with translated(f"could not delete {key!r}"):
            self._s3.delete_object(**target)

    def delete_prefix(self, prefix: str) -> int:
        deleted = 0
        for keys in batched(self.list(prefix), PAGE, strict=False):
            objects = [{"Key": self._location.full(key)} for key in keys]
            with translated(f"could not delete below {prefix!r}"):
                answer = self._s3.delete_objects(
                    Bucket=self._location.bucket, Delete={"Objects": objects, "Quiet": True}
                )
            for failed in answer.get("Errors", []):
                kind = StoreUnavailable if is_passing_code(failed["Code"]) else StoreError
                raise kind(f"could not delete {failed['Key']!r}: {failed['Code']} {failed.get('Message', '')}")
            deleted += len(keys)
        return deleted

    def list(self, prefix: str) -> Iterator[str]:
        below = f"{self._location.full(prefix)}/"
        return self._listed(prefix, below)

    def _listed(self, prefix: str, below: str) -> Iterator[str]:
        """S3 lists in the order of UTF-8 bytes, which is Python's order of strings."""
        if self.has(prefix):
            yield prefix
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._location.bucket, Prefix=below, PaginationConfig={"PageSize": PAGE}
        )
        with translated(f"could not list {prefix!r}"):
            for page in pages:
                yield from (self._location.key(each["Key"]) for each in page.get("Contents", []))

    def _put(self, info: BlobInfo, body: BinaryIO) -> BlobInfo:
        target = self._location.target(info.key)
        about = {"ContentType": info.content_type, "Metadata": {"sha256": info.sha256}}
        with translated(f"could not put {info.key!r}"):
            if info.size < self._multipart_from:
                self._s3.put_object(**target, **about, Body=body, ChecksumSHA256=s3_checksum(info.sha256))
            else:
                self._put_in_parts(target, about, body)
        return info

    def _put_in_parts(self, target: dict[str, str], about: dict[str, Any], body: BinaryIO) -> None:
        """S3 stores a digest of each part, but none of the whole, so the metadata contains it."""
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - boto3 is slow to import

        config = TransferConfig(
            multipart_threshold=self._multipart_from, multipart_chunksize=PART_BYTES, max_concurrency=4
        )
        self._s3.upload_fileobj(
            body, *target.values(), ExtraArgs=about | {"ChecksumAlgorithm": "SHA256"}, Config=config
        )


@contextmanager
def _reading(key: str) -> Iterator[None]:
    with translated(f"could not read {key!r}"):
        try:
            yield
        except ClientError as error:
            if code_of(error) in MISSING:
                raise BlobNotFound(key) from error
            raise


class _Body(io.RawIOBase):
    """The body of an S3 response, as a file. At its end botocore checks the digest that S3 stores."""

    def __init__(self, body: Any, key: str) -> None:
        self._body, self._key = body, key

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        with translated(f"could not read {self._key!r}"):
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    @override
    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()
