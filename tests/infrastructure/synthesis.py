"""The CDK app as a process, the way the command line runs it, without making bundles."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-cdk" / "bin" / "python"
EXTERNAL = {"engine:external_url": "postgresql://engine@127.0.0.1:5432/engine"}
VARIANTS = {
    "aurora": {},
    "rds-instance": {"engine:database": "rds-instance", "engine:network": "nat"},
    "endpoints": {"engine:network": "endpoints"},
    "models": {
        "engine:network": "nat",
        "engine:pools": '{"default": {}, "ai": {"bundle": "ai"}}',
        "engine:model_keys": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:models-AbCdEf",
    },
    "proxy": {"engine:aurora": '{"min_acu": 0.5, "proxy": true}'},
    "external": EXTERNAL | {"engine:database": "external-url", "engine:network": "none"},
}
"""Every database and every network, and models, as differences from the environment dev."""

type Resources = Mapping[str, Mapping[str, Any]]


def synthesize(output: Path, environment: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs the app. `more` are context values, left out where empty; findings of cdk-nag are failures."""
    given = json.loads((ROOT / "cdk.json").read_text())["context"]
    context = given | {"environment": environment, "skip-bundling": "yes"} | more
    context = {name: value for name, value in context.items() if value}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [str(PYTHON), "-m", "cdk"],
        cwd=ROOT,
        env=inherited | {"CDK_OUTDIR": str(output), "CDK_CONTEXT_JSON": json.dumps(context)},
        capture_output=True,
        text=True,
        check=False,
    )


def template(output: Path, stack: str) -> Resources:
    resources: Resources = json.loads((output / f"{stack}.template.json").read_text())["Resources"]
    return resources


def of_type(resources: Resources, kind: str) -> dict[str, Mapping[str, Any]]:
    """Properties by logical id."""
    return {name: each.get("Properties", {}) for name, each in resources.items() if each["Type"] == kind}
