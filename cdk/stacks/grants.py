"""The functions' IAM statements. Each action is one that the code calls."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs

BLOBS = "workflow-v2/*"
"""The prefix of all keys that the engine writes (engine/domain/blob_keys.py)."""


def read_queue(queue: sqs.IQueue) -> iam.PolicyStatement:
    """For Lambda, which reads with the function's role, and for the handler, which hides messages in progress."""
    return iam.PolicyStatement(
        actions=["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
        resources=[queue.queue_arn],
    )


def send_to(queues: Sequence[sqs.IQueue]) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[queue.queue_arn for queue in queues])


def blobs(bucket: s3.IBucket) -> Sequence[iam.PolicyStatement]:
    """Without s3:ListBucket S3 answers 403 for a key that is not there."""
    return (
        iam.PolicyStatement(
            actions=["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
            resources=[bucket.arn_for_objects(BLOBS)],
        ),
        iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn]),
    )


def emit(bus_arn: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=["events:PutEvents"], resources=[bus_arn])


def schedule_wakeups(schedules_arn: str, role: iam.Role) -> Sequence[iam.PolicyStatement]:
    """Permits one-time schedules that act as `role`."""
    to_scheduler = {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
    return (
        iam.PolicyStatement(
            actions=["scheduler:CreateSchedule", "scheduler:UpdateSchedule"], resources=[schedules_arn]
        ),
        iam.PolicyStatement(actions=["iam:PassRole"], resources=[role.role_arn], conditions=to_scheduler),
    )
