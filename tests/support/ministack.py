"""The emulated AWS of the local cloud, for tests."""

from engine.localcloud.emulator import CREDENTIALS, REGION, Emulator

__all__ = ["CREDENTIALS", "REGION", "Ministack"]

Ministack = Emulator
