"""Chooses the batch provider of a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.ai.model_info import ModelInfo
from engine.ai.providers.anthropic import AnthropicBatches
from engine.ai.providers.batch_provider import BatchProvider
from engine.ai.providers.google import GoogleBatches
from engine.ai.providers.openai import OpenAIBatches
from engine.domain.errors import InvalidInput, SettingsError

OF_LITELLM: Mapping[str, str] = {"anthropic": "anthropic", "gemini": "google", "google": "google", "openai": "openai"}
VARIABLES = {"anthropic": "ANTHROPIC_API_KEY", "google": "GEMINI_API_KEY", "openai": "OPENAI_API_KEY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAccess:
    """Holds the keys by provider. With `base_url` all batches go to that OpenAI-compatible server."""

    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    base_url: str | None = None

    def provider(self, model: ModelInfo, name: str | None) -> BatchProvider:
        """Raises `InvalidInput` for a model without batches, and `SettingsError` when the key is missing."""
        if self.base_url is not None:
            return OpenAIBatches(self.keys.get("openai", "none"), self.base_url)
        wanted = name or OF_LITELLM.get(model.provider)
        if wanted not in VARIABLES:
            raise InvalidInput(
                f"model {model.key!r} of {model.provider} has no batches; there are {', '.join(VARIABLES)}"
            )
        key = self.keys.get(wanted)
        if key is None:
            raise SettingsError(f"batches of {wanted} need {VARIABLES[wanted]}")
        match wanted:
            case "anthropic":
                return AnthropicBatches(key)
            case "google":
                return GoogleBatches(key)
            case _:
                return OpenAIBatches(key)
