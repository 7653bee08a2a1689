"""The control queue for commands, and one-time schedules for commands due later than an SQS delay allows."""

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from cdk.constructs.queues import DeadLetters, ServedQueue


class ControlQueue(Construct):
    """`timeout` is that of the function that reads the queue. `missed` holds commands that schedules could not send."""

    def __init__(self, scope: Construct, construct_id: str, *, timeout: Duration) -> None:
        super().__init__(scope, construct_id)
        self.served = ServedQueue(self, "Control", timeout=timeout)
        self.missed = DeadLetters(self, "Missed", of="schedules")
        group = scheduler.CfnScheduleGroup(self, "Schedules")
        self.group_name = group.ref
        self.schedules_arn = Stack.of(self).format_arn(
            service="scheduler",
            resource="schedule",
            resource_name=f"{group.ref}/*",
            arn_format=ArnFormat.SLASH_RESOURCE_NAME,
        )
        deliver = iam.PolicyStatement(
            actions=["sqs:SendMessage"], resources=[self.served.queue.queue_arn, self.missed.queue.queue_arn]
        )
        self.role = iam.Role(
            self,
            "SchedulesRole",
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}
            ),
            inline_policies={"Deliver": iam.PolicyDocument(statements=[deliver])},
        )
