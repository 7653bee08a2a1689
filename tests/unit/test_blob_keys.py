import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.blob_keys import artifact_name, is_under, validate_key
from engine.domain.errors import InvalidBlobKey


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


def test_an_artifact_needs_a_name() -> None:
    with pytest.raises(InvalidBlobKey):
        artifact_name("")


def test_a_refusal_shows_the_key_and_what_is_wrong_with_it() -> None:
    with pytest.raises(InvalidBlobKey, match=r"'a/\.\./b' has the segment '\.\.'"):
        validate_key("a/../b")


def test_a_key_is_under_its_own_prefix_only() -> None:
    assert [is_under(key, "run/1") for key in ("run/1", "run/1/a", "run/10", "run")] == [True, True, False, False]
