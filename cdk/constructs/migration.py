"""Migrates the database before any function runs this code.

It is a custom resource that the migration function answers itself. CDK's triggers would add a second function, in Node.
"""

import hashlib

from aws_cdk import CustomResource, Duration
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from cdk.bundling import ROOT

SCHEMA = ("engine/adapters/sql/migrations/versions", "engine/adapters/sql/functions")
ROLE_STATEMENTS = "engine/adapters/sql/application_role.py"


class Migration(Construct):
    """Runs at the first deployment, and whenever the sources of the schema have changed."""

    def __init__(self, scope: Construct, construct_id: str, *, function: lambda_.IFunction, timeout: Duration) -> None:
        super().__init__(scope, construct_id)
        self.resource = CustomResource(
            self,
            "Schema",
            resource_type="Custom::DatabaseSchema",
            service_token=function.function_arn,
            # The limit for a function that is killed before it answers; by default CloudFormation waits for an hour.
            service_timeout=timeout.plus(Duration.seconds(60)),
            properties={"Schema": schema_digest()},
        )


def schema_digest() -> str:
    digest = hashlib.sha256()
    paths = [ROOT / ROLE_STATEMENTS, *(path for folder in SCHEMA for path in (ROOT / folder).iterdir())]
    for path in sorted(path for path in paths if path.suffix in {".py", ".sql"}):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
