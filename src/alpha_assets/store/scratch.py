"""Files of unfinished work: resume states.  They are no outputs and have no manifest."""

from dataclasses import dataclass

from alpha_assets.store.backend import Backend
from alpha_assets.store.location import TMP, check_parts


@dataclass(frozen=True)
class Scratch:
    """A place below `_tmp/`, whose files are each written whole or not at all.

    Attributes:
        backend: where it lies.
        parts: its name below `_tmp/`.
    """

    backend: Backend
    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse names that lead out of `_tmp/`."""
        check_parts(self.parts)

    def address(self, file: str) -> str:
        """Return how messages name a file: a path or a URL."""
        return self.backend.address(self._name(file))

    def read(self, file: str) -> bytes | None:
        """Return the content of a file; None where there is none.

        Raises:
            StorageError: it cannot be read.
        """
        return self.backend.get(self._name(file))

    def write(self, file: str, content: bytes) -> None:
        """Write a file in the place of the one before, in one step.

        Raises:
            StorageError: the disk refuses; the one before is untouched.
        """
        self.backend.put(self._name(file), content)

    def remove(self) -> None:
        """Remove the place with all its files; absent is as good as removed."""
        self.backend.delete("/".join((TMP, *self.parts)))

    def _name(self, file: str) -> str:
        check_parts((file,))
        return "/".join((TMP, *self.parts, file))
