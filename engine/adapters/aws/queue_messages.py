"""A handler's operations on its messages."""

import logging

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.faults import translated
from engine.domain.errors import StoreError

logger = logging.getLogger(__name__)

LONGEST_VISIBILITY = 12 * 60 * 60
RETRY_DELAYS = (10, 30, 120, 600)
"""Seconds until a failed message is delivered again, by its number of receives; then the last one."""


def retry_delay(receive_count: int) -> int:
    return RETRY_DELAYS[min(max(receive_count, 1), len(RETRY_DELAYS)) - 1]


class QueueMessages:
    """Messages in flight on one queue, by receipt handle."""

    def __init__(self, clients: Clients, queue_url: str) -> None:
        self._clients, self._queue_url = clients, queue_url

    def hide(self, receipt_handle: str, seconds: float) -> None:
        """Delays the redelivery of the message. A failure costs latency only, so it is logged."""
        timeout = min(max(0, round(seconds)), LONGEST_VISIBILITY)
        try:
            with translated("could not change a message's visibility"):
                self._clients("sqs").change_message_visibility(
                    QueueUrl=self._queue_url, ReceiptHandle=receipt_handle, VisibilityTimeout=timeout
                )
        except StoreError:
            logger.warning("a message keeps its queue's visibility timeout", exc_info=True)

    def send_to_dead_letter_queue(self, body: str, reason: str) -> None:
        """Sends a copy of an undecodable message to this queue, with the reason. Raises `StoreError`."""
        attribute = {"DataType": "String", "StringValue": reason[:1000]}
        with translated("could not move a message to the dead-letter queue"):
            self._clients("sqs").send_message(
                QueueUrl=self._queue_url, MessageBody=body, MessageAttributes={"reason": attribute}
            )
