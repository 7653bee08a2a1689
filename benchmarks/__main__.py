"""`make bench`: the cost of a trivial run on each store, and of imports.

Quote ratios of one call; these machines are noisy.
"""

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.imports import import_times
from benchmarks.workload import Rig, latencies, rig, spread, throughput
from engine.adapters.memory.persistence import InMemoryPersistence
from engine.adapters.sql.migrate import migrate
from engine.adapters.sql.persistence import SqlPersistence
from engine.adapters.system import SystemClock
from engine.ports.persistence import Persistence
from tests.support.postgres import PostgresServer

ROUNDS = 5
RUNS = 100
LATENCY_RUNS = 100


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        PostgresServer() as server,
        PostgresServer(durable=True) as durable,
    ):
        stores = _stores(Path(folder), server, durable)
        rigs = {name: rig(opened()) for name, opened in stores.items()}
        for each in rigs.values():
            throughput(each, 20, flush=True)
        _print_throughput(rigs)
        _print_latency(rigs)
    _print_imports()


def _stores(folder: Path, server: PostgresServer, durable: PostgresServer) -> dict[str, Callable[[], Persistence]]:
    url, durable_url = server.create_database(), durable.create_database()
    for each in (url, durable_url):
        migrate(each)
    return {
        "memory": lambda: InMemoryPersistence(SystemClock()),
        "sqlite": lambda: SqlPersistence(f"sqlite:///{folder}/bench.db"),
        "postgresql+pg8000": lambda: SqlPersistence(url),
        "  with fsync": lambda: SqlPersistence(durable_url),
        "postgresql+psycopg": lambda: SqlPersistence(url.replace("postgresql+pg8000", "postgresql+psycopg")),
    }


def _print_throughput(rigs: dict[str, Rig]) -> None:
    print(f"Three trivial stages, one process, {os.cpu_count()} cores; {ROUNDS} interleaved rounds of {RUNS} runs.")
    print("PostgreSQL does not wait for the disk, but for the row that says so; SQLite always does.")
    print(f"{'store':<20} {'runs/s':>8} {'min':>7} {'max':>7}   {'with its events published':>26}")
    plain: dict[str, list[float]] = {name: [] for name in rigs}
    flushed: dict[str, list[float]] = {name: [] for name in rigs}
    for _ in range(ROUNDS):
        for name, each in rigs.items():
            plain[name].append(throughput(each, RUNS, flush=False))
            flushed[name].append(throughput(each, RUNS, flush=True))
    for name, values in plain.items():
        print(
            f"{name:<20} {statistics.median(values):8.0f} {min(values):7.0f} {max(values):7.0f}"
            f"   {statistics.median(flushed[name]):26.0f}"
        )


def _print_latency(rigs: dict[str, Rig]) -> None:
    print(f"\nCreate to complete on an idle worker host, milliseconds, {LATENCY_RUNS} runs one after the other")
    for name, each in rigs.items():
        print(f"{name:<20} {spread(latencies(each, LATENCY_RUNS))}")


def _print_imports() -> None:
    print(
        f"\nImports in a process of their own, milliseconds above one that imports nothing, {ROUNDS} interleaved rounds"
    )
    for name, took in import_times(ROUNDS).items():
        print(f"{name:<21} {took:7.0f}")


main()
