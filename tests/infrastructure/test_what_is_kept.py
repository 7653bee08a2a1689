"""Resources with data keep their logical ids, or CloudFormation would create empty ones beside them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infrastructure.synthesis import VARIANTS, Resources, synthesize, template

BUCKET = {"BlobsBucket1038ED5D": "AWS::S3::Bucket"}
OWNER = {"DatabaseOwnerD07B5662": "AWS::SecretsManager::Secret"}
AURORA = OWNER | {
    "DatabaseCluster5B53A178": "AWS::RDS::DBCluster",
    "DatabaseClusterWriterD43085C6": "AWS::RDS::DBInstance",
    "DatabaseClusterSubnets5540150D": "AWS::RDS::DBSubnetGroup",
}
INSTANCE = OWNER | {
    "DatabaseInstanceAA8A5FDE": "AWS::RDS::DBInstance",
    "DatabaseInstanceSubnetGroupDE121BB6": "AWS::RDS::DBSubnetGroup",
}
NETWORK = {
    "NetworkVpc7FB7348F": "AWS::EC2::VPC",
    "NetworkVpcDataSubnet1SubnetC4E2CA79": "AWS::EC2::Subnet",
    "NetworkVpcDataSubnet2Subnet1DE78234": "AWS::EC2::Subnet",
}
"""A database stays in these subnets for its whole life."""

KEPT = {
    "aurora": AURORA | BUCKET,
    "endpoints": AURORA | BUCKET,
    "proxy": AURORA | BUCKET,
    "rds-instance": INSTANCE | BUCKET,
    "external": BUCKET,
}
WAITING = {
    "WorkdefaultQueue43E348B1",
    "WorkdefaultDeadQueue450BA1A1",
    "WakesControlQueue85838F45",
    "WakesControlDeadQueue414377A8",
    "WakesMissedQueue03BF5831",
    "UnreadQueue74CCB426",
    "WakesSchedulesD07CBBA6",
    "EventsD32975C2",
    "JobsdefaultLog4E98FF54",
    "MaintenanceLog7A6D51B2",
    "MigrateLogDCDCD28A",
}
"""Messages, scheduled wake-ups, rules on the bus, and logs survive an update as long as these are the same."""

HOLDERS = {"AWS::SQS::Queue", "AWS::Scheduler::ScheduleGroup", "AWS::Events::EventBus", "AWS::Logs::LogGroup"}


@pytest.mark.parametrize("name", KEPT)
def test_database_secret_and_bucket_keep_their_logical_ids_and_outlive_their_stack(
    name: str, variant: Callable[[str], Path]
) -> None:
    data = template(variant(name), "engine-dev-data")
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        assert {each: data[each]["Type"] for each in data if data[each].get(policy) == "Retain"} == KEPT[name]


@pytest.mark.parametrize("name", [name for name in KEPT if name != "external"])
def test_the_network_of_a_database_keeps_its_logical_ids(name: str, variant: Callable[[str], Path]) -> None:
    data = template(variant(name), "engine-dev-data")
    assert {each: data[each]["Type"] for each in NETWORK} == NETWORK


@pytest.mark.parametrize("name", KEPT)
def test_what_waits_in_the_other_stack_keeps_its_logical_ids(name: str, variant: Callable[[str], Path]) -> None:
    app = template(variant(name), "engine-dev-app")
    assert {each for each in app if app[each]["Type"] in HOLDERS} == WAITING


@pytest.mark.parametrize("name", KEPT)
def test_only_the_stack_with_data_is_protected_from_deletion(name: str, variant: Callable[[str], Path]) -> None:
    artifacts = json.loads((variant(name) / "manifest.json").read_text())["artifacts"]
    assert artifacts["engine-dev-data"]["properties"]["terminationProtection"] is True
    assert not artifacts["engine-dev-app"]["properties"].get("terminationProtection")


@pytest.mark.parametrize("name", ["aurora", "rds-instance"])
def test_nothing_is_kept_of_a_deployment_that_says_so(name: str, tmp_path: Path) -> None:
    done = synthesize(tmp_path, "dev", **VARIANTS[name], **{"engine:keep_data": "false"})
    assert (done.returncode, done.stderr) == (0, "")
    data: Resources = template(tmp_path, "engine-dev-data")
    assert [name for name, each in data.items() if each.get("DeletionPolicy") == "Retain"] == []
