"""A simulated message queue: at least once, in any order, with delays and redelivery."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

VISIBILITY = timedelta(seconds=330)
"""For how long a received message stays hidden: longer than a lease."""
RETRY_DELAYS = (10, 30, 120, 600)


@dataclass(slots=True)
class Message[B]:
    """`name` stays the same in a history that is shortened; `received` is the receipt too."""

    name: str
    body: B
    visible_at: datetime
    received: int = 0


class MessageQueue[B]:
    def __init__(self, new_name: Callable[[str], str]) -> None:
        self._new_name = new_name
        self.messages: list[Message[B]] = []

    def send(self, body: B, at: datetime) -> None:
        self.messages.append(Message(self._new_name("message"), body, at))

    def visible(self, now: datetime) -> list[Message[B]]:
        return [message for message in self.messages if message.visible_at <= now]

    def receive(self, message: Message[B], now: datetime) -> int:
        """Hides it, and gives the receipt of this delivery."""
        message.received += 1
        message.visible_at = now + VISIBILITY
        return message.received

    def give_back(self, message: Message[B], receipt: int, now: datetime) -> None:
        """Its handler failed: it comes again after a delay that grows, unless it has come already."""
        if receipt != message.received:
            return
        delay = RETRY_DELAYS[min(message.received, len(RETRY_DELAYS)) - 1]
        message.visible_at = now + timedelta(seconds=delay)

    def acknowledge(self, message: Message[B], receipt: int) -> None:
        """The receipt of an earlier delivery deletes nothing."""
        if receipt == message.received:
            self.lose(message)

    def lose(self, message: Message[B]) -> None:
        self.messages = [each for each in self.messages if each is not message]

    def next_at(self) -> datetime | None:
        return min((message.visible_at for message in self.messages), default=None)
