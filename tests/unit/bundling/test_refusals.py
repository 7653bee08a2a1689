"""A file that must not be in a bundle is refused by name."""

from pathlib import Path

import pytest

from cdk import bundling
from cdk.bundling import Architecture, BundleRefused, refuse, refuse_foreign_wheels

ELF = {"arm64": 183, "x86_64": 62}


def entry(folder: Path, name: str, content: bytes = b"") -> dict[str, Path]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {name: path}


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + machine.to_bytes(2, "little")


def wheel(folder: Path, *tags: str) -> None:
    entry(
        folder, "thing-1.dist-info/WHEEL", "\n".join(["Wheel-Version: 1.0", *(f"Tag: {tag}" for tag in tags)]).encode()
    )


@pytest.mark.parametrize(
    "name",
    [
        "thing.pth",
        "deep/down/thing.pth",
        "sitecustomize.py",
        "usercustomize.py",
        "sitecustomize/__init__.py",
        "usercustomize.cpython-313-x86_64-linux-gnu.so",
        "sitecustomize.pyc",
    ],
)
def test_what_runs_when_python_starts_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleRefused, match="executed whenever Python starts"):
        refuse(entry(tmp_path, name), Architecture.X86_64)


@pytest.mark.parametrize("name", ["thing/sitecustomize.py", "sitecustomizer.py", "pth.py"])
def test_what_only_sounds_like_it_is_not(tmp_path: Path, name: str) -> None:
    refuse(entry(tmp_path, name), Architecture.X86_64)


def test_a_module_that_hides_one_of_the_standard_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match=r"typing\.py hides"):
        refuse(entry(tmp_path, "typing.py"), Architecture.X86_64)


@pytest.mark.parametrize(("machine", "architecture"), [("arm64", "x86_64"), ("x86_64", "arm64")])
def test_a_binary_for_another_machine_is_refused(tmp_path: Path, machine: str, architecture: str) -> None:
    library = entry(tmp_path, "thing.libs/libthing.so.1", elf(ELF[machine]))
    refuse(library, Architecture(machine))
    with pytest.raises(BundleRefused, match=rf"libthing\.so\.1 is not for {architecture}"):
        refuse(library, Architecture(architecture))


def test_an_extension_for_another_python_is_refused(tmp_path: Path) -> None:
    extension = entry(tmp_path, "thing/_fast.cpython-312-x86_64-linux-gnu.so", elf(ELF["x86_64"]))
    with pytest.raises(BundleRefused, match="for cpython-312"):
        refuse(extension, Architecture.X86_64)


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "UNPACKED_LIMIT", 1_000)
    refuse(entry(tmp_path, "data", bytes(1_000)), Architecture.ARM64)
    with pytest.raises(BundleRefused, match="1,001 bytes unpacked; Lambda takes 1,000"):
        refuse(entry(tmp_path, "data", bytes(1_001)), Architecture.ARM64)


@pytest.mark.parametrize(
    "tag",
    [
        "py3-none-any",
        "py2.py3-none-any",
        "cp313-cp313-manylinux_2_28_aarch64",
        "cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64",
        "cp39-abi3-manylinux_2_17_aarch64",
        "py3-none-manylinux_2_28_aarch64",
    ],
)
def test_wheels_for_the_target_are_taken(tmp_path: Path, tag: str) -> None:
    wheel(tmp_path, tag)
    refuse_foreign_wheels(tmp_path, Architecture.ARM64)


@pytest.mark.parametrize(
    "tag",
    [
        "cp312-cp312-manylinux_2_28_aarch64",
        "cp313-cp313-manylinux_2_28_x86_64",
        "cp313-cp313-manylinux_2_34_aarch64",
        "cp313-cp313-musllinux_1_2_aarch64",
        "cp313-cp313-macosx_11_0_arm64",
        "cp313-cp313t-manylinux_2_28_aarch64",
        "cp314-abi3-manylinux_2_17_aarch64",
        "cp313-cp313-linux_aarch64",
    ],
)
def test_other_wheels_are_refused(tmp_path: Path, tag: str) -> None:
    wheel(tmp_path, tag)
    with pytest.raises(BundleRefused, match=f"wheel for {tag}, not for arm64"):
        refuse_foreign_wheels(tmp_path, Architecture.ARM64)


def test_one_tag_that_fits_is_enough(tmp_path: Path) -> None:
    wheel(tmp_path, "py2-none-any", "py3-none-any")
    refuse_foreign_wheels(tmp_path, Architecture.ARM64)
