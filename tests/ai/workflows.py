"""Workflows with every kind of model call, for tests that start them through the command line."""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from engine import (
    Budget,
    CheckContext,
    CheckResult,
    NoInput,
    NotReady,
    Ready,
    RetryPolicy,
    StageContext,
    Suspended,
    SuspendedState,
    define_async_batch_stage,
    define_stage,
    define_workflow,
)
from engine.ai import AICallFailed, AICallRefused, ModelInfo, Price, Usage, register_models

PRICE = Price(input=3e-6, output=7e-6, cached_input=1e-6, reasoning=11e-6)
NO_WAIT = RetryPolicy(initial=0, jitter=0)

register_models(
    {
        "chat": ModelInfo(key="chat", id="fake-chat", provider="openai", price=PRICE, supports_schema=True),
        "vectors": ModelInfo(
            key="vectors", id="fake-vectors", provider="openai", mode="embedding", price=Price(input=1.3e-7)
        ),
        "thirty-cents": ModelInfo(
            key="thirty-cents", id="thirty-cents", provider="openai", price=Price(input=0.0, output=0.03)
        ),
        "priceless": ModelInfo(key="priceless", id="priceless", provider="openai"),
    }
)


class Verdict(BaseModel):
    category: Literal["billing", "bug"]


class Note(BaseModel):
    summary: str


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@define_stage(id="trouble", name="Trouble with the provider")
def trouble(ctx: StageContext[NoInput]) -> int:
    """The server is told to answer 503, 200, 401, and then too late."""
    ctx.ai.generate_text("chat", "once more", max_retries=1)
    with suppress(AICallRefused):
        ctx.ai.generate_text("chat", "wrong key")
    with suppress(AICallFailed):
        ctx.ai.generate_text("chat", "too slow", timeout=0.3, max_retries=0, max_tokens=10)
    return 1


@define_stage(id="talk", name="Talk")
def talk(ctx: StageContext[int]) -> int:
    ctx.ai.generate_text("chat", "sum it up", tools=[add])
    ctx.ai.generate_object("chat", "a bug", Verdict)
    ctx.ai.embed("vectors", ["one", "two"])
    ctx.ai.generate_text("priceless", "what do you cost?")
    ctx.ai.create_child("ticket", "7").record_call("chat", usage=Usage(input_tokens=3, output_tokens=4))
    return 2


@define_stage(id="stumble", name="Stumble", retry=NO_WAIT)
def stumble(ctx: StageContext[int]) -> int:
    ctx.ai.generate_text("chat", f"attempt {ctx.attempt}")
    if ctx.attempt == 1:
        raise ConnectionError("not yet")
    return 3


@define_stage(id="listen", name="Listen to the beginning")
def listen(ctx: StageContext[int]) -> int:
    with ctx.ai.stream_text("chat", f"tell me a long story, the {ctx.generation}. time") as stream:
        next(stream)
    return 4


@define_async_batch_stage(id="batch", name="A batch with half its items failed")
def batch(ctx: StageContext[int]) -> int | Suspended:
    asked = {"good": "hello", "bad": "please fail", "better": "hello again", "worse": "please fail again"}
    items = [{"id": name, "prompt": prompt, "schema": Note} for name, prompt in asked.items()]
    handle = ctx.ai.batch("chat").submit(items, max_tokens=100)
    return Suspended(batch_id=handle.id, poll_interval=0.2, max_wait=60)


@batch.check_completion
def _(state: SuspendedState, ctx: CheckContext[Any]) -> CheckResult[int]:
    batch = ctx.ai.batch("chat")
    if not batch.get_status(state.batch_id).has_ended:
        return NotReady()
    return Ready(sum(each.ok for each in batch.get_results(state.batch_id, schemas=Note)))


@define_stage(id="end", name="Fails the first time", retry=RetryPolicy(max_attempts=1))
def end(ctx: StageContext[int]) -> int:
    ctx.ai.generate_text("chat", f"generation {ctx.generation}")
    if ctx.generation == 0:
        raise ValueError("not in the first generation")
    return ctx.input


LEDGER = (
    define_workflow(id="ledger", name="Ledger")
    .pipe(trouble)
    .pipe(talk)
    .pipe(stumble)
    .pipe(listen)
    .pipe(batch)
    .pipe(end)
    .build()
)


class Dying(BaseModel):
    """`marks` is a file: a line for each answer of the stage. `own`: each attempt asks another question."""

    marks: str
    calls: int = 1
    own: bool = False


def _ask_and_hang(ctx: StageContext[Dying]) -> int:
    """Asks its questions; the first attempt then stands still, to be killed."""
    for number in range(ctx.input.calls):
        ctx.ai.generate_text(
            "thirty-cents", f"{number} {ctx.attempt if ctx.input.own else ''}", max_tokens=10, max_retries=0
        )
        with Path(ctx.input.marks).open("a") as marks:
            marks.write(f"{ctx.attempt} {number}\n")
    if ctx.attempt == 1:
        time.sleep(600)
    return ctx.attempt


DYING = (
    define_workflow(id="dying", name="Dying", input=Dying, budget=Budget(max_cost=1.0))
    .pipe(define_stage(id="ask", name="Ask", execute=_ask_and_hang, retry=NO_WAIT))
    .build()
)


@define_async_batch_stage(id="submit", name="Submit, and stumble once", retry=NO_WAIT)
def submit(ctx: StageContext[NoInput]) -> Note | Suspended:
    handle = ctx.ai.batch("chat").submit([{"id": "only", "prompt": "hello", "schema": Note}], max_tokens=50)
    if ctx.attempt == 1:
        raise ConnectionError("after the batch was submitted")
    return Suspended(batch_id=handle.id, poll_interval=0.2, max_wait=60)


@submit.check_completion
def _(state: SuspendedState, ctx: CheckContext[Any]) -> CheckResult[Note]:
    (answer,) = ctx.ai.batch("chat").get_results(state.batch_id, schemas=Note)
    return Ready(answer.result)


SUBMITTING = define_workflow(id="submitting", name="Submitting").pipe(submit).build()
BATCHING = (
    define_workflow(id="batching", name="Batching")
    .pipe(define_stage(id="begin", name="Begin", input=NoInput, output=int, execute=lambda _ctx: 0))
    .pipe(batch)
    .build()
)


@define_stage(id="ask", name="Ask one with a price and one without")
def price(ctx: StageContext[NoInput]) -> None:
    ctx.ai.generate_text("chat", "what do you cost?")
    ctx.ai.generate_text("priceless", "and you?")


PRICING = define_workflow(id="pricing", name="Pricing").pipe(price).build()

WORKFLOWS: Mapping[str, str] = {
    name: f"tests.ai.workflows:{name.upper()}" for name in ("ledger", "dying", "submitting", "batching", "pricing")
}
