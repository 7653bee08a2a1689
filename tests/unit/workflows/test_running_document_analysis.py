"""document-analysis on a whole kernel in memory."""

from pathlib import Path

from engine.domain.lifecycle import RunStatus
from engine.testing import TestKernel
from functions.workflows.document_analysis import workflow
from tests.unit.workflows.documents import EVENTS
from tests.unit.workflows.pdf_writer import write_pdf


def test_a_run_reports_on_a_document_and_leaves_the_report_as_an_artifact() -> None:
    kernel = TestKernel(workflow)
    view = kernel.run("document-analysis", {"path": str(EVENTS / "sample.md")})
    assert view.run.status is RunStatus.COMPLETED
    assert kernel.output(view.run.id)["title"] == "A winter with three tidal turbines"
    assert [(artifact.stage_id, artifact.name) for artifact in kernel.reads.artifacts(view.run.id)] == [
        ("report", "report.md")
    ]


def test_a_bad_document_fails_the_run_at_the_first_try_with_its_message(tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(write_pdf([[], []]))
    view = TestKernel(workflow).run("document-analysis", {"path": str(tmp_path / "scan.pdf")})
    assert view.run.status is RunStatus.FAILED
    assert str(view.run.failure_message).startswith("DocumentError: 'scan.pdf' has 2 page(s) but no text")
    assert [job.attempt for job in view.jobs] == [1]
