"""The bodies of queue messages: job messages on the work queues, commands on the control queue. Ids only."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.domain.errors import InvalidInput
from engine.domain.values import Json
from engine.ports.job_transport import JobNotification

VERSION = 1


class UndecodableMessage(InvalidInput):
    """A queue message that this code did not write. Delivering it again cannot help."""

    code = "UNDECODABLE_MESSAGE"


type Id = Annotated[str, Field(min_length=1, max_length=256)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]


class _JobMessage(_Message):
    kind: Literal["job"]
    job_id: Id
    workflow_run_id: Id
    workflow_id: Id
    stage_id: Id
    pool: Id


class _WakeMessage(_Message):
    kind: Literal["wake"]
    command: dict[str, Json]


def encode_job_message(notification: JobNotification) -> str:
    """Tenant and delay are left out: they are attributes of the queue message."""
    return _compact(
        {
            "version": VERSION,
            "kind": "job",
            "job_id": notification.job_id,
            "workflow_run_id": notification.workflow_run_id,
            "workflow_id": notification.workflow_id,
            "stage_id": notification.stage_id,
            "pool": notification.pool,
        }
    )


def decode_job_message(body: str) -> JobNotification:
    """Raises `UndecodableMessage`."""
    message = _decoded(_JobMessage, body)
    return JobNotification(**message.model_dump(exclude={"version", "kind"}))


def encode_wake(command: Mapping[str, Json]) -> str:
    return _compact({"version": VERSION, "kind": "wake", "command": dict(command)})


def decode_wake(body: str) -> Mapping[str, Json]:
    """The command's JSON form, not validated. Raises `UndecodableMessage`."""
    return _decoded(_WakeMessage, body).command


def _decoded[M: _Message](model: type[M], body: str) -> M:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()]
        kind = model.__name__.removeprefix("_").removesuffix("Message").lower()
        raise UndecodableMessage(f"not a {kind} message of version {VERSION}", problems) from error


def _compact(document: Mapping[str, Json]) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False)
