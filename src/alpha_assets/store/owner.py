"""Identity of a process, and whether it is still alive.

A process number alone is not a name: it is used again after a reboot or a long while.  With
the boot and the clock tick at which the process started it is one.
"""

import os
import re
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_STAT = Path("/proc/stat")
_SLACK_SECONDS = 5  # boot is known to the second, and drifts where the clock is set
_WORD = re.compile(r"[^A-Za-z0-9.\-]+")


@dataclass(frozen=True)
class Owner:
    """A process of some host."""

    host: str
    pid: int
    start: str  # `<boot>.<tick>`; empty where the system has none

    @classmethod
    def current(cls) -> "Owner":
        """Return this process."""
        pid = os.getpid()
        return cls(host=_host(), pid=pid, start=_start(pid) or "")

    @classmethod
    def parse(cls, text: str) -> "Owner | None":
        """Return the owner that `str(owner)` named; None for any other text."""
        words = text.split(",")
        if len(words) != 3 or not words[0] or not words[1].isdecimal():
            return None
        return cls(host=words[0], pid=int(words[1]), start=words[2])

    def __str__(self) -> str:
        """Return a text without spaces or slashes, fit for a file's name."""
        return f"{self.host},{self.pid},{self.start}"

    @property
    def words(self) -> str:
        """The owner as a sentence names it."""
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this host, whose life can be asked for."""
        return self.host == _host()

    def is_dead(self) -> bool:
        """Whether the process is gone for certain; never certain about another host."""
        if not self.is_here:
            return False
        start = _start(self.pid)
        if start is None:
            return True
        return bool(start and self.start) and start != self.start


def lived(pid: int, instant: float) -> bool:
    """Whether the process of this host that has a number now had it at an instant already.

    Args:
        pid: number of the process.
        instant: seconds since 1970; a difference of the two clocks of some seconds is allowed for.
    """
    start = _start(pid)
    if not start:  # gone, or the system names no start
        return start is not None
    ticks = int(start.rpartition(".")[2])
    booted = next(
        int(line.split()[1])
        for line in _STAT.read_text(encoding="ascii").splitlines()
        if line.startswith("btime ")
    )
    return booted + ticks / os.sysconf("SC_CLK_TCK") <= instant + _SLACK_SECONDS


def _start(pid: int) -> str | None:
    """Return boot and start tick of a process of this host; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "" if not _BOOT.exists() and _answers(pid) else None
    # The name in brackets may hold anything; the state follows it, the start is 20 further.
    state, *rest = stat.rpartition(")")[2].split()
    if state in "ZX":  # killed, and not yet buried by its parent
        return None
    return f"{_boot()}.{rest[18]}"


def _answers(pid: int) -> bool:
    """Whether a process exists, on a system without /proc."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@cache
def _boot() -> str:
    return _BOOT.read_text(encoding="ascii").strip().split("-")[0]


@cache
def _host() -> str:
    return _WORD.sub("-", socket.gethostname()) or "unnamed"
