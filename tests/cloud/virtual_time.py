"""A driver in virtual time for both queues. It drops, repeats and delays messages.

Delays are only recorded on the message. The driver moves the clock of the engine and the database to the earliest
message.
"""

import heapq
import itertools
import random
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from engine.adapters.aws.clients import Clients
from engine.localcloud.function_events import failed_message_ids, sqs_event
from engine.localcloud.resources import Queue
from engine.localcloud.sandbox_main import Context
from engine.testing import FakeClock
from tests.cloud.deployment import Deployment

BATCH = 10
ASKED_EVERY = 100
COMES_BACK = 1800.0
type Handler = Callable[[Mapping[str, Any], Context], Any]


class VirtualSqs:
    """Sends without delay and records the delay. Records changes of visibility. `fault` may raise instead."""

    def __init__(self, sqs: Any, clock: FakeClock) -> None:
        self._sqs, self._clock = sqs, clock
        self.sent: Counter[str] = Counter()
        self.hidden: dict[str, float] = {}
        self.fault: Callable[[str], None] = lambda _operation: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)

    def send_message(self, *, DelaySeconds: int = 0, **request: Any) -> Any:  # noqa: N803 - boto3's own name
        self.fault("send_message")
        self.sent[request["QueueUrl"]] += 1
        return self._sqs.send_message(**request | self._due(DelaySeconds, request))

    def send_message_batch(self, *, Entries: Sequence[dict[str, Any]], **request: Any) -> Any:  # noqa: N803 - boto3's own name
        self.fault("send_message_batch")
        self.sent[request["QueueUrl"]] += len(Entries)
        entries = [each | self._due(each.get("DelaySeconds", 0), {}) | {"DelaySeconds": 0} for each in Entries]
        return self._sqs.send_message_batch(Entries=entries, **request)

    def change_message_visibility(self, *, ReceiptHandle: str, VisibilityTimeout: int, **_: Any) -> None:  # noqa: N803 - boto3's own name
        self.hidden[ReceiptHandle] = VisibilityTimeout

    def _due(self, delay: float, request: Mapping[str, Any]) -> dict[str, Any]:
        due = self._clock.now() + timedelta(seconds=delay)
        attribute = {"due": {"DataType": "String", "StringValue": due.isoformat()}}
        return {"MessageAttributes": {**request.get("MessageAttributes", {}), **attribute}}


def virtual_clients(clients: Clients, clock: FakeClock) -> tuple[Clients, VirtualSqs]:
    sqs = VirtualSqs(clients("sqs"), clock)
    return (lambda service: sqs if service == "sqs" else clients(service)), sqs


@dataclass(frozen=True, slots=True, kw_only=True)
class Meddling:
    """Shares of messages, 0 to 1, and seconds. Any message may be late; notifications may be dropped or repeated."""

    dropped: float = 0.0
    repeated: float = 0.0
    times: int = 5
    late: float = 0.0


UNHARMED = Meddling()


@dataclass(order=True)
class _Held:
    due: datetime
    number: int
    queue: str = field(compare=False)
    message: dict[str, Any] = field(compare=False)
    receives: int = field(compare=False, default=1)


class Driver:
    """`handlers` by queue: `work` and `control`."""

    def __init__(
        self,
        deployment: Deployment,
        sqs: VirtualSqs,
        clock: FakeClock,
        handlers: Mapping[str, Handler],
        *,
        meddling: Meddling = UNHARMED,
        seed: int = 0,
    ) -> None:
        self._deployment, self._sqs, self._clock = deployment, sqs, clock
        self._handlers, self._meddling, self._random = handlers, meddling, random.Random(seed)
        self._queues: dict[str, Queue] = {"work": deployment.work, "control": deployment.resources.control}
        self._held: list[_Held] = []
        self._numbers = itertools.count()
        self.dropped = self.deliveries = self._asked = 0

    def run(self, until: datetime | None = None, *, enough: Callable[[], bool] = lambda: False) -> None:
        """Delivers until no message is left, none is due by `until`, or `enough`, called now and then, gives True."""
        self._collect()
        while self._held and (until is None or self._held[0].due <= until):
            self._deliver(self._next())
            self._collect()
            if self.deliveries // ASKED_EVERY > self._asked:
                self._asked += 1
                if enough():
                    return

    def _collect(self) -> None:
        """Receives the sent messages once. It does not delete them: the driver decides about redelivery."""
        for name, queue in self._queues.items():
            while self._sqs.sent[queue.url]:
                for message in self._deployment.receive(queue):
                    self._sqs.sent[queue.url] -= 1
                    self._take(name, message)

    def _take(self, queue: str, message: dict[str, Any]) -> None:
        randomness, meddling = self._random.random, self._meddling
        if queue == "work" and randomness() < meddling.dropped:
            self.dropped += 1
            return
        due = datetime.fromisoformat(message["MessageAttributes"]["due"]["StringValue"])
        for _ in range(meddling.times if queue == "work" and randomness() < meddling.repeated else 1):
            late = timedelta(seconds=randomness() * meddling.late)
            copy = message | {"ReceiptHandle": str(uuid.uuid4()), "MessageId": str(uuid.uuid4())}
            self._hold(_Held(due + late, next(self._numbers), queue, copy))

    def _hold(self, held: _Held) -> None:
        heapq.heappush(self._held, held)

    def _next(self) -> list[_Held]:
        """The earliest message, and the others of its queue that are due by then, in random order."""
        first = heapq.heappop(self._held)
        self._clock.advance(max(timedelta(), first.due - self._clock.now()))
        batch = [first]
        while self._held and len(batch) < BATCH and self._held[0].due <= self._clock.now():
            if self._held[0].queue != first.queue:
                break
            batch.append(heapq.heappop(self._held))
        self._random.shuffle(batch)
        return batch

    def _deliver(self, batch: list[_Held]) -> None:
        queue = batch[0].queue
        self.deliveries += len(batch)
        messages = [self._counted(each) for each in batch]
        answer = self._handlers[queue](sqs_event(messages, self._queues[queue].arn), Context(queue, "test", 60.0))
        failed = failed_message_ids(answer, [each["MessageId"] for each in messages])
        for each in batch:
            if each.message["MessageId"] in failed:
                hidden = self._sqs.hidden.get(each.message["ReceiptHandle"], COMES_BACK)
                due = self._clock.now() + timedelta(seconds=hidden)
                self._hold(_Held(due, next(self._numbers), queue, each.message, each.receives + 1))

    def _counted(self, held: _Held) -> dict[str, Any]:
        attributes = held.message["Attributes"] | {"ApproximateReceiveCount": str(held.receives)}
        return held.message | {"Attributes": attributes}
