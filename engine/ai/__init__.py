"""Models for stages and tools. litellm is imported by the first call, not by this import."""

from engine.ai.ai_helper import AIHelper, AsyncAI, Batch
from engine.ai.batches import AsyncBatch, BatchHandle, BatchItem, BatchResult, Failed, Succeeded
from engine.ai.binding import StageAI
from engine.ai.content import ContentPolicy
from engine.ai.embeddings import EmbeddingProvider, EmbedResult, register_embedding_provider
from engine.ai.gateway import LiteLLMGateway
from engine.ai.messages import EmbedAnswer, EmbedRequest, FilePart, Gateway, TextPart
from engine.ai.model_info import ModelInfo, Price, Tier, Usage
from engine.ai.models import (
    ModelFilter,
    Models,
    UnknownModel,
    calculate_cost,
    get_model,
    list_models,
    register_models,
)
from engine.ai.objects import ObjectResult
from engine.ai.providers.batch_provider import BatchProvider, BatchState, BatchStatus
from engine.ai.providers.choice import BatchAccess
from engine.ai.streams import TextStream
from engine.ai.text import Step, TextResult
from engine.ai.tool_calls import Tool, tool
from engine.definition.budget import Budget
from engine.domain.ai_calls import AICallRecord, CallState
from engine.domain.errors import AICallFailed, AICallRefused, AIError, AIOutputError, BudgetExceeded
from engine.ports.ai_call_logger import AICallLogger, ModelStats, TopicStats

__all__ = [
    "AICallFailed",
    "AICallLogger",
    "AICallRecord",
    "AICallRefused",
    "AIError",
    "AIHelper",
    "AIOutputError",
    "AsyncAI",
    "AsyncBatch",
    "Batch",
    "BatchAccess",
    "BatchHandle",
    "BatchItem",
    "BatchProvider",
    "BatchResult",
    "BatchState",
    "BatchStatus",
    "Budget",
    "BudgetExceeded",
    "CallState",
    "ContentPolicy",
    "EmbedAnswer",
    "EmbedRequest",
    "EmbedResult",
    "EmbeddingProvider",
    "Failed",
    "FilePart",
    "Gateway",
    "LiteLLMGateway",
    "ModelFilter",
    "ModelInfo",
    "ModelStats",
    "Models",
    "ObjectResult",
    "Price",
    "StageAI",
    "Step",
    "Succeeded",
    "TextPart",
    "TextResult",
    "TextStream",
    "Tier",
    "Tool",
    "TopicStats",
    "UnknownModel",
    "Usage",
    "calculate_cost",
    "get_model",
    "list_models",
    "register_embedding_provider",
    "register_models",
    "tool",
]
