"""What can happen in a history. A fact says when it is possible and what it does; to add one, decorate a function."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from engine.domain.lifecycle import ENDED_RUNS
from engine.domain.records import RunRecord
from engine.kernel.commands import PluginReplayDLQ, RunCancel, RunCreate, RunRerunFrom
from tests.faults.simulation.faults import BODY, Resume
from tests.faults.simulation.hosts import flush, handle_job, handle_wake, poll_for_jobs, quietly, tick
from tests.faults.simulation.processes import Process
from tests.faults.simulation.queue import Message
from tests.faults.simulation.sometimes import State
from tests.faults.simulation.workflows import WORKFLOWS

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

MAX_RUNS = 3
MAX_PROCESSES = 8
GOING_ON = 150
"""The weight of the fact that somebody goes on, which is never multiplied."""
JUMPS = (1.0, 6.0, 31.0, 61.0, 95.0, 301.0, 700.0)
"""Seconds by which time moves on, under the processes that stand still meanwhile."""

LONGEST_CALL = timedelta(seconds=60)

type Do = Callable[["World"], None]
type IsPossible = Callable[["World"], bool]


@dataclass(frozen=True, slots=True)
class Fact:
    weight: int
    do: Do
    is_possible: IsPossible

    @property
    def name(self) -> str:
        return self.do.__name__


FACTS: list[Fact] = []


def fact(weight: int, when: IsPossible = lambda _world: True) -> Callable[[Do], Do]:
    """Registers a function as a fact of chaos."""

    def register(do: Do) -> Do:
        FACTS.append(Fact(weight, do, when))
        return do

    return register


def happen(world: "World") -> None:
    """One fact, drawn by weight among those that are possible."""
    if not world.weights:
        world.weights = {
            **world.choices.shuffled_weights({fact.name: fact.weight for fact in FACTS}),
            a_process_goes_on.__name__: GOING_ON,
        }
    possible = [fact for fact in FACTS if fact.is_possible(world)]
    chosen = world.choices.named(possible, lambda fact: fact.name, [world.weights[fact.name] for fact in possible])
    chosen.do(world)


def by_name(named: Process | Message[Any]) -> str:
    return named.name


def _has_room(world: "World") -> bool:
    return len(world.processes) < MAX_PROCESSES


def _is_lossy(world: "World") -> bool:
    return not world.setting.is_lossless


def _can_deliver(world: "World") -> bool:
    return _has_room(world) and bool(world.jobs.visible(world.clock.now()))


# Processes


@fact(GOING_ON, lambda world: bool(world.movable()))
def a_process_goes_on(world: "World") -> None:
    process = world.choices.named(world.movable(), by_name)
    world.resume(process, drawn_fault(world, process))


def drawn_fault(world: "World", process: Process) -> Resume:
    faults = process.point.faults
    if world.is_calm or not faults or not world.choices.happens(world.setting.faults):
        return Resume.GO
    return world.choices.one_of(faults)


@fact(8, _can_deliver)
def a_job_message_is_delivered(world: "World") -> None:
    deliver_job(world)


def deliver_job(world: "World") -> None:
    now = world.clock.now()
    message = world.choices.named(world.jobs.visible(now), by_name)
    if message.received:
        world.reached(State.REDELIVERED)
    receipt = world.jobs.receive(message, now)
    world.spawn("invocation", handle_job(world, message, receipt))


@fact(8, lambda world: _has_room(world) and bool(world.wakes.visible(world.clock.now())))
def a_wake_is_delivered(world: "World") -> None:
    deliver_wake(world)


def deliver_wake(world: "World") -> None:
    now = world.clock.now()
    message = world.choices.named(world.wakes.visible(now), by_name)
    receipt = world.wakes.receive(message, now)
    world.spawn("wake", handle_wake(world, message, receipt))


@fact(4, lambda world: _has_room(world) and _is_lossy(world))
def a_worker_looks_for_jobs(world: "World") -> None:
    world.spawn("worker", poll_for_jobs(world))


@fact(2, lambda world: _has_room(world) and _is_lossy(world))
def maintenance_runs(world: "World") -> None:
    world.spawn("tick", tick(world))


@fact(2, lambda world: _has_room(world) and _is_lossy(world))
def somebody_flushes(world: "World") -> None:
    world.spawn("flusher", flush(world))


@fact(1, lambda world: _has_room(world) and _is_lossy(world))
def somebody_redrives_dead_letters(world: "World") -> None:
    def redrive(_name: str) -> None:
        quietly(lambda: world.kernel.dispatch(PluginReplayDLQ()))

    world.spawn("redrive", redrive)


# Messages


@fact(2, lambda world: bool(world.jobs.messages))
def a_message_is_duplicated(world: "World") -> None:
    message = world.choices.named(world.jobs.messages, by_name)
    world.jobs.send(message.body, world.clock.now())
    world.reached(State.DUPLICATED)


@fact(2, lambda world: bool(world.jobs.messages) and _is_lossy(world))
def a_message_is_lost(world: "World") -> None:
    message = world.choices.named(world.jobs.messages, by_name)
    world.jobs.lose(message)
    world.lost_jobs.add(message.body.job_id)


@fact(2, lambda world: bool(world.wakes.messages) and _is_lossy(world))
def a_wake_is_lost(world: "World") -> None:
    world.wakes.lose(world.choices.named(world.wakes.messages, by_name))


@fact(1, lambda world: bool(world.jobs.messages))
def a_message_is_late(world: "World") -> None:
    message = world.choices.named(world.jobs.messages, by_name)
    message.visible_at += timedelta(seconds=world.choices.one_of(JUMPS))


# Time


@fact(6)
def time_passes(world: "World") -> None:
    _advance(world, world.choices.one_of(JUMPS))


def _advance(world: "World", seconds: float) -> None:
    world.clock.advance(seconds)
    world.say("time passes")
    if world.setting.is_lossless:
        _end_long_calls(world)


def _end_long_calls(world: "World") -> None:
    """A call that commits later than its own safety wake-up, and dies then, is beyond what is promised."""
    oldest = world.clock.now() - LONGEST_CALL
    for machine in {process.machine: None for process in world.processes}:
        if machine.is_user and machine.born < oldest:
            world.kill(machine)


@fact(3, lambda world: any(process.point is BODY for process in world.processes))
def a_body_or_check_outlasts_every_claim(world: "World") -> None:
    _advance(world, JUMPS[-1])


# Users


@fact(2, lambda world: _has_room(world) and len(world.watch.runs) < MAX_RUNS)
def somebody_creates_a_run(world: "World") -> None:
    create(world)


def create(world: "World") -> None:
    choices = world.choices
    command = RunCreate(
        workflow_id=choices.one_of(tuple(WORKFLOWS)),
        input={"number": choices.below(2)},
        start=choices.below(3) < 2,
        idempotency_key=choices.one_of((None, "key")),
    )
    command = command.model_copy(
        update={"idempotency_key": command.idempotency_key and f"{command.workflow_id} {command.input} {command.start}"}
    )
    world.spawn("creator", lambda _name: _create(world, command))


def _create(world: "World", command: RunCreate) -> None:
    """A caller without an answer asks again, if it has a key."""
    for _ in range(2):
        before = frozenset(world.watch.runs)
        result = quietly(lambda: world.kernel.dispatch(command))
        if result is not None and result.workflow_run_id in before:
            world.reached(State.REPLAYED_KEY)
        if result is not None or command.idempotency_key is None:
            return


def _runs(world: "World", *, ended: bool) -> list[RunRecord]:
    return [run for run in world.watch.runs.values() if (run.status in ENDED_RUNS) is ended]


@fact(1, lambda world: _has_room(world) and bool(_runs(world, ended=False)))
def somebody_cancels(world: "World") -> None:
    run = world.choices.named(_runs(world, ended=False), world.name_of_run)
    world.spawn("canceller", lambda _name: _cancel(world, run.id))


def _cancel(world: "World", run_id: str) -> None:
    finishing = [process for process in world.processes if process.finishing]
    result = quietly(lambda: world.kernel.dispatch(RunCancel(workflow_run_id=run_id)))
    if result is None or not result.cancelled:
        return
    if any(process.finishing and process.finishing.claim.run.id == run_id for process in finishing):
        world.reached(State.CANCEL_OF_FINISH)


@fact(3, lambda world: _has_room(world) and bool(_runs(world, ended=True)))
def somebody_runs_again(world: "World") -> None:
    run = world.choices.named(_runs(world, ended=True), world.name_of_run)
    stage_ids = tuple(WORKFLOWS[run.workflow_id].get_stage_ids())
    command = RunRerunFrom(
        workflow_run_id=run.id,
        from_stage_id=world.choices.one_of(stage_ids),
        input_override=world.choices.one_of((None, {"number": 9})),
    )
    world.spawn("rerunner", lambda _name: _run_again(world, command))


def _run_again(world: "World", command: RunRerunFrom) -> None:
    run_id = command.workflow_run_id
    if quietly(lambda: world.kernel.dispatch(command)) is None:
        return
    machines = {process.machine for process in world.processes}
    old = (attempt for machine in machines for attempt in machine.attempts)
    if any(a.claim.run.id == run_id and not world.watch.has_stage(a.claim.stage.id) for a in old):
        world.reached(State.RERUN_OF_LATE)


@fact(1, lambda world: _has_room(world) and bool(world.watch.runs))
def somebody_annotates(world: "World") -> None:
    run_id = world.choices.named(tuple(world.watch.runs.values()), world.name_of_run).id
    key = world.choices.one_of((None, "key"))

    def annotate(_name: str) -> None:
        attach = world.kernel.annotations.attach
        quietly(lambda: attach(run_id, attributes={"k": 1}, idempotency_key=key, emit_event=True))

    world.spawn("annotator", annotate)
