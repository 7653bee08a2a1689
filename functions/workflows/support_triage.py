"""Support triage: classifies tickets, drafts replies, clusters tickets, and leaves the long tail to a batch.

collect → classify → [draft, cluster] → long-tail (suspends) → report
"""

import asyncio
from typing import Final, Literal

from pydantic import BaseModel, Field

from engine import (
    AIOutputError,
    BatchFailed,
    Budget,
    CheckContext,
    CheckResult,
    NotReady,
    Ready,
    StageContext,
    StageResult,
    Suspended,
    SuspendedState,
    define_async_batch_stage,
    define_stage,
    define_workflow,
)
from engine.conventions import Actor

SAMPLE: Final = (
    "I was charged twice: the billing page shows two invoices for March.",
    "The billing address on my invoice is wrong.",
    "The app crashes, it must be a bug, whenever I open the map.",
    "A bug in the export: dates are a day off.",
    "How do I add a colleague to my account?",
    "My account is locked after the password change.",
    "Thank you, the new search is wonderful.",
    "Do you ship to the islands?",
)

type Category = Literal["billing", "bug", "account", "other"]


class Ticket(BaseModel):
    id: str = Field(min_length=1)
    text: str


class Tickets(BaseModel):
    """The tickets; by default a sample of eight."""

    tickets: tuple[Ticket, ...] = Field(default=(), max_length=200)


class Verdict(BaseModel):
    """A model's classification of a ticket."""

    category: Category
    confidence: float = Field(ge=0, le=1)
    rationale: str


class Sorted(BaseModel):
    ticket: Ticket
    verdict: Verdict
    fallback: bool


class Note(BaseModel):
    """A one-line summary of a ticket without urgency."""

    summary: str


class Models(BaseModel):
    """The models to call, and their options. `concurrency` limits simultaneous calls."""

    model: str = "gpt-4o-mini"
    embedding_model: str = "text-embedding-3-small"
    concurrency: int = Field(default=4, gt=0)
    max_tokens: int = Field(default=400, gt=0)
    near: float = Field(default=0.3, ge=0, le=1)
    poll_interval: float = Field(default=1.0, gt=0)


class Report(BaseModel):
    categories: dict[str, int]
    replies: dict[str, str]
    clusters: list[list[str]]
    notes: dict[str, str]
    failed: dict[str, str]


@define_stage(id="collect", name="Collect tickets")
def collect(ctx: StageContext[Tickets]) -> tuple[Ticket, ...]:
    sample = (Ticket(id=f"ticket-{number}", text=text) for number, text in enumerate(SAMPLE, start=1))
    return ctx.input.tickets or tuple(sample)


@define_stage(id="classify", name="Classify", pool="ai", budget=Budget(max_cost=1.0))
async def classify(ctx: StageContext[tuple[Ticket, ...], Models]) -> list[Sorted]:
    limit = asyncio.Semaphore(ctx.config.concurrency)

    async def one(ticket: Ticket) -> Sorted:
        async with limit:
            return await _classify(ctx, ticket)

    found = list(await asyncio.gather(*(one(ticket) for ticket in ctx.input)))
    for each in found:
        _annotate(ctx, each)
    return found


async def _classify(ctx: StageContext[tuple[Ticket, ...], Models], ticket: Ticket) -> Sorted:
    ai = ctx.ai.create_child("ticket", ticket.id).aio
    try:
        asked = await ai.generate_object(ctx.config.model, ticket.text, Verdict, max_tokens=ctx.config.max_tokens)
    except AIOutputError:
        verdict = Verdict(category="other", confidence=0.0, rationale="the model gave no usable answer")
        return Sorted(ticket=ticket, verdict=verdict, fallback=True)
    return Sorted(ticket=ticket, verdict=asked.object, fallback=False)


def _annotate(ctx: StageContext[tuple[Ticket, ...], Models], found: Sorted) -> None:
    verdict = found.verdict
    ctx.annotate(
        attributes={
            "decision.subject": found.ticket.id,
            "decision.outcome": verdict.category,
            "decision.confidence": verdict.confidence,
            "decision.rationale": verdict.rationale,
            "decision.fallback": found.fallback,
        },
        actor=Actor(
            kind="system" if found.fallback else "agent", id="fallback" if found.fallback else ctx.config.model
        ),
        idempotency_key=found.ticket.id,
    )


@define_stage(id="draft", name="Draft replies", pool="ai")
async def draft(ctx: StageContext[list[Sorted], Models]) -> dict[str, str]:
    async def reply(each: Sorted) -> tuple[str, str]:
        prompt = f"Draft a short, friendly reply to this {each.verdict.category} ticket:\n{each.ticket.text}"
        answer = await ctx.ai.aio.generate_text(ctx.config.model, prompt, max_tokens=ctx.config.max_tokens)
        return each.ticket.id, answer.text

    urgent = [each for each in ctx.input if each.verdict.category != "other"]
    return dict(await asyncio.gather(*(reply(each) for each in urgent)))


@define_stage(id="cluster", name="Cluster", pool="ai")
def cluster(ctx: StageContext[list[Sorted], Models]) -> list[list[str]]:
    embedded = ctx.ai.embed(ctx.config.embedding_model, [each.ticket.text for each in ctx.input])
    groups: list[tuple[tuple[float, ...], list[str]]] = []
    for each, vector in zip(ctx.input, embedded.embeddings, strict=True):
        near = next((ids for centre, ids in groups if _cosine(centre, vector) >= ctx.config.near), None)
        if near is None:
            groups.append((vector, [each.ticket.id]))
        else:
            near.append(each.ticket.id)
    return [ids for _, ids in groups]


def _cosine(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    lengths = sum(x * x for x in one) ** 0.5 * sum(x * x for x in other) ** 0.5
    return sum(x * y for x, y in zip(one, other, strict=True)) / lengths if lengths else 0.0


@define_async_batch_stage(id="long-tail", name="Long tail", pool="ai", dependencies=["classify"])
def long_tail(ctx: StageContext[dict[str, object], Models]) -> StageResult[dict[str, str]] | Suspended:
    tail = [each for each in ctx.require(classify) if each.verdict.category == "other"]
    if not tail:
        return StageResult({})
    items = [
        {"id": each.ticket.id, "prompt": f"Sum up this ticket:\n{each.ticket.text}", "schema": Note} for each in tail
    ]
    handle = ctx.ai.batch(ctx.config.model).submit(items, max_tokens=ctx.config.max_tokens)
    return Suspended(batch_id=handle.id, poll_interval=ctx.config.poll_interval, max_wait=86_400)


@long_tail.check_completion
def _(state: SuspendedState, ctx: CheckContext[Models]) -> CheckResult[dict[str, str]]:
    batch = ctx.ai.batch(ctx.config.model)
    status = batch.get_status(state.batch_id)
    if not status.has_ended:
        return NotReady()
    if status.state != "COMPLETED":
        return BatchFailed(status.error or f"the batch {status.state.lower()}")
    results = batch.get_results(state.batch_id, schemas=Note)
    return Ready({each.id: each.result.summary if each.ok else f"failed: {each.error}" for each in results})


@define_stage(id="report", name="Report", dependencies=["classify", "draft", "cluster"])
def report(ctx: StageContext[dict[str, str]]) -> StageResult[Report]:
    found = ctx.require(classify)
    categories = [each.verdict.category for each in found]
    made = Report(
        categories={name: categories.count(name) for name in sorted(set(categories))},
        replies=ctx.require(draft),
        clusters=ctx.require(cluster),
        notes={item: note for item, note in ctx.input.items() if not note.startswith("failed: ")},
        failed={item: note for item, note in ctx.input.items() if note.startswith("failed: ")},
    )
    return StageResult(made, artifacts={"triage.json": made.model_dump(mode="json")})


workflow = (
    define_workflow(
        id="support-triage",
        name="Support triage",
        description="Sort tickets, draft replies, leave the long tail to a batch.",
        input=Tickets,
        budget=Budget(max_cost=5.0),
    )
    .pipe(collect)
    .pipe(classify)
    .parallel([draft, cluster])
    .pipe(long_tail)
    .pipe(report)
    .build()
)
