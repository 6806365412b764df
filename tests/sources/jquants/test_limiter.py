"""No minute, wherever it begins, holds more requests than the plan allows."""

import os
import random
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.sources.jquants.conftest import StandingClock

from alpha_assets.sources.jquants.limiter import Limiter

START = datetime(2023, 7, 3, tzinfo=UTC)


def busiest_minute(stamps: list[datetime]) -> int:
    ordered = sorted(stamps)
    return max(
        sum(1 for other in ordered if stamp <= other < stamp + timedelta(minutes=1))
        for stamp in ordered
    )


def test_standard_plan_makes_110_requests_at_once_and_then_waits(
    tmp_path: Path, clock: StandingClock
) -> None:
    limiter = Limiter.of_plan("standard", tmp_path, clock)
    for _ in range(110):
        assert limiter.try_take("/equities/bars/daily") == 0
    assert 60 < limiter.try_take("/equities/bars/daily") <= 61


def test_statements_have_a_bucket_of_55_within_the_plans(
    tmp_path: Path, clock: StandingClock
) -> None:
    limiter = Limiter.of_plan("standard", tmp_path, clock)
    for _ in range(55):
        assert limiter.try_take("/fins/summary") == 0
    assert limiter.try_take("/fins/earnings-date") > 60
    for _ in range(55):
        assert limiter.try_take("/markets/short-ratio") == 0
    assert limiter.try_take("/markets/short-ratio") > 60


@pytest.mark.parametrize("seed", range(5))
def test_no_minute_holds_more_than_the_limit_however_requests_come(
    tmp_path: Path, clock: StandingClock, seed: int
) -> None:
    chance = random.Random(seed)
    limiter = Limiter(tmp_path, {"all": 7, "fins": 3}, clock)
    asked: list[datetime] = []
    fins: list[datetime] = []
    for _ in range(150):
        path = chance.choice(["/fins/summary", "/markets/calendar"])
        limiter.take(path)
        asked.append(clock.now())
        if path == "/fins/summary":
            fins.append(clock.now())
        clock.time += timedelta(seconds=chance.choice([0, 0.1, 3, 12]))
    assert busiest_minute(asked) == 7
    assert busiest_minute(fins) == 3


def test_threads_share_the_tokens(tmp_path: Path, clock: StandingClock) -> None:
    granted: list[float] = []

    def ask() -> None:
        limiter = Limiter(tmp_path, {"all": 20, "fins": 20}, clock)
        granted.extend(wait for wait in (limiter.try_take("/a") for _ in range(10)) if wait == 0)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 20


def test_processes_share_the_tokens(tmp_path: Path) -> None:
    script = (
        "import sys; from datetime import datetime, UTC; from pathlib import Path\n"
        "from alpha_assets.sources.jquants.limiter import Limiter\n"
        "class Clock:\n"
        "    now = staticmethod(lambda: datetime(2023, 7, 3, tzinfo=UTC))\n"
        "limiter = Limiter(Path(sys.argv[1]), {'all': 25, 'fins': 25}, Clock())\n"
        "sys.stdout.write(str(sum(limiter.try_take('/a') == 0 for _ in range(20))))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(2)]
    granted = [int(process.communicate()[0]) for process in running]
    assert sum(granted) == 25


def test_a_pause_holds_for_everyone_who_shares_the_folder(
    tmp_path: Path, clock: StandingClock
) -> None:
    Limiter.of_plan("standard", tmp_path, clock).pause(90)
    assert Limiter.of_plan("standard", tmp_path, clock).try_take("/a") == 90
    clock.sleep(90)
    assert Limiter.of_plan("standard", tmp_path, clock).try_take("/a") == 0


def test_a_clock_that_was_put_back_closes_the_bucket_for_a_minute_at_most(
    tmp_path: Path, clock: StandingClock
) -> None:
    limiter = Limiter(tmp_path, {"all": 2, "fins": 2}, clock)
    limiter.take("/a")
    limiter.take("/a")
    clock.time -= timedelta(hours=5)
    assert limiter.try_take("/a") <= 61


def test_a_state_file_that_is_not_whole_counts_as_new(tmp_path: Path, clock: StandingClock) -> None:
    (tmp_path / "requests.json").write_text('{"all": [1.0,')
    assert Limiter.of_plan("free", tmp_path, clock).try_take("/a") == 0


def test_a_pause_of_five_minutes_lasts_five_minutes(tmp_path: Path, clock: StandingClock) -> None:
    limiter = Limiter.of_plan("standard", tmp_path, clock)
    limiter.pause(300)
    assert limiter.try_take("/a") == 300
    clock.sleep(200)
    assert limiter.try_take("/a") == 100
    limiter.pause(60)  # a shorter one does not end it
    assert limiter.try_take("/a") == 100
    clock.time -= timedelta(hours=5)  # the clock is put back: no longer than the pause itself
    assert limiter.try_take("/a") == 300
