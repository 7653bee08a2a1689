"""Builds the deployment of cdk.json and the command line: two stacks, checked by cdk-nag."""

import os
import sys

from aws_cdk import App, Tags, Validations
from cdk_nag import AwsSolutionsChecks

from cdk.certificates import check_certificates
from cdk.config import Config, ConfigRefused, load_config
from cdk.stacks.app import AppStack
from cdk.stacks.data import DataStack

SKIP_BUNDLING = "skip-bundling"
BUNDLING_STACKS = "aws:cdk:bundling-stacks"
UNTAGGED = ["AWS::RDS::DBProxyTargetGroup"]
"""Resource types that the CDK would tag but CloudFormation cannot."""


def main() -> None:
    app = App()
    context = app.node.get_all_context()
    try:
        config = load_config(context)
        if SKIP_BUNDLING in context:
            app.node.set_context(BUNDLING_STACKS, [])
        else:
            check_certificates(config, os.environ.get("CDK_DEFAULT_REGION"))
    except ConfigRefused as error:
        sys.exit(f"cdk.json: {error}")
    add_stacks(app, config)
    app.synth()


def add_stacks(app: App, config: Config) -> None:
    data = DataStack(app, f"{config.name}-data", config=config, description="Workflow engine: what is kept")
    AppStack(app, f"{config.name}-app", config=config, data=data, description="Workflow engine: what runs")
    for key, value in config.tags.items():
        Tags.of(app).add(key, value, exclude_resource_types=UNTAGGED)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
