"""Digests that processes over equal files share."""

import json
from contextlib import suppress
from pathlib import Path

from alpha_assets.kept import read_kept, write_kept

CODE_LENGTH = 32  # hexadecimal digits
CACHED_VERSIONS = 8  # of the package, the latest made; a file of some 100 KB each


class KeptDigests(dict[str, str]):
    """Digests by what was asked for, in a file that processes over equal files share.

    See `kept`: one that is damaged, or of other content, is not read.
    """

    def __init__(self, folder: Path | None = None, content: str = "") -> None:
        super().__init__()
        self._file = folder / f"code-{content[:CODE_LENGTH]}.json" if folder else None
        self._content = content
        self.update(self._read())
        self._n_written = len(self)

    def _read(self) -> dict[str, str]:
        text = None if self._file is None else read_kept(self._file, self._content)
        found: dict[str, str] = json.loads(text) if text is not None else {}
        return found

    def write(self) -> None:
        """Add what is new to the file, which readers see before or after; nothing is waited for."""
        if self._file is None or len(self) == self._n_written:
            return
        self.update(self._read())
        self._n_written = len(self)
        write_kept(self._file, self._content, json.dumps(self, sort_keys=True))
        with suppress(OSError):
            files = sorted(self._file.parent.glob("code-*"), key=lambda path: path.stat().st_mtime)
            for path in files[:-CACHED_VERSIONS]:
                path.unlink(missing_ok=True)
