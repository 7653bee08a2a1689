"""Headings, paragraphs and links of text, Markdown and HTML."""

import pytest

from tests.unit.workflows.documents import headings, read, sample, text_of


def test_the_markdown_sample_is_read_as_its_author_meant_it() -> None:
    structure = sample("sample.md").structure
    assert structure.title == "A winter with three tidal turbines"
    assert headings(structure) == [
        (1, "A winter with three tidal turbines"),
        (2, "Why we went"),
        (2, "The site"),
        (2, "What we measured"),
        (2, "Biofouling"),
        (2, "Servicing at slack water"),
        (2, "What comes next"),
    ]
    text = text_of(structure)
    assert "a small tidal turbine would turn" in text
    assert "Clara; 8 m; 31 m; 120 kW" in text
    assert "def power" not in text
    assert [link.target for link in structure.links] == [
        "https://example.org/gravity-foundations",
        "https://example.org/kerrow-data",
        "mailto:data@example.org",
    ]


def test_the_text_sample_has_its_underlined_and_numbered_headings_and_whole_words() -> None:
    structure = sample("sample.txt").structure
    assert headings(structure) == [
        (1, "Night watch at the tide gauge"),
        (1, "THE TASK"),
        (1, "1. What the float knows"),
        (1, "2. What the radar knows"),
        (1, "3. What we recommend"),
    ]
    assert "old float had drifted since" in text_of(structure)


def test_the_html_sample_is_what_a_reader_sees() -> None:
    structure = sample("sample.html").structure
    assert structure.title == "Gezeitenstrom im Kerrow-Sund: ein Zwischenbericht"
    assert [heading for _, heading in headings(structure)] == [
        "Gezeitenstrom im Kerrow-Sund",
        "Ertrag",
        "Bewuchs",
        "Wartung",
    ]
    text = text_of(structure)
    assert "Anna; 58 MWh" in text
    assert "console.log" not in text
    assert "Startseite" not in text


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("Title\n=====\n\ntext", [(1, "Title")]),
        ("Two\nlines\n---\ntext", [(2, "Two lines")]),
        ("### Closed ###\ntext", [(3, "Closed")]),
        ("#hashtag\n", []),
        ("```\n# code\n```\ntext", []),
        ("````\n```\n# code\n````\n# real\ntext", [(1, "real")]),
        ("# **Bold** `code` [link](x)\ntext", [(1, "Bold code link")]),
    ],
)
def test_markdown_headings(markdown: str, expected: list[tuple[int, str]]) -> None:
    assert headings(read("a.md", markdown).structure) == expected


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("- one\n- two", "one\ntwo"),
        ("> quoted\n> twice", "quoted twice"),
        ("snake_case and 2 * 3 * 4", "snake_case and 2 * 3 * 4"),
        ("an ![image](a.png) here", "an image here"),
        ("see [this][ref]\n\n[ref]: https://example.org", "see this"),
        ("write to <mailto:a@example.org>", "write to a@example.org"),
        ("- [x] done", "done"),
        ("a <b>bold</b> word<!-- hidden -->", "a bold word"),
    ],
)
def test_markdown_is_stripped_to_its_words(markdown: str, text: str) -> None:
    assert text_of(read("a.md", markdown).structure) == text


def test_links_that_run_code_are_left_out() -> None:
    links = read("a.html", '<a href="JavaScript:alert(1)">x</a> <a href="/ok">y</a>').structure.links
    assert [link.target for link in links] == ["/ok"]


@pytest.mark.parametrize("tail", ["<a href='x", "<!-- never ends", "</", "<?", "<![CDATA["])
def test_html_that_stops_inside_markup_keeps_the_text_before(tail: str) -> None:
    assert text_of(read("a.html", f"<p>The tide turns {tail}").structure) == "The tide turns"


def test_html_may_be_as_broken_as_it_likes() -> None:
    structure = read("a.html", "<h2>Open<p>one<div>two</h3></div><table><td>3<td>4<tr>1 < 2").structure
    assert text_of(structure) == "one\ntwo\n3; 4\n1 < 2"
