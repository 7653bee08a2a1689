import os

import pytest

from engine.bootstrap.models import with_model_keys
from engine.domain.errors import SettingsError
from engine.settings import Settings


def test_keys_become_settings_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "MISTRAL_API_KEY"):
        monkeypatch.setenv(name, "before")
    settings = with_model_keys(Settings(), {"OPENAI_API_KEY": "o", "MISTRAL_API_KEY": "m"})
    assert (settings.openai_api_key, settings.anthropic_api_key) == ("o", None)
    assert [os.environ[name] for name in ("OPENAI_API_KEY", "MISTRAL_API_KEY")] == ["o", "m"]


@pytest.mark.parametrize(("name", "value"), [("PATH", "/tmp"), ("OPENAI_API_KEY", 5)])
def test_a_secret_that_holds_something_else_is_refused_without_its_value(
    name: str, value: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "before")
    with pytest.raises(SettingsError, match=f"arn:secret: {name} is not a key of a provider") as refused:
        with_model_keys(Settings(model_keys_secret="arn:secret"), {name: value})
    assert str(value) not in str(refused.value)
    assert os.environ[name] == "before"
