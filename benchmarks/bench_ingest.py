"""Ingestion over HTTP from the local J-Quants server: rows a second, requests, waiting.

    python benchmarks/bench_ingest.py [--symbols 300] [--sessions 60]

Both machines are this one, and the server is in this process, so the rows a second are those of
making, sending, checking and landing them.  Time that the plan's limit would make us wait
passes on a standing clock and is printed beside: with the real API it is the larger part.  The
server counts what it is asked in every minute; that it never exceeds the plan is checked.
"""

import argparse
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from pathlib import Path

from alpha_assets.calendar import Calendar, CalendarSpec, as_date
from alpha_assets.sources.jquants import ApiKey, JQuantsSpec
from alpha_assets.sources.jquants.plans import TERMS, Plan
from alpha_assets.sources.jquants.source import JQuantsSource
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.market import generate
from alpha_assets.sources.sim_jquants import make_server

CALENDAR = CalendarSpec(
    exchange="XTKS", zone="Asia/Tokyo", decision_time=wall_time(8, 30), sessions_per_year=245
)
FIRST = date(2023, 1, 4)
PLAN: Plan = "standard"


class StandingClock:
    """Time that passes only by waiting."""

    def __init__(self, now: datetime) -> None:
        self.time = now

    def now(self) -> datetime:
        """Return the time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.time += timedelta(seconds=seconds)


def main() -> None:
    """Fetch every feed by session and from files, and a night's update."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=300)
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument("--page-size", type=int, default=1000)
    asked = parser.parse_args()
    calendar = Calendar.load(CALENDAR)
    sessions = calendar.sessions[calendar.sessions >= FIRST][: asked.sessions]
    spec = SimSpec(n_symbols=asked.symbols, first=FIRST, last=as_date(sessions[-1]))
    generate(spec, calendar)
    print(f"{asked.symbols} symbols, {asked.sessions} sessions, pages of {asked.page_size} rows")
    heads = f"{'rows':>9}{'requests':>10}{'seconds':>9}{'rows/s':>9}{'minutes at the limit':>22}"
    print(f"{'':<22}{heads}")
    evening = datetime(spec.last.year, spec.last.month, spec.last.day, 14, 30, tzinfo=UTC)
    night_before = evening - timedelta(days=int((sessions[-1] - sessions[-2]).astype(int)))
    for bulk in (False, True):
        clock = StandingClock(night_before)
        with (
            tempfile.TemporaryDirectory() as folder,
            make_server(
                spec,
                calendar,
                keys={"bench": PLAN},
                now=clock.now,
                clock=clock.now,
                page_size=asked.page_size,
            ) as server,
        ):
            source = JQuantsSource(
                JQuantsSpec(first=FIRST, plan=PLAN, base_url=server.base_url, bulk=bulk),
                calendar,
                Path(folder),
                clock=clock,
                key=ApiKey("bench"),
            )
            for name, moment in (
                ("back-fill, files" if bulk else "back-fill, by session", night_before),
                ("one night", evening),
            ):
                clock.time = max(clock.time, moment)
                begun, waited_from = time.perf_counter(), clock.time
                rows, requests = source.tally.rows, source.tally.requests
                for feed in source.feeds():
                    source.fingerprint(feed)
                seconds = time.perf_counter() - begun
                rows, requests = source.tally.rows - rows, source.tally.requests - requests
                minutes = (clock.time - waited_from).total_seconds() / 60
                print(
                    f"{name:<22}{rows:>9,}{requests:>10,}{seconds:>9.2f}"
                    f"{rows / seconds:>9,.0f}{minutes:>22.1f}"
                )
            account = server.exchange.accounts["bench"]
            limit = TERMS[PLAN].per_minute
            assert account.most_in_a_minute <= limit, account.most_in_a_minute
            assert source.tally.throttled == 0
            print(f"    most requests in a minute: {account.most_in_a_minute} of {limit}")


if __name__ == "__main__":
    main()
