"""The live view on a real (pseudo) terminal."""

import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

import pytest

from tests.cli.calling import COMMAND, Call, environment

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A process whose stdin, stdout and stderr are a terminal of `width` columns."""

    def __init__(self, folder: Path, *words: str, width: int = 100, **variables: str) -> None:
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=folder,
            env={**environment(), "TERM": "xterm-256color", **variables},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.raw = ""

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self.raw)

    def read_until(self, found: Callable[[str], bool], timeout: float = 30) -> None:
        end = time.monotonic() + timeout
        while not found(self.text):
            assert time.monotonic() < end, self.text
            if not self._read():
                assert found(self.text), self.text

    def finish(self) -> int:
        while self._read():
            pass
        os.close(self._ours)
        return self.process.wait(30)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], 0.5)
        try:
            data = os.read(self._ours, 65_536) if ready else b""
        except OSError:  # Linux answers so when the other side has closed
            return False
        self.raw += data.decode(errors="replace")
        return bool(data) or self.process.poll() is None


@pytest.mark.parametrize("width", [60, 100, 160])
def test_the_live_view_follows_the_run_and_ends_with_the_output(folder: Path, width: int) -> None:
    terminal = Terminal(folder, "run", "waiting", "--input", '{"path": "gate"}', width=width)
    terminal.read_until(lambda text: "still closed" in text)
    frames = terminal.raw.count("Wait for the gate")
    began = time.monotonic()
    terminal.read_until(lambda _: time.monotonic() - began > 1)
    assert terminal.raw.count("Wait for the gate") - frames >= 4
    (folder / "gate").touch()
    assert terminal.finish() == 0
    last = terminal.text.split("waiting · ")[-1]
    assert "COMPLETED" in last
    assert "✔ Wait for the gate" in last
    assert "Output" in last
    assert "engine runs show" in last
    drawn = [line for line in terminal.text.split("Output")[0].splitlines() if line.strip()]
    assert max(len(line) for line in drawn) <= width


def test_a_parallel_group_is_drawn_together(folder: Path) -> None:
    terminal = Terminal(folder, "run", "twins")
    assert terminal.finish() == 0
    assert "╭ ✔ Left" in terminal.text
    assert "╰ ✔ Right" in terminal.text


def test_no_color_means_no_colour(folder: Path) -> None:
    terminal = Terminal(folder, "run", "greeting", NO_COLOR="1")
    assert terminal.finish() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.raw)


def test_a_terminal_that_cannot_draw_gets_lines(folder: Path) -> None:
    terminal = Terminal(folder, "run", "greeting", TERM="dumb")
    assert terminal.finish() == 0
    assert "greet completed" in terminal.text


def test_ctrl_c_on_the_terminal_says_how_to_go_on(folder: Path, engine: Call) -> None:
    terminal = Terminal(folder, "run", "sleeping", "--input", '{"path": "gate"}')
    terminal.read_until(lambda text: "running" in text)
    terminal.process.send_signal(2)
    terminal.read_until(lambda text: "stopping" in text)
    assert terminal.finish() == 130
    assert "resume: engine run --resume" in terminal.text
    (folder / "gate").touch()
    assert engine("run", "--resume", "-o", "json").json["status"] == "COMPLETED"


def test_a_long_output_is_cut_with_a_hint_and_ids_are_short(folder: Path) -> None:
    (folder / "in.json").write_text("{}")
    assert Terminal(folder, "run", "greeting").finish() == 0
    terminal = Terminal(folder, "runs", "list")
    assert terminal.finish() == 0
    assert re.search(r"^[0-9a-f]{8}-[0-9a-f]{4}  greeting", terminal.text.replace("\r", ""), re.MULTILINE)
