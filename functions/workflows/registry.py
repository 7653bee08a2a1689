"""The workflows of this deployment. Each is imported at its first use."""

from collections.abc import Mapping
from typing import Final

WORKFLOWS: Final[Mapping[str, str]] = {
    "document-analysis": "functions.workflows.document_analysis:workflow",
    "nightly-batch": "functions.workflows.nightly_batch:workflow",
    "support-triage": "functions.workflows.support_triage:workflow",
}
