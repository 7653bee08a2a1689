"""The network of the functions and the database, and the functions' way to AWS."""

from collections.abc import Sequence

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from cdk.config import NetworkKind

ZONES = 2
ENDPOINTS = {
    "Queues": ec2.InterfaceVpcEndpointAwsService.SQS,
    "Events": ec2.InterfaceVpcEndpointAwsService.EVENTBRIDGE,
    "Schedules": ec2.InterfaceVpcEndpointAwsService("scheduler"),
    "Secrets": ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
}


class Network(Construct):
    """A VPC over two zones. Functions get `functions_group` in `functions_subnets`, the database is in `data_subnets`.

    The internet cannot reach it. S3 is reached through a gateway endpoint, which is free.
    """

    def __init__(self, scope: Construct, construct_id: str, *, kind: NetworkKind) -> None:
        super().__init__(scope, construct_id)
        dual, nat = kind is NetworkKind.DUALSTACK, kind is NetworkKind.NAT
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_protocol=ec2.IpProtocol.DUAL_STACK if dual else ec2.IpProtocol.IPV4_ONLY,
            create_internet_gateway=nat,
            max_azs=ZONES,
            nat_gateways=1 if nat else 0,
            subnet_configuration=_subnets(kind),
            restrict_default_security_group=False,
        )
        self.vpc.add_gateway_endpoint("Blobs", service=ec2.GatewayVpcEndpointAwsService.S3)
        self.dual_stack = dual
        self.functions_subnets = ec2.SubnetSelection(subnet_group_name="Functions")
        self.data_subnets = ec2.SubnetSelection(subnet_group_name="Data")
        self.functions_group = ec2.SecurityGroup(
            self, "FunctionsGroup", vpc=self.vpc, allow_all_ipv6_outbound=True, description="Workflow functions"
        )
        if kind is NetworkKind.ENDPOINTS:
            self._add_endpoints()

    def _add_endpoints(self) -> None:
        group = ec2.SecurityGroup(self, "EndpointsGroup", vpc=self.vpc, description="AWS from workflow functions")
        group.add_ingress_rule(self.functions_group, ec2.Port.HTTPS)
        for name, service in ENDPOINTS.items():
            self.vpc.add_interface_endpoint(
                f"{name}Endpoint",
                service=service,
                subnets=self.functions_subnets,
                security_groups=[group],
                open=False,
            )


def _subnets(kind: NetworkKind) -> Sequence[ec2.SubnetConfiguration]:
    isolated, egress = ec2.SubnetType.PRIVATE_ISOLATED, ec2.SubnetType.PRIVATE_WITH_EGRESS
    functions = isolated if kind is NetworkKind.ENDPOINTS else egress
    wanted = [
        ec2.SubnetConfiguration(name="Functions", subnet_type=functions, cidr_mask=20),
        ec2.SubnetConfiguration(name="Data", subnet_type=isolated, cidr_mask=24),
    ]
    if kind is NetworkKind.NAT:
        # For the gateway itself.
        wanted.append(ec2.SubnetConfiguration(name="Gateway", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=28))
    return wanted
