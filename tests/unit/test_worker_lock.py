import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine.adapters.local.worker_lock import WorkerLock, dead_workers
from engine.domain.errors import StoreUnavailable

LOCKED_BY_OTHERS = """
import sys
from pathlib import Path
from engine.adapters.local.worker_lock import WorkerLock
with WorkerLock(Path(sys.argv[1]), sys.argv[2]):
    pass
"""


def is_free(folder: Path, worker_id: str) -> bool:
    """Whether another process can take the lock."""
    command = [sys.executable, "-c", LOCKED_BY_OTHERS, str(folder), worker_id]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def dead(folder: Path) -> list[str]:
    with dead_workers(folder) as found:
        return list(found)


@pytest.mark.failure(71)
def test_a_look_for_dead_workers_leaves_the_locks_of_its_own_process(tmp_path: Path) -> None:
    with WorkerLock(tmp_path, "w"):
        assert dead(tmp_path) == []
        assert not is_free(tmp_path, "w")
    assert is_free(tmp_path, "w")


def test_the_file_of_a_dead_worker_is_removed_once_its_leases_are_released(tmp_path: Path) -> None:
    def release() -> None:
        with dead_workers(tmp_path) as found:
            assert found == ["w"]
            raise StoreUnavailable("the database is away")

    (tmp_path / "w.lock").touch()
    with pytest.raises(StoreUnavailable):
        release()
    assert dead(tmp_path) == ["w"]
    assert dead(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_worker_does_not_begin_under_an_id_whose_old_leases_are_being_released(tmp_path: Path) -> None:
    (tmp_path / "w.lock").touch()
    with dead_workers(tmp_path):
        assert not is_free(tmp_path, "w")
    assert is_free(tmp_path, "w")


def test_the_first_lock_creates_a_private_home(tmp_path: Path) -> None:
    with WorkerLock(tmp_path / "home" / "workers", "w"):
        assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
