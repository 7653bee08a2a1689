"""Every exception to a rule carries its reason, and there are few of them."""

import ast
import re
from collections.abc import Iterator

from tests.architecture.source import ROOT, modules, tracked_files

# Threads that must outlive what they do, foreign code (bodies, checks, plugins, parsers), and the outermost calls.
BROAD_EXCEPTS = 22

SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore|pyright:|pragma:|fmt:\s*(off|skip))", re.IGNORECASE)
EXPLAINED = re.compile(
    r"#\s*(noqa: [A-Z]+\d+(, ?[A-Z]+\d+)* [—-] |type: ignore\[[a-z, -]+\]\s+# |fmt: (off|skip)\s+# )\S.{8,}"
)

# Written so that this file does not match itself.
REGISTRY_HOST = re.compile(
    r"py[p]i[.]org|python[h]osted|npm[j]s[.]|yarn[p]kg|[d]ebian[.]org|[g]olang[.]org|c[r]ates[.]io"
)


def broad_excepts() -> Iterator[tuple[str, str]]:
    """The place and the line of every `except` of `Exception` or of everything."""
    for name, module in modules().items():
        lines = (ROOT / name).read_text().splitlines()
        for node in ast.walk(module):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node.type):
                yield f"{name}:{node.lineno}", lines[node.lineno - 1]


def _is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(_is_broad(each) for each in caught.elts)
    return caught is None or (isinstance(caught, ast.Name) and caught.id in {"Exception", "BaseException"})


def test_a_broad_except_says_why_on_its_line() -> None:
    assert [where for where, line in broad_excepts() if not re.search(r"# .*\w{3,}.*\w{3,}", line)] == []


def test_broad_excepts_stay_a_handful() -> None:
    assert len(list(broad_excepts())) <= BROAD_EXCEPTS


def test_every_suppressed_finding_has_a_reason() -> None:
    unexplained = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in tracked_files()
        if path.suffix == ".py"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if SUPPRESSION.search(line) and not EXPLAINED.search(line)
    ]
    assert unexplained == []


def test_every_rule_turned_off_in_the_configuration_has_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    ignores = re.findall(r"^ +\"[A-Z]+\d{3,}\",(.*)$", text, re.MULTILINE)
    overrides = re.findall(r"^\[\[tool\.mypy\.overrides\]\]\n(.*)$", text, re.MULTILINE)
    assert ignores
    assert overrides
    assert [each for each in ignores + overrides if "# " not in each] == []


def test_no_file_names_a_package_registry() -> None:
    named = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        named += [f"{path.relative_to(ROOT)}: {match.group()}" for match in REGISTRY_HOST.finditer(text)]
    assert named == []
