"""The error of document readers."""


class DocumentError(Exception):
    """The document cannot be analysed. The message names the document, the fault and the remedy."""
