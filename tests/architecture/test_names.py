"""Names follow the rules."""

import ast
from pathlib import PurePath

from tests.architecture.source import modules

EMPTY_MODULE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "core", "tools"}
EMPTY_CLASS_SUFFIXES = ("Manager", "Service", "Impl", "Base", "Factory", "Helper", "Util", "Utils")
PUBLIC_NAMES = {"AIHelper"}


def test_no_module_or_folder_is_a_drawer_for_anything() -> None:
    drawers = [name for name in modules() if EMPTY_MODULE_NAMES & set(PurePath(name).with_suffix("").parts)]
    assert drawers == []


def test_no_class_name_ends_in_a_word_that_says_nothing() -> None:
    vague = [
        f"{name}:{node.lineno} {node.name}"
        for name, module in modules().items()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and node.name.endswith(EMPTY_CLASS_SUFFIXES) and node.name not in PUBLIC_NAMES
    ]
    assert vague == []
