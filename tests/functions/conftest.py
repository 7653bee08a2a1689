from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws

import functions.jobs
import functions.maintenance
import functions.runtime
from engine.adapters.aws.clients import AwsClients
from engine.bootstrap.aws import AwsEngine, open_aws
from engine.settings import Settings
from functions.metering import metered, metrics
from tests.functions.calling import RecordingAws


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingAws]:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    with mock_aws():
        s3 = AwsClients(region="eu-central-1")
        s3("s3").create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield RecordingAws(s3)


@pytest.fixture
def engine(aws: RecordingAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AwsEngine]:
    """The functions' engine, over SQLite and an SQS that only records."""
    environment = {
        "ENGINE_PROFILE": "aws",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'engine.db'}",
        "ENGINE_POOLS": '{"default": {"queue_url": "work"}}',
        "ENGINE_BUCKET": "bucket",
        "ENGINE_EVENT_BUS": "bus",
        "ENGINE_CONTROL_QUEUE_URL": "control",
        "ENGINE_CONTROL_QUEUE_ARN": "arn:control",
        "ENGINE_SCHEDULE_ROLE_ARN": "arn:role",
        "ENGINE_DEAD_LETTER_QUEUE_URL": "unread",
    }
    metrics.clear_metrics()
    with open_aws(Settings.from_env(environment), clients=aws.clients) as opened:
        measured = metered(opened)
        for module in (functions.runtime, functions.jobs, functions.maintenance):
            monkeypatch.setattr(module, "engine", lambda: measured)
        monkeypatch.setattr(functions.runtime, "_on_sigterm", lambda _release_leases: None)
        yield measured
