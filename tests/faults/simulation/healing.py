"""After chaos no fault happens any more, and what is delivered is delivered: then every run must come to its end."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine.domain.lifecycle import ENDED_RUNS
from engine.kernel.commands import OutboxFlush, PluginReplayDLQ
from engine.kernel.deciding import read_run
from engine.transitions.advance_run import next_due
from tests.faults.simulation.facts import by_name, deliver_job, deliver_wake
from tests.faults.simulation.hosts import tick
from tests.faults.simulation.sometimes import State

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

TICK = timedelta(seconds=600)
REST = timedelta(seconds=1300)
"""Longer than a lease, a poll claim, a backoff between attempts, and the time after which a run counts as stuck."""
LONGEST = timedelta(hours=8)
MAX_STEPS = 6_000


def heal(world: "World", part: str, *, to_the_end: bool) -> None:
    """Works until every run has ended, or, for a rest, waits for a time that is known and lies ahead."""
    healing = _Healing(world, to_the_end=to_the_end)
    world.choices.next_step(part)
    world.say("no faults from now on")
    world.is_calm = True
    _settle_processes(world)
    while healing.goes_on():
        world.choices.next_step(part)
    _check_progress(world, to_the_end=to_the_end)
    world.is_calm = False


def _settle_processes(world: "World") -> None:
    """Each machine goes on, dies, or stays frozen until the end."""
    for machine in dict.fromkeys(process.machine for process in world.processes):
        match world.choices.weighted((3, 1, 0 if machine.is_user else 1)):
            case 1:
                world.kill(machine)
            case 2:
                machine.is_frozen = True
            case _:
                pass


class _Healing:
    def __init__(self, world: "World", *, to_the_end: bool) -> None:
        self._world, self._to_the_end = world, to_the_end
        self._began = world.clock.now()
        self._next_tick = self._began
        self._first_step = world.steps

    def goes_on(self) -> bool:
        """One step; False when there is nothing left to do, or no time."""
        world, now = self._world, self._world.clock.now()
        if world.steps - self._first_step > MAX_STEPS:
            world.fail(f"the healing takes more than {MAX_STEPS} steps: {stuck(world)}")
        moving = world.movable()
        if moving:
            world.resume(world.choices.named(moving, by_name))
        elif self._is_over(now):
            return False
        elif world.jobs.visible(now):
            deliver_job(world)
        elif world.wakes.visible(now):
            deliver_wake(world)
        else:
            self._wait(now)
        return True

    def _is_over(self, now: datetime) -> bool:
        world, passed = self._world, now - self._began
        if _all_ended(world) and _all_told(world):
            return True
        is_idle = not world.jobs.visible(now) and not world.wakes.visible(now)
        return is_idle and passed >= (LONGEST if self._to_the_end else REST)

    def _wait(self, now: datetime) -> None:
        """Moves time to whatever comes next."""
        world = self._world
        end = self._began + (LONGEST if self._to_the_end else REST)
        times = [end, world.jobs.next_at(), world.wakes.next_at()]
        if not world.setting.is_lossless:
            times.append(self._next_tick)
        at = min(time for time in times if time is not None)
        if at > now:
            world.clock.advance(at - now)
            world.say("time passes")
        if not world.setting.is_lossless and at >= self._next_tick:
            self._next_tick = at + TICK
            world.spawn("tick", tick(world))


def _all_ended(world: "World") -> bool:
    return all(run.status in ENDED_RUNS for run in world.watch.runs.values())


def _all_told(world: "World") -> bool:
    rows = world.watch.tables.outbox._rows.values()
    return all(event.published_at is not None or event.dlq_at is not None for event in rows)


def _check_progress(world: "World", *, to_the_end: bool) -> None:
    late = [run.id for run in world.watch.runs.values() if not _has_progressed(world, run.id, to_the_end=to_the_end)]
    if late or (to_the_end and not _all_told(world)):
        world.fail(f"nothing happens any more: {stuck(world)}")


def _has_progressed(world: "World", run_id: str, *, to_the_end: bool) -> bool:
    snapshot, now = read_run(run_id, world.store), world.clock.now()
    assert snapshot is not None
    if snapshot.run.status in ENDED_RUNS:
        return True
    due = next_due(snapshot, now)
    return not to_the_end and due is not None and due > now


def stuck(world: "World") -> str:
    """What is not done."""
    lines = []
    for run in world.watch.runs.values():
        if run.status not in ENDED_RUNS:
            stages = ", ".join(f"{stage.stage_id} {stage.status}" for stage in world.watch.stages_of(run.id))
            jobs = ", ".join(f"{job.status} due {job.due_at}" for job in world.watch.jobs_of(run.id))
            lines.append(f"run {run.id} is {run.status}, stages: {stages}, jobs: {jobs}")
    rows = world.watch.tables.outbox._rows.values()
    waiting = [event for event in rows if event.published_at is None and event.dlq_at is None]
    lines += [f"event {e.id} {e.event_type}, claimed until {e.claimed_until}, due {e.next_attempt_at}" for e in waiting]
    return "; ".join(lines)


def finish(world: "World") -> None:
    """The last part of a history: all runs end, frozen workers go on too late, and every event arrives."""
    heal(world, "heal, last", to_the_end=True)
    world.is_calm = True
    before = dict(world.watch.runs)
    _thaw(world)
    _redrive(world)
    for run in world.watch.runs.values():
        if run.status is not before[run.id].status:
            world.fail(f"a worker that went on too late changed run {run.id} from {before[run.id].status}")
        missing = set(range(1, run.event_seq + 1)) - world.sink.seen[run.id]
        if missing:
            world.fail(f"the events {sorted(missing)} of run {run.id} never arrived")


def _thaw(world: "World") -> None:
    for machine in {process.machine: None for process in world.processes if process.machine.is_frozen}:
        machine.is_frozen = False
        if machine.attempts:
            world.reached(State.ZOMBIE)
    while world.processes:
        world.choices.next_step("heal, thaw")
        world.resume(world.choices.named(world.movable(), by_name))


def _redrive(world: "World") -> None:
    world.sink.poisoned.clear()
    world.kernel.dispatch(PluginReplayDLQ())
    while not _all_told(world):
        world.clock.advance(61)
        world.kernel.dispatch(OutboxFlush())
