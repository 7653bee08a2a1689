"""The elements of HTML by the rules that apply to them; the numbers are sections of the HTML standard."""

from typing import Final


def _tags(names: str) -> frozenset[str]:
    return frozenset(names.split())


HEADINGS: Final = _tags("h1 h2 h3 h4 h5 h6")
BLOCKS: Final = _tags("""
    address article aside blockquote body caption dd details dialog div dl dt fieldset figcaption figure
    footer form header hr html li main nav ol option p pre section summary table tbody tfoot thead tr ul
""")
CELLS: Final = _tags("td th")

CODE: Final = _tags("script style")
LEFT_OUT: Final = CODE | _tags("nav noscript template svg math iframe object select")
VOID: Final = _tags("area base br col embed hr img input link meta param source track wbr")

# 13.2.6.5: SVG and MathML, where HTML may stand inside them, and the start tags that end them.
FOREIGN: Final = _tags("svg math")
INTEGRATION_POINTS: Final = _tags("foreignobject desc title mi mo mn ms mtext annotation-xml")
BREAKOUT: Final = HEADINGS | _tags("""
    b big blockquote body br center code dd div dl dt em embed head hr i img li listing menu meta nobr ol p pre ruby
    s small span strong strike sub sup table tt u ul var
""")
# Browsers end a select at input, select and textarea only, and drop the other tags but keep their text in its list.
SELECT_ENDS: Final = HEADINGS | _tags("""
    address article aside blockquote dl fieldset figure footer form header input main nav ol p pre section select
    table textarea ul
""")

# 13.2.4.2: how far an end tag reaches.
SCOPE: Final = _tags("caption html marquee object select table td template th")
TABLE: Final = _tags("caption table tbody td tfoot th thead tr")
TABLE_SCOPE: Final = _tags("html table template")
SPECIAL: Final = (HEADINGS | SCOPE | TABLE | LEFT_OUT - FOREIGN) | _tags("""
    address article aside blockquote body button center colgroup dd details dir div dl dt fieldset figcaption figure
    footer form frameset head header hgroup li listing main menu noembed noframes ol p pre search section summary
    textarea title ul xmp
""")
