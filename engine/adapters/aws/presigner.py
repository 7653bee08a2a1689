import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.faults import code_of, translated
from engine.adapters.aws.s3_location import S3Location, s3_checksum
from engine.domain.errors import InvalidInput, NotFound, RefusedError
from engine.ports.clock import Clock

MAX_SECONDS = 900
MAX_PUT_BYTES = 5 * 1024**3
MIN_PART_BYTES = 5 * 1024**2
MAX_PARTS = 10_000
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresignedRequest:
    """One request to S3 that needs no credentials. It must carry these headers, which are signed too."""

    method: str
    url: str
    expires_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of an upload: size in bytes, sha256 in hex. All but the last have at least 5 MiB."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PresignedUpload:
    upload_id: str
    parts: tuple[PresignedRequest, ...]


class S3Presigner:
    """Signs single requests for other clients. A request can be repeated until it expires, after 15 minutes at most.

    A PUT is bound to its key, size, sha256 and content type, and replaces nothing: a second one is refused.
    """

    def __init__(self, clients: Clients, location: S3Location, clock: Clock) -> None:
        self._clients, self._location, self._clock = clients, location, clock

    def presign_get(self, key: str, *, seconds: int = MAX_SECONDS) -> PresignedRequest:
        return self._signed("GET", "get_object", self._location.target(key), seconds)

    def presign_put(
        self, key: str, *, size: int, sha256: str, content_type: str, seconds: int = MAX_SECONDS
    ) -> PresignedRequest:
        _check(Part(size=size, sha256=sha256))
        headers = _bound(size, sha256) | {"ContentType": content_type, "IfNoneMatch": "*"}
        about = {"Metadata": {"sha256": sha256}}
        return self._signed("PUT", "put_object", self._location.target(key) | headers | about, seconds)

    def presign_multipart(
        self,
        key: str,
        parts: Sequence[Part],
        *,
        sha256: str,
        content_type: str,
        upload_id: str | None = None,
        seconds: int = MAX_SECONDS,
    ) -> PresignedUpload:
        """One PUT per part. With `upload_id`, new URLs for an upload in progress.

        `sha256` of the whole is stored as the uploader gives it; S3 checks only the parts.
        """
        target = self._location.target(key)
        _check(Part(size=0, sha256=sha256), *parts)
        _check_sizes(parts)
        upload_id = upload_id or self._begin(target, sha256, content_type)
        requests = (
            target | _bound(part.size, part.sha256) | {"UploadId": upload_id, "PartNumber": number}
            for number, part in enumerate(parts, 1)
        )
        signed = tuple(self._signed("PUT", "upload_part", request, seconds) for request in requests)
        return PresignedUpload(upload_id=upload_id, parts=signed)

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Creates the blob from its parts. `RefusedError` if the key exists, or a part is missing or differs."""
        target = self._location.target(key) | {"UploadId": upload_id}
        with translated(f"could not complete {key!r}"):
            try:
                tags = self._tags(target, parts)
                self._s3.complete_multipart_upload(**target, IfNoneMatch="*", MultipartUpload={"Parts": tags})
            except ClientError as error:
                if code_of(error) == "NoSuchUpload":
                    raise NotFound("multipart upload", upload_id) from error
                if code_of(error) == "PreconditionFailed":
                    raise RefusedError(f"there is a blob {key!r} already; choose a new key") from error
                raise

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Deletes the uploaded parts; a no-op if there are none."""
        target = self._location.target(key)
        with translated(f"could not abort the upload of {key!r}"), suppress(self._s3.exceptions.NoSuchUpload):
            self._s3.abort_multipart_upload(**target, UploadId=upload_id)

    @property
    def _s3(self) -> Any:
        return self._clients("s3")

    def _begin(self, target: Mapping[str, str], sha256: str, content_type: str) -> str:
        about = {"ContentType": content_type, "Metadata": {"sha256": sha256}, "ChecksumAlgorithm": "SHA256"}
        with translated(f"could not begin the upload of {target['Key']!r}"):
            return str(self._s3.create_multipart_upload(**target, **about)["UploadId"])

    def _tags(self, target: Mapping[str, str], parts: Sequence[Part]) -> list[dict[str, Any]]:
        pages = self._s3.get_paginator("list_parts").paginate(**target)
        stored = {each["PartNumber"]: each for page in pages for each in page.get("Parts", [])}
        wrong = [
            str(number)
            for number, part in enumerate(parts, 1)
            if stored.get(number, {}).get("Size") != part.size
            or stored[number].get("ChecksumSHA256") != s3_checksum(part.sha256)
        ]
        if wrong:
            raise RefusedError(f"parts {', '.join(wrong)} of {target['Key']!r} are missing or not as announced")
        return [
            {"PartNumber": number, "ETag": stored[number]["ETag"], "ChecksumSHA256": s3_checksum(part.sha256)}
            for number, part in enumerate(parts, 1)
        ]

    def _signed(self, method: str, operation: str, request: Mapping[str, Any], seconds: int) -> PresignedRequest:
        if not 0 < seconds <= MAX_SECONDS:
            raise InvalidInput(f"a presigned URL lives 1 to {MAX_SECONDS} seconds, not {seconds!r}")
        with translated(f"could not sign for {request['Key']!r}"):
            url = self._s3.generate_presigned_url(operation, Params=dict(request), ExpiresIn=seconds, HttpMethod=method)
        expires_at = self._clock.now() + timedelta(seconds=seconds)
        return PresignedRequest(method=method, url=url, expires_at=expires_at, headers=_headers(request))


def _bound(size: int, sha256: str) -> dict[str, Any]:
    return {"ContentLength": size, "ChecksumSHA256": s3_checksum(sha256)}


def _headers(request: Mapping[str, Any]) -> dict[str, str]:
    """The headers that boto3 signs for these parameters."""
    names = {
        "ContentLength": "Content-Length",
        "ContentType": "Content-Type",
        "ChecksumSHA256": "x-amz-checksum-sha256",
        "IfNoneMatch": "If-None-Match",
    }
    metadata = {f"x-amz-meta-{name}": value for name, value in request.get("Metadata", {}).items()}
    return {header: str(request[name]) for name, header in names.items() if name in request} | metadata


def _check(*parts: Part) -> None:
    for part in parts:
        if not SHA256.fullmatch(part.sha256):
            raise InvalidInput(f"a sha256 is 64 hex digits in lower case, not {part.sha256!r}")
        if not 0 <= part.size <= MAX_PUT_BYTES:
            raise InvalidInput(f"S3 takes 0 to {MAX_PUT_BYTES} bytes in one request, not {part.size!r}")


def _check_sizes(parts: Sequence[Part]) -> None:
    if not 0 < len(parts) <= MAX_PARTS:
        raise InvalidInput(f"an upload has 1 to {MAX_PARTS} parts, not {len(parts)}")
    small = [str(number) for number, part in enumerate(parts[:-1], 1) if part.size < MIN_PART_BYTES]
    if small:
        raise InvalidInput(f"parts {', '.join(small)} are smaller than {MIN_PART_BYTES} bytes; only the last may be")
