"""Shows that the simulation finds what it is for: without any one of these guards a history fails within 500 seeds.

python -m tests.faults.simulation.guards [words of names] patches a copy of the tree, never the tree itself. Ends with 1
when a guard is not missed, or when a patch does not fit the source any more.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.simulation.__main__ import say

ROOT = Path(__file__).parents[3]
SEEDS = 500
TRANSITIONS, MEMORY = "engine/transitions", "engine/adapters/memory"


@dataclass(frozen=True, slots=True)
class Guard:
    """In `file`, `old` becomes `new`."""

    name: str
    file: str
    old: str
    new: str


GUARDS = (
    Guard(
        "the lease token that fences a finish",
        f"{TRANSITIONS}/finish_stage.py",
        'return {} if self.finish.by_poll else {"lease_token": self.finish.token}',
        "return {}",
    ),
    Guard(
        "group_open: whether others of the group are open",
        f"{TRANSITIONS}/close_stage.py",
        '"group_no": run.group_no, "group_open": AtLeast(2)}',
        '"group_no": run.group_no}',
    ),
    Guard(
        "cancellation of siblings that wait",
        f"{TRANSITIONS}/close_stage.py",
        "[stage for stage in snapshot.other_stages() if stage.status in _WAITING_STAGES],",
        "[],",
    ),
    Guard(
        "PASSED: a lease that was renewed at the last moment",
        f"{TRANSITIONS}/release_job.py",
        '**({"lease_until": PASSED} if release.expired else {})',
        "**({} if release.expired else {})",
    ),
    Guard(
        "recognition of a finish that was committed",
        f"{TRANSITIONS}/finish_stage.py",
        "    if _is_repeat(snapshot, finish):\n        return Refused(Reason.REPEAT)\n",
        "",
    ),
    Guard(
        "the poll token that fences a poll",
        f"{TRANSITIONS}/poll_stage.py",
        '{"status": StageStatus.SUSPENDED, "poll_token": token}',
        '{"status": StageStatus.SUSPENDED}',
    ),
    Guard(
        "the status of the run that a retry or suspension rests on",
        f"{TRANSITIONS}/finish_stage.py",
        'expect={"status": RunStatus.RUNNING, "failure_code": None}))',
        'expect={"status": RunStatus.RUNNING}))',
    ),
    Guard(
        "the run's state at a claim",
        f"{TRANSITIONS}/claim_job.py",
        "or run.failure_code is not None:",
        "or False:",
    ),
    Guard(
        "the end of a lease that a claim takes over",
        f"{TRANSITIONS}/claim_job.py",
        "job.lease_until is not None and job.lease_until <= now",
        "job.lease_until is not None",
    ),
    Guard(
        "numbering of events",
        "engine/adapters/row_store.py",
        "first = last - len(changes.events) + 1",
        "first = last - len(changes.events) + 2",
    ),
    Guard(
        "times of events that never go back",
        f"{MEMORY}/rows.py",
        "return at if before is None else max(before, at)",
        "return at",
    ),
    Guard(
        "claim of the outbox",
        f"{MEMORY}/outbox.py",
        "return event.claimed_until is not None and event.claimed_until > now",
        "return False",
    ),
    Guard(
        "claim of a poll",
        f"{MEMORY}/stages.py",
        "stage.poll_token is not None and stage.poll_until is not None and stage.poll_until > now",
        "False",
    ),
    Guard(
        "rollback",
        f"{MEMORY}/table.py",
        "while not keep and self._undo:",
        "while False:",
    ),
    Guard(
        "wake-up at the end of a lease that a message met",
        "engine/hosts/serverless.py",
        "if leased_until is not None:",
        "if False:",
    ),
    Guard(
        "safety wake-up of a run that is created",
        "engine/kernel/handlers/run_create.py",
        "    schedule_wakeup(run.id, run.created_at + SAFETY_WAKE, deps)\n",
        "",
    ),
    Guard(
        "attempts that are spent",
        f"{TRANSITIONS}/release_job.py",
        "return job.attempt >= job.max_attempts and not",
        "return job.attempt > job.max_attempts and not",
    ),
    Guard(
        "wake-up at the end of another flusher's claim",
        "engine/publishing/outbox.py",
        "if held_until is not None:",
        "if False:",
    ),
    Guard(
        "wake-up again for a retry whose commit was late",
        "engine/kernel/handlers/run_reconcile.py",
        "    if later:\n",
        "    if False:\n",
    ),
)


def main() -> int:
    wanted = [guard for guard in GUARDS if all(word in guard.name for word in sys.argv[1:])]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("engine", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        survivors = [guard for guard in wanted if not _is_missed(guard, copy)]
    return len(survivors)


def _is_missed(guard: Guard, copy: Path) -> bool:
    file, began = copy / guard.file, time.monotonic()
    source = file.read_text()
    if guard.old not in source:
        say(f"does not fit  {guard.name}: {guard.file} has changed")
        return False
    file.write_text(source.replace(guard.old, guard.new, 1))
    command = [sys.executable, "-m", "tests.faults.simulation", "--brief", "--seeds", str(SEEDS)]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    file.write_text(source)
    found = ran.returncode == 1 and "fails:" in ran.stdout
    last = (ran.stdout.strip() or ran.stderr.strip()).splitlines()[-1][:150]
    say(f"{'found' if found else 'NOT FOUND'}  {guard.name} ({time.monotonic() - began:.0f} s): {last}")
    return found


if __name__ == "__main__":
    sys.exit(main())
