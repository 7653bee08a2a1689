"""HTTP requests to providers. Their failures are translated into the engine's errors."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from engine.domain.errors import AICallFailed, AICallRefused

AGAIN = frozenset({408, 409, 425, 429})
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class ProviderHttp:
    """An HTTP interface. `base_url` has no trailing slash."""

    provider: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)

    def get(self, path: str) -> Any:
        return self._parsed(self.get_bytes(path))

    def get_bytes(self, path: str) -> bytes:
        return self._send("GET", path, None, {})

    def get_lines(self, path: str) -> list[Any]:
        """Reads JSON Lines."""
        return [self._parsed(line) for line in self.get_bytes(path).splitlines() if line.strip()]

    def post(self, path: str, document: object) -> Any:
        body = json.dumps(document).encode()
        return self._parsed(self._send("POST", path, body, {"Content-Type": "application/json"}))

    def upload(self, path: str, fields: Mapping[str, str], lines: Sequence[object]) -> Any:
        """Sends a form with a file of JSON Lines."""
        boundary = secrets.token_hex(16)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        content = "".join(f"{json.dumps(line)}\n" for line in lines)
        head = 'Content-Disposition: form-data; name="file"; filename="batch.jsonl"\r\nContent-Type: application/jsonl'
        parts.append(f"--{boundary}\r\n{head}\r\n\r\n{content}\r\n--{boundary}--\r\n")
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._parsed(self._send("POST", path, "".join(parts).encode(), headers))

    def _parsed(self, answer: bytes) -> Any:
        try:
            return json.loads(answer)
        except ValueError as error:
            message = f"{self.provider} gave an answer that is not JSON: {error}"
            raise AICallFailed(message, may_be_charged=True) from error

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        url = path if path.startswith("http") else f"{self.base_url}{path}"
        request = Request(url, data=body, headers={**self.headers, **headers}, method=method)
        try:
            with urlopen(request, timeout=TIMEOUT) as response:
                content: bytes = response.read()
                return content
        except HTTPError as error:
            detail = error.read(500).decode(errors="replace")
            failure = AICallFailed if error.code in AGAIN or error.code >= 500 else AICallRefused
            raise failure(f"{self.provider} answered {error.code}: {detail}", status=error.code) from error
        except (URLError, HTTPException, OSError) as error:
            sent = not isinstance(error, URLError) or not isinstance(error.reason, ConnectionRefusedError)
            raise AICallFailed(f"{self.provider} cannot be reached: {error}", may_be_charged=sent) from error
