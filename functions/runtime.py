"""The runtime of every function: one engine per sandbox, and its log."""

import os
import signal
import threading
from collections.abc import Callable
from functools import cache
from types import FrameType

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from engine.bootstrap.aws import AwsEngine, open_aws
from engine.hosts.serverless import ServerlessHost
from engine.settings import Settings
from functions.metering import SERVICE, metered, queue_delay

RELEASE_SECONDS = 1.5
"""Lambda kills a sandbox two seconds after SIGTERM."""

logger = Logger(service=SERVICE)


@cache
def engine() -> AwsEngine:
    """The engine. The first invocation opens it. Raises `SettingsError` with the names of invalid variables."""
    return metered(open_aws(Settings.from_env()))


def invocation_host(context: LambdaContext) -> ServerlessHost:
    """A host for this invocation. Its leases end with the invocation and are released on SIGTERM."""

    def time_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    host = engine().host(context.aws_request_id, time_left, on_abandoned=lambda: os._exit(1), on_body=queue_delay)
    _on_sigterm(host.release_leases)
    return host


def _on_sigterm(release_leases: Callable[[], int]) -> None:
    """Ends the process on SIGTERM and releases its leases: a frozen body must not continue in a later invocation."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        # In another thread, because the main thread may be inside a transaction.
        thread = threading.Thread(target=release_leases, daemon=True)
        thread.start()
        thread.join(RELEASE_SECONDS)
        os._exit(0)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, leave)
