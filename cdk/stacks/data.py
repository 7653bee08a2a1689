"""The data stack, which outlives deployments: network, database, blobs."""

from typing import Any

from aws_cdk import CfnOutput, Stack
from constructs import Construct

from cdk.config import Config, DatabaseKind, NetworkKind
from cdk.constructs.blobs import Blobs
from cdk.constructs.database import AuroraDatabase, Database, InstanceDatabase, external_database
from cdk.constructs.network import Network
from cdk.stacks.acknowledgments import DATA, NOT_KEPT, acknowledge


class DataStack(Stack):
    """`network` is None when functions run outside a VPC."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, **options: Any) -> None:
        super().__init__(scope, construct_id, termination_protection=config.keep_data, **options)
        outside = config.network is NetworkKind.NONE
        self.network = None if outside else Network(self, "Network", kind=config.network)
        self.database = self._database(config)
        self.bucket = Blobs(self, "Blobs", keep=config.keep_data).bucket
        CfnOutput(self, "BucketName", value=self.bucket.bucket_name)
        acknowledge(self, DATA if config.keep_data else {**DATA, **NOT_KEPT})

    def _database(self, config: Config) -> Database:
        if config.database is DatabaseKind.EXTERNAL or self.network is None:
            assert config.external_url is not None, "the config was checked"
            return external_database(config.external_url, config.external_secret)
        network, keep = self.network, config.keep_data
        if config.database is DatabaseKind.AURORA:
            return AuroraDatabase(self, "Database", network=network, settings=config.aurora, keep=keep).database
        return InstanceDatabase(self, "Database", network=network, settings=config.instance, keep=keep).database
