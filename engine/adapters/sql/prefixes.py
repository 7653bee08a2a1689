"""Prefix search by index range: texts sort byte by byte, so those with one prefix are neighbours."""

from sqlalchemy import Column, ColumnElement, and_

_LAST = "\U0010ffff"


def starts_with(column: Column[str], prefix: str) -> ColumnElement[bool]:
    return and_(column >= prefix, column < prefix + _LAST)
