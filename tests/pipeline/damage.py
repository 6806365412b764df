"""Damage to a stored file, which may be shared with other storages by a hard link."""

from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Put another file in the place of one."""
    path.unlink()
    path.write_bytes(content)


def truncated(path: Path) -> None:
    """Leave out the last bytes of a file."""
    replace(path, path.read_bytes()[:-9])


def flipped(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    replace(path, bytes(content))
