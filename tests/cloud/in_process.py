"""The real handlers in this process, over an engine of the test's choice."""

from collections.abc import Mapping

import pytest

import functions.jobs
import functions.maintenance
import functions.runtime
from engine.bootstrap.aws import AwsEngine
from tests.cloud.virtual_time import Handler


def handlers(engine: AwsEngine, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Handler]:
    """The handlers by queue."""
    for module in (functions.runtime, functions.jobs, functions.maintenance):
        monkeypatch.setattr(module, "engine", lambda: engine)
    monkeypatch.setattr(functions.runtime, "_on_sigterm", lambda _release_leases: None)
    return {"work": functions.jobs.handler, "control": functions.maintenance.handler}
