"""Settings keep their secrets to themselves."""

import traceback

import pytest

from engine.domain.errors import SettingsError
from engine.settings import Settings

SECRETS = {"DATABASE_URL": "postgresql://u:s3cret@h/e", "OPENAI_API_KEY": "s3cret"}


@pytest.mark.failure(88)
@pytest.mark.parametrize(
    "faulty", [{"ENGINE_PROFILE": "aws"}, {"ENGINE_PROFILE": "moon"}, {"ENGINE_POOLS": "{"}, {"ENGINE_NO_SUCH": "1"}]
)
def test_the_traceback_of_a_faulty_variable_shows_no_other_one(faulty: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_env(SECRETS | faulty)
    assert "s3cret" not in "".join(traceback.format_exception(error.value))


def test_settings_are_shown_without_their_secrets() -> None:
    assert "s3cret" not in repr(Settings.from_env(SECRETS))
