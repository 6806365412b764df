"""Errors of an object store as `StorageError`s that name address, reason and remedy.

What a store answers may hold a key or a token, so that no answer is repeated: its code alone is.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions

from alpha_assets.errors import StorageError

_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_EXPIRED = {"ExpiredToken", "TokenRefreshRequired"}
_UNKNOWN = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthFailure"}
_SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
NO_BUCKET = "NoSuchBucket"
_NO_BUCKET = "there is no such bucket; make it, or choose another --storage"


@contextmanager
def object_errors(address: str, doing: str) -> Iterator[None]:
    """Turn what an object store answers into a `StorageError` about `address`.

    `FileNotFoundError`, and a conditional write whose condition does not hold, pass.

    Args:
        address: what was being read or written, for the message.
        doing: `"read"` or `"write"`.
    """
    try:
        yield
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise
    except FileNotFoundError as error:
        if code_of(error) != NO_BUCKET:
            raise
        raise StorageError(f"{address}: {_NO_BUCKET}") from None
    except exceptions.BaseError as error:
        if code_of(error) == NO_BUCKET:  # as a listing has it
            raise StorageError(f"{address}: {_NO_BUCKET}") from None
        raise StorageError(f"{address}: cannot {doing}: {_words(error)}") from None


def code_of(error: Exception) -> str:
    """Return the code that an answer names; empty where it names none."""
    found = _CODE.search(str(error))
    return found.group(1) if found else ""


def _words(error: exceptions.BaseError) -> str:
    code = code_of(error)
    named = f" ({code})" if code else ""
    if code in _EXPIRED:
        return f"the credentials have expired{named}; renew them in the environment and run again"
    if code in _UNKNOWN:
        return (
            f"the store does not accept the credentials of the environment{named}; set the right "
            "ones and run again"
        )
    if code in _SKEWED:
        return (
            f"the clock of this machine differs too much from that of the store{named}; set it "
            "and run again"
        )
    status = _STATUS.search(str(error))
    is_refused = status is not None and status.group(1) in ("401", "403")
    denied = exceptions.PermissionDeniedError | exceptions.UnauthenticatedError
    if is_refused or isinstance(error, denied):
        return (
            f"permission denied{named}; give the credentials of the environment the right to list, "
            "read, write and delete there, or choose another --storage"
        )
    if isinstance(error, exceptions.NotSupportedError):
        return (
            "the store has no conditional writes, by which writers keep out of each other's way; "
            "choose one that has them, or a local folder"
        )
    answered = f", which answered {status.group(1)}" if status and not code else ""
    return (
        f"no success after several tries{named}{answered}; what was finished before is untouched: "
        "see whether the store is up and within its limits, and run again"
    )
