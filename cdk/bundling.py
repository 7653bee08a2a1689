"""Builds Lambda bundles without Docker, reproducibly: the same locks and sources give the same bytes.

`python -m cdk.bundling` builds all of them. Packages are wheels for the target, checked against the hashes of their
lock. Modules are byte-compiled for their paths on Lambda, where the file system is read-only. The bytes depend on the
compiling Python and on zlib, and on nothing else of the machine.
"""

import argparse
import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cdk import byte_code
from cdk.byte_code import PYTHON_TAG, compile_modules

ROOT = Path(__file__).parents[1]
GLIBC_MINOR = 28
UNPACKED_LIMIT = 262_144_000
"""Lambda's limit in bytes, layers included."""

KEPT_SECONDS = 7 * 24 * 3600
"""Installed packages are removed after so long without use."""

SOURCES = ("engine", "functions")
LOCAL_SOURCES = ("engine/cli/", "engine/localcloud/", "engine/testing/")
"""Sources for laptops only. Their imports are in no bundle."""

UNUSED = (
    ".lock",
    "bin",
    "**/tests",
    "**/__pycache__",
    *(f"**/*.{kind}" for kind in ("pyi", "pyx", "pxd", "c", "h")),
    *(f"*.dist-info/{name}" for name in ("INSTALLER", "RECORD", "REQUESTED", "WHEEL", "top_level.txt", "*.json")),
)

CREDENTIAL_SERVICES = frozenset({"sts", "sso", "sso-oidc", "signin"})
"""The services that boto3 may call by itself."""

UNIX = 3
FILE_MODE = 0o100644

RUN_AT_START = re.compile(r"(sitecustomize|usercustomize)\b.*|(.*/)?[^/]+\.pth")


class BundleRefused(Exception):
    """A bundle that Lambda cannot load, or that runs code when Python starts. The message names the file."""


class Architecture(StrEnum):
    ARM64 = "arm64"
    X86_64 = "x86_64"

    @property
    def machine(self) -> str:
        return "aarch64" if self is Architecture.ARM64 else "x86_64"

    @property
    def elf_machine(self) -> int:
        return 183 if self is Architecture.ARM64 else 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The content of a function: the sources, and the packages of a lock.

    Files that match `unused` are left out. So are modules that import one of `absent` first: no lock has these
    packages, so the modules could not be imported.
    """

    name: str
    lock: str
    unused: tuple[str, ...] = ()
    absent: frozenset[str] = frozenset()


CONTROL = Bundle(name="control", lock="requirements/lambda.txt")
AI = Bundle(
    name="ai",
    lock="requirements/lambda-ai.txt",
    unused=(
        # Pages and API descriptions of litellm's proxy server.
        "litellm/proxy/_experimental/out",
        "litellm/proxy/swagger",
        "litellm/proxy/_lazy_openapi_snapshot.json",
        # An optional accelerator of downloads from a model hub.
        "hf_xet",
        "hf_xet-*.dist-info",
    ),
    # Most of the proxy server. The library imports the rest.
    absent=frozenset({"fastapi"}),
)
BUNDLES = (CONTROL, AI)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A finished bundle. Sizes are in bytes; `left_out` are sources that git does not track."""

    path: Path
    unpacked: int
    packages: Mapping[str, int]
    left_out: tuple[str, ...]

    @property
    def packed(self) -> int:
        return self.path.stat().st_size

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def build(
    bundle: Bundle,
    architecture: Architecture,
    *,
    root: Path = ROOT,
    build_folder: Path | None = None,
    untracked: bool = False,
) -> Built:
    """Builds build/bundles/NAME-ARCHITECTURE.zip from the working copy of the sources that git tracks.

    With `untracked`, for tests of work in progress, it adds sources that git does not ignore, and builds
    NAME-ARCHITECTURE-untracked.zip. Packages are installed once per lock, into build/packages. Raises `BundleRefused`.
    """
    folder = build_folder or root / "build"
    target = folder / "bundles" / f"{bundle.name}-{architecture}{'-untracked' if untracked else ''}.zip"
    with contents(bundle, architecture, root=root, build_folder=folder, untracked=untracked) as entries:
        _pack(entries, target)
        sizes = _sizes(entries)
    left_out = () if untracked else tuple(_untracked(root))
    return Built(path=target, unpacked=sizes.total(), packages=sizes, left_out=left_out)


@contextmanager
def contents(
    bundle: Bundle, architecture: Architecture, *, root: Path, build_folder: Path, untracked: bool = False
) -> Iterator[Mapping[str, Path]]:
    """The entries of the bundle, each with the file to read it from. Raises `BundleRefused`."""
    if sys.implementation.cache_tag != PYTHON_TAG:
        raise BundleRefused(f"modules are compiled by {sys.implementation.cache_tag}; Lambda runs {PYTHON_TAG}")
    packages = installed(bundle, architecture, root=root, cache=build_folder / "packages")
    with tempfile.TemporaryDirectory(prefix="bundle-") as scratch:
        sources = Path(scratch)
        _copy(_git_files(root, "--cached") + (_untracked(root) if untracked else []), root, sources)
        compile_modules(sources)
        entries = _joined(_without_silent_services(_files(packages), sources), _files(sources))
        refuse(entries, architecture)
        yield entries


def _sizes(entries: Mapping[str, Path]) -> Counter[str]:
    sizes = Counter[str]()
    for name, path in entries.items():
        sizes[name.partition("/")[0]] += path.stat().st_size
    return sizes


def refuse(entries: Mapping[str, Path], architecture: Architecture) -> None:
    """Raises `BundleRefused` for a file that must not be in a bundle."""
    for name, path in entries.items():
        if RUN_AT_START.fullmatch(name):
            raise BundleRefused(f"{name} is executed whenever Python starts")
        if "/" not in name and path.suffix == ".py" and path.stem in sys.stdlib_module_names:
            raise BundleRefused(f"{name} hides a module of the standard library")
        _refuse_foreign_binary(name, path, architecture)
    unpacked = sum(path.stat().st_size for path in entries.values())
    if unpacked > UNPACKED_LIMIT:
        raise BundleRefused(f"{unpacked:,} bytes unpacked; Lambda takes {UNPACKED_LIMIT:,}")


def _refuse_foreign_binary(name: str, path: Path, architecture: Architecture) -> None:
    extension = re.search(r"\.(cpython-\d+)(-\w+)?", path.name)
    if extension and extension[1] != PYTHON_TAG:
        raise BundleRefused(f"{name} is for {extension[1]}, not {PYTHON_TAG}")
    if path.suffix in {".py", ".pyc"}:
        return
    with path.open("rb") as file:
        header = file.read(20)
    if header.startswith(b"\x7fELF") and int.from_bytes(header[18:20], "little") != architecture.elf_machine:
        raise BundleRefused(f"{name} is not for {architecture}")


def refuse_foreign_wheels(packages: Path, architecture: Architecture) -> None:
    """Raises `BundleRefused` when a package was installed from a wheel for another Python or platform."""
    for wheel in sorted(packages.glob("*.dist-info/WHEEL")):
        tags = re.findall(r"^Tag: (\S+)$", wheel.read_text(), re.MULTILINE)
        if not any(_fits(tag, architecture) for tag in tags):
            raise BundleRefused(f"{wheel.parent.stem} is a wheel for {', '.join(tags)}, not for {architecture}")


def _fits(tag: str, architecture: Architecture) -> bool:
    pythons, abis, platforms = (part.split(".") for part in tag.split("-"))
    return any(map(_is_python, pythons, abis * len(pythons))) and any(
        platform == "any" or _is_platform(platform, architecture) for platform in platforms
    )


def _is_python(python: str, abi: str) -> bool:
    stable = re.fullmatch(r"cp3(\d+)", python)
    return python == "py3" or python == abi == "cp313" or bool(stable and abi == "abi3" and int(stable[1]) <= 13)


def _is_platform(platform: str, architecture: Architecture) -> bool:
    linux = re.fullmatch(r"manylinux(?:1|2010|2014|_2_(\d+))_(\w+)", platform)
    return bool(linux and linux[2] == architecture.machine and int(linux[1] or 0) <= GLIBC_MINOR)


def installed(bundle: Bundle, architecture: Architecture, *, root: Path, cache: Path) -> Path:
    """The folder with a lock's packages, compiled, without unused files. It is built once and shared."""
    lock = root / bundle.lock
    recipe = b"".join(Path(module).read_bytes() for module in (__file__, byte_code.__file__))
    key = hashlib.sha256(lock.read_bytes() + recipe + sys.version.encode())
    folder = cache / f"{bundle.name}-{architecture}-{key.hexdigest()[:16]}"
    if folder.exists():
        os.utime(folder)
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache) as scratch:
        unfinished = Path(scratch) / "packages"
        _install(lock, architecture, unfinished)
        refuse_foreign_wheels(unfinished, architecture)
        _prune(unfinished, (*UNUSED, *bundle.unused))
        _prune_unimportable(unfinished, bundle.absent)
        compile_modules(unfinished)
        try:
            unfinished.rename(folder)
        except OSError:
            # Another process may have built the same folder first.
            if not folder.exists():
                raise
    _forget_old(cache)
    return folder


def _forget_old(cache: Path) -> None:
    for folder in cache.iterdir():
        if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _install(lock: Path, architecture: Architecture, target: Path) -> None:
    local = ROOT / ".tools" / "bin" / "uv"
    uv = local if local.exists() else shutil.which("uv")
    if uv is None:
        raise BundleRefused("uv is not installed; run `make .venv`, which installs it")
    platform = f"{architecture.machine}-manylinux_2_{GLIBC_MINOR}"
    where = ["--target", str(target), "--python", sys.executable]
    what = ["--python-version", "3.13", "--python-platform", platform, "--only-binary", ":all:", "--no-deps"]
    locked = ["--require-hashes", "--requirements", str(lock)]
    subprocess.run([str(uv), "pip", "install", "--quiet", *where, *what, *locked], check=True)


def _prune(folder: Path, unused: Iterable[str]) -> None:
    for pattern in unused:
        for path in list(folder.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _prune_unimportable(folder: Path, absent: Set[str]) -> None:
    if present := sorted(absent & {path.name for path in folder.iterdir()}):
        raise BundleRefused(f"{present[0]} is in the lock, but listed as absent")
    for path in folder.rglob("*.py") if absent else ():
        # A package without its __init__ could still be imported, as a namespace package.
        if path.name != "__init__.py" and absent & set(_imported_first_thing(path)):
            path.unlink()


def _imported_first_thing(module: Path) -> Iterator[str]:
    for statement in ast.parse(module.read_bytes()).body:
        match statement:
            case ast.Import(names):
                yield from (each.name.partition(".")[0] for each in names)
            case ast.ImportFrom(module=str(name), level=0):
                yield name.partition(".")[0]
            case _:
                pass


def _copy(names: Iterable[str], root: Path, target: Path) -> None:
    for name in names:
        # Deleted, but still tracked by git.
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target / name)


def _untracked(root: Path) -> list[str]:
    return _git_files(root, "--others", "--exclude-standard")


def _git_files(root: Path, *which: str) -> list[str]:
    command = ["git", "-C", str(root), "ls-files", "-z", *which, "--", *SOURCES]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [name for name in listing.split("\0") if name and not name.startswith(LOCAL_SOURCES)]


def _files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def _joined(packages: Mapping[str, Path], sources: Mapping[str, Path]) -> dict[str, Path]:
    if twice := sorted(packages.keys() & sources.keys()):
        raise BundleRefused(f"{twice[0]} is in a package and in the sources")
    return {**packages, **sources}


def _without_silent_services(packages: Mapping[str, Path], sources: Path) -> dict[str, Path]:
    """Without boto3's descriptions of AWS services (28 MB) whose names appear nowhere in the sources as strings."""
    spoken = CREDENTIAL_SERVICES | set(_strings(sources))
    service = re.compile(r"boto(?:core|3)/data/([^/]+)/.*")
    return {
        name: path
        for name, path in packages.items()
        if (found := service.fullmatch(name)) is None or found[1] in spoken
    }


def _strings(sources: Path) -> Iterator[str]:
    for path in sources.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _pack(entries: Mapping[str, Path], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}")
    with zipfile.ZipFile(unfinished, "w") as archive:
        for name in sorted(entries):
            # The default date is in 1980.
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = UNIX, FILE_MODE << 16
            archive.writestr(entry, entries[name].read_bytes(), zipfile.ZIP_DEFLATED)
    unfinished.replace(target)


def report(built: Built) -> str:
    largest = sorted(built.packages.items(), key=lambda each: -each[1])[:6]
    return (
        f"{built.path.name}: {built.packed / 1e6:.1f} MB zipped, {built.unpacked / 1e6:.1f} MB unzipped"
        f" ({built.unpacked / UNPACKED_LIMIT:.0%} of what Lambda takes)\n"
        f"  largest: {', '.join(f'{name} {size / 1e6:.1f}' for name, size in largest)}\n"
        f"  sha256: {built.digest}\n"
    ) + "".join(f"  left out, because git does not track it: {name}\n" for name in built.left_out)


def main(arguments: list[str] | None = None) -> None:
    names = {f"{bundle.name}-{each}": (bundle, each) for bundle in BUNDLES for each in Architecture}
    parser = argparse.ArgumentParser(prog="cdk.bundling", description="Makes the packages that Lambda runs.")
    parser.add_argument("bundles", nargs="*", help=f"of {', '.join(names)}; all when none is named")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    parser.add_argument("--build", type=Path, help="the folder to write to; build/ in the repository by default")
    options = parser.parse_args(arguments)
    if unknown := set(options.bundles) - names.keys():
        parser.error(f"no such bundle: {', '.join(sorted(unknown))}")
    for name in options.bundles or names:
        bundle, architecture = names[name]
        sys.stdout.write(report(build(bundle, architecture, root=options.root.resolve(), build_folder=options.build)))


if __name__ == "__main__":
    try:
        main()
    except BundleRefused as error:
        sys.exit(f"refused: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {os.fspath(error.cmd[0])} ended with {error.returncode}")
