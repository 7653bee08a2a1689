"""Workflows for the tests of the CLI, and the registry that names them."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field

from engine import RetryPolicy, StageContext, StageResult, define_stage, define_workflow


class Person(BaseModel):
    name: str = Field(default="world", max_length=20)


class Greeting(BaseModel):
    text: str


class ShoutConfig(BaseModel):
    marks: int = Field(default=1, ge=0)


class File(BaseModel):
    path: str


class Gate(BaseModel):
    """`path` is a file; the stage waits until it exists."""

    path: str


@define_stage(id="greet", name="Greet")
def greet(ctx: StageContext[Person]) -> Greeting:
    ctx.log("INFO", f"greeting {ctx.input.name}")
    return Greeting(text=f"Hello, {ctx.input.name}")


@define_stage(id="shout", name="Shout")
def shout(ctx: StageContext[Greeting, ShoutConfig]) -> StageResult[Greeting]:
    text = ctx.input.text.upper() + "!" * ctx.config.marks
    ctx.annotate(attributes={"decision.outcome": "loud"})
    return StageResult(output=Greeting(text=text), artifacts={"letter.txt": text})


@define_stage(id="measure", name="Measure")
def measure(ctx: StageContext[File]) -> int:
    return Path(ctx.input.path).stat().st_size


@define_stage(id="break", name="Break", retry=RetryPolicy(max_attempts=1))
def break_it(ctx: StageContext[Greeting]) -> Greeting:
    raise ValueError(f"cannot break {ctx.input.text!r}")


@define_stage(id="stumble", name="Stumble", retry=RetryPolicy(max_attempts=3, initial=timedelta(milliseconds=10)))
def stumble(ctx: StageContext[Person]) -> Greeting:
    if ctx.attempt == 1:
        raise ConnectionError("not yet")
    return Greeting(text="second time lucky")


@define_stage(id="wait", name="Wait for the gate")
def wait(ctx: StageContext[Gate]) -> bool:
    ctx.log("INFO", "standing at the gate")
    for turn in range(3000):
        if Path(ctx.input.path).exists():
            return True
        ctx.raise_if_cancelled()
        ctx.on_progress(turn / 3000, "still closed")
        time.sleep(0.02)
    return False


@define_stage(id="sleep", name="Sleep")
def sleep(ctx: StageContext[Gate]) -> bool:
    """Waits as well, and hears nothing."""
    for _ in range(3000):
        if Path(ctx.input.path).exists():
            return True
        time.sleep(0.02)
    return False


@define_stage(id="talk", name="Talk")
def talk(ctx: StageContext[Person]) -> int:
    print("a body that prints")  # noqa: T201 — what it guards is that this does not land among the results
    return 1


@define_stage(id="say", name="Say")
def say(ctx: StageContext[str]) -> StageResult[dict[str, str]]:
    """Says its input wherever a body can say something."""
    word = ctx.input
    ctx.log("INFO", word, **{word: word})
    ctx.on_progress(0.5, word)
    ctx.annotate(attributes={"decision.outcome": word}, payload={word: word}, emit_event=True)
    return StageResult(output={word: word}, artifacts={"letter.txt": word})


def _twin(number: int) -> Callable[[StageContext[Person]], int]:
    def body(ctx: StageContext[Person]) -> int:
        return number

    return body


left = define_stage(id="left", name="Left", execute=_twin(1))
right = define_stage(id="right", name="Right", execute=_twin(2))

greeting = define_workflow(id="greeting", name="Greeting", input=Person).pipe(greet).pipe(shout).build()
measuring = define_workflow(id="measuring", name="Measuring", input=File).pipe(measure).build()
failing = define_workflow(id="failing", name="Failing", input=Person).pipe(greet).pipe(break_it).build()
stumbling = define_workflow(id="stumbling", name="Stumbling", input=Person).pipe(stumble).build()
waiting = define_workflow(id="waiting", name="Waiting", input=Gate).pipe(wait).build()
sleeping = define_workflow(id="sleeping", name="Sleeping", input=Gate).pipe(sleep).build()
talking = define_workflow(id="talking", name="Talking", input=Person).pipe(talk).build()
twins = define_workflow(id="twins", name="Twins", input=Person).parallel([left, right]).build()
hostile = define_workflow(id="hostile", name="Hostile", input=str).pipe(say).build()

WORKFLOWS = {
    each.id: f"tests.cli.pipelines:{each.id}"
    for each in (greeting, measuring, failing, stumbling, waiting, sleeping, talking, twins, hostile)
}
