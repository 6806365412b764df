"""Objects by key: the few requests that the store sends, with errors that name the address."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from obstore.store import ObjectStore, from_url

from alpha_assets.errors import SpecError
from alpha_assets.store.location import shown
from alpha_assets.store.object_errors import NO_BUCKET, code_of, object_errors

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

SCHEMES = ("s3", "gs", "az")
_RETRIES: "RetryConfig" = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
_CLIENT: "ClientConfig" = {
    "timeout": timedelta(seconds=60),
    "connect_timeout": timedelta(seconds=10),
    "user_agent": "alpha-assets",
}
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_URL = re.compile(
    r"(s3|gs|az)://([A-Za-z0-9][A-Za-z0-9._\-]{1,62})"
    r"((?:/(?!\.+(?:/|$))[A-Za-z0-9_.=@\-]+)*)/?"  # no . or .. in place of a name
)


@dataclass(frozen=True)
class Found:
    """An object that was read, or looked at.

    Attributes:
        key: below the root.
        content: its bytes; empty where it was looked at alone.
        size: bytes.
        mtime_ns: last change, in nanoseconds since 1970, by the clock of the store.
        tag: its e-tag, another one wherever the bytes differ.
        version: the store's own number of it, by which some stores know a version; may be empty.
    """

    key: str
    content: bytes
    size: int
    mtime_ns: int
    tag: str
    version: str = ""

    @property
    def token(self) -> str:
        """What a write on condition of this very version is given."""
        return f"{self.tag}\n{self.version}"


@dataclass(frozen=True)
class Objects:
    """The objects below a URL; equal where the URL is.

    Attributes:
        url: `s3://bucket/prefix`; how messages name the root.
        store: sends the requests, each several times where the store is busy.
    """

    url: str
    store: ObjectStore = field(compare=False, repr=False)

    def address(self, key: str = "") -> str:
        """Return the URL of an object, or of all below the root."""
        return f"{self.url}/{key}" if key else self.url

    def get(self, key: str) -> Found | None:
        """Return an object with its content; None where there is none."""
        return self._found(key, lambda: self._read(key))

    def head(self, key: str) -> Found | None:
        """Return an object without its content; None where there is none."""
        return self._found(key, lambda: _of(b"", self.store.head(key)))

    def put(self, key: str, content: bytes, *, create: bool = False, token: str = "") -> str:
        """Write an object whole; return the token of what was written.

        Args:
            key: below the root.
            content: its bytes.
            create: on condition that there is none.
            token: on condition that it is the version of this one; see `Found.token`.

        Raises:
            AlreadyExistsError: there is one, and `create`.
            PreconditionError: it is another version.
            StorageError: the store refuses.
        """
        tag, _, version = token.partition("\n")
        named = {"e_tag": tag, "version": version}
        update = {name: value for name, value in named.items() if value}
        mode: Any = "create" if create else update or "overwrite"
        with object_errors(self.address(key), "write"):
            written = self.store.put(key, content, mode=mode, use_multipart=False)
        return f"{written['e_tag'] or ''}\n{written['version'] or ''}"

    def delete(self, *keys: str) -> None:
        """Delete objects, many in one request; absent is as good as deleted."""
        if len(keys) > 1:
            with object_errors(self.address(keys[0]), "write"):
                try:
                    self.store.delete(keys)
                    return
                except FileNotFoundError:
                    pass  # where absence is an error, it ends the request
        for key in keys:
            with object_errors(self.address(key), "write"):
                try:
                    self.store.delete(key)
                except FileNotFoundError:
                    continue

    def below(self, key: str) -> list[Found]:
        """Return all objects below a key, or all, without their content."""
        with object_errors(self.address(key), "read"):
            return [
                _of(b"", one)
                for some in self.store.list(f"{key}/" if key else None)
                for one in some
            ]

    def directly_below(self, key: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return names directly below a key: those with objects below them, and objects."""
        with object_errors(self.address(key), "read"):
            found = self.store.list_with_delimiter(f"{key}/" if key else None)
        start = len(key) + 1 if key else 0
        return (
            frozenset(prefix[start:].rstrip("/") for prefix in found["common_prefixes"]),
            frozenset(one["path"][start:] for one in found["objects"]),
        )

    def _read(self, key: str) -> Found:
        answer = self.store.get(key)
        return _of(bytes(answer.bytes()), answer.meta)

    def _found(self, key: str, find: Callable[[], Found]) -> Found | None:
        with object_errors(self.address(key), "read"):
            try:
                return find()
            except FileNotFoundError as error:
                if code_of(error) == NO_BUCKET:
                    raise
                return None


def _of(content: bytes, meta: "ObjectMeta") -> Found:
    changed = (meta["last_modified"] - _EPOCH) // timedelta(microseconds=1) * 1000
    tag, version = meta["e_tag"] or "", meta["version"] or ""
    return Found(meta["path"], content, int(meta["size"]), changed, tag, version)


def open_objects(url: str) -> Objects:
    """Return the objects below `s3://bucket/prefix`, `gs://…` or `az://…`; sends no request.

    Credentials, region and endpoint are those of the environment, by the names that the tools of
    the store use: `AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL`, …

    Raises:
        SpecError: no such URL.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise SpecError(
            f"storage = {shown(url)!r}: want s3://bucket or s3://bucket/prefix (or gs:, az:), with "
            "letters, digits and _ . = @ - in the prefix and no . or .. in place of a name; "
            "credentials belong into the environment"
        )
    # An endpoint that is named without TLS, such as one on loopback, is meant so.
    is_plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
    client: ClientConfig = {**_CLIENT, "allow_http": is_plain}
    store = from_url(url.rstrip("/"), retry_config=_RETRIES, client_options=client)
    return Objects(url.rstrip("/"), store)
