"""RDS Proxy in front of Aurora, for very many simultaneous functions. With it the database never pauses."""

from aws_cdk import ArnFormat, Fn, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from constructs import Construct

from cdk.constructs.network import Network

POSTGRES_PORT = ec2.Port.tcp(5432)


class DatabaseProxy(Construct):
    """The proxy logs in by IAM, so that `role` has no password. `resource` is its id in grants of rds-db:connect."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster: rds.DatabaseCluster,
        network: Network,
        group: ec2.SecurityGroup,
        role: str,
    ) -> None:
        super().__init__(scope, construct_id)
        group.add_ingress_rule(group, POSTGRES_PORT, "the proxy")
        group.add_egress_rule(group, POSTGRES_PORT, "the proxy")
        proxy = rds.CfnDBProxy(
            self,
            "Proxy",
            # CloudFormation generates no name for a proxy.
            db_proxy_name=f"{Stack.of(self).stack_name}-proxy",
            engine_family="POSTGRESQL",
            default_auth_scheme="IAM_AUTH",
            require_tls=True,
            role_arn=self._connecting_role(cluster, role).role_arn,
            vpc_subnet_ids=network.vpc.select_subnets(subnet_group_name="Data").subnet_ids,
            vpc_security_group_ids=[group.security_group_id],
        )
        targets = rds.CfnDBProxyTargetGroup(
            self,
            "Targets",
            db_proxy_name=proxy.ref,
            target_group_name="default",
            db_cluster_identifiers=[cluster.cluster_identifier],
        )
        targets.node.add_dependency(cluster)
        self.host = proxy.attr_endpoint
        # The last part of arn:aws:rds:REGION:ACCOUNT:db-proxy:prx-0123.
        self.resource = Fn.select(6, Fn.split(":", proxy.attr_db_proxy_arn))

    def _connecting_role(self, cluster: rds.DatabaseCluster, role: str) -> iam.Role:
        user = Stack.of(self).format_arn(
            service="rds-db",
            resource="dbuser",
            resource_name=f"{cluster.cluster_resource_identifier}/{role}",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        statement = iam.PolicyStatement(actions=["rds-db:connect"], resources=[user])
        return iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("rds.amazonaws.com"),
            inline_policies={"Connect": iam.PolicyDocument(statements=[statement])},
        )
