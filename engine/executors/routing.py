"""Sends some stages elsewhere."""

from collections.abc import Collection

from engine.ports.executor import Activity, ActivityExecutor


class RoutingExecutor:
    """Runs the stages named in `remote_stage_ids` by `remote` and all others by `local`."""

    def __init__(self, *, remote: ActivityExecutor, remote_stage_ids: Collection[str], local: ActivityExecutor) -> None:
        self._remote, self._local = remote, local
        self._remote_stage_ids = frozenset(remote_stage_ids)

    def run(self, activity: Activity) -> object:
        executor = self._remote if activity.stage.id in self._remote_stage_ids else self._local
        return executor.run(activity)
