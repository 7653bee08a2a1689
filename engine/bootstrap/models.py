"""How a kernel's stages reach models."""

from engine.adapters.sql.ai_call_logger import SqlAICallLogger
from engine.ai.binding import StageAI
from engine.ai.content import ContentPolicy
from engine.ai.gateway import LiteLLMGateway
from engine.ai.providers.choice import BatchAccess
from engine.ports.ids import Ids
from engine.ports.persistence import Persistence
from engine.ports.registry import Registry
from engine.settings import Settings


def stage_ai(settings: Settings, persistence: Persistence, registry: Registry, ids: Ids) -> StageAI:
    """Nothing is imported or connected to before a stage calls a model."""
    keys = {
        "anthropic": settings.anthropic_api_key,
        "google": settings.gemini_api_key,
        "openai": settings.ai_api_key if settings.ai_base_url else settings.openai_api_key,
    }
    return StageAI(
        log=SqlAICallLogger(persistence),
        gateway=LiteLLMGateway(api_base=settings.ai_base_url, api_key=settings.ai_api_key),
        registry=registry,
        new_id=ids.new,
        content=ContentPolicy(settings.ai_log_content),
        batch_access=BatchAccess(
            keys={name: key for name, key in keys.items() if key is not None}, base_url=settings.ai_base_url
        ),
    )
