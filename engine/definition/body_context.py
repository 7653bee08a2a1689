"""The common part of the contexts of stage bodies and completion checks: ids, notes, storage, models."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

from engine.conventions import Actor, TypedKey
from engine.definition.annotate import clean_attributes, clean_payload, one_attribute
from engine.definition.capabilities import Recorder, Storage
from engine.domain.annotations import check_texts
from engine.domain.records import LogLevel
from engine.domain.values import Json, as_readable_json


class Log:
    """Writes lines to the run's log: `log("INFO", "read", pages=3)` or `log.info("read", pages=3)`."""

    __slots__ = ("_recorder",)

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, level: LogLevel | str, message: str, /, **meta: object) -> None:
        if level not in LogLevel.__members__:
            raise ValueError(f"log level {level!r} is not known: use {', '.join(LogLevel)}")
        self._recorder.log(LogLevel(level), message, {key: as_readable_json(each) for key, each in meta.items()})

    def debug(self, message: str, /, **meta: object) -> None:
        self(LogLevel.DEBUG, message, **meta)

    def info(self, message: str, /, **meta: object) -> None:
        self(LogLevel.INFO, message, **meta)

    def warn(self, message: str, /, **meta: object) -> None:
        self(LogLevel.WARN, message, **meta)

    def error(self, message: str, /, **meta: object) -> None:
        self(LogLevel.ERROR, message, **meta)


@dataclass(frozen=True, kw_only=True)
class BodyContext[Config]:
    """The common part of the contexts of stage bodies and completion checks."""

    config: Config
    workflow_run_id: str
    workflow_id: str
    stage_id: str
    stage_name: str
    stage_number: int
    stage_record_id: str
    generation: int
    recorder: Recorder = field(repr=False)
    storage: Storage = field(repr=False)
    ai: Any = field(default=None, repr=False)

    @cached_property
    def log(self) -> Log:
        return Log(self.recorder)

    @overload
    def annotate[T](self, key: TypedKey[T], value: T | None, /) -> None: ...
    @overload
    def annotate(self, key: str, value: Json, /) -> None: ...
    @overload
    def annotate(
        self,
        *,
        attributes: Mapping[str, Json],
        actor: Actor | None = None,
        payload: Json = None,
        idempotency_key: str | None = None,
        emit_event: bool = False,
    ) -> None: ...
    def annotate(self, *pair: Any, attributes: Mapping[str, Json] | None = None, **options: Any) -> None:
        """Attach annotations to this stage; they are committed with its outcome. None values are dropped.

        Raises `TypeError` when a value has not its key's type or cannot be stored as JSON, and `InvalidInput` when a
        key, the idempotency key or a part of the actor has more than 200 characters.
        """
        if (len(pair) == 2) == (attributes is not None):
            raise TypeError("annotate takes a key and its value, or attributes={…}")
        if pair and options:
            raise TypeError(f"annotate takes {', '.join(options)} only together with attributes={{…}}")
        cleaned = one_attribute(*pair) if attributes is None else clean_attributes(attributes)
        self._note(cleaned, **options)

    def _note(
        self,
        attributes: Mapping[str, Json],
        *,
        actor: Actor | None = None,
        payload: Json = None,
        idempotency_key: str | None = None,
        emit_event: bool = False,
    ) -> None:
        check_texts(attributes, actor, idempotency_key)
        if attributes:
            self.recorder.annotate(
                attributes=attributes,
                actor=actor,
                payload=clean_payload(payload),
                idempotency_key=idempotency_key,
                emit_event=emit_event,
            )
