"""What can be made to go wrong, when, and how often."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "too_many",  # 429 without Retry-After
    "error",  # 500
    "hang",  # no answer until the server stops
    "cut",  # a body shorter than announced
    "malformed",  # half of a JSON text
    "repeat",  # the page before once more; waits for a request of a further page
    "empty",  # no rows, as if nothing had been published
]


@dataclass
class Fault:
    """One thing that goes wrong.

    `after` requests that it could have met pass unharmed, then `times` of them are met.
    """

    kind: Kind
    times: int = 1
    after: int = 0
    path: str | None = None  # None: any


@dataclass
class Faults:
    """A script of faults, each used up once."""

    script: list[Fault] = field(default_factory=list)

    def __init__(self, script: Iterable[Fault] = ()) -> None:
        self.script = [Fault(f.kind, f.times, f.after, f.path) for f in script]
        self._lock = threading.Lock()

    def meet(self, path: str, is_further_page: bool) -> Kind | None:
        """Return what befalls a request, if anything."""
        with self._lock:
            for fault in self.script:
                if fault.times <= 0 or fault.path not in (None, path):
                    continue
                if fault.kind == "repeat" and not is_further_page:
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault.kind
        return None
