"""A simulated message queue: at least once, in any order, with delays and redelivery."""

from dataclasses import dataclass
from datetime import datetime, timedelta

VISIBILITY = timedelta(seconds=330)
"""For how long a received message stays hidden: longer than a lease."""
RETRY_DELAYS = (10, 30, 120, 600)


@dataclass(slots=True)
class Message[B]:
    body: B
    visible_at: datetime
    received: int = 0


class MessageQueue[B]:
    def __init__(self) -> None:
        self.messages: list[Message[B]] = []

    def send(self, body: B, at: datetime) -> None:
        self.messages.append(Message(body, at))

    def visible(self, now: datetime) -> list[Message[B]]:
        return [message for message in self.messages if message.visible_at <= now]

    def receive(self, message: Message[B], now: datetime) -> None:
        message.received += 1
        message.visible_at = now + VISIBILITY

    def give_back(self, message: Message[B], now: datetime) -> None:
        """Its handler failed: it comes again after a delay that grows."""
        delay = RETRY_DELAYS[min(message.received, len(RETRY_DELAYS)) - 1]
        message.visible_at = now + timedelta(seconds=delay)

    def delete(self, message: Message[B]) -> None:
        if message in self.messages:
            self.messages.remove(message)

    def next_at(self) -> datetime | None:
        return min((message.visible_at for message in self.messages), default=None)
