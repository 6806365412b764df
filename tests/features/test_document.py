"""The generated page of features says what the catalogue says."""

from pathlib import Path

from alpha_assets.features import CATALOG
from alpha_assets.features.document import page

STORED = Path(__file__).parents[2] / "docs" / "FEATURES.md"


def test_the_stored_page_is_the_generated_one() -> None:
    assert STORED.read_text(encoding="utf-8") == page(CATALOG), "run `make docs`"


def test_every_feature_stands_on_the_page_once() -> None:
    text = page(CATALOG)
    for feature in CATALOG:
        assert text.count(f"| `{feature.name}` |") == 1
