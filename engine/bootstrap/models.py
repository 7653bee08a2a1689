"""Wires a kernel's stages to models."""

import os
from collections.abc import Mapping

from engine.adapters.sql.ai_call_logger import SqlAICallLogger
from engine.ai.binding import StageAI
from engine.ai.content import ContentPolicy
from engine.ai.gateway import LiteLLMGateway
from engine.ai.providers.choice import BatchAccess
from engine.domain.errors import SettingsError
from engine.domain.values import Json
from engine.ports.ids import Ids
from engine.ports.persistence import Persistence
from engine.ports.registry import Registry
from engine.settings import Settings, variable_of

KEY_SUFFIX = "_API_KEY"


def with_model_keys(settings: Settings, keys: Mapping[str, Json]) -> Settings:
    """Adds the keys to the settings and to this process's environment, where litellm reads most of them.

    Raises `SettingsError` for a name that is not that of a key.
    """
    wrong = sorted(name for name, key in keys.items() if not name.endswith(KEY_SUFFIX) or not isinstance(key, str))
    if wrong:
        raise SettingsError(
            f"{settings.model_keys_secret}: {', '.join(wrong)} is not a key of a provider; the secret holds a text for "
            f"each variable such as OPENAI{KEY_SUFFIX}"
        )
    given = {name: str(key) for name, key in keys.items()}
    os.environ.update(given)
    ours = {field: given[name] for field in Settings.model_fields if (name := variable_of(field)) in given}
    return settings.model_copy(update=ours)


def stage_ai(settings: Settings, persistence: Persistence, registry: Registry, ids: Ids) -> StageAI:
    """The imports and connections are made when a stage first calls a model."""
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
