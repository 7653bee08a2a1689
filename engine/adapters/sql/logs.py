from collections.abc import Sequence

from sqlalchemy import bindparam

from engine.adapters.sql.rows import LOG
from engine.adapters.sql.schema import LOGS
from engine.adapters.sql.session import Session
from engine.domain.records import LogRecord

_OF_RUN = LOG.select.where(LOGS.c.workflow_run_id == bindparam("run_id")).order_by(LOGS.c.id)


class SqlLogs:
    def __init__(self, session: Session) -> None:
        self._session = session

    def of_run(
        self, run_id: str, *, after: str | None = None, stage_id: str | None = None, limit: int = 1000
    ) -> Sequence[LogRecord]:
        found = _OF_RUN.limit(limit)
        if after is not None:
            found = found.where(LOGS.c.id > after)
        if stage_id is not None:
            found = found.where(LOGS.c.stage_id == stage_id)
        return LOG.records(self._session.all(found, {"run_id": run_id}))
