"""The first model call imports litellm, which takes seconds; nothing imports it earlier."""

import subprocess
import sys
from pathlib import Path

import pytest

import functions

ASK = (
    "from engine.ai import AIHelper, LiteLLMGateway; from engine.testing import InMemoryAICallLogger; "
    "ai = AIHelper('t', InMemoryAICallLogger(), LiteLLMGateway()); "
    "before = 'litellm' in sys.modules; "
    "ai.generate_text('gpt-4o-mini', 'hi', provider_options={'mock_response': 'yes'}); "
    "print(before, 'litellm' in sys.modules)"
)


HANDLERS = sorted(f"functions.{path.stem}" for path in Path(functions.__file__).parent.glob("[a-z]*.py"))
OTHERS = ["engine", "engine.ai", "engine.bootstrap.aws", "engine.bootstrap.embedded", "engine.cli.main"]


def test_the_handlers_are_found() -> None:
    assert {"functions.jobs", "functions.maintenance", "functions.migrate"} <= set(HANDLERS)


@pytest.mark.parametrize("module", [*OTHERS, *HANDLERS])
def test_importing_does_not_import_litellm(module: str) -> None:
    code = f"import sys, {module}; sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_looking_up_a_price_does_not_either() -> None:
    code = "import sys; from engine.ai import get_model; get_model('gpt-4o-mini'); sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_first_call_does() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {ASK}"], check=True, capture_output=True, text=True, timeout=90
    )
    assert done.stdout.split() == ["False", "True"]


def test_batches_are_polled_where_litellm_is_not_installed() -> None:
    """The maintenance function polls, and litellm is not in its bundle."""
    code = (
        "import sys; sys.modules['litellm'] = None; from engine.ai import BatchAccess, Models; "
        "access = BatchAccess(keys={'openai': 'a', 'anthropic': 'b', 'google': 'c'}); "
        "keys = ['gpt-4o-mini', 'claude-haiku-4-5', 'gemini-2.5-flash', 'openai/gpt-4o', 'o4-mini']; "
        "print(*[type(access.provider(Models().get(key), None)).__name__ for key in keys])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [
        "OpenAIBatches",
        "AnthropicBatches",
        "GoogleBatches",
        "OpenAIBatches",
        "OpenAIBatches",
    ]
