"""Text of unknown origin: what is printed of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha_assets.printable import printable


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("7203", "7203"),
        ("トヨタ", "トヨタ"),
        ("A\x00B", "A\\x00B"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines", "two\\nlines"),
        ("A\u200bB", "A\\u200bB"),
        ("A\u202eB", "A\\u202eB"),
    ],
)
def test_what_cannot_be_shown_is_escaped(text: str, wanted: str) -> None:
    assert printable(text) == wanted


def test_a_megabyte_is_shown_by_its_ends_and_its_length() -> None:
    shown = printable("A" + "x" * 1_000_000 + "Z", 60)
    assert len(shown) == 60
    assert (shown[0], shown[-1], "(1,000,002 characters)" in shown) == ("A", "Z", True)


@given(st.text(st.characters(), max_size=300), st.integers(60, 100))
def test_every_text_is_printable_and_short(text: str, width: int) -> None:
    shown = printable(text, width)
    assert shown.isprintable()
    assert len(shown) <= width
