"""The emulated AWS of the local cloud, as tests name it."""

from engine.localcloud.emulator import CREDENTIALS, REGION, Emulator

__all__ = ["CREDENTIALS", "REGION", "Ministack"]

Ministack = Emulator
