"""Nightly batch: submits items to a slow embedding service, suspends until it is done, publishes the results.

collect → embed-batch (suspends) → publish
"""

import json
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, Field, model_validator

from engine import (
    BatchFailed,
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
from functions.workflows.batch_provider.batch_folder import BatchRequest, BatchState
from functions.workflows.batch_provider.client import fetch, poll, submit

SAMPLE: Final = (
    "The tide gauge at Skarra pier is older than anybody who reads it.",
    "A radar gauge sees every wave and reads the tide without touching the water.",
    "Barnacles settle on the blades of a turbine that stands still.",
    "A turbine that turns keeps barnacles off its blades.",
    "Slack water lasts half an hour in Kerrow Sound.",
    "The crew exchanges a nacelle at slack water.",
    "Spring tides deliver more than half of the electricity.",
    "Neap tides hardly deliver any electricity.",
)


class Item(BaseModel):
    """One text to embed, and its id."""

    id: str = Field(min_length=1)
    text: str


class Nightly(BaseModel):
    """The items; by default a sample of eight."""

    items: tuple[Item, ...] = Field(default=(), max_length=500)

    @model_validator(mode="after")
    def _unique_ids(self) -> Self:
        ids = [item.id for item in self.items]
        if repeated := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"item ids must differ; repeated: {', '.join(repeated)}")
        return self


class EmbedConfig(BaseModel):
    """The provider's folder and behaviour. All times are in seconds.

    A relative directory starts at the working directory; `fail` makes the provider fail half-way.
    """

    directory: str = ".engine/batch-provider"
    seconds: float = Field(default=6.0, ge=0, le=3_600)
    poll_interval: float = Field(default=2.0, gt=0)
    max_wait: float = Field(default=7_200.0, gt=0)
    dimensions: int = Field(default=32, gt=0, le=1_024)
    fail: bool = False


class Embeddings(BaseModel):
    """A vector of length 1 for each item, by item id, and the batch that made them."""

    batch_id: str
    vectors: dict[str, list[float]]


class PublishedItem(BaseModel):
    """An item and its most similar item, by cosine similarity from -1 to 1."""

    id: str
    text: str
    nearest: str | None
    similarity: float | None


class Published(BaseModel):
    batch_id: str
    items: tuple[PublishedItem, ...]


@define_stage(id="collect", name="Collect items", description="The items given, or the sample.")
def collect(ctx: StageContext[Nightly]) -> tuple[Item, ...]:
    items = ctx.input.items
    if not items:
        items = tuple(Item(id=f"sample-{number}", text=text) for number, text in enumerate(SAMPLE, start=1))
        ctx.log("INFO", "no items given; taking the sample")
    ctx.log("INFO", f"{len(items)} items for tonight")
    return items


@define_async_batch_stage(
    id="embed-batch",
    name="Embed",
    description="Submits the items to the provider and suspends until its answer is there.",
)
def embed_batch(ctx: StageContext[tuple[Item, ...], EmbedConfig]) -> Embeddings | Suspended:
    config = ctx.config
    directory = Path(config.directory).expanduser().absolute()
    # The id is the same for all attempts of this generation, so a second submission after a crash has no effect.
    batch_id = f"{ctx.workflow_run_id}.{ctx.stage_id}.{ctx.generation}"
    request = BatchRequest(
        texts={item.id: item.text for item in ctx.input},
        dimensions=config.dimensions,
        seconds=config.seconds,
        fail=config.fail,
    )
    submit(directory, batch_id, request)
    ctx.log("INFO", f"submitted {len(ctx.input)} items", batch_id=batch_id, directory=str(directory))
    return Suspended(
        batch_id=batch_id,
        poll_interval=config.poll_interval,
        max_wait=config.max_wait,
        metadata={"directory": str(directory)},
        custom_metrics={"items": len(ctx.input)},
    )


@embed_batch.check_completion
def check_batch(state: SuspendedState, ctx: CheckContext[EmbedConfig]) -> CheckResult[Embeddings]:
    directory = Path(state.metadata["directory"])
    status = poll(directory, state.batch_id)
    match status.state:
        case BatchState.FAILED:
            return BatchFailed(f"{status.error}; rerun from {ctx.stage_id!r} to submit a new batch")
        case BatchState.COMPLETED:
            vectors = dict(fetch(directory, state.batch_id))
            return Ready(
                output=Embeddings(batch_id=state.batch_id, vectors=vectors),
                metrics={"items": len(vectors)},
                embeddings={"model": "feature-hashing", "count": len(vectors)},
            )
        case _:
            ctx.log("INFO", f"{status.state}: {status.done} of {status.total} items")
            return NotReady(next_check_in=ctx.config.poll_interval)


@define_stage(id="publish", name="Publish", description="Items with their nearest neighbours, and the vectors.")
def publish(ctx: StageContext[Embeddings]) -> StageResult[Published]:
    items, vectors = ctx.require(collect), ctx.input.vectors
    published = tuple(_with_neighbour(item, vectors) for item in items)
    lines = (json.dumps({"id": item.id, "vector": vectors[item.id]}) for item in items)
    return StageResult(
        output=Published(batch_id=ctx.input.batch_id, items=published),
        custom_metrics={"items": len(published)},
        artifacts={"embeddings.jsonl": "".join(f"{line}\n" for line in lines)},
    )


def _with_neighbour(item: Item, vectors: dict[str, list[float]]) -> PublishedItem:
    own = vectors[item.id]
    similarity = {
        other: sum(a * b for a, b in zip(own, vector, strict=True))
        for other, vector in vectors.items()
        if other != item.id
    }
    nearest = max(similarity, key=similarity.__getitem__, default=None)
    return PublishedItem(
        id=item.id,
        text=item.text,
        nearest=nearest,
        similarity=None if nearest is None else round(similarity[nearest], 3),
    )


workflow = (
    define_workflow(
        id="nightly-batch",
        name="Nightly batch",
        description="Embeds items with a slow batch provider, suspending while it works.",
        input=Nightly,
        output=Published,
    )
    .pipe(collect)
    .pipe(embed_batch)
    .pipe(publish)
    .build()
)
