"""An object store in memory that cuts a connection at the request that a test chooses."""

import threading
from collections.abc import Callable
from typing import Any

from obstore import exceptions
from obstore.store import MemoryStore


class Cut(exceptions.BaseError):
    """A connection that was cut, in the place of what obstore raises after its retries."""


class Unreliable:
    """A store in memory whose n-th request is cut: before it arrives, or after it took effect."""

    def __init__(self, at: int | None = None, *, takes_effect: bool = False) -> None:
        self.store = MemoryStore()
        self.at = at
        self.takes_effect = takes_effect
        self.count = 0
        self.lock = threading.Lock()
        self.before: Callable[[str, str], None] = lambda verb, key: None

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def request(key: Any = None, *args: Any, **options: Any) -> Any:
            self.before(verb, key if isinstance(key, str) else " ".join(key or ()))
            with self.lock:  # a writer sends several at a time
                self.count += 1
                is_cut = self.at is not None and self.count == self.at
            answer = None
            if not is_cut or self.takes_effect:
                answer = getattr(self.store, verb)(key, *args, **options)
            if is_cut:
                raise Cut("connection closed")
            return answer

        return request
