"""How much memory a process may take for what it keeps: a setting of running, not of a recipe."""

import os
import re

from alpha_assets.errors import BadInput

MEMORY_VARIABLE = "ALPHA_MEMORY"
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)?\s*", re.IGNORECASE)


def memory_named(size: str | None = None) -> int:
    """Return a number of bytes from words such as `8 GB`.

    Args:
        size: default: that of the environment, else half of the machine's memory.

    Raises:
        BadInput: no size, or none that is above 0.
    """
    word = os.environ.get(MEMORY_VARIABLE, "") if size is None else size
    if not word:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    found = _SIZE.fullmatch(word)
    n_bytes = int(float(found[1]) * UNITS[(found[2] or "B").upper()]) if found else 0
    if n_bytes < 1:
        raise BadInput(
            f"{MEMORY_VARIABLE} = {word!r} is no size; want bytes, or a number with KB, MB, GB or "
            "TB, such as 8GB"
        )
    return n_bytes
