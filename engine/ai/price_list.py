"""litellm's list of models and prices. It is read from its file, so that a look-up does not import litellm."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FILE = "model_prices_and_context_window_backup.json"


@cache
def price_list() -> Mapping[str, Mapping[str, Any]]:
    """The entries by litellm's names. Empty if litellm is not installed: then no price is known."""
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    listed = json.loads((Path(spec.origin).parent / _FILE).read_text())
    return {name: entry for name, entry in listed.items() if name != "sample_spec"}
