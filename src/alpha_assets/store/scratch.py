"""Single files of unfinished work: resume states.  They are no outputs and have no manifest."""

from dataclasses import dataclass

from alpha_assets.store.backend import Backend
from alpha_assets.store.location import TMP, check_parts


@dataclass(frozen=True)
class Document:
    """One file, written whole or not at all.

    Attributes:
        backend: where it lies.
        name: below the root.
    """

    backend: Backend
    name: str

    @property
    def address(self) -> str:
        """How messages name it: a path or a URL."""
        return self.backend.address(self.name)

    def read(self) -> bytes | None:
        """Return the content; None where there is none.

        Raises:
            StorageError: it cannot be read.
        """
        return self.backend.get(self.name)

    def write(self, content: bytes) -> None:
        """Replace the content, in one step.

        Raises:
            StorageError: the storage refuses; the content before is untouched.
        """
        self.backend.put(self.name, content)


@dataclass(frozen=True)
class Scratch:
    """Documents below one name of `_tmp/`.

    Attributes:
        backend: where they lie.
        parts: the name below `_tmp/`.
    """

    backend: Backend
    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse names that lead out of `_tmp/`."""
        check_parts(self.parts)

    def document(self, file: str) -> Document:
        """Return a document, whether or not it was written."""
        check_parts((file,))
        return Document(self.backend, "/".join((TMP, *self.parts, file)))

    def remove(self) -> None:
        """Remove all documents; where there are none this does nothing."""
        self.backend.delete("/".join((TMP, *self.parts)))
