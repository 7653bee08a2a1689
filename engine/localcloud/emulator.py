"""An emulated AWS on loopback, in its own process and environment (`make .venv-cloud`).

A guard process ends it when this process ends in any way, as for the PostgreSQL server.
"""

import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.domain.errors import SettingsError, StoreUnavailable
from engine.localcloud.ports import free_port

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-cloud" / "bin" / "python"
READY_SECONDS = 30.0
STOP_SECONDS = 60.0
"""Long enough to remove the packages that deployed functions unpacked."""
REGION = "us-east-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
}

SETTINGS = {
    "BIND_HOST": "127.0.0.1",
    "IOT_MTLS_ENABLED": "0",
    "LAMBDA_EXECUTOR": "local",
    "MINISTACK_REGION": REGION,
    "PYTHONUNBUFFERED": "1",
}
# When its input closes or its child ends, it removes the working folder and kills its process group.
GUARD = """
import os, shutil, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def owner_gone():
    sys.stdin.buffer.read()
    child.kill()
threading.Thread(target=owner_gone, daemon=True).start()
child.wait()
shutil.rmtree(os.getcwd(), ignore_errors=True)
os.killpg(0, signal.SIGKILL)
"""


class EmulatorFailed(StoreUnavailable):
    """The emulator did not start; the message ends with its log."""

    code = "EMULATOR_FAILED"


def install_emulator() -> None:
    """Creates the emulator's environment in a checkout; a no-op when it exists."""
    if PYTHON.exists():
        return
    if not (ROOT / "Makefile").exists():
        raise SettingsError(f"the local cloud needs a checkout of the project: there is no Makefile in {str(ROOT)!r}")
    made = subprocess.run(["make", ".venv-cloud"], cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode or not PYTHON.exists():
        raise EmulatorFailed(f"`make .venv-cloud` failed:\n{made.stdout}{made.stderr}")


class Emulator:
    """A fresh emulator on a free loopback port. `settings` are added to its environment variables."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        if not PYTHON.exists():
            raise EmulatorFailed("no emulated AWS: run `make .venv-cloud`")
        self._settings = SETTINGS | dict(settings or {})
        self._folder = Path(tempfile.mkdtemp(prefix="engine-ministack-"))
        self.port = free_port()

    @property
    def folder(self) -> Path:
        """The emulator's folder, also for files that belong to it. It is removed when the emulator ends."""
        return self._folder

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        folder = self._folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        paths = {"HOME": str(folder), "TMPDIR": str(folder), "GATEWAY_PORT": str(self.port)}
        with (folder / "log").open("wb") as log:
            self._guard = subprocess.Popen(
                [PYTHON, "-c", GUARD, PYTHON, "-m", "ministack"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=inherited | CREDENTIALS | self._settings | paths,
                start_new_session=True,
            )
        self._wait_until_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(STOP_SECONDS)

    def reset(self) -> None:
        """Resets the emulator to an empty account."""
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/_ministack/reset", method="POST")):
            pass

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self._guard.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/_ministack/ready", timeout=2) as answer:
                    json.load(answer)
                    return
            except (OSError, ValueError):
                time.sleep(0.05)
        log = self.log
        self.__exit__(None, None, None)
        raise EmulatorFailed(f"the emulator did not start on port {self.port}:\n{log}")
