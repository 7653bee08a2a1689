"""Suites that every adapter passes. Subclass one and provide its fixture; pytest runs it."""

from pkgutil import iter_modules

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))
