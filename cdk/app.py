"""The deployment that cdk.json and the command line describe: two stacks, and the rules they are held to."""

import sys

from aws_cdk import App, Tags, Validations
from cdk_nag import AwsSolutionsChecks

from cdk.bundling import ROOT
from cdk.config import Config, ConfigRefused, DatabaseKind, load_config
from cdk.constructs.database import CERTIFICATES
from cdk.stacks.app import AppStack
from cdk.stacks.data import DataStack

SKIP_BUNDLING = "skip-bundling"
BUNDLING_STACKS = "aws:cdk:bundling-stacks"


def main() -> None:
    app = App()
    context = app.node.get_all_context()
    try:
        config = load_config(context)
        if SKIP_BUNDLING in context:
            app.node.set_context(BUNDLING_STACKS, [])
        else:
            check_certificates(config)
    except ConfigRefused as error:
        sys.exit(f"cdk.json: {error}")
    add_stacks(app, config)
    app.synth()


def check_certificates(config: Config) -> None:
    """Functions trust RDS by the authorities AWS publishes, which travel in the bundle. Raises `ConfigRefused`."""
    if config.database is not DatabaseKind.EXTERNAL and not (ROOT / CERTIFICATES).exists():
        raise ConfigRefused(
            f"database: {config.database.value!r} is verified by {CERTIFICATES}, which is not there; get it by"
            " `make rds-certificates` and commit it."
        )


def add_stacks(app: App, config: Config) -> None:
    data = DataStack(app, f"{config.name}-data", config=config, description="Workflow engine: what is kept")
    AppStack(app, f"{config.name}-app", config=config, data=data, description="Workflow engine: what runs")
    for key, value in config.tags.items():
        Tags.of(app).add(key, value)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
