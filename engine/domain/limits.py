"""The longest texts of each kind, in characters.

A row of a PostgreSQL index holds 2,704 bytes, and a character of UTF-8 up to four. The limits are such that the longest
texts fit into each index together, and they hold for every store.
"""

from pydantic import AfterValidator, ValidationInfo

from engine.domain.errors import InvalidInput
from engine.domain.shortened import shortened

INDEX_ROW_BYTES = 2_704

ID = 100
"""Ids of workflows, stages, pools and plugins, names of sinks, and tenants."""

KEY = 200
"""Keys of annotations, idempotency keys, and the parts of an actor."""

TOPIC = 500
"""Topics and scopes of model calls, and what else a provider or caller names in the ledger."""

NAME = 1_024
"""Names of artifacts and of results of `ctx.once`."""


def check_length(what: str, text: str, limit: int) -> str:
    """Gives the text. Raises `InvalidInput` if it has more than `limit` characters."""
    if len(text) > limit:
        raise InvalidInput(
            f"{what} {shortened(text)} has {len(text):,} characters; use at most {limit:,}, such as a hash of it"
        )
    return text


def at_most(limit: int) -> AfterValidator:
    """Limits a field of a model. The refusal is an `InvalidInput`."""

    def check(text: str, info: ValidationInfo) -> str:
        return check_length(str(info.field_name), text, limit)

    return AfterValidator(check)
