import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.blob_keys import (
    KEY_BYTES,
    NAME_BYTES,
    artifact_name,
    claim_prefix,
    generation_prefix,
    is_under,
    storage_name,
    validate_key,
)
from engine.domain.errors import InvalidBlobKey
from engine.domain.limits import ID, NAME
from engine.testing.contracts.rows import a_run, a_stage

LETTERS = "a/~%2EF.\\ é\U0001f9fe"


@st.composite
def long_names(draw: st.DrawFn) -> str:
    """Names around the limit, which often differ only in their middle, ending or length."""
    unit, times = draw(st.text(LETTERS, min_size=1, max_size=3)), draw(st.integers(0, NAME // 3 - 10))
    return draw(st.text(LETTERS, max_size=3)) + unit * times + draw(st.sampled_from(["", ".txt", "b.txt", "~"])) or "a"


@pytest.mark.parametrize("name", ["report.pdf", "report 1.pdf", "a-b_c"])
def test_a_plain_artifact_name_stays_readable(name: str) -> None:
    assert artifact_name(name) == name


@given(st.text(min_size=1))
def test_any_artifact_name_is_one_valid_segment(name: str) -> None:
    segment = artifact_name(name)
    assert validate_key(f"a/{segment}/b").count("/") == 2


@given(st.text(alphabet="a/~%2EF.\\ é", min_size=1), st.text(alphabet="a/~%2EF.\\ é", min_size=1))
def test_different_names_never_share_a_segment(one: str, other: str) -> None:
    assert (artifact_name(one) == artifact_name(other)) == (one == other)


@given(long_names())
def test_a_long_name_is_one_valid_segment_that_fits_a_file_system(name: str) -> None:
    segment = artifact_name(name)
    assert len(segment.encode()) <= NAME_BYTES
    assert validate_key(f"a/{segment}/b").count("/") == 2


@given(long_names(), long_names())
def test_different_long_names_never_share_a_segment(one: str, other: str) -> None:
    assert (artifact_name(one) == artifact_name(other)) == (one == other)
    assert (storage_name(one) == storage_name(other)) == (one == other)


@pytest.mark.parametrize("shorten", [artifact_name, storage_name])
def test_a_shortened_name_is_not_the_name_that_looks_like_it(shorten: Callable[[str], str]) -> None:
    short = shorten("a" * 300 + ".txt")
    assert short.startswith("a" * 160)
    assert short.endswith(".txt")
    assert len(short) == NAME_BYTES
    assert len({short, shorten(short), shorten(shorten(short)), shorten("a" * 301 + ".txt")}) == 4


def test_a_shortened_name_ends_in_a_whole_escape() -> None:
    for padding in range(9):
        head, _, _ = artifact_name("a" * padding + "二" * 100).partition("~~")
        assert re.fullmatch(r"a*(~[0-9A-F]{2})*", head)


@pytest.mark.parametrize("name", ["a" * NAME_BYTES, "é" * (NAME_BYTES // 2), "a/b.json", "~~x"])
def test_a_name_in_storage_that_fits_stays_as_it_is(name: str) -> None:
    assert storage_name(name) == name


@pytest.mark.parametrize("name", ["é" * (NAME_BYTES // 2 + 1), "二" * 100 + "/" + "二" * 100])
def test_a_long_part_of_a_name_in_storage_is_shortened(name: str) -> None:
    parts = storage_name(name).split("/")
    assert len(parts) == len(name.split("/"))
    assert all(len(part.encode()) <= NAME_BYTES for part in parts)


def test_the_longest_keys_of_the_engine_fit_into_every_store() -> None:
    run = a_run("r" * 36, workflow_id="w" * ID, workflow_type="w" * ID)
    stage = a_stage("s" * ID, generation=10**9)
    longest = artifact_name("二" * NAME)
    for key in (
        f"{claim_prefix(run, stage, 'token')}/artifacts/{longest}",
        f"{generation_prefix(run, stage)}/files/{storage_name(f'once/{longest}.json')}",
    ):
        assert len(validate_key(key)) <= KEY_BYTES - 300


def test_a_name_beyond_the_limit_is_refused() -> None:
    artifact_name("n" * NAME)
    with pytest.raises(InvalidBlobKey, match=r"^the name 'n{60}…' has 1,025 characters; use at most 1,024$"):
        artifact_name("n" * (NAME + 1))


def test_an_artifact_needs_a_name() -> None:
    with pytest.raises(InvalidBlobKey):
        artifact_name("")


def test_a_refusal_shows_the_key_and_what_is_wrong_with_it() -> None:
    with pytest.raises(InvalidBlobKey, match=r"'a/\.\./b' has the segment '\.\.'"):
        validate_key("a/../b")


def test_a_key_is_under_its_own_prefix_only() -> None:
    assert [is_under(key, "run/1") for key in ("run/1", "run/1/a", "run/10", "run")] == [True, True, False, False]
