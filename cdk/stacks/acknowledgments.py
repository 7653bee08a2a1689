"""The findings of cdk-nag that are accepted, each with its reason."""

from collections.abc import Mapping, Sequence

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct

DATA: Mapping[str, str] = {
    "VPC7": "No traffic comes in from outside; flow logs would cost more than the idle system. Add them where policy"
    " asks for them.",
    "SMG4": "Only the migration reads it, on deploy; rotating it would wake a paused database.",
    "S1": "Access is by two roles; who wants a record of it turns on CloudTrail data events for the bucket.",
    "RDS11": "A port other than 5432 hides nothing: no route leads to the database from outside.",
    "RDS3": "One zone is the choice of rds-instance, the kind for small accounts; aurora keeps its data in three.",
}
NOT_KEPT: Mapping[str, str] = {
    "RDS10": "keep_data is false: the database is to go with its stack.",
}
APP: Mapping[str, str] = {
    "L1": "Bundles are compiled for Python 3.13, the newest the project supports.",
}
DEAD_LETTERS: Mapping[str, str] = {
    "SQS3": "It is a dead-letter queue, of schedules or of the functions themselves, which no redrive policy names.",
}
ANY_INTERFACE: Mapping[str, str] = {
    "IAM5[Resource::*]": "What Lambda does to network interfaces of a VPC cannot be limited to one of them.",
}


def function_role(data_stack: str) -> Mapping[str, str]:
    """The resources with a wildcard, by their names in the template, as cdk-nag requires."""
    blobs = f"{data_stack}:ExportsOutputFnGetAttBlobsBucket1038ED5DArn95D86EF9/workflow-v2/*"
    schedules = "arn:<AWS::Partition>:scheduler:<AWS::Region>:<AWS::AccountId>:schedule/<WakesSchedulesD07CBBA6>/*"
    return {
        f"IAM5[Resource::{blobs}]": "Blobs are named by runs; the engine's keys all begin with workflow-v2/.",
        f"IAM5[Resource::{schedules}]": "Schedules are named by what they wake, all in the deployment's own group.",
    }


def acknowledge(construct: IConstruct, rules: Mapping[str, str]) -> None:
    """Accepts findings in `construct`. `rules` maps each rule of AwsSolutions to the reason."""
    Validations.of(construct).acknowledge(
        *(Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=why) for rule, why in rules.items())
    )


def acknowledge_each(constructs: Sequence[IConstruct], rules: Mapping[str, str]) -> None:
    for construct in constructs:
        acknowledge(construct, rules)
