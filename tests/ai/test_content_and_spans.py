"""Stored prompts and answers, and OpenTelemetry spans."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import NonRecordingSpan, Status
from opentelemetry.trace.span import INVALID_SPAN_CONTEXT

from engine.ai import AICallFailed, AIHelper, LiteLLMGateway, telemetry
from engine.bootstrap.embedded import open_engine
from engine.domain.ai_calls import AICallRecord
from engine.hosts import run_and_wait
from engine.kernel import RunCreate
from engine.settings import Settings
from engine.testing import InMemoryAICallLogger
from engine.testing.fake_ai import FakeAIServer
from engine.testing.fake_ai.chat import Scripted
from tests.cli.calling import ROOT

SHA256 = re.compile(r"[0-9a-f]{64}")


def calls_of_a_run(fake: FakeAIServer, folder: Path, policy: str) -> list[AICallRecord]:
    variables = {
        "ENGINE_REGISTRY": "tests.ai.workflows:WORKFLOWS",
        "ENGINE_CODE": str(ROOT),
        "ENGINE_AI_BASE_URL": fake.url,
        "AI_LOG_CONTENT": policy,
    }
    with open_engine(Settings.from_env(variables, home=folder)) as engine, engine.worker():
        outcome = run_and_wait(engine.kernel, None, RunCreate(workflow_id="pricing", start=True), timeout=60)
        return list(engine.kernel.reads.ai_calls(outcome.workflow_run_id))


def test_content_is_kept_in_full(fake: FakeAIServer, tmp_path: Path) -> None:
    first, _ = calls_of_a_run(fake, tmp_path, "full")
    assert first.prompt["messages"] == [{"role": "user", "content": "what do you cost?"}]
    assert first.response["text"].startswith("About what you cost")


def test_of_content_only_the_hash_is_kept(fake: FakeAIServer, tmp_path: Path) -> None:
    for call in calls_of_a_run(fake, tmp_path, "hash"):
        for kept in (call.prompt, call.response):
            assert set(kept) == {"sha256"}
            assert SHA256.fullmatch(kept["sha256"])
    assert b"what do you cost" not in b"".join(path.read_bytes() for path in tmp_path.rglob("engine.db*"))


def test_nothing_of_content_is_kept_and_the_ledger_is_the_same(fake: FakeAIServer, tmp_path: Path) -> None:
    calls = calls_of_a_run(fake, tmp_path, "none")
    assert [(call.prompt, call.response) for call in calls] == [(None, None)] * 2
    assert all(call.tokens for call in calls)
    assert b"what do you cost" not in b"".join(path.read_bytes() for path in tmp_path.rglob("engine.db*"))


class Seen(NonRecordingSpan):
    """A span that a test can look at. OpenTelemetry's own is in its SDK, which the engine does not depend on."""

    def __init__(self, name: str, attributes: dict[str, Any]) -> None:
        super().__init__(INVALID_SPAN_CONTEXT)
        self.name, self.attributes = name, dict(attributes)
        self.status: Any = None
        self.description: str | None = None

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value

    def set_status(self, status: Any, description: str | None = None) -> None:
        self.status, self.description = status, description


class Tracer:
    def __init__(self) -> None:
        self.spans: list[Seen] = []

    @contextmanager
    def start_as_current_span(self, name: str, *, attributes: dict[str, Any], **_options: Any) -> Iterator[Seen]:
        self.spans.append(Seen(name, attributes))
        yield self.spans[-1]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    tracer = Tracer()
    monkeypatch.setattr(telemetry, "_TRACER", tracer)
    return tracer.spans


def test_a_call_is_a_span_with_the_conventions_names(ai: AIHelper, fake: FakeAIServer, spans: list[Seen]) -> None:
    fake.say(Scripted(text="yes", usage={"prompt_tokens": 100, "completion_tokens": 10}))
    result = ai.generate_text("chat", "hi", temperature=0.5, max_tokens=20)
    (span,) = spans
    assert span.name == "chat fake-chat"
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "fake-chat",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 20,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 10,
        "workflow.ai.topic": "topic",
        "workflow.ai.cost_usd": result.cost,
    }


def test_tools_embeddings_and_streams_are_spans_too(ai: AIHelper, spans: list[Seen]) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    ai.generate_text("chat", "sum", tools=[add])
    ai.embed("vectors", "one")
    ai.stream_text("chat", "go on").get_text()
    operations = [(span.name, span.attributes["gen_ai.operation.name"]) for span in spans]
    assert operations == [
        ("chat fake-chat", "chat"),
        ("execute_tool add", "execute_tool"),
        ("chat fake-chat", "chat"),
        ("embeddings fake-vectors", "embeddings"),
        ("chat fake-chat", "chat"),
    ]
    assert spans[1].attributes["gen_ai.tool.name"] == "add"
    assert all(span.attributes["gen_ai.usage.input_tokens"] for span in spans if "tool" not in span.name)


def test_a_failed_call_is_a_failed_span_with_its_kind_of_error(
    ai: AIHelper, fake: FakeAIServer, spans: list[Seen]
) -> None:
    fake.say(Scripted(status=503))
    with pytest.raises(AICallFailed):
        ai.generate_text("chat", "hi", max_retries=0)
    (span,) = spans
    assert span.attributes["error.type"] == "AICallFailed"
    assert isinstance(span.status, Status)
    assert not span.status.is_ok


def test_spans_say_nothing_of_prompts_and_answers(
    log: InMemoryAICallLogger, fake: FakeAIServer, spans: list[Seen]
) -> None:
    fake.say(Scripted(text="a secret answer"))
    AIHelper("t", log, LiteLLMGateway(api_base=fake.url)).generate_text("gpt-4o-mini", "a secret question")
    assert "secret" not in json.dumps([span.attributes for span in spans])
