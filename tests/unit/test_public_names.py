"""The names that users import, package by package. Taking one away is a breaking change."""

from importlib import import_module

import pytest

NAMES = {
    "engine.kernel": """
        Kernel Deps LocalExecutor RoutingExecutor Plugin PluginRunner CompositeSink define_plugin RunStatus
        StageStatus JobStatus Event RunCreate RunCreateResult RunClaimPending RunClaimPendingResult JobExecute
        JobExecuteResult RunTransition RunTransitionResult RunCancel RunCancelResult RunRerunFrom RunRerunFromResult
        StagePollSuspended StagePollSuspendedResult LeaseReapStale LeaseReapStaleResult RunReapStuck
        RunReapStuckResult OutboxFlush OutboxFlushResult PluginReplayDLQ PluginReplayDLQResult RunReconcile
        RunReconcileResult WorkflowCreated WorkflowStarted WorkflowCompleted WorkflowFailed WorkflowCancelled
        WorkflowSuspended StageStarted StageCompleted StageSuspended StageFailed StageProgress AnnotationCreated
        ActorInput AnnotationInput AnnotationFilter RunFilter SinkUnavailable PartiallyDelivered
    """,
    "engine.persistence": "SqlPersistence SqlJobQueue SqlAICallLogger",
    "engine.hosts": """
        WorkerHost WorkerStats ServerlessHost JobMessage JobResult ProcessedJobs TickResult JobReport HostOptions
        RunOutcome run_and_wait
    """,
    "engine.testing": """
        TestKernel RunDidNotEnd InMemoryPersistence InMemoryJobQueue InMemoryBlobStore CollectingEventSink FakeClock
        FixedIds NoopScheduler InMemoryAICallLogger
    """,
    "engine.ai": """
        AIHelper AsyncAI TextResult Step ObjectResult EmbedResult TextStream Batch AsyncBatch BatchHandle BatchItem
        BatchResult Succeeded Failed BatchProvider BatchState BatchStatus BatchAccess TextPart FilePart Tool tool Usage
        Price Tier ModelInfo ModelFilter Models UnknownModel register_models get_model list_models calculate_cost
        EmbeddingProvider EmbedRequest EmbedAnswer register_embedding_provider Gateway LiteLLMGateway ContentPolicy
        Budget BudgetExceeded AIError AICallFailed AICallRefused AIOutputError AICallLogger AICallRecord CallState
        TopicStats ModelStats
    """,
    "engine.testing.fake_ai": "FakeAIServer",
    "engine.testing.contracts.ai_call_logger": "AICallLoggerContract",
    "engine.testing.contracts.persistence": "PersistenceContract",
    "engine.testing.contracts.job_queue": "JobQueueContract",
    "engine.testing.contracts.blob_store": "BlobStoreContract",
}


@pytest.mark.parametrize(("module", "names"), NAMES.items())
def test_public_names_can_be_imported(module: str, names: str) -> None:
    missing = [name for name in names.split() if not hasattr(import_module(module), name)]
    assert missing == []


@pytest.mark.parametrize(
    "module", ["engine.ai", "engine.kernel", "engine.persistence", "engine.hosts", "engine.testing"]
)
def test_a_package_exports_these_names_at_least(module: str) -> None:
    assert set(NAMES[module].split()) <= set(import_module(module).__all__)
