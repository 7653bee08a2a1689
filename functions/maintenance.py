"""Lambda function for maintenance: schedule → tick; control queue → wake-ups; direct invocation → command or read."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from engine.adapters.aws.job_message import UndecodableMessage, decode_wake
from engine.adapters.aws.queue_messages import retry_delay
from engine.domain.errors import EngineError, InvalidInput, NotFound, RefusedError, StoreError
from engine.domain.shortened import shortened
from engine.hosts.serverless import ServerlessHost
from engine.reading.queries import answer_query
from functions.metering import Metric, measure, metrics
from functions.runtime import engine, invocation_host, logger

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Gives the failed messages, the counts of a tick, or the result of a command or read."""
    host = invocation_host(context)
    match event:
        case {"Records": [*records]}:
            measure(Metric.WAKES, len(records))
            answer = process_partial_response(
                event=event, record_handler=lambda record: _wake(record, host), processor=processor, context=context
            )
            return dict(answer)
        case {"detail-type": "Scheduled Event"}:
            return _tick(host)
        case {"read": str()} | {"type": str()}:
            return _direct(event)
        case _:
            measure(Metric.EVENTS_REFUSED)
            raise InvalidInput(
                f"event with the keys {shortened(sorted(event))} is not a batch, schedule, command or read"
            )


def _wake(record: SQSRecord, host: ServerlessHost) -> None:
    try:
        command = decode_wake(record.body)
    except UndecodableMessage as error:
        _send_to_dead_letter_queue(record, error)
        return
    logger.append_keys(command=command.get("type"), workflow_run_id=command.get("workflow_run_id"))
    try:
        host.handle_wake(command)
    except InvalidInput as error:
        _send_to_dead_letter_queue(record, error)
    except (NotFound, RefusedError) as error:
        logger.warning("the wake-up came too late", why=str(error))
    except EngineError:
        logger.exception("the message returns to the queue")
        delay = retry_delay(int(record.attributes.approximate_receive_count))
        engine().control_queue.hide(record.receipt_handle, delay)
        raise


def _send_to_dead_letter_queue(record: SQSRecord, error: InvalidInput) -> None:
    logger.error("undecodable message goes to the dead-letter queue", message_id=record.message_id, why=str(error))
    engine().dead_letters.send_to_dead_letter_queue(record.body, str(error))
    measure(Metric.MESSAGES_UNREAD)


def _tick(host: ServerlessHost) -> dict[str, Any]:
    result = host.run_maintenance_tick()
    host.notify_overdue()
    measure(Metric.LEASES_REAPED, result.stale_released)
    measure(Metric.STUCK_RUNS, result.stuck_reaped)
    return {name: getattr(result, name) for name in result.__dataclass_fields__}


def _direct(event: Mapping[str, Any]) -> dict[str, Any]:
    """Gives {"result": …}, or {"error": {code, message}} for a caller's error. Raises infrastructure errors."""
    kernel = engine().kernel
    measure(Metric.DIRECT_CALLS)
    try:
        if "read" in event:
            return {"result": answer_query(event, kernel.reads)}
        return {"result": kernel.dispatch(event).model_dump(mode="json")}
    except StoreError:
        raise
    except EngineError as error:
        return {"error": {"code": error.code, "message": str(error)}}
