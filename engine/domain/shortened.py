from reprlib import Repr

LONGEST_TEXT = 60
_OTHERS = Repr(maxstring=60, maxother=60, maxdict=4, maxlist=4, maxlevel=2)


def shortened(value: object) -> str:
    """A value for a message: of a text the first 60 characters in quotes, of anything else at most 80."""
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}…")
    try:
        brief = _OTHERS.repr(value)
    except ValueError:  # a number that Python refuses to write
        brief = f"{type(value).__name__} with too long a number"
    return brief if len(brief) <= 80 else f"{brief[:79]}…"
