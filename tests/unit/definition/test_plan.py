from engine.definition import plan

GROUPS = (("a",), ("b", "c"), ("d",))


def test_groups_flatten_in_order() -> None:
    assert plan.flat(GROUPS) == ("a", "b", "c", "d")


def test_a_stage_has_the_number_of_its_group() -> None:
    assert [plan.group_of(GROUPS, each) for each in "abcdx"] == [1, 2, 2, 3, None]


def test_the_stage_before_is_the_one_listed_before() -> None:
    assert [plan.before(GROUPS, each) for each in "abcd"] == [None, "a", "b", "c"]


def test_repeated_ids_are_found_once_each() -> None:
    assert plan.repeated((("a", "b"), ("b", "a", "b"))) == ("b", "a")
