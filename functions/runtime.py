"""What every function shares: one engine per sandbox, and its log."""

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

HAND_BACK_SECONDS = 1.5
"""Lambda kills a sandbox two seconds after SIGTERM."""

logger = Logger(service=SERVICE)


@cache
def engine() -> AwsEngine:
    """Made by the first invocation. Raises `SettingsError` naming the variables that are wrong."""
    return metered(open_aws(Settings.from_env()))


def invocation_host(context: LambdaContext) -> ServerlessHost:
    """A host whose leases end with this invocation, and are handed back when the sandbox is told to go."""

    def time_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    host = engine().host(context.aws_request_id, time_left, on_abandoned=lambda: os._exit(1), on_body=queue_delay)
    _on_sigterm(host.hand_back)
    return host


def _on_sigterm(hand_back: Callable[[], int]) -> None:
    """A body must not thaw in a later invocation and go on, so the process ends here, whatever it is doing."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        # In a thread of its own: the main thread may be in the middle of a transaction.
        thread = threading.Thread(target=hand_back, daemon=True)
        thread.start()
        thread.join(HAND_BACK_SECONDS)
        os._exit(0)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, leave)
