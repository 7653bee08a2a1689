import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def test_nothing_is_left_when_the_process_that_started_the_emulator_is_killed() -> None:
    script = (
        "import signal; from tests.support.ministack import Ministack\n"
        "emulator = Ministack().__enter__()\n"
        "print(emulator._guard.pid, emulator._folder, flush=True); signal.pause()"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        pid, folder = owner.stdout.readline().split()
    group = int(pid)
    assert alive(group)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 10
    while alive(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(group)
    assert not Path(folder).exists()


def alive(group: int) -> bool:
    """True when a process of the emulator's group runs: the guard or its child."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
