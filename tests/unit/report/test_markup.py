"""HTML is escaped in one place."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from data_miner_worker.report.markup import Markup, join, tag


class Reader(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


printable = st.text(st.characters(exclude_categories=["C"]), max_size=40)


@given(text=printable, attribute=printable)
def test_text_comes_out_as_it_went_in(text: str, attribute: str) -> None:
    """Whatever is said, a browser sees one element with that text and that attribute."""
    reader = Reader()
    reader.feed(tag("p", text, title=attribute))
    reader.close()

    assert reader.tags == [("p", {"title": attribute})]
    assert reader.text == text


def test_markup_stays_markup() -> None:
    """Elements nest; None and missing attributes are left out; void elements are not closed."""
    line = tag("p", tag("b", "1 < 2"), None, [" or ", 3], class_=None, data_x="&")

    assert line == '<p data-x="&amp;"><b>1 &lt; 2</b> or 3</p>'
    assert tag("br") == "<br>"
    assert join(None) == Markup()
