from pathlib import Path


def source(name: str) -> str:
    """The SQL that creates a file's functions. Their names carry a version, so that a released file never changes."""
    return (Path(__file__).parent / f"{name}.sql").read_text()
