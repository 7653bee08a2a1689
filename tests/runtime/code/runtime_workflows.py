"""Workflows for functions under test, which find them by ENGINE_CODE and ENGINE_REGISTRY."""

import time
from pathlib import Path

from pydantic import BaseModel

from engine import StageContext, define_stage, define_workflow


class Name(BaseModel):
    name: str


class Greeting(BaseModel):
    text: str


class Nap(BaseModel):
    """Until the file is there. While it is not, another one with .begun after its name is."""

    until: Path


@define_stage(id="greet", name="Greet")
def greet(ctx: StageContext[Name]) -> Greeting:
    return Greeting(text=f"hello {ctx.input.name}")


@define_stage(id="shout", name="Shout")
def shout(ctx: StageContext[Greeting]) -> Greeting:
    return Greeting(text=ctx.input.text.upper())


@define_stage(id="nap", name="Nap")
def nap(ctx: StageContext[Nap]) -> Nap:
    until = ctx.input.until
    until.with_suffix(".begun").touch()
    while not until.exists():
        time.sleep(0.02)
    return ctx.input


greeting = define_workflow(id="greeting", name="Greeting", input=Name).pipe(greet).pipe(shout).build()
napping = define_workflow(id="napping", name="Napping", input=Nap).pipe(nap).build()

WORKFLOWS = {"greeting": "runtime_workflows:greeting", "napping": "runtime_workflows:napping"}
