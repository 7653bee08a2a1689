"""Plugins that handle events, and sinks that combine receivers."""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

from engine.domain.errors import DefinitionError
from engine.domain.events import EVENT_TYPES, Event
from engine.domain.limits import ID
from engine.domain.shortened import shortened
from engine.ports.event_sink import EventSink, PartiallyDelivered

type Handle = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Plugin:
    """A named handler of some event types. `handle` may be sync or async."""

    id: str
    name: str
    on: frozenset[str]
    handle: Handle

    def __post_init__(self) -> None:
        _check_name("plugin id", self.id)

    def __call__(self, event: Event) -> None:
        answer = self.handle(event)
        if inspect.iscoroutine(answer):
            asyncio.run(answer)


@overload
def define_plugin(*, id: str, name: str, on: Sequence[str], handle: Handle) -> Plugin: ...
@overload
def define_plugin(*, id: str, name: str, on: Sequence[str]) -> Callable[[Handle], Plugin]: ...
def define_plugin(
    *,
    id: str,  # noqa: A002 — the word that authors use
    name: str,
    on: Sequence[str],
    handle: Handle | None = None,
) -> Plugin | Callable[[Handle], Plugin]:
    """A plugin that handles the event types in `on`; without `handle`, a decorator that makes one.

    Raises `DefinitionError` for an empty or too long id, no event types, or a type that does not exist.
    """
    unknown = sorted(set(on) - EVENT_TYPES)
    if not id or not on or unknown:
        problem = (
            f"unknown event types {unknown}; there are {sorted(EVENT_TYPES)}"
            if unknown
            else "an id and event types are needed"
        )
        raise DefinitionError(f"plugin {id!r}: {problem}")
    if handle is not None:
        return Plugin(id, name, frozenset(on), handle)
    return lambda function: Plugin(id, name, frozenset(on), function)


class PluginRunner:
    """An event sink that delivers each event to the plugins of its type, in the given order.

    A plugin that raises fails the event. The others still get it, and a retry skips those that succeeded.
    """

    def __init__(self, plugins: Sequence[Plugin], *, max_retries: int = 3) -> None:
        ids = [plugin.id for plugin in plugins]
        twice = sorted({plugin_id for plugin_id in ids if ids.count(plugin_id) > 1})
        if twice:
            raise DefinitionError(f"plugin ids must differ; given more than once: {', '.join(twice)}")
        self._plugins, self.max_retries = tuple(plugins), max_retries

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:
        wanted = [plugin for plugin in self._plugins if event.type in plugin.on and plugin.id not in skip]
        _deliver(event, {plugin.id: plugin for plugin in wanted})


class CompositeSink:
    """Several sinks under names. If one fails, the others still get the event."""

    def __init__(self, sinks: dict[str, EventSink]) -> None:
        for name in sinks:
            _check_name("sink name", name)
        self._sinks = dict(sinks)
        self.max_retries = max((sink.max_retries for sink in sinks.values()), default=3)

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:
        def receiver(name: str, sink: EventSink) -> Callable[[Event], None]:
            inner = frozenset(part.removeprefix(f"{name}/") for part in skip if part.startswith(f"{name}/"))
            return lambda event: _emit_named(name, sink, event, inner)

        _deliver(event, {name: receiver(name, sink) for name, sink in self._sinks.items() if name not in skip})


def _check_name(what: str, name: str) -> None:
    """Deliveries are stored under this name, joined with the names of enclosing sinks."""
    if len(name) > ID:
        raise DefinitionError(f"{what} {shortened(name)} has {len(name):,} characters; use at most {ID}")


def _emit_named(name: str, sink: EventSink, event: Event, skip: frozenset[str]) -> None:
    try:
        sink.emit(event, skip=skip)
    except PartiallyDelivered as error:
        raise PartiallyDelivered(frozenset(f"{name}/{part}" for part in error.delivered), error.cause) from error


def _deliver(event: Event, receivers: dict[str, Callable[[Event], None]]) -> None:
    delivered: set[str] = set()
    failure: Exception | None = None
    for name, receive in receivers.items():
        try:
            receive(event)
            delivered.add(name)
        except PartiallyDelivered as error:
            delivered |= error.delivered
            failure = failure or error.cause
        except Exception as error:  # noqa: BLE001 - plugins are foreign code; the first failure is raised below
            failure = failure or error
    if failure is not None:
        raise PartiallyDelivered(frozenset(delivered), failure) from failure
