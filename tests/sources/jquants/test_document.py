"""The page of the API's endpoints is what the code declares."""

from pathlib import Path

from alpha_assets.feeds import FEEDS
from alpha_assets.sources.jquants.document import page

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_the_declarations() -> None:
    written = (DOCS / "JQUANTS.md").read_text(encoding="utf-8")
    assert written == page(), "the declarations have changed: run `make docs`"


def test_a_column_is_shown_with_the_api_s_and_its_unit() -> None:
    shown = page()
    assert "| `margin` | `/markets/margin-interest` | standard |" in shown
    assert "| `short_negotiable` | `ShrtNegVol` | shares |" in shown
    assert "| `sales` | `Sales`, else `NCSales` | " in shown
    assert all(f"`{name}`" in shown for name in FEEDS)
