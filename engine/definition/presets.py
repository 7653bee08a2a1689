"""Config models, to be combined into a stage's config."""

from typing import Annotated, Any, cast

from pydantic import BaseModel, Field, create_model


class AIConfig(BaseModel):
    """The model to call, and its options."""

    model: str = "gemini-2.5-flash"
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    max_tokens: Annotated[int, Field(gt=0)] | None = None


class ConcurrencyConfig(BaseModel):
    """The number of simultaneous operations, and the `delay` between them in seconds."""

    concurrency: Annotated[int, Field(gt=0)] = 5
    delay: Annotated[float, Field(ge=0)] = 0.0
    max_retries: Annotated[int, Field(ge=0)] = 3


class FeatureFlagsConfig(BaseModel):
    feature_flags: dict[str, bool] = {}


class DebugConfig(BaseModel):
    verbose: bool = False
    dry_run: bool = False


class StandardConfig(AIConfig, ConcurrencyConfig, FeatureFlagsConfig):
    pass


class FullConfig(StandardConfig, DebugConfig):
    pass


def with_ai_config[M: BaseModel](model: type[M]) -> type[M]:
    """The model with the fields of `AIConfig` added; its own fields win."""
    return _combined(model, AIConfig)


def with_concurrency_config[M: BaseModel](model: type[M]) -> type[M]:
    return _combined(model, ConcurrencyConfig)


def with_feature_flags_config[M: BaseModel](model: type[M]) -> type[M]:
    return _combined(model, FeatureFlagsConfig)


def with_debug_config[M: BaseModel](model: type[M]) -> type[M]:
    return _combined(model, DebugConfig)


def with_standard_config[M: BaseModel](model: type[M]) -> type[M]:
    return _combined(model, StandardConfig)


def with_full_config[M: BaseModel](model: type[M]) -> type[M]:
    return _combined(model, FullConfig)


def _combined[M: BaseModel](model: type[M], preset: type[BaseModel]) -> type[M]:
    bases: Any = (model, preset)
    combined: Any = create_model(f"{model.__name__}With{preset.__name__}", __base__=bases)
    return cast("type[M]", combined)
