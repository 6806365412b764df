"""Errors of the operating system as `StorageError`s that name path, reason and remedy."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alpha_assets.errors import AlphaAssetsError, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def disk_errors(
    path: Path | str, doing: str, passing: tuple[type[OSError], ...] = ()
) -> Iterator[None]:
    """Turn what the operating system raises into a `StorageError` about `path`.

    Args:
        path: what was being read or written, for the message.
        doing: `"read"` or `"write"`.
        passing: errors that the caller handles; they are raised unchanged.
    """
    try:
        yield
    except AlphaAssetsError:
        raise
    except OSError as error:
        if isinstance(error, passing):
            raise
        raise StorageError(f"{path}: {_words(error, doing)}") from error


def _words(error: OSError, doing: str) -> str:
    reason = error.strerror or str(error)
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in _FULL:
        return (
            f"cannot {doing}: {reason}{where}; free some space or choose another --storage, "
            "then run again: what was finished before is untouched"
        )
    if error.errno in _FORBIDDEN:
        return (
            f"cannot {doing}: {reason}{where}; give this user the right to {doing} there or "
            "choose another --storage, then run again"
        )
    if error.errno == errno.EXDEV:
        return (
            f"cannot {doing}: {reason}{where}; the whole storage root must lie on one file "
            "system, so that finished folders can be moved into place"
        )
    way_out = "" if doing == "read" else "; choose another --storage, then run again"
    return f"cannot {doing}: {reason}{where}{way_out}"
