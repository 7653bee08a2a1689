from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from engine.adapters.sql.ai_calls import SqlAICalls
from engine.adapters.sql.annotations import SqlAnnotations
from engine.adapters.sql.artifacts import SqlArtifacts
from engine.adapters.sql.jobs import SqlJobs
from engine.adapters.sql.keys import SqlKeys
from engine.adapters.sql.logs import SqlLogs
from engine.adapters.sql.outbox import SqlOutbox
from engine.adapters.sql.runs import SqlRuns
from engine.adapters.sql.session import Session
from engine.adapters.sql.stages import SqlStages


@dataclass
class SqlTx:
    """`Tx` over one connection."""

    session: Session

    @cached_property
    def runs(self) -> SqlRuns:
        return SqlRuns(self.session)

    @cached_property
    def stages(self) -> SqlStages:
        return SqlStages(self.session)

    @cached_property
    def jobs(self) -> SqlJobs:
        return SqlJobs(self.session)

    @cached_property
    def logs(self) -> SqlLogs:
        return SqlLogs(self.session)

    @cached_property
    def artifacts(self) -> SqlArtifacts:
        return SqlArtifacts(self.session)

    @cached_property
    def annotations(self) -> SqlAnnotations:
        return SqlAnnotations(self.session)

    @cached_property
    def outbox(self) -> SqlOutbox:
        return SqlOutbox(self.session)

    @cached_property
    def keys(self) -> SqlKeys:
        return SqlKeys(self.session)

    @cached_property
    def ai_calls(self) -> SqlAICalls:
        return SqlAICalls(self.session)

    def now(self) -> datetime:
        return self.session.now()
