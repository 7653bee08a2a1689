import hashlib
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.job_message import encode_job_message
from engine.domain.errors import SettingsError
from engine.ports.job_transport import JobNotification

logger = logging.getLogger(__name__)

BATCH_ENTRIES = 10
BATCH_BYTES = 1024 * 1024
MAX_DELAY = 900
TRIES = 3
# The characters of a MessageGroupId: letters, digits and ASCII punctuation.
GROUP_ID = re.compile(r"[!-~]{1,128}")
NO_TENANT = "default"


class SqsJobTransport:
    """One standard queue per pool (`queues`: pool → URL), fair between tenants."""

    def __init__(self, clients: Clients, queues: Mapping[str, str]) -> None:
        if not queues or not all(queues.values()):
            raise SettingsError(f"every pool needs the URL of its queue, not {dict(queues)!r}")
        self._clients, self._queues = clients, dict(queues)

    def notify(self, notifications: Sequence[JobNotification]) -> None:
        for pool in dict.fromkeys(each.pool for each in notifications):
            mine = [each for each in notifications if each.pool == pool]
            url = self._queues.get(pool)
            if url is None:
                known = ", ".join(sorted(self._queues))
                logger.error("no queue for pool %r (known: %s); not notified: %s", pool, known, _names(mine))
                continue
            for batch in batches(mine):
                try:
                    self._send(url, batch)
                except Exception:  # the jobs are committed, and the sweep notifies of them later
                    logger.exception("could not notify of %s", _names(batch))

    def _send(self, url: str, batch: Sequence[JobNotification]) -> None:
        """Retries messages that SQS failed to take. A message that it refused is not sent again."""
        unsent = {str(number): each for number, each in enumerate(batch)}
        for _ in range(TRIES):
            entries = [entry(number, each) for number, each in unsent.items()]
            failed = self._clients("sqs").send_message_batch(QueueUrl=url, Entries=entries).get("Failed", [])
            for each in (each for each in failed if each["SenderFault"]):
                name = unsent[each["Id"]].job_id
                logger.error("SQS refused the notification of job %s: %s %s", name, each["Code"], each.get("Message"))
            unsent = {each["Id"]: unsent[each["Id"]] for each in failed if not each["SenderFault"]}
            if not unsent:
                return
        logger.error("SQS kept failing; not notified: %s", _names(unsent.values()))


def entry(number: str, notification: JobNotification) -> dict[str, Any]:
    return {
        "Id": number,
        "MessageBody": encode_job_message(notification),
        "DelaySeconds": delay_seconds(notification.delay),
        "MessageGroupId": group_id(notification.tenant),
    }


def delay_seconds(delay: float) -> int:
    """Whole seconds, never early: one more than needed, because the database's clock decides what is due."""
    return min(math.ceil(delay) + 1, MAX_DELAY) if delay > 0 else 0


def group_id(tenant: str | None) -> str:
    """The tenant, or a digest of a name that SQS would refuse."""
    if tenant is None:
        return NO_TENANT
    return tenant if GROUP_ID.fullmatch(tenant) else hashlib.sha256(tenant.encode()).hexdigest()


def batches(notifications: Iterable[JobNotification]) -> Iterator[list[JobNotification]]:
    batch: list[JobNotification] = []
    size = 0
    for notification in notifications:
        length = len(encode_job_message(notification))
        if batch and (len(batch) == BATCH_ENTRIES or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(notification)
        size += length
    if batch:
        yield batch


def _names(notifications: Iterable[JobNotification]) -> str:
    return ", ".join(each.job_id for each in notifications)
