"""How far a loop is: count, rate and time left."""

import time
from collections.abc import Callable

EVERY = 2.0  # seconds between two reports

Progress = Callable[[str, str], None]  # (stage, what is being done)


class Pace:
    """Reports a loop of known length, at most every two seconds.

    The rate is that of the loop so far; the time left assumes that it holds.
    """

    def __init__(
        self,
        report: Progress,
        stage: str,
        *,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count.

        Args:
            report: where lines go.
            stage: under which they appear.
            every: least seconds between two lines.
            clock: seconds, for tests.
        """
        self._report, self._stage, self._every, self._clock = report, stage, every, clock
        self._what: str | None = None
        self._start = self._last = clock()
        self._done_at_start, self._is_over = 0, False

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` parts of `what` are done; another `what` starts anew."""
        now = self._clock()
        if what != self._what:
            self._what, self._start, self._last = what, now, now
            self._done_at_start, self._is_over = done, False
            return
        if self._is_over or (now - self._last < self._every and done < total):
            return
        if now - self._start < self._every:
            return  # over before anybody could wait for it
        self._last, self._is_over = now, done >= total
        rate = (done - self._done_at_start) / (now - self._start)
        words = f"{what}: {done:,} of {total:,}"
        if rate > 0:
            words += f", {_rate(rate)}"
            if done < total:
                words += f", {duration((total - done) / rate)} left"
        self._report(self._stage, words)


def bar(done: int, total: int, width: int = 20) -> str:
    """Return a bar of a fixed width that is filled by the share that is done."""
    filled = min(width, width * done // total)
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def _rate(rate: float) -> str:
    """Return a rate in the unit that makes it readable."""
    return f"{rate:,.1f} a second" if rate >= 1 else f"{1 / rate:,.1f} s each"


def duration(seconds: float) -> str:
    """Return seconds in words: 42 s, 7 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
