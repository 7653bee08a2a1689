import base64
from dataclasses import dataclass

from engine.domain.blob_keys import validate_key
from engine.domain.errors import InvalidBlobKey

S3_KEY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class S3Location:
    """The location of blobs: a bucket, and a prefix of their keys."""

    bucket: str
    prefix: str = ""

    def full(self, key: str) -> str:
        """The S3 key of a blob. Raises `InvalidBlobKey`; a key is never normalised."""
        validate_key(key)
        full = f"{self.prefix.rstrip('/')}/{key}" if self.prefix else key
        if len(full.encode()) > S3_KEY_BYTES:
            raise InvalidBlobKey(f"the blob key {key[:80]!r}… is longer than the {S3_KEY_BYTES} bytes S3 takes")
        return full

    def target(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.full(key)}

    def key(self, full: str) -> str:
        return full.removeprefix(self.full("x").removesuffix("x"))


def s3_checksum(sha256: str) -> str:
    """The digest in base64, as S3 expects it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()
