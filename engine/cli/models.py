"""`engine models`: the models and their prices."""

from importlib.metadata import version
from typing import Annotated, Literal

import typer

from engine.ai.model_info import ModelInfo, Price
from engine.ai.models import MODELS, ModelFilter, get_model, list_models
from engine.ai.price_list import price_list
from engine.cli.invocation import Invocation
from engine.cli.printing import note, say, say_fields, say_json, say_table
from engine.domain.errors import SettingsError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List models and their prices.")

MILLION = 1_000_000


@app.callback()
def models() -> None:
    """List the models and their prices."""


@app.command("list")
def list_them(
    ctx: typer.Context,
    text: Annotated[str | None, typer.Argument(help="Only models whose name contains this.")] = None,
    *,
    provider: Annotated[str | None, typer.Option(help="Only models of this provider.")] = None,
    mode: Annotated[Literal["chat", "embedding"] | None, typer.Option(help="Only models of this kind.")] = None,
    batches: Annotated[bool, typer.Option("--batches", help="Only models with a price for batches.")] = False,
    retired: Annotated[bool, typer.Option("--retired", help="Include retired models.")] = False,
) -> None:
    """List models by name, with their prices for a million tokens."""
    where = ModelFilter(
        text=text, provider=provider, mode=mode, has_batch_price=True if batches else None, include_retired=retired
    )
    found = list_models(where)
    invocation: Invocation = ctx.obj
    if invocation.json:
        say_json([_document(model) for model in found])
        return
    rows = [
        (model.key, model.provider, model.mode, _dollars(model.price, "input"), _dollars(model.price, "output"))
        for model in found
    ]
    say_table(("model", "provider", "kind", "input", "output"), rows, empty="no model is like that")


@app.command()
def show(ctx: typer.Context, model: Annotated[str, typer.Argument(help="A model's name.")]) -> None:
    """Show one model."""
    found = get_model(model)
    invocation: Invocation = ctx.obj
    if invocation.json:
        say_json(_document(found))
        return
    say_fields(
        [
            ("model", found.key),
            ("litellm", found.id),
            ("provider", found.provider),
            ("kind", found.mode),
            ("input", f"{_dollars(found.price, 'input')} for a million tokens"),
            ("output", f"{_dollars(found.price, 'output')} for a million tokens"),
            (
                "in batches",
                f"{_dollars(found.price_in_batches, 'input')} and {_dollars(found.price_in_batches, 'output')}",
            ),
            ("most input", found.max_input_tokens),
            ("most output", found.max_output_tokens),
            ("retired", found.retired_on),
        ]
    )


@app.command()
def sync(ctx: typer.Context) -> None:
    """Show the price list in use. It comes with the pinned litellm and changes only with it."""
    listed, invocation = len(price_list()), ctx.obj
    if not listed:
        raise SettingsError("litellm is not installed, so no prices are known; install the extra `ai`")
    if invocation.json:
        say_json({"litellm": version("litellm"), "listed": listed, "registered": sorted(MODELS.registered)})
        return
    say(f"{listed} models with the list of litellm {version('litellm')}, {len(MODELS.registered)} registered")
    note("newer prices come with a newer litellm: change its pin in pyproject.toml, then `make lock`")


def _document(model: ModelInfo) -> dict[str, object]:
    return {
        "key": model.key,
        "id": model.id,
        "provider": model.provider,
        "mode": model.mode,
        "price": model.price.to_json() if model.price else None,
        "batch_price": model.price_in_batches.to_json() if model.price_in_batches else None,
        "max_input_tokens": model.max_input_tokens,
        "max_output_tokens": model.max_output_tokens,
        "retired_on": model.retired_on,
    }


def _dollars(price: Price | None, what: Literal["input", "output"]) -> str:
    return "unknown" if price is None else f"${getattr(price, what) * MILLION:g}"
