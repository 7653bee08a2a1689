"""A wrong deployment is refused by one sentence that names the key."""

import json
from pathlib import Path
from typing import Any

import pytest

from cdk.config import ConfigRefused, load_config
from tests.infrastructure.synthesis import ROOT, synthesize

CONTEXT = json.loads((ROOT / "cdk.json").read_text())["context"]


def refusal(**given: Any) -> str:
    with pytest.raises(ConfigRefused) as refused:
        load_config(CONTEXT | {f"engine:{key}": value for key, value in given.items()})
    return str(refused.value)


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("databse", {"databse": "aurora"}),
        ("database", {"database": "oracle"}),
        ("external_url", {"database": "external-url"}),
        ("external_url", {"external_url": "postgresql://here"}),
        ("external_url", {"database": "external-url", "external_url": "postgresql://a:b@here/c"}),
        ("aurora.proxy", {"aurora": {"min_acu": 0, "proxy": True}}),
        ("aurora.max_acu", {"aurora": {"min_acu": 8, "max_acu": 2}}),
        ("aurora.min_acu", {"aurora": {"min_acu": 0.3}}),
        ("pools.default.timeout", {"pools": {"default": {"timeout": 901}}}),
        ("pools.default.memroy", {"pools": {"default": {"memroy": 512}}}),
        ("pools", {"pools": {}}),
        ("pools", {"pools": {"default": {"concurrency": 900}}}),
        ("network", {"network": "none"}),
        ("name", {"name": "with space"}),
    ],
)
def test_a_wrong_key_or_combination_is_refused_by_name(key: str, given: dict[str, Any]) -> None:
    sentence = refusal(**given)
    assert sentence.startswith(key)
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_an_environment_that_is_not_in_cdk_json_is_refused() -> None:
    with pytest.raises(ConfigRefused, match=r"environment: there is no 'prod' in cdk\.json; choose one of dev"):
        load_config(CONTEXT | {"environment": "prod"})


def test_the_command_line_wins_over_the_environment_and_that_over_the_settings() -> None:
    config = load_config(CONTEXT | {"environment": "production", "engine:log_days": "7"})
    assert (config.name, config.maintenance, config.log_days, config.database) == ("engine", "continuous", 7, "aurora")


def test_a_refusal_ends_the_synthesis_without_a_traceback(tmp_path: Path) -> None:
    done = synthesize(tmp_path, "local")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "cdk.json: external_url: database 'external-url' needs the URL of a PostgreSQL database."
    )
    assert "Traceback" not in done.stderr
