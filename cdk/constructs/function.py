"""A Lambda function of the engine: role, log, alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cdk.bundling import Architecture
from cdk.config import BundleName
from cdk.constructs.code import bundled_code
from cdk.constructs.network import Network

NEAR_TIMEOUT = 0.95
NETWORK_INTERFACES = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
"""The actions by which Lambda attaches a function to a VPC. They cannot be limited to a resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The inputs that all functions of a deployment share."""

    architecture: Architecture
    log_retention: logs.RetentionDays
    network: Network | None


class EngineFunction(Construct):
    """The function of `functions/MODULE.py`. Its role has `grants`, and the minimum that Lambda needs."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        module: str,
        place: Place,
        timeout: Duration,
        memory: int,
        environment: Mapping[str, str],
        grants: Sequence[iam.PolicyStatement],
        bundle: BundleName = BundleName.CONTROL,
    ) -> None:
        super().__init__(scope, construct_id)
        self.timeout = timeout
        log = logs.LogGroup(self, "Log", retention=place.log_retention, removal_policy=RemovalPolicy.DESTROY)
        self.role = self._role(log, grants, in_vpc=place.network is not None)
        network = place.network
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=_ARCHITECTURES[place.architecture],
            code=bundled_code(bundle, place.architecture),
            handler=f"functions.{module}.handler",
            timeout=timeout,
            memory_size=memory,
            environment=dict(environment),
            role=self.role,
            log_group=log,
            vpc=network.vpc if network else None,
            vpc_subnets=network.functions_subnets if network else None,
            security_groups=[network.functions_group] if network else None,
            ipv6_allowed_for_dual_stack=network.dual_stack if network else None,
        )
        self.alarms = self._alarms()

    def read(self, queue: sqs.IQueue, *, concurrency: int) -> lambda_.EventSourceMapping:
        """Invokes the function with single messages of the queue. Messages that fail are redelivered."""
        return self.function.add_event_source_mapping(
            "Messages",
            event_source_arn=queue.queue_arn,
            batch_size=1,
            max_concurrency=concurrency,
            report_batch_item_failures=True,
        )

    def _role(self, log: logs.LogGroup, grants: Sequence[iam.PolicyStatement], *, in_vpc: bool) -> iam.Role:
        needed = [
            iam.PolicyStatement(actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log.log_group_arn])
        ]
        if in_vpc:
            needed.append(iam.PolicyStatement(actions=list(NETWORK_INTERFACES), resources=["*"]))
        return iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={"Function": iam.PolicyDocument(statements=[*needed, *grants])},
        )

    def _alarms(self) -> Sequence[cloudwatch.Alarm]:
        function, period = self.function, Duration.minutes(5)
        near_timeout = NEAR_TIMEOUT * self.timeout.to_milliseconds()
        watched = (
            ("Errors", function.metric_errors(period=period), 1.0, "raised or was killed"),
            ("Throttles", function.metric_throttles(period=period), 1.0, "was refused an invocation"),
            (
                "NearTimeout",
                function.metric_duration(period=period, statistic="Maximum"),
                near_timeout,
                "took nearly its whole timeout",
            ),
        )
        return [
            cloudwatch.Alarm(
                self,
                name,
                metric=metric,
                threshold=threshold,
                evaluation_periods=1,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
                alarm_description=f"Function {self.node.id} {what}.",
            )
            for name, metric, threshold, what in watched
        ]


_ARCHITECTURES = {
    Architecture.ARM64: lambda_.Architecture.ARM_64,
    Architecture.X86_64: lambda_.Architecture.X86_64,
}
