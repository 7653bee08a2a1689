"""A wrong deployment is refused by one sentence that names the key."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cdk.config import ConfigRefused, load_config
from cdk.local import CLI, NODE
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


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"databse": "aurora"}, "databse: there is no such key."),
        (
            {"database": "external-url"},
            "external_url: database 'external-url' needs the URL of a PostgreSQL database.",
        ),
        (
            {"pools": '{"default": {"timeout": 901}}'},
            "pools.default.timeout is 901: Input should be less than or equal to 900.",
        ),
        (
            {"aurora": '{"min_acu": 0, "proxy": true}'},
            (
                "aurora.proxy: an RDS Proxy keeps connections open, so that the database never pauses; set"
                " aurora.min_acu to 0.5 or more, or aurora.proxy to false."
            ),
        ),
    ],
    ids=["unknown key", "missing URL", "timeout", "proxy and pause"],
)
def test_a_refusal_ends_the_synthesis_without_a_traceback(given: dict[str, str], sentence: str, tmp_path: Path) -> None:
    done = synthesize(tmp_path, "dev", **{f"engine:{key}": value for key, value in given.items()})
    assert (done.returncode, done.stderr.strip().splitlines()) == (1, [f"cdk.json: {sentence}"])
    assert not list(tmp_path.iterdir())


def test_the_command_line_says_what_the_app_refused(tmp_path: Path) -> None:
    context = ["-c", "environment=dev", "-c", "skip-bundling=yes", "-c", "engine:log_days=8"]
    done = subprocess.run(
        [str(NODE), str(CLI), "synth", "--quiet", "--output", str(tmp_path / "out"), *context],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("CDK")} | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cdk.json: log_days is 8: Input should be 7, 14, 30, 90 or 365." in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
