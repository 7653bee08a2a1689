from collections.abc import Sequence

from sqlalchemy import bindparam

from engine.adapters.sql.rows import ARTIFACT
from engine.adapters.sql.schema import ARTIFACTS, STAGES
from engine.adapters.sql.session import Session
from engine.domain.records import ArtifactRecord

_OF_RUN = (
    ARTIFACT.select.join(STAGES, STAGES.c.id == ARTIFACTS.c.stage_record_id)
    .where(ARTIFACTS.c.workflow_run_id == bindparam("run_id"))
    .order_by(STAGES.c.execution_group, STAGES.c.stage_number, ARTIFACTS.c.name, ARTIFACTS.c.id)
)


class SqlArtifacts:
    def __init__(self, session: Session) -> None:
        self._session = session

    def of_run(self, run_id: str) -> Sequence[ArtifactRecord]:
        return ARTIFACT.records(self._session.all(_OF_RUN, {"run_id": run_id}))
