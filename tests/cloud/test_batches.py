import pytest

from engine.domain.lifecycle import RunStatus
from engine.localcloud.sandbox import Sandbox
from tests.cloud.deployment import Deployment, started

pytestmark = pytest.mark.postgres


@pytest.mark.failure(34)
def test_of_ten_messages_one_is_poison_and_nine_are_acknowledged(deployment: Deployment) -> None:
    """One of the nine is a stage that fails, which is a recorded fact and not a failed message."""
    with deployment.engine() as engine:
        runs = [started(engine, "one") for _ in range(8)]
        failing = started(engine, "failing")
        deployment.clients("sqs").send_message(QueueUrl=deployment.work.url, MessageBody="{not a job")
        batch = deployment.batch(deployment.work, 10)
        sandbox = Sandbox(deployment.function("jobs"))
        try:
            assert sandbox.invoke(batch) == {"batchItemFailures": []}
        finally:
            sandbox.stop()
        assert {engine.kernel.reads.run(each).run.status for each in runs} == {RunStatus.COMPLETED}
        assert engine.kernel.reads.run(failing).run.failure_message == "ValueError: boom"
    (dead,) = deployment.receive(deployment.resources.unread)
    assert dead["Body"] == "{not a job"
    assert "not a job message of version 1" in dead["MessageAttributes"]["reason"]["StringValue"]
    log = deployment.log("jobs")
    assert "undecodable message goes to the dead-letter queue" in log
    assert "Invalid JSON" in log
