import subprocess
import sys

import engine
import engine.conventions

FOR_AUTHORS = [
    "AIConfig",
    "AsyncBatchStage",
    "BatchFailed",
    "Budget",
    "CheckContext",
    "CheckResult",
    "ConcurrencyConfig",
    "DebugConfig",
    "FeatureFlagsConfig",
    "FullConfig",
    "NoConfig",
    "NoInput",
    "NotReady",
    "Ready",
    "RetryPolicy",
    "Stage",
    "StageContext",
    "StageIds",
    "StageResult",
    "StandardConfig",
    "Suspended",
    "SuspendedState",
    "Workflow",
    "WorkflowBuilder",
    "assert_valid_stage_id",
    "create_stage_ids",
    "define_async_batch_stage",
    "define_stage",
    "define_stage_ids",
    "define_workflow",
    "is_valid_stage_id",
    "with_ai_config",
    "with_concurrency_config",
    "with_debug_config",
    "with_feature_flags_config",
    "with_full_config",
    "with_standard_config",
]
ERRORS = [
    "AICallFailed",
    "AICallRefused",
    "AIError",
    "AIOutputError",
    "BudgetExceeded",
    "BlobNotFound",
    "DefinitionError",
    "EngineError",
    "IdempotencyConflictError",
    "IdempotencyInProgressError",
    "InvalidBlobKey",
    "InvalidInput",
    "InvalidStageData",
    "InvalidTransition",
    "LeaseExpired",
    "MissingStageOutput",
    "NotFound",
    "RefusedError",
    "RerunRefused",
    "SettingsError",
    "StageCancelled",
    "StageError",
    "StageTimeout",
    "StaleVersionError",
    "StoreBehind",
    "StoreError",
    "StoreUnavailable",
    "UnknownStage",
    "UnknownWorkflow",
]


def test_authors_import_these_names_from_engine() -> None:
    assert sorted(engine.__all__) == sorted([*FOR_AUTHORS, *ERRORS])
    assert all(getattr(engine, name) for name in engine.__all__)


def test_authors_import_these_names_from_conventions() -> None:
    assert sorted(engine.conventions.__all__) == [
        "Actor",
        "Approval",
        "Decision",
        "Revision",
        "Trigger",
        "TypedKey",
        "typed_key",
    ]


def test_importing_engine_loads_no_store_no_cloud_and_no_model_library() -> None:
    code = "import engine, sys; print(*{each.partition('.')[0] for each in sys.modules})"
    listed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    heavy = {"sqlalchemy", "boto3", "botocore", "litellm", "rich", "typer", "alembic", "pg8000", "asyncio"}
    assert heavy & set(listed) == set()
