"""The one error a reader of documents raises."""


class DocumentError(Exception):
    """The document cannot be analysed. The message names the document, the fault and the remedy."""
