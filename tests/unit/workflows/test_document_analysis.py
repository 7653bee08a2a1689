"""The stages of document-analysis, called with hand-made contexts."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine import Stage, StageCancelled, StageContext, StageResult
from engine.definition.memory import MemoryCancellation
from functions.workflows.document_analysis import (
    Analysis,
    Document,
    ExtractConfig,
    KeywordsConfig,
    SummaryConfig,
    extract,
    keywords,
    report,
    statistics,
    summary,
    workflow,
)
from functions.workflows.documents.errors import DocumentError
from functions.workflows.documents.report import AnalysisReport
from tests.unit.workflows.documents import EVENTS
from tests.unit.workflows.pdf_writer import write_pdf


def analyse(document: Document) -> StageResult[AnalysisReport]:
    """The pipeline by hand, each output stored and loaded as the engine does."""
    extracted = extract.load_output(
        extract.validate_output(extract(StageContext.for_test(input=document, config=ExtractConfig())))
    )
    analysis = Analysis(
        keywords=keywords(StageContext.for_test(input=extracted, config=KeywordsConfig())),
        statistics=statistics(StageContext.for_test(input=extracted)),
        summary=summary(StageContext.for_test(input=extracted, config=SummaryConfig())),
    )
    result: StageResult[AnalysisReport] = report(StageContext.for_test(input=analysis, outputs={extract: extracted}))
    report.validate_output(result.output)
    return result


@pytest.mark.parametrize(
    ("name", "title", "language", "pages", "term"),
    [
        ("sample.md", "A winter with three tidal turbines", "en", None, "Kerrow Sound"),
        ("sample.txt", "Night watch at the tide gauge", "en", None, "radar gauge"),
        ("sample.html", "Gezeitenstrom im Kerrow-Sund: ein Zwischenbericht", "de", None, "Turbinen"),
        ("sample.pdf", "Handbook of the tidal turbine barge", "en", 3, "slack water"),
    ],
)
def test_each_sample_becomes_a_report(name: str, title: str, language: str, pages: int | None, term: str) -> None:
    result = analyse(Document(path=str(EVENTS / name)))
    found = result.output
    assert (found.title, found.language, found.pages, found.name) == (title, language, pages, name)
    assert term in [keyword.term for keyword in found.keywords]
    assert len(found.summary) == 5
    assert found.outline
    assert found.statistics.words > 150
    text = str(result.artifacts["report.md"])
    assert text.startswith(f"# {title}\n")
    assert "## Summary" in text
    assert "## Keywords" in text


def test_text_can_be_given_directly() -> None:
    found = analyse(Document(content="# Tide\n\nThe tide turns twice a day.", name="note.md")).output
    assert (found.title, found.summary) == ("Tide", ("The tide turns twice a day.",))


@pytest.mark.parametrize("fields", [{}, {"path": "a", "content": "b"}])
def test_a_document_has_exactly_one_source(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="give either path"):
        Document.model_validate(fields)


def test_a_document_in_an_old_encoding_is_logged_annotated_and_noted_in_the_report(tmp_path: Path) -> None:
    path = tmp_path / "brief.txt"
    path.write_bytes("Die Turbine hält sich über den Winter selbst sauber.".encode("cp1252"))
    ctx = StageContext.for_test(input=Document(path=str(path)), config=ExtractConfig())
    extract(ctx)
    assert [entry.level for entry in ctx.recorder.logs] == ["INFO", "WARN"]
    assert "'brief.txt': it is not valid UTF-8" in ctx.recorder.logs[1].message
    assert ctx.recorder.attributes["document.encoding"] == "cp1252"
    assert ctx.recorder.attributes["document.encoding_confidence"] == 0.6
    assert "windows-1252" in str(analyse(Document(path=str(path))).artifacts["report.md"])


def test_the_language_is_a_decision_with_its_confidence() -> None:
    ctx = StageContext.for_test(input=Document(path=str(EVENTS / "sample.html")), config=ExtractConfig())
    extract(ctx)
    assert ctx.recorder.attributes["decision.outcome"] == "de"
    assert 0.5 < ctx.recorder.attributes["decision.confidence"] < 1
    assert ctx.recorder.attributes["decision.alternatives"] == ["nl"]


def test_progress_tells_of_pages_and_rises(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(write_pdf([["The tide turns."]] * 4))
    ctx = StageContext.for_test(input=Document(path=str(tmp_path / "a.pdf")), config=ExtractConfig())
    extract(ctx)
    entries = ctx.recorder.progresses
    assert [entry.message for entry in entries[:4]] == [f"page {page} of 4" for page in (1, 2, 3, 4)]
    assert [entry.progress for entry in entries] == [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("stage", [extract, statistics], ids=lambda stage: stage.id)
def test_a_cancelled_run_stops_between_pages_and_sections(stage: Stage[Any, Any, Any]) -> None:
    document = Document(content="The tide turns.")
    extracted = extract(StageContext.for_test(input=document, config=ExtractConfig()))
    ctx = StageContext.for_test(
        input=document if stage is extract else extracted,
        config=ExtractConfig(),
        cancellation=MemoryCancellation(cancelled=True),
    )
    with pytest.raises(StageCancelled):
        stage(ctx)


def test_a_bad_document_is_not_tried_again() -> None:
    assert not extract.retry.allows(DocumentError("'a.txt' is empty"))
    assert extract.retry.allows(OSError("the disk is busy"))


def test_limits_are_said_when_they_cut_something_off() -> None:
    text = " ".join(f"Watch {number} saw the tide turn in the sound." for number in range(50))
    extracted = extract(StageContext.for_test(input=Document(content=text), config=ExtractConfig()))
    counting = StageContext.for_test(input=extracted, config=KeywordsConfig(max_words=20))
    comparing = StageContext.for_test(input=extracted, config=SummaryConfig(max_sentences=10))
    keywords(counting)
    summary(comparing)
    assert "counted the first 20 content words only" in counting.recorder.logs[0].message
    assert comparing.recorder.logs[0].message == "compared 10 of 50 sentences"


def test_a_report_shows_markup_from_the_document_as_text() -> None:
    hostile = "The <script>alert(1)</script> of [a](javascript:b) | tide turns *twice* today.\n"
    text = str(analyse(Document(content=hostile * 2, name="note.txt")).artifacts["report.md"])
    assert "<script>" not in text.replace("\\<", "")
    assert "](javascript" not in text.replace("\\]", "")


def test_the_plan_is_read_three_ways_report() -> None:
    assert [[stage.id for stage in group] for group in workflow.get_execution_plan()] == [
        ["extract"],
        ["keywords", "statistics", "summary"],
        ["report"],
    ]
