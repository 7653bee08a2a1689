"""CDK trigger on deploy → the database at this code's revision."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from engine.adapters.aws.clients import AwsClients
from engine.adapters.system import SystemClock
from engine.bootstrap.aws import password_provider
from engine.bootstrap.migrations import migrate
from engine.settings import Settings
from functions.runtime import logger


@logger.inject_lambda_context
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Raises when the database cannot be brought up to date, so that the deployment fails and is rolled back."""
    settings = Settings.from_env()
    revision = migrate(settings, password=password_provider(settings, AwsClients(), SystemClock()))
    logger.info("database migrated", revision=revision)
    return {"revision": revision}
