"""The errors of the engine.

EngineError
├── DefinitionError             a stage or workflow is wrong; fix the code
├── SettingsError               the environment is wrong; fix the configuration
├── InvalidInput                the caller's data is wrong; nothing was written
│   ├── UnknownWorkflow
│   ├── UnknownStage
│   └── InvalidBlobKey
├── NotFound                    no such record
├── BlobNotFound
├── RefusedError                a valid request that the present state does not allow
│   ├── InvalidTransition
│   ├── RerunRefused
│   ├── StaleVersionError
│   ├── IdempotencyConflictError
│   └── IdempotencyInProgressError
├── StageError                  raised in or around a stage body; recorded on the stage
│   ├── MissingStageOutput
│   ├── InvalidStageData        input, config or output fails its schema: never retried
│   ├── StageTimeout
│   ├── StageCancelled
│   ├── LeaseExpired
│   └── AIError                 around a model call
│       ├── AICallFailed        the provider failed, or could not be reached
│       │   └── AICallRefused   the request itself is wrong: never retried
│       ├── AIOutputError       the answer does not fit its schema
│       └── BudgetExceeded      the call was not sent: never retried
└── StoreError                  the database or the blob store
    ├── StoreUnavailable        try again later
    └── StoreBehind             migrations are missing
"""

from collections.abc import Sequence


class EngineError(Exception):
    """Base of the engine's errors. `code` is stable and safe to match on."""

    code = "ENGINE_ERROR"


class DefinitionError(EngineError):
    """A stage, workflow or plugin definition is wrong. Raised when it is defined, never while it runs."""

    code = "DEFINITION_ERROR"


class SettingsError(EngineError):
    """An environment variable is missing, unknown or invalid."""

    code = "SETTINGS_ERROR"


class InvalidInput(EngineError):
    """The caller's data was refused before anything was written. `problems` lists every fault."""

    code = "INVALID_INPUT"

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([message, *(f"  - {problem}" for problem in self.problems)]))


class UnknownWorkflow(InvalidInput):
    """No workflow of that id is registered."""

    code = "WORKFLOW_NOT_FOUND"


class UnknownStage(InvalidInput):
    """The workflow has no stage of that id."""

    code = "STAGE_NOT_FOUND"


class InvalidBlobKey(InvalidInput):
    """The blob key is absolute, leaves its prefix or has empty segments."""

    code = "INVALID_BLOB_KEY"


class NotFound(EngineError):
    """No record of that kind and id."""

    code = "NOT_FOUND"

    def __init__(self, kind: str, record_id: str) -> None:
        self.kind, self.record_id = kind, record_id
        super().__init__(f"no {kind} {record_id!r}")


class BlobNotFound(EngineError):
    """The blob store has no blob under that key."""

    code = "BLOB_NOT_FOUND"

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"no blob {key!r}")


class RefusedError(EngineError):
    """The request is valid, but the present state does not allow it."""

    code = "REFUSED"


class InvalidTransition(RefusedError):
    """The tables of moves do not list this change of status."""

    code = "INVALID_TRANSITION"


class RerunRefused(RefusedError):
    """The run is not finished, or a stage before the target has no output to start from."""

    code = "RERUN_REFUSED"


class StaleVersionError(RefusedError):
    """The record was changed by another command after it was read."""

    code = "STALE_VERSION"

    def __init__(self, kind: str, record_id: str, expected: int, actual: int) -> None:
        self.expected, self.actual = expected, actual
        super().__init__(f"{kind} {record_id!r} is at version {actual}, expected {expected}")


class IdempotencyConflictError(RefusedError):
    """The idempotency key was used before with other content."""

    code = "IDEMPOTENCY_CONFLICT"

    def __init__(self, key: str, command_type: str) -> None:
        super().__init__(
            f"idempotency key {key!r} was already used for a {command_type} with other content; "
            "send the first content again or choose a new key"
        )


class IdempotencyInProgressError(RefusedError):
    """Another call with the same idempotency key has not ended yet."""

    code = "IDEMPOTENCY_IN_PROGRESS"

    def __init__(self, key: str, command_type: str) -> None:
        super().__init__(f"a {command_type} with idempotency key {key!r} is still in progress; try again shortly")


class StageError(EngineError):
    """An error in or around a stage body."""

    code = "STAGE_ERROR"


class MissingStageOutput(StageError):
    """`ctx.require` named a stage that has no output in this run."""

    code = "MISSING_STAGE_OUTPUT"

    def __init__(self, stage_id: str, available: Sequence[str]) -> None:
        self.stage_id, self.available = stage_id, tuple(available)
        known = ", ".join(self.available) or "none"
        super().__init__(f"stage {stage_id!r} has no output here; available: {known}")


class InvalidStageData(StageError):
    """A stage's input, config or output does not fit its schema. A retry cannot help."""

    code = "INVALID_STAGE_DATA"


class StageTimeout(StageError):
    """The body ran past its timeout, or a suspended stage past its max wait."""

    code = "STAGE_TIMEOUT"


class StageCancelled(StageError):
    """Raised by `ctx.raise_if_cancelled()` once the run has been cancelled."""

    code = "STAGE_CANCELLED"


class LeaseExpired(StageError):
    """A worker stopped responding while it ran the stage."""

    code = "LEASE_EXPIRED"


class AIError(StageError):
    """An error around a model call."""

    code = "AI_ERROR"


class AICallFailed(AIError):
    """The provider could not answer; a retry may succeed. `status` is the HTTP status, if there was an answer.

    `may_be_charged`: the request was sent and its answer is lost, so its cost is unknown.
    """

    code = "AI_CALL_FAILED"

    def __init__(self, message: str, *, status: int | None = None, may_be_charged: bool = False) -> None:
        self.status, self.may_be_charged = status, may_be_charged
        super().__init__(message)


class AICallRefused(AICallFailed):
    """The provider refuses this request: a wrong key, an unknown or retired model, bad parameters."""

    code = "AI_CALL_REFUSED"


class AIOutputError(AIError):
    """The model's answer does not fit its schema, even after one repair. `text` is the answer."""

    code = "AI_OUTPUT_ERROR"

    def __init__(self, message: str, text: str) -> None:
        self.text = text
        super().__init__(message)


class BudgetExceeded(AIError):
    """The call was not sent: its upper bound exceeds the rest of the budget."""

    code = "BUDGET_EXCEEDED"


class StoreError(EngineError):
    """The database or the blob store refused an operation."""

    code = "STORE_ERROR"


class StoreUnavailable(StoreError):
    """The store cannot be reached, or failed until the time for retries was over."""

    code = "STORE_UNAVAILABLE"


class StoreBehind(StoreError):
    """The database schema is older than this code."""

    code = "STORE_BEHIND"
