"""Backoff for loops whose database or network is unavailable."""

import logging
import threading

from engine.hosts.options import HostOptions

logger = logging.getLogger(__name__)

FIRST_WAIT = 0.1


class Backoff:
    """Waits longer after each failure in a row. Logs the first failure and the recovery, not every turn."""

    def __init__(self, name: str, options: HostOptions, stopping: threading.Event) -> None:
        self._name, self._longest, self._stopping = name, options.longest_backoff, stopping
        self._wait = 0.0

    def failed(self, error: Exception) -> None:
        if not self._wait:
            logger.error("%s: %s: %s; trying again until it works", self._name, type(error).__name__, error)
        self._wait = min(self._longest, self._wait * 2 or FIRST_WAIT)
        self._stopping.wait(self._wait)

    def worked(self) -> None:
        if self._wait:
            logger.warning("%s: works again", self._name)
        self._wait = 0.0
