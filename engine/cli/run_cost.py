"""`engine runs cost`: the calls of one run."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from engine.cli.formats import cost, money
from engine.cli.printing import say, say_fields, say_json, say_table
from engine.domain.ai_calls import CallState, CallTotals
from engine.domain.values import Json
from engine.ports.reads import RunView


def say_cost(view: RunView, totals: Sequence[CallTotals], *, json: bool) -> None:
    document = cost_document(view, totals)
    if json:
        say_json(document)
        return
    say_fields(
        [
            ("run", view.run.id),
            ("cost", _cost(document)),
            ("tokens", document["total_tokens"]),
            (
                "unsettled",
                document["unsettled"] and f"{document['unsettled']}, up to {money(document['unsettled_cost'])}",
            ),
        ]
    )
    for title, name, columns in (
        ("Stages", "stages", ("stage_id", "generation", "attempt", "lost")),
        ("Models", "models", ("model",)),
    ):
        say(f"\n{title}")
        rows = [
            (*(each[key] for key in columns), each["calls"], each["total_tokens"], _cost(each))
            for each in document[name]
        ]
        say_table((*columns, "calls", "tokens", "cost"), rows, empty="no model was called")


def cost_document(view: RunView, totals: Sequence[CallTotals]) -> dict[str, Json]:
    """Sums of calls by stage, generation and attempt, and by model. `lost`: the attempt did not finish its stage."""
    last = _last_attempts(view, totals)

    def place(each: CallTotals) -> tuple[str, int, int]:
        return each.stage_id or "", each.generation, each.attempt

    return {
        "run_id": view.run.id,
        **_sums(totals),
        "stages": [
            {
                "stage_id": where[0],
                "generation": where[1],
                "attempt": where[2],
                "lost": where[2] < last[where[:2]],
                **_sums(group),
            }
            for where, group in _grouped(totals, place)
        ],
        "models": [{"model": key, **_sums(group)} for key, group in _grouped(totals, lambda each: each.model_key)],
    }


def _last_attempts(view: RunView, totals: Sequence[CallTotals]) -> Mapping[tuple[str, int], int]:
    """Sums by stage and generation. Attempts of earlier generations are known only if they made calls."""
    last: dict[tuple[str, int], int] = {}
    made = [(each.stage_id or "", each.generation, each.attempt) for each in totals]
    current = {stage.id: stage.generation for stage in view.stages}
    jobs = [
        (job.stage_id, current[job.stage_record_id], job.attempt) for job in view.jobs if job.stage_record_id in current
    ]
    for stage_id, generation, attempt in [*made, *jobs]:
        last[stage_id, generation] = max(attempt, last.get((stage_id, generation), 0))
    return last


def _grouped[K](totals: Iterable[CallTotals], key: Callable[[CallTotals], K]) -> list[tuple[K, list[CallTotals]]]:
    groups: dict[K, list[CallTotals]] = {}
    for each in totals:
        groups.setdefault(key(each), []).append(each)
    return list(groups.items())


def _sums(totals: Sequence[CallTotals]) -> dict[str, Json]:
    """`unknown`: calls of unknown cost, which `total_cost` leaves out."""
    open_calls = [each for each in totals if each.state is CallState.RESERVED]
    return {
        "total_cost": round(sum(each.cost for each in totals), 12),
        "total_tokens": sum(each.input_tokens + each.output_tokens for each in totals),
        "calls": sum(each.calls for each in totals),
        "unknown": sum(unknown_calls(totals).values()),
        "unsettled": sum(each.calls for each in open_calls),
        "unsettled_cost": sum(each.reserved_cost for each in totals),
    }


def _cost(sums: dict[str, Json]) -> str:
    return cost(sums["total_cost"], sums["unknown"])


def unknown_calls(totals: Iterable[CallTotals]) -> Counter[str]:
    """The number of calls of unknown cost by stage, without calls that are still open."""
    unknown: Counter[str] = Counter()
    for each in totals:
        unknown[each.stage_id or ""] += 0 if each.state is CallState.RESERVED else each.unknown
    return unknown
