from collections.abc import Iterator

import pytest

from engine.ai import AIHelper, LiteLLMGateway, ModelInfo, Models, Price
from engine.testing import InMemoryAICallLogger
from engine.testing.fake_ai import FakeAIServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignores litellm's warnings about its own code."""
    for item in items:
        if "tests/ai/" in str(item.path):
            item.add_marker(pytest.mark.filterwarnings("ignore"))


PRICE = Price(input=1e-6, output=2e-6, cached_input=1e-7, reasoning=4e-6)


@pytest.fixture
def fake() -> Iterator[FakeAIServer]:
    with FakeAIServer() as server:
        yield server


@pytest.fixture
def gateway(fake: FakeAIServer) -> LiteLLMGateway:
    return LiteLLMGateway(api_base=fake.url)


@pytest.fixture
def models() -> Models:
    known = Models()
    known.register(
        {
            "chat": ModelInfo(key="chat", id="fake-chat", provider="openai", price=PRICE, supports_schema=True),
            "plain": ModelInfo(key="plain", id="fake-plain", provider="openai", price=PRICE),
            "priceless": ModelInfo(key="priceless", id="fake-priceless", provider="openai"),
            "vectors": ModelInfo(
                key="vectors", id="fake-vectors", provider="openai", mode="embedding", price=Price(input=1e-7)
            ),
        }
    )
    return known


@pytest.fixture
def log() -> InMemoryAICallLogger:
    return InMemoryAICallLogger()


@pytest.fixture
def ai(log: InMemoryAICallLogger, gateway: LiteLLMGateway, models: Models) -> AIHelper:
    return AIHelper("topic", log, gateway, models=models)
