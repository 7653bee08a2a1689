"""`engine init`: creates a small project with a workflow that runs."""

from importlib import resources
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from engine.cli.invocation import Invocation, program
from engine.cli.printing import note, say, say_json
from engine.domain.errors import InvalidInput

app = typer.Typer(add_completion=False)

TEMPLATES = {
    "README.md": "README.md",
    ".gitignore": "gitignore",
    "functions/__init__.py": "package.txt",
    "functions/workflows/__init__.py": "package.txt",
    "functions/workflows/registry.py": "registry.txt",
    "functions/workflows/hello.py": "hello.txt",
}


@app.command("init")
def make_project(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or one without these files.")],
) -> None:
    """Create a small project with a workflow that runs. Overwrites nothing."""
    invocation: Invocation = ctx.obj
    templates = resources.files("engine.cli") / "project"
    targets = {folder / name: templates / template for name, template in TEMPLATES.items()}
    if taken := next((target for target in targets if target.exists()), None):
        raise InvalidInput(f"{str(taken)!r} exists already, and init overwrites nothing; name a new folder")
    for target, template in targets.items():
        _write(target, template.read_text(encoding="utf-8"))
    if invocation.json:
        say_json({"created": [str(target) for target in targets]})
        return
    for target in targets:
        say(str(target))
    engine = program()
    called = engine.absolute() if engine.parent.name else engine
    note(f'\nrun it:  cd {quote(str(folder))} && {quote(str(called))} run hello --input \'{{"name": "Ada"}}\'')


def _write(target: Path, text: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot write {str(target)!r}: {error.strerror}; name another folder") from error
