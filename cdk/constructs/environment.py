"""The environment variables of functions, by the names that `Settings` reads."""

from typing import Any

from engine.settings import Settings, variable_of


def environment_of(**fields: Any) -> dict[str, str]:
    """Variables for fields of `Settings`, without those that are None. Raises `KeyError` for an unknown field."""
    for name in fields:
        Settings.model_fields[name]
    return {variable_of(name): str(value) for name, value in fields.items() if value is not None}
