"""PostgreSQL, and the functions' login to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from cdk import certificates
from cdk.config import Aurora, Instance
from cdk.constructs.database_proxy import DatabaseProxy
from cdk.constructs.network import Network

PORT = 5432
DATABASE = "engine"
OWNER = "engine_owner"
APPLICATION = "engine_app"
"""The functions' database role, for IAM tokens. The migration creates it."""

POSTGRES, POSTGRES_MAJOR = "17.9", "17"
"""RDS creates no databases with old minor versions (17.4 and older since May 2026). cfn-lint reports such a version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A function's login: the URL, the kind of password, and the grants that it needs."""

    url: str
    kind: Literal["url", "iam", "secret"]
    secret_arn: str | None = None
    grants: Sequence[iam.PolicyStatement] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database. `application` is the functions' login, `owner` the migration's. The migration creates `role`.

    `capacity` are the metrics of the database's load.
    """

    application: Login
    owner: Login
    role: str | None = None
    alarms: Sequence[cloudwatch.Alarm] = ()
    capacity: Sequence[cloudwatch.IMetric] = ()


class AuroraDatabase(Construct):
    """Aurora Serverless v2. With a minimum of 0 ACU it pauses when no connection is open."""

    def __init__(self, scope: Construct, construct_id: str, *, network: Network, settings: Aurora, keep: bool) -> None:
        super().__init__(scope, construct_id)
        pause = Duration.seconds(settings.pause_after) if settings.min_acu == 0 else None
        group, owner = _group(self, network), _owner(self, keep=keep)
        self.cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            engine=rds.DatabaseClusterEngine.aurora_postgres(
                version=rds.AuroraPostgresEngineVersion.of(POSTGRES, POSTGRES_MAJOR)
            ),
            writer=rds.ClusterInstance.serverless_v2("Writer", publicly_accessible=False),
            serverless_v2_min_capacity=settings.min_acu,
            serverless_v2_max_capacity=settings.max_acu,
            serverless_v2_auto_pause_duration=pause,
            credentials=rds.Credentials.from_secret(owner),
            default_database_name=DATABASE,
            iam_authentication=True,
            storage_encrypted=True,
            copy_tags_to_snapshot=True,
            cloudwatch_logs_exports=["postgresql"],
            backup=rds.BackupProps(retention=Duration.days(7)),
            deletion_protection=keep,
            removal_policy=RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY,
            vpc=network.vpc,
            vpc_subnets=network.data_subnets,
            security_groups=[group],
        )
        host = self.cluster.cluster_endpoint.hostname
        application = _iam_login(self, host, self.cluster.cluster_resource_identifier)
        if settings.proxy:
            proxy = DatabaseProxy(self, "Proxy", cluster=self.cluster, network=network, group=group, role=APPLICATION)
            application = _iam_login(self, proxy.host, proxy.resource, certificates.PROXY)
        utilization = self.cluster.metric_acu_utilization(period=Duration.minutes(5), statistic="Average")
        near_max = cloudwatch.Alarm(
            self,
            "NearMaximum",
            metric=utilization,
            threshold=90,
            evaluation_periods=3,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description="The database has had nearly its maximum of ACU for 15 minutes: raise aurora.max_acu.",
        )
        self.database = Database(
            application=application,
            owner=_secret_login(host, self.cluster.secret),
            role=APPLICATION,
            alarms=(near_max,),
            capacity=(utilization,),
        )


class InstanceDatabase(Construct):
    """One RDS instance, for accounts without Aurora."""

    def __init__(
        self, scope: Construct, construct_id: str, *, network: Network, settings: Instance, keep: bool
    ) -> None:
        super().__init__(scope, construct_id)
        owner = _owner(self, keep=keep)
        self.instance = rds.DatabaseInstance(
            self,
            "Instance",
            engine=rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.of(POSTGRES, POSTGRES_MAJOR)),
            instance_type=ec2.InstanceType(settings.size),
            allocated_storage=settings.storage,
            storage_type=rds.StorageType.GP3,
            credentials=rds.Credentials.from_secret(owner),
            database_name=DATABASE,
            iam_authentication=True,
            storage_encrypted=True,
            copy_tags_to_snapshot=True,
            cloudwatch_logs_exports=["postgresql"],
            backup_retention=Duration.days(7),
            auto_minor_version_upgrade=True,
            publicly_accessible=False,
            deletion_protection=keep,
            removal_policy=RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY,
            vpc=network.vpc,
            vpc_subnets=network.data_subnets,
            security_groups=[_group(self, network)],
        )
        host = self.instance.db_instance_endpoint_address
        self.database = Database(
            application=_iam_login(self, host, str(self.instance.instance_resource_id)),
            owner=_secret_login(host, self.instance.secret),
            role=APPLICATION,
        )


def external_database(url: str, secret_arn: str | None) -> Database:
    """An external PostgreSQL server. Its one login owns the tables."""
    grants = [read_secret(secret_arn)] if secret_arn else []
    login = Login(url=url, kind="secret" if secret_arn else "url", secret_arn=secret_arn, grants=grants)
    return Database(application=login, owner=login)


def _group(scope: Construct, network: Network) -> ec2.SecurityGroup:
    group = ec2.SecurityGroup(
        scope, "Group", vpc=network.vpc, allow_all_outbound=False, description="Database of workflows"
    )
    group.add_ingress_rule(network.functions_group, ec2.Port.tcp(PORT))
    return group


def _iam_login(scope: Construct, host: str, resource: str, roots: str = certificates.RDS) -> Login:
    """A login by IAM. `resource` is the database's resource id, not its name; `roots` sign its certificate."""
    user = Stack.of(scope).format_arn(
        service="rds-db",
        resource="dbuser",
        resource_name=f"{resource}/{APPLICATION}",
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    grant = iam.PolicyStatement(actions=["rds-db:connect"], resources=[user])
    return Login(url=_url(APPLICATION, host, roots), kind="iam", grants=[grant])


def _owner(scope: Construct, *, keep: bool) -> rds.DatabaseSecret:
    """The owner's name and password. The secret is kept with the database, which cannot be migrated without it."""
    secret = rds.DatabaseSecret(scope, "Owner", username=OWNER)
    secret.apply_removal_policy(RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY)
    return secret


def _secret_login(host: str, secret: secretsmanager.ISecret | None) -> Login:
    assert secret is not None, "the database was given one"
    arn = secret.secret_arn
    return Login(url=_url(OWNER, host, certificates.RDS), kind="secret", secret_arn=arn, grants=[read_secret(arn)])


def _url(user: str, host: str, roots: str) -> str:
    verified = f"sslmode=verify-full&sslrootcert=/var/task/{roots}"
    return f"postgresql+pg8000://{user}@{host}:{PORT}/{DATABASE}?{verified}"


def read_secret(arn: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[arn])
