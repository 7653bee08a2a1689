"""Queues with their dead-letter queues and alarms."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sqs as sqs
from constructs import Construct

VISIBILITY_TIMEOUTS = 6
"""The visibility timeout as a multiple of the function's timeout, as Lambda recommends."""
MAX_RECEIVES = 20
KEPT = Duration.days(14)
LATE = Duration.minutes(15)


class DeadLetters(Construct):
    """A dead-letter queue with an alarm on its messages."""

    def __init__(self, scope: Construct, construct_id: str, *, of: str) -> None:
        super().__init__(scope, construct_id)
        self.queue = sqs.Queue(
            self, "Queue", encryption=sqs.QueueEncryption.SQS_MANAGED, enforce_ssl=True, retention_period=KEPT
        )
        self.alarm = cloudwatch.Alarm(
            self,
            "NotEmpty",
            metric=self.queue.metric_approximate_number_of_messages_visible(
                period=Duration.minutes(5), statistic="Maximum"
            ),
            threshold=0,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=f"Dead letters of {of} wait for someone to look at them.",
        )


class ServedQueue(Construct):
    """A queue with a dead-letter queue, for a function with that `timeout`."""

    def __init__(self, scope: Construct, construct_id: str, *, timeout: Duration) -> None:
        super().__init__(scope, construct_id)
        self.dead = DeadLetters(self, "Dead", of=construct_id)
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=KEPT,
            visibility_timeout=Duration.seconds(VISIBILITY_TIMEOUTS * timeout.to_seconds()),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead.queue, max_receive_count=MAX_RECEIVES),
        )
        self.late = cloudwatch.Alarm(
            self,
            "Late",
            metric=self.queue.metric_approximate_age_of_oldest_message(period=Duration.minutes(5), statistic="Maximum"),
            threshold=LATE.to_seconds(),
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=f"A message of {construct_id} has waited for 15 minutes.",
        )

    @property
    def alarms(self) -> tuple[cloudwatch.Alarm, ...]:
        return (self.late, self.dead.alarm)
