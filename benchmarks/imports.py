"""Measures the time of imports: each in a fresh process with byte-compiled modules, minus an empty process."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping

FIRST_CALL = (
    "from engine.ai import AIHelper, LiteLLMGateway; from engine.testing import InMemoryAICallLogger; "
    "AIHelper('bench', InMemoryAICallLogger(), LiteLLMGateway())"
    ".generate_text('gpt-4o-mini', 'hi', provider_options={'mock_response': 'yes'})"
)
PROGRAMS: Mapping[str, str] = {
    "nothing": "pass",
    "engine (authors)": "import engine",
    "engine.ai": "import engine.ai",
    "functions.jobs": "import functions.jobs",
    "functions.maintenance": "import functions.maintenance",
    "litellm": "from engine.ai.gateway import litellm; litellm()",
    "first call of a model": FIRST_CALL,
}


def import_times(rounds: int) -> dict[str, float]:
    """Milliseconds by program, the median of as many interleaved rounds; one before them is not counted."""
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for number in range(rounds + 1):
        for name, program in PROGRAMS.items():
            took = _run(program)
            if number:
                times[name].append(took)
    bare = statistics.median(times.pop("nothing"))
    return {name: statistics.median(values) - bare for name, values in times.items()}


def _run(program: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, capture_output=True)
    return (time.perf_counter() - started) * 1000
