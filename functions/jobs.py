"""Lambda function of a work queue: runs one job for each SQS message."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from engine.adapters.aws.job_message import UndecodableMessage, decode_job_message
from engine.adapters.aws.queue_messages import retry_delay
from engine.bootstrap.aws import message_hidden
from engine.domain.errors import StoreError
from engine.hosts.serverless import JobMessage, JobResult, OutOfTime, ServerlessHost
from engine.ports.job_transport import JobNotification
from functions.metering import Metric, measure, metrics
from functions.runtime import engine, invocation_host, logger

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Gives the failed messages. A failed stage is recorded in the database and is not a failed message."""
    host = invocation_host(context)
    measure(Metric.MESSAGES, len(event["Records"]))
    answer = process_partial_response(
        event=event, record_handler=lambda record: _job(record, host, context), processor=processor, context=context
    )
    if not answer["batchItemFailures"]:
        _notify_overdue(host)
    return dict(answer)


def _notify_overdue(host: ServerlessHost) -> None:
    """Best effort: a failure must not return the messages of this batch, whose jobs are done."""
    try:
        host.notify_overdue()
    except StoreError:
        logger.warning("could not look for overdue jobs", exc_info=True)


def _job(record: SQSRecord, host: ServerlessHost, context: LambdaContext) -> None:
    try:
        notification = decode_job_message(record.body)
    except UndecodableMessage as error:
        logger.error("undecodable message goes to the dead-letter queue", message_id=record.message_id, why=str(error))
        engine().dead_letters.send_to_dead_letter_queue(record.body, str(error))
        measure(Metric.MESSAGES_UNREAD)
        return
    logger.append_keys(
        workflow_run_id=notification.workflow_run_id, stage_id=notification.stage_id, job_id=notification.job_id
    )
    messages = engine().work_queue(notification.pool)
    messages.hide(record.receipt_handle, message_hidden(context.get_remaining_time_in_millis() / 1000))
    try:
        result = host.handle_job(_message(notification))
    except OutOfTime:
        messages.hide(record.receipt_handle, 0)
        raise
    except Exception:  # after any error the message must be redelivered soon
        logger.exception("the message returns to the queue")
        messages.hide(record.receipt_handle, retry_delay(int(record.attributes.approximate_receive_count)))
        raise
    _report(result)


def _message(notification: JobNotification) -> JobMessage:
    return JobMessage(
        job_id=notification.job_id,
        workflow_run_id=notification.workflow_run_id,
        workflow_id=notification.workflow_id,
        stage_id=notification.stage_id,
    )


def _report(result: JobResult) -> None:
    logger.info("job handled", outcome=result.outcome, error=result.error)
    measure(Metric(f"Jobs{result.outcome.capitalize()}"))
