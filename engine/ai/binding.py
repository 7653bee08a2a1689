"""Makes `ctx.ai`: a helper bound to the running stage."""

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.ai.ai_helper import AIHelper
from engine.ai.budget import CallSite, cap_of
from engine.ai.content import ContentPolicy
from engine.ai.messages import Gateway
from engine.ai.providers.choice import BatchAccess
from engine.domain.ai_calls import run_scope, stage_scope
from engine.ports.ai_call_logger import AICallLogger
from engine.ports.call_owner import CallOwner
from engine.ports.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class StageAI:
    """Makes the helpers of a kernel, each from a topic and an owner."""

    log: AICallLogger
    gateway: Gateway
    registry: Registry
    new_id: Callable[[], str]
    content: ContentPolicy = ContentPolicy.FULL
    batch_access: BatchAccess = field(default_factory=BatchAccess)

    def __call__(self, topic: str, owner: CallOwner) -> AIHelper:
        return AIHelper(
            topic,
            self.log,
            self.gateway,
            site=self._site(owner),
            content=self.content,
            batch_access=self.batch_access,
            new_id=self.new_id,
        )

    def _site(self, owner: CallOwner) -> CallSite:
        record = owner.stage
        run_id, stage_id = record.workflow_run_id, record.stage_id
        workflow = self.registry.get_workflow(owner.workflow_id)
        stage = workflow.get_stage(stage_id) if workflow else None
        scope = stage_scope(run_id, stage_id)
        caps = cap_of(run_scope(run_id), workflow.budget if workflow else None)
        return CallSite(
            workflow_run_id=run_id,
            stage_record_id=record.id,
            stage_id=stage_id,
            generation=record.generation,
            attempt=owner.attempt,
            scope=scope,
            caps=(*caps, *cap_of(scope, stage.budget if stage else None)),
        )
