"""Transitions as single statements: each is one call of a function in PostgreSQL, and thereby one transaction."""

from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from engine.adapters.sql.failures import ILLEGAL_MOVE, LOCK_TIMEOUT, message, sqlstate
from engine.adapters.sql.write_set_json import applied, claim_json, claimed, write_set_json
from engine.domain.errors import IdempotencyInProgressError, InvalidTransition
from engine.ports.persistence import Claim, ClaimRequest, NoClaim
from engine.ports.write_set import Applied, WriteSet


def apply_in_database(connection: Connection, write_set: WriteSet, now: datetime | None) -> Applied:
    try:
        return applied(_call(connection, "engine_apply_v1", write_set_json(write_set, now)))
    except DBAPIError as error:
        if sqlstate(error) == ILLEGAL_MOVE:
            raise InvalidTransition(message(error)) from error.orig
        if sqlstate(error) == LOCK_TIMEOUT and write_set.key is not None:
            raise IdempotencyInProgressError(write_set.key.key, write_set.key.command_type) from error.orig
        raise


def claim_in_database(connection: Connection, request: ClaimRequest, now: datetime | None) -> Claim | NoClaim:
    document = claim_json(request, now)
    while True:
        # None comes after waiting for somebody who was changing the only runs with due jobs.
        answer = claimed(_call(connection, "engine_claim_v1", document))
        if answer is not None:
            return answer


def _call(connection: Connection, function: str, document: str) -> str:
    """One round trip on every driver: with a bound parameter pg8000 would need three.

    JSON may spell "$" in strings as an escape, and outside of strings has none; so nothing in it can end the quote.
    """
    statement = f"select {function}($${document.replace('$', '\\u0024')}$$)::text"
    # Without this psycopg would look for placeholders in what users stored.
    result = connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    return str(result.scalar_one())
