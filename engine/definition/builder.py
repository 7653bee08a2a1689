"""The builder that chains stages into a workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, overload

from pydantic.errors import PydanticUserError

from engine.definition import build_checks
from engine.definition.budget import Budget
from engine.definition.schemas import NoInput, Schema
from engine.definition.stage import Stage
from engine.definition.stage_ids import check_id
from engine.definition.workflow import Group, Workflow
from engine.domain.errors import DefinitionError

if TYPE_CHECKING:
    from typing_extensions import TypeForm


class WorkflowBuilder[In, Out]:
    """Collects execution groups. Each step gives a new builder, so that workflows can share a prefix.

    A type checker follows the chain: a stage's input must be the output of the group before it, or `NoInput`. The
    input after a parallel group is checked when the workflow is built.
    """

    @overload
    def __init__(
        self: WorkflowBuilder[NoInput, NoInput],
        id: str,
        name: str,
        description: str = ...,
        *,
        budget: Budget | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: WorkflowBuilder[In, In],
        id: str,
        name: str,
        description: str = ...,
        *,
        input: TypeForm[In],
        output: Any = ...,
        budget: Budget | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: WorkflowBuilder[In, In],
        id: str,
        name: str,
        description: str,
        input: TypeForm[In],
        output: Any = ...,
        *,
        budget: Budget | None = ...,
    ) -> None: ...
    def __init__(
        self,
        id: str,  # noqa: A002 — the word that authors use
        name: str,
        description: str = "",
        input: Any = NoInput,  # noqa: A002 — the word that authors use
        output: Any = None,
        *,
        budget: Budget | None = None,
    ) -> None:
        """`budget` caps a run's spending on models. Raises `DefinitionError` when the id or a type cannot be used."""
        self._id = check_id("workflow", id)
        self._name = name
        self._description = description
        self._input = self._schema("input", input)
        self._output = None if output is None else self._schema("output", output)
        self._budget = budget
        self._groups: tuple[Group, ...] = ()

    @overload
    def pipe[New](self, stage: Stage[Out, New, Any], /) -> WorkflowBuilder[In, New]: ...
    @overload
    def pipe[New](self, stage: Stage[NoInput, New, Any], /) -> WorkflowBuilder[In, New]: ...
    @overload
    def pipe[New](
        self: WorkflowBuilder[In, Mapping[str, Any]], stage: Stage[Any, New, Any], /
    ) -> WorkflowBuilder[In, New]: ...
    def pipe(self, stage: Stage[Any, Any, Any], /) -> WorkflowBuilder[Any, Any]:
        """Add an execution group of one stage."""
        return self._with_group((stage,))

    @overload
    def parallel(
        self: WorkflowBuilder[In, Mapping[str, Any]], stages: Sequence[Stage[Any, Any, Any]], /
    ) -> WorkflowBuilder[In, Mapping[str, Any]]: ...
    @overload
    def parallel(
        self, stages: Sequence[Stage[Out, Any, Any] | Stage[NoInput, Any, Any]], /
    ) -> WorkflowBuilder[In, Mapping[str, Any]]: ...
    def parallel(self, stages: Sequence[Stage[Any, Any, Any]], /) -> WorkflowBuilder[Any, Any]:
        """Add an execution group whose stages run at the same time, each with the same input.

        The next group's input is an object of outputs by stage id, or the output itself if there is only one stage.
        """
        if isinstance(stages, Stage):
            raise DefinitionError(f"parallel() takes a list of stages, not {stages!r} alone; say pipe() for one")
        return self._with_group(tuple(stages))

    def build(self) -> Workflow[In, Out]:
        """Builds the workflow. Raises `DefinitionError` with every problem and its stage."""
        problems = build_checks.problems(self._groups, self._input, self._output)
        if problems:
            lines = "".join(f"\n  - {problem}" for problem in problems)
            raise DefinitionError(f"workflow {self._id!r} cannot be built:{lines}")
        return Workflow(
            id=self._id,
            name=self._name,
            description=self._description,
            input_type=self._input,
            output_type=self._output,
            groups=self._groups,
            budget=self._budget,
        )

    def _with_group(self, group: Group) -> WorkflowBuilder[Any, Any]:
        for stage in group:
            if not isinstance(stage, Stage):
                raise DefinitionError(f"{stage!r} is not a stage; make it one with define_stage")
        longer: WorkflowBuilder[Any, Any] = copy(self)
        longer._groups = (*self._groups, group)
        return longer

    def _schema(self, role: str, declared: Any) -> Schema[Any]:
        try:
            return Schema(declared)
        except (PydanticUserError, NameError) as error:
            raise DefinitionError(f"workflow {self._id!r}: its {role} type cannot be used: {error}") from error


define_workflow = WorkflowBuilder
