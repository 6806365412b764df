"""Text of unknown origin as it may be printed: escaped and shortened."""

import re

# Fillers, blanks and selectors that are letters, signs or marks by their class and show nothing:
# the inside of a class of characters, of `re` and of polars alike.
UNSEEN = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef"
)
_IS_UNSEEN = re.compile(f"[{UNSEEN}]")

ENDS = 12  # characters kept of the end of a text that is cut


def printable(text: str, width: int = 200) -> str:
    r"""Return `text` with every character that is not printable escaped, at most `width` long.

    Control characters, line ends, zero-width and direction marks, fillers, surrogates and private
    characters become `\xNN`, `\uNNNN` or `\UNNNNNNNN`; what is cut out of a long text is
    replaced by its length.

    Args:
        text: any text, of any length.
        width: greatest number of characters returned; at least 60.
    """
    length = len(text)
    # Only what can be shown is escaped: a megabyte is not walked through.
    start, end = text[:width], text[-ENDS:] if length > width else ""
    start = _escaped(start)
    if length <= width and len(start) <= width:
        return start
    end = _escaped(end)[-ENDS:]
    note = f"…({length:,} characters)…"
    return start[: max(0, width - len(note) - len(end))] + note + end


def _escaped(text: str) -> str:
    if text.isprintable() and not _IS_UNSEEN.search(text):
        return text
    return "".join(
        char
        if char.isprintable() and not _IS_UNSEEN.match(char)
        else char.encode("unicode_escape").decode()
        for char in text
    )
