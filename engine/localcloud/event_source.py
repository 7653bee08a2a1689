"""Invokes a function with the messages of a queue, like an event source mapping of Lambda."""

import logging
import threading
import time
from typing import Any

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.faults import translated
from engine.domain.errors import StoreError
from engine.localcloud.function_events import failed_message_ids, sqs_event
from engine.localcloud.resources import Queue
from engine.localcloud.sandbox import Function, FunctionFailed, Sandbox

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1
PAUSE_AFTER_TROUBLE = 1.0


class EventSource:
    """Reads one queue with `concurrency` sandboxes. Deletes handled messages; SQS redelivers the others."""

    def __init__(
        self, clients: Clients, queue: Queue, function: Function, *, batch: int = 1, concurrency: int = 2
    ) -> None:
        self._clients, self._queue, self._batch = clients, queue, batch
        self.sandboxes = [Sandbox(function) for _ in range(concurrency)]
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._serve, args=(each,), daemon=True) for each in self.sandboxes]
        self.busy = 0
        self._counting = threading.Lock()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, grace: float = 5.0) -> None:
        """Stops receiving, waits `grace` seconds for running invocations, then ends the sandboxes."""
        self._stopping.set()
        end = time.monotonic() + grace
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        for sandbox in self.sandboxes:
            sandbox.stop()
        for thread in self._threads:
            thread.join()

    def _serve(self, sandbox: Sandbox) -> None:
        while not self._stopping.is_set():
            try:
                self._serve_once(sandbox)
            except FunctionFailed as error:
                logger.warning("%s; SQS will redeliver its messages", error)
            except StoreError as error:
                logger.warning("%s", error)
                self._stopping.wait(PAUSE_AFTER_TROUBLE)

    def _serve_once(self, sandbox: Sandbox) -> None:
        messages = self._received()
        if not messages:
            return
        self._count(+1)
        try:
            answer = sandbox.invoke(sqs_event(messages, self._queue.arn))
        finally:
            self._count(-1)
        failed = failed_message_ids(answer, [each["MessageId"] for each in messages])
        self._delete([each for each in messages if each["MessageId"] not in failed])

    def _received(self) -> list[dict[str, Any]]:
        with translated(f"could not read {self._queue.arn}"):
            answer = self._clients("sqs").receive_message(
                QueueUrl=self._queue.url,
                MaxNumberOfMessages=self._batch,
                WaitTimeSeconds=WAIT_SECONDS,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        received: list[dict[str, Any]] = answer.get("Messages", [])
        return received

    def _delete(self, messages: list[dict[str, Any]]) -> None:
        entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
        if not entries:
            return
        with translated(f"could not delete from {self._queue.arn}"):
            self._clients("sqs").delete_message_batch(QueueUrl=self._queue.url, Entries=entries)

    def _count(self, by: int) -> None:
        with self._counting:
            self.busy += by
