"""HTML whose elements and markup never end: text is read, or a note tells what was left out."""

import pytest

from functions.workflows.documents.structure import Structure
from tests.unit.workflows.documents import headings, read, text_of

LEFT_OUT = ["nav", "noscript", "template", "svg", "math", "iframe", "object", "select"]
READ = ["button", "textarea", "label", "a", "span"]


def html(text: str) -> Structure:
    return read("a.html", text).structure


@pytest.mark.parametrize("tag", LEFT_OUT)
def test_an_element_without_prose_is_left_out_when_it_ends(tag: str) -> None:
    structure = html(f"<h1>Tide</h1><{tag} id=x><g><option>left out</g></{tag}><p>The tide turns.</p>")
    assert (text_of(structure), structure.notes) == ("The tide turns.", ())


@pytest.mark.parametrize("tag", [*LEFT_OUT, *READ])
@pytest.mark.parametrize(
    "page",
    [
        "<h1>Tide</h1><{tag}><p>The tide turns.</p>",
        "<body><h1>Tide</h1><{tag}><p>The tide turns.</p></body></html>",
        "<h1>Tide</h1><div><{tag}></div><p>The tide turns.</p>",
        "<h1>Tide</h1><nav>Home<{tag}></nav><p>The tide turns.</p>",
        "<h1>Tide</h1><table><tr><td><{tag}></table><p>The tide turns.</p>",
        "<h1>Tide</h1><{tag}><{tag}></{tag}><p>The tide turns.</p>",
    ],
)
def test_an_element_that_never_ends_hides_no_text_after_it(tag: str, page: str) -> None:
    structure = html(page.format(tag=tag))
    assert text_of(structure).splitlines()[-1] == "The tide turns."
    assert headings(structure) == [(1, "Tide")]


@pytest.mark.parametrize("tag", ["nav", "noscript", "svg", "math"])
def test_a_late_end_tag_belongs_to_no_element_that_ended_with_its_parent(tag: str) -> None:
    assert text_of(html(f"<div><{tag}></div><p>The tide turns.</p></{tag}><p>It ebbs.")) == "The tide turns.\nIt ebbs."


@pytest.mark.parametrize("tag", ["svg", "math"])
@pytest.mark.parametrize("block", ["p", "div", "ul", "h2", "table", "span"])
def test_html_breaks_out_of_svg_and_math(tag: str, block: str) -> None:
    structure = html(f"<p>Tide</p><{tag}><g><{block}>The tide turns.</{block}></{tag}>")
    assert "The tide turns." in [text_of(structure).splitlines()[-1], *(text for _, text in headings(structure))]


@pytest.mark.parametrize("page", ["<div><svg><td></div>", "<table><tr><td><svg><template></table>"])
def test_svg_has_no_scopes_of_html(page: str) -> None:
    assert text_of(html(f"{page}The tide turns.</svg>")) == "The tide turns."


def test_the_title_of_an_svg_that_never_ends_is_text() -> None:
    structure = html("<svg><title>icon</title><p>The tide turns.")
    assert (structure.title, text_of(structure)) == ("", "icon\nThe tide turns.")


def test_the_end_of_a_paragraph_breaks_out_of_svg() -> None:
    assert text_of(html("<svg><path></p>The tide turns.</svg>")) == "The tide turns."


@pytest.mark.parametrize(
    "inside",
    ["<foreignObject><p>label</p></foreignObject>", "<title>label", "<title><p>label</p></title>", "<desc><p>x</p>"],
)
def test_html_inside_svg_is_left_out_with_it(inside: str) -> None:
    assert text_of(html(f"<svg>{inside}</svg><p>The tide turns.")) == "The tide turns."


def test_an_end_tag_inside_svg_ends_no_element_around_it() -> None:
    assert text_of(html("<div><svg><desc><p>label</div></p></desc></svg><p>The tide turns.")) == "The tide turns."


@pytest.mark.parametrize("page", ["<div><nav><table><td>Home</div></table></nav>", "<b><nav>Home</b></nav>"])
def test_a_stray_end_tag_ends_no_element_around_it(page: str) -> None:
    assert text_of(html(f"{page}<p>The tide turns.")) == "The tide turns."


@pytest.mark.parametrize("start", ["<p>", "<ul>", "<table>", "<h2>Ebb</h2>", "<input>", "<select></select>"])
def test_blocks_and_fields_end_a_select(start: str) -> None:
    assert text_of(html(f"<select><option>one<option>two{start} The tide turns.</select>")).endswith("The tide turns.")


def test_the_options_of_a_select_that_never_ends_are_paragraphs() -> None:
    assert text_of(html("<select><option>one<option>two<p>The tide turns.")) == "one\ntwo\nThe tide turns."


def test_navigation_parts_the_text_around_it() -> None:
    assert text_of(html("The tide turns.<nav>Home</nav>It ebbs.")) == "The tide turns.\nIt ebbs."


def test_a_template_ends_whatever_is_open_inside() -> None:
    assert text_of(html("<template><table><td>row</template><p>The tide turns.")) == "The tide turns."


def test_an_empty_element_of_xhtml_holds_nothing() -> None:
    assert text_of(html("<script src='x'/><iframe/><p>The tide turns.")) == "The tide turns."


def test_a_second_title_is_text() -> None:
    structure = html("<title>The tide</title><title>It ebbs.</title><p>The tide turns.")
    assert (structure.title, text_of(structure)) == ("The tide", "It ebbs.\nThe tide turns.")


@pytest.mark.parametrize(
    "rest", ["<body><p>The tide turns.</p><svg><title>icon</title></svg>", "</head>The tide turns."]
)
def test_a_title_that_never_ends_ends_at_the_next_tag(rest: str) -> None:
    structure = html(f"<title>The tide{rest}")
    assert (structure.title, text_of(structure)) == ("The tide", "The tide turns.")


@pytest.mark.parametrize(
    ("page", "title", "text"),
    [
        (
            "<title>Use of <b> &amp; <!-- in HTML</title><p>The tide turns.",
            "Use of <b> & <!-- in HTML",
            "The tide turns.",
        ),
        ("<textarea>a &lt; b <nav></textarea><p>The tide turns.", "", "a < b <nav>\nThe tide turns."),
        ("<iframe><script></iframe><p>The tide turns.", "", "The tide turns."),
        ("<textarea>one<textarea>two</textarea><p>The tide turns.", "", "onetwo\nThe tide turns."),
        ("<svg><title>icon</title></svg><p>The tide turns.", "", "The tide turns."),
    ],
)
def test_tags_inside_raw_text_are_text(page: str, title: str, text: str) -> None:
    structure = html(page)
    assert (structure.title, text_of(structure)) == (title, text)


@pytest.mark.parametrize(
    ("tail", "note"),
    [
        ("<script>var x = 1", "a script element never ends; everything from there was left out"),
        ("<style>p {} <p>", "a style element never ends; everything from there was left out"),
        ("<svg><style>p {}<p>It ebbs.", "a style element never ends; everything from there was left out"),
        ("<!-- It ebbs. <p>", "a comment never ends; the 17 characters from there were left out"),
        ("<a href='x", "a tag never ends; the 10 characters from there were left out"),
    ],
)
def test_a_note_tells_what_was_left_out_because_it_never_ends(tail: str, note: str) -> None:
    document = read("a.html", f"<p>The tide turns.</p>{tail}")
    assert text_of(document.structure).splitlines()[0] == "The tide turns."
    assert document.notes == (note,)


def test_style_inside_svg_swallows_no_html() -> None:
    assert text_of(html("<svg><style>p {}<p>The tide turns.")) == "The tide turns."


@pytest.mark.parametrize(
    "page",
    [
        "<script><!-- old\nvar x = 1</script><p>The tide turns.",
        "<!--><p>The tide turns.",
        "<!-- odd --!><p>The tide turns.",
        "<!--!> odd too --><p>The tide turns.",
        "<![x[y]]><p>The tide turns.",
        "<![if IE]><p>The tide turns.<![endif]>",
        "<!ELEMENT x><p>The tide turns.",
    ],
)
def test_odd_comments_hide_no_text_after_them(page: str) -> None:
    structure = html(page)
    assert (text_of(structure), structure.notes) == ("The tide turns.", ())


@pytest.mark.parametrize(
    "markup",
    [
        "<i>" + "<b>" * 30_000 + "</nav>" * 30_000,
        "<nav><table><td>" + "<div>" * 30_000 + "</nav>" * 30_000,
        "<i><div>" + "<b>" * 30_000 + "</i>" * 30_000,
        "<nav>" * 30_000,
        "<title>" * 30_000,
        "<textarea>" * 30_000 + "</textarea>",
        "<svg><title>" * 15_000,
        "<select>" * 30_000,
    ],
    ids=lambda markup: markup[:20],
)
def test_hostile_nesting_is_read_in_linear_time(markup: str) -> None:
    assert "The tide turns." in text_of(html(f"<p>The tide turns.</p>{markup}"))
