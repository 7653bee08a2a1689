"""The schedule of the maintenance tick: slow, so that the database can pause, or every minute."""

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cdk.config import MaintenanceKind

EVERY = {MaintenanceKind.ON_DEMAND: Duration.hours(6), MaintenanceKind.CONTINUOUS: Duration.minutes(1)}


class Sweep(Construct):
    """Invokes `function` with a scheduled event. An event that fails twice goes to `missed`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        kind: MaintenanceKind,
        function: lambda_.IFunction,
        missed: sqs.IQueue,
    ) -> None:
        super().__init__(scope, construct_id)
        events.Rule(
            self,
            "Tick",
            schedule=events.Schedule.rate(EVERY[kind]),
            targets=[
                targets.LambdaFunction(
                    function, dead_letter_queue=missed, retry_attempts=2, max_event_age=Duration.minutes(30)
                )
            ],
        )
