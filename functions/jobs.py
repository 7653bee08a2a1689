"""SQS work queue → one job each."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from engine.adapters.aws.job_message import UndecodableMessage, decode_doorbell
from engine.adapters.aws.queue_messages import retry_delay
from engine.bootstrap.aws import message_hidden
from engine.domain.errors import StoreError
from engine.hosts.serverless import JobMessage, JobResult, OutOfTime, ServerlessHost
from engine.ports.job_transport import Doorbell
from functions.metering import Metric, measure, metrics
from functions.runtime import engine, invocation_host, logger

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers which messages failed. A failed stage is a recorded fact, not a failed message."""
    host = invocation_host(context)
    measure(Metric.MESSAGES, len(event["Records"]))
    answer = process_partial_response(
        event=event, record_handler=lambda record: _job(record, host, context), processor=processor, context=context
    )
    if not answer["batchItemFailures"]:
        _ring_overdue(host)
    return dict(answer)


def _ring_overdue(host: ServerlessHost) -> None:
    """A courtesy: when it fails, the jobs of this batch are done all the same."""
    try:
        host.ring_overdue()
    except StoreError:
        logger.warning("overdue jobs were not looked for", exc_info=True)


def _job(record: SQSRecord, host: ServerlessHost, context: LambdaContext) -> None:
    try:
        doorbell = decode_doorbell(record.body)
    except UndecodableMessage as error:
        logger.error("undecodable message goes to the dead-letter queue", message_id=record.message_id, why=str(error))
        engine().dead_letters.bury(record.body, str(error))
        measure(Metric.MESSAGES_UNREAD)
        return
    logger.append_keys(workflow_run_id=doorbell.workflow_run_id, stage_id=doorbell.stage_id, job_id=doorbell.job_id)
    messages = engine().work_queue(doorbell.pool)
    messages.hide(record.receipt_handle, message_hidden(context.get_remaining_time_in_millis() / 1000))
    try:
        result = host.handle_job(_message(doorbell))
    except OutOfTime:
        messages.hide(record.receipt_handle, 0)
        raise
    except Exception:  # whatever it was, the message must come back, and soon
        logger.exception("the message is put back")
        messages.hide(record.receipt_handle, retry_delay(int(record.attributes.approximate_receive_count)))
        raise
    _report(result)


def _message(doorbell: Doorbell) -> JobMessage:
    return JobMessage(
        job_id=doorbell.job_id,
        workflow_run_id=doorbell.workflow_run_id,
        workflow_id=doorbell.workflow_id,
        stage_id=doorbell.stage_id,
    )


def _report(result: JobResult) -> None:
    logger.info("job handled", outcome=result.outcome, error=result.error)
    measure(Metric(f"Jobs{result.outcome.capitalize()}"))
