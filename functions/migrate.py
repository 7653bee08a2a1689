"""Lambda function that migrates the database: as a deployment's custom resource, or invoked directly."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from engine.adapters.aws.clients import AwsClients
from engine.adapters.system import SystemClock
from engine.bootstrap.aws import password_provider
from engine.bootstrap.migrations import migrate
from engine.settings import Settings
from functions.cloudformation import answer
from functions.runtime import logger

PHYSICAL_ID = "database-schema"


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Migrates the database. A failure is raised, or reported to CloudFormation, which rolls back."""
    if "ResponseURL" not in event:
        return _migrate()
    failure = None
    if event["RequestType"] != "Delete":
        failure = _failure()
    answer(event, physical_id=PHYSICAL_ID, failure=failure)
    return {"failure": failure}


def _failure() -> str | None:
    try:
        _migrate()
    except Exception as error:  # noqa: BLE001 — without an answer CloudFormation waits, and Lambda invokes again
        logger.exception("the database could not be migrated")
        return f"{type(error).__name__}: {error}"
    return None


def _migrate() -> dict[str, Any]:
    settings = Settings.from_env()
    revision = migrate(settings, password=password_provider(settings, AwsClients(), SystemClock()))
    logger.info("database migrated", revision=revision)
    return {"revision": revision}
