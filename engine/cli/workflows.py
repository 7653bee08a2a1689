"""`engine workflows`: the workflows of the registry. It never reads the store."""

from collections.abc import Sequence
from typing import Annotated

import typer

from engine.cli.invocation import Invocation
from engine.cli.printing import as_json, say, say_json, say_table
from engine.definition.workflow import Workflow
from engine.domain.errors import EngineError
from engine.domain.values import Json
from engine.ports.registry import Registry, find_workflow

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List, show and draw workflows.")

WorkflowId = Annotated[str, typer.Argument(metavar="WORKFLOW")]


@app.command("list")
def list_workflows(ctx: typer.Context) -> None:
    """List the workflows of the registry."""
    invocation: Invocation = ctx.obj
    registry = invocation.registry()
    found, broken = _usable(registry)
    if invocation.json and not broken:
        say_json([_summary(workflow) for workflow in found])
    elif not invocation.json:
        rows = [(each.id, each.name, len(each.get_all_stages()), each.description) for each in found]
        say_table(("workflow", "name", "stages", "description"), rows, empty="the registry names no workflow")
    if broken:
        raise broken[0]


@app.command()
def show(ctx: typer.Context, workflow: WorkflowId) -> None:
    """Show a workflow's stages, input and options."""
    invocation: Invocation = ctx.obj
    found = find_workflow(workflow, invocation.registry())
    if invocation.json:
        say_json({**_summary(found), "input": found.input_type.json_schema, "config": found.get_stage_configs()})
        return
    say(found.describe())
    say("\nInput")
    say(as_json(found.input_type.json_schema))
    say("\nOptions (--config), with their defaults")
    say(as_json(found.get_default_config()))


@app.command()
def graph(
    ctx: typer.Context,
    workflow: WorkflowId,
    *,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid flowchart.")] = False,
) -> None:
    """Draw a workflow: groups from top to bottom, parallel stages side by side."""
    invocation: Invocation = ctx.obj
    found = find_workflow(workflow, invocation.registry())
    if invocation.json:
        say_json(_summary(found))
        return
    say(found.to_mermaid() if mermaid else drawing(found))


def _usable(registry: Registry) -> tuple[Sequence[Workflow[Json, Json]], Sequence[EngineError]]:
    """The workflows that can be imported, and the errors of the others."""
    found: list[Workflow[Json, Json]] = []
    broken: list[EngineError] = []
    for workflow_id in registry.list():
        try:
            found.append(find_workflow(workflow_id, registry))
        except EngineError as error:
            broken.append(error)
    return found, broken


def drawing(workflow: Workflow[Json, Json]) -> str:
    rows = ["   ".join(f"[ {stage.id} ]" for stage in group) for group in workflow.groups]
    width = max(len(row) for row in rows)
    middle = f"\n{'|':^{width}}\n{'v':^{width}}\n".replace(" \n", "\n")
    return middle.join(f"{row:^{width}}".rstrip() for row in rows)


def _summary(workflow: Workflow[Json, Json]) -> dict[str, Json]:
    return {
        "id": workflow.id,
        "name": workflow.name,
        "description": workflow.description,
        "groups": [[stage.id for stage in group] for group in workflow.groups],
        "definition_hash": workflow.definition_hash,
    }
