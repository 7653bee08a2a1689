"""Running a transaction again until it succeeds or time is up."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from engine.adapters.sql.failures import in_engine_words, unavailable, worth_repeating

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class Retries:
    """`seconds` bounds the time after which nothing is begun again."""

    url: URL
    seconds: float

    def run[T](self, transaction: Callable[[], T]) -> T:
        deadline, pause = time.monotonic() + self.seconds, FIRST_PAUSE
        while True:
            try:
                return transaction()
            except SQLAlchemyError as error:
                if not worth_repeating(error):
                    raise in_engine_words(self.url, error) from _cause(error)
                wait = pause * random.uniform(0.5, 1.5)
                if time.monotonic() + wait > deadline:
                    raise unavailable(self.url, error) from _cause(error)
            time.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)


def _cause(error: SQLAlchemyError) -> BaseException | None:
    """The driver's error: SQLAlchemy's would show the statement, and with it what users stored."""
    cause: BaseException | None = getattr(error, "orig", None)
    return cause
