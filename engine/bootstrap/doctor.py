"""The checks of `engine doctor`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.adapters.sql.persistence import SqlPersistence
from engine.bootstrap.registry import load_registry
from engine.domain.errors import EngineError, StoreBehind
from engine.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def diagnose(settings: Settings) -> Sequence[Check]:
    """Runs every check; a fault does not stop the others."""
    return [_check_python(), _check_home(settings.home), _check_registry(settings), _check_store(settings)]


def _check_python() -> Check:
    return Check(name="python", ok=True, detail=sys.version.split()[0])


def _check_home(home: Path) -> Check:
    nearest = next(folder for folder in (home, *home.resolve().parents) if folder.exists())
    ok = nearest.is_dir() and os.access(nearest, os.W_OK)
    return Check(
        name="home", ok=ok, detail=str(home), remedy="" if ok else "choose a writable folder with --home or ENGINE_HOME"
    )


def _check_registry(settings: Settings) -> Check:
    try:
        registry = load_registry(settings)
        for workflow_id in registry.list():
            registry.get_workflow(workflow_id)
    except (EngineError, ImportError) as error:
        return Check(name="registry", ok=False, detail=str(error), remedy="correct ENGINE_REGISTRY or the workflow")
    return Check(name="registry", ok=True, detail=f"{settings.registry}: {', '.join(registry.list()) or 'empty'}")


def _check_store(settings: Settings) -> Check:
    if settings.database_url is None and not (settings.home / "engine.db").exists():
        return Check(name="database", ok=True, detail="the embedded database will be created by the first run")
    persistence = SqlPersistence(settings.store_url, patience=3.0, connect_timeout=3.0)
    try:
        persistence.read(lambda tx: tx.now())
    except StoreBehind as error:
        return Check(name="database", ok=False, detail=str(error))
    except EngineError as error:
        return Check(name="database", ok=False, detail=str(error), remedy="is it running, and is DATABASE_URL right?")
    finally:
        persistence.close()
    return Check(name="database", ok=True, detail="reachable and up to date")
