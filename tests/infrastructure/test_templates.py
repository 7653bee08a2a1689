"""The templates of the default environment."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.adapters.aws.clients import AwsClients
from engine.localcloud.emulator import CREDENTIALS
from engine.settings import Settings
from tests.infrastructure.synthesis import Resources, of_type, synthesize, template

GOLDEN = Path(__file__).parent / "golden_iam.json"


def statements(role: Any) -> Iterator[Any]:
    for policy in role.get("Policies", []):
        yield from policy["PolicyDocument"]["Statement"]


def actions(role: Any) -> list[str]:
    found: set[str] = set()
    for statement in statements(role):
        given = statement["Action"]
        found |= {given} if isinstance(given, str) else set(given)
    return sorted(found)


def test_every_role_may_do_exactly_what_the_table_says(app: Resources) -> None:
    table = {name[:-8]: actions(role) for name, role in of_type(app, "AWS::IAM::Role").items()}
    assert table == json.loads(GOLDEN.read_text())


def test_only_network_interfaces_are_granted_without_a_resource(app: Resources) -> None:
    for name, role in of_type(app, "AWS::IAM::Role").items():
        free = [each for each in statements(role) if each["Resource"] == "*"]
        allowed = {action for each in free for action in each["Action"]}
        assert all(action.startswith("ec2:") for action in allowed), name
        assert "ManagedPolicyArns" not in role, name


def test_no_role_has_policies_besides_its_own(app: Resources) -> None:
    assert of_type(app, "AWS::IAM::Policy") == {}


def test_queues_are_encrypted_and_speak_tls_only(app: Resources) -> None:
    queues = of_type(app, "AWS::SQS::Queue")
    assert all(each["SqsManagedSseEnabled"] for each in queues.values())
    guarded = {
        queue["Ref"]
        for policy in of_type(app, "AWS::SQS::QueuePolicy").values()
        if denies_plain_http(policy)
        for queue in policy["Queues"]
    }
    assert guarded == set(queues)


def denies_plain_http(policy: Any) -> bool:
    return any(
        each["Effect"] == "Deny" and each.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for each in policy["PolicyDocument"]["Statement"]
    )


def test_the_bucket_is_private_encrypted_versioned_and_refuses_old_signatures(data: Resources) -> None:
    (bucket,) = of_type(data, "AWS::S3::Bucket").values()
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert "BucketEncryption" in bucket
    (policy,) = of_type(data, "AWS::S3::BucketPolicy").values()
    assert denies_plain_http(policy)
    aged = [each for each in policy["PolicyDocument"]["Statement"] if each.get("Sid") == "NoOldSignatures"]
    assert aged[0]["Condition"]["NumericGreaterThan"] == {"s3:signatureAge": 900_000}


def test_the_database_is_encrypted_private_and_asks_for_iam(data: Resources) -> None:
    (cluster,) = of_type(data, "AWS::RDS::DBCluster").values()
    assert cluster["StorageEncrypted"] is True
    assert cluster["EnableIAMDatabaseAuthentication"] is True
    assert cluster["DeletionProtection"] is True
    assert cluster["ServerlessV2ScalingConfiguration"]["MinCapacity"] == 0
    assert all(each["PubliclyAccessible"] is False for each in of_type(data, "AWS::RDS::DBInstance").values())


def test_messages_stay_hidden_for_six_times_the_timeout_of_their_function(app: Resources) -> None:
    functions, queues = of_type(app, "AWS::Lambda::Function"), of_type(app, "AWS::SQS::Queue")
    mappings = of_type(app, "AWS::Lambda::EventSourceMapping")
    assert len(mappings) == 2
    for mapping in mappings.values():
        queue = queues[mapping["EventSourceArn"]["Fn::GetAtt"][0]]
        timeout = functions[mapping["FunctionName"]["Ref"]]["Timeout"]
        assert queue["VisibilityTimeout"] >= 6 * timeout
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_callers_wait_longer_for_maintenance_than_it_may_take(app: Resources) -> None:
    (timeout,) = (
        each["Timeout"]
        for name, each in of_type(app, "AWS::Lambda::Function").items()
        if name.startswith("Maintenance")
    )
    client = AwsClients(region="us-east-1", credentials=CREDENTIALS)("lambda")
    assert client.meta.config.read_timeout > timeout


def test_every_queue_has_a_dead_letter_queue_or_is_one_and_has_an_alarm(app: Resources) -> None:
    queues = of_type(app, "AWS::SQS::Queue")
    watched = {
        dimension["Value"]["Fn::GetAtt"][0]
        for alarm in of_type(app, "AWS::CloudWatch::Alarm").values()
        for dimension in alarm.get("Dimensions", [])
        if dimension["Name"] == "QueueName"
    }
    assert watched == set(queues)
    dead = {
        each["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for each in queues.values()
        if "RedrivePolicy" in each
    }
    terminal = {name for name in queues if name.startswith(("Unread", "WakesMissed"))}
    assert {name for name, each in queues.items() if "RedrivePolicy" not in each} == dead | terminal


def test_functions_run_on_arm_and_their_logs_end(app: Resources) -> None:
    functions = of_type(app, "AWS::Lambda::Function")
    assert len(functions) == 3
    assert {(each["Runtime"], *each["Architectures"]) for each in functions.values()} == {("python3.13", "arm64")}
    assert all("RetentionInDays" in each for each in of_type(app, "AWS::Logs::LogGroup").values())


def test_the_environment_of_functions_is_what_settings_read(app: Resources) -> None:
    for name, function in of_type(app, "AWS::Lambda::Function").items():
        variables = {key: plain(value) for key, value in function["Environment"]["Variables"].items()}
        assert Settings.from_env(variables).database_url is not None, name


def plain(value: Any) -> str:
    """With every reference to something that is not there yet replaced by a word."""
    match value:
        case str():
            return value
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(plain(part) for part in parts)
        case _:
            return "later"


def test_migrations_come_before_any_function_that_uses_the_schema(app: Resources) -> None:
    for name, each in app.items():
        if each["Type"] == "AWS::Lambda::Function" and not name.startswith("Migrate"):
            assert "MigrationSchema8F783001" in each["DependsOn"], name


def test_nothing_has_a_name_of_its_own(app: Resources, data: Resources) -> None:
    named = {"QueueName", "FunctionName", "BucketName", "RoleName", "AlarmName", "DBClusterIdentifier"}
    for resources in (app, data):
        for name, each in resources.items():
            if each["Type"] not in {"AWS::Lambda::EventSourceMapping", "AWS::Lambda::Permission"}:
                given = {key for key, value in each.get("Properties", {}).items() if isinstance(value, str)}
                assert not named & given, name


def test_a_sweep_every_minute_is_a_choice(tmp_path: Path) -> None:
    assert synthesize(tmp_path, "dev", **{"engine:maintenance": "continuous"}).returncode == 0
    (rule,) = of_type(template(tmp_path, "engine-dev-app"), "AWS::Events::Rule").values()
    assert rule["ScheduleExpression"] == "rate(1 minute)"


def test_synthesis_takes_less_than_half_a_minute(tmp_path: Path) -> None:
    began = time.monotonic()
    assert synthesize(tmp_path, "dev").returncode == 0
    assert time.monotonic() - began < 30
