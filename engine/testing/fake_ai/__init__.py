"""Fake models without cost or key: an OpenAI-compatible server on loopback."""

from engine.testing.fake_ai.server import FakeAIServer

__all__ = ["FakeAIServer"]
