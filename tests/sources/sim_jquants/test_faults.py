"""Whatever goes wrong on the way, the source reads the same rows."""

import socket

import pytest
from polars.testing import assert_frame_equal
from tests.sources.jquants.conftest import Read, Serve, StandingClock

from alpha_assets.sources.sim.source import SimSource
from alpha_assets.sources.sim_jquants import Fault, Faults, app
from alpha_assets.sources.sim_jquants.faults import Kind


@pytest.mark.parametrize("kind", ["too_many", "error", "cut", "malformed", "repeat", "hang"])
def test_a_fault_costs_a_second_try_and_no_row(
    serve: Serve, read: Read, sim: SimSource, kind: Kind, clock: StandingClock
) -> None:
    script = [Fault(kind, times=2, after=1), Fault(kind, path="/equities/bars/daily", after=20)]
    source = read(
        serve(faults=Faults(script), page_size=20),
        only_common_stock=False,
        timeout_seconds=0.2 if kind == "hang" else 30.0,
    )
    straight = read(serve(), folder=source.folder / "straight", only_common_stock=False)
    assert_frame_equal(source.rows("daily_bars"), straight.rows("daily_bars"))
    tries = source.tally.retries + source.tally.throttled
    assert tries == 3
    if kind == "too_many":
        assert clock.waits[:2] == [60, 90]


def test_a_burst_of_429_is_waited_out(serve: Serve, read: Read, clock: StandingClock) -> None:
    source = read(serve(faults=Faults([Fault("too_many", times=4, after=5)])))
    assert source.rows("trading_calendar").height == 731
    assert source.rows("daily_bars").height > 500
    assert [wait for wait in clock.waits if wait >= 60] == [60, 90, 120, 120]


def test_a_script_is_used_up_in_its_order() -> None:
    faults = Faults([Fault("error", times=1, after=1), Fault("cut", path="/b")])
    met = [faults.meet(path, False) for path in ("/a", "/b", "/a", "/b")]
    assert met == [None, "error", None, "cut"]


@pytest.mark.parametrize("sent", [b"", b"GET /v2/x HTTP/1.1\r\nHost: half"], ids=["silent", "half"])
def test_a_connection_that_says_nothing_is_closed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    assert 0 < (app._Handler.timeout or 0) <= 30  # seconds; shorter here only for the test
    monkeypatch.setattr(app._Handler, "timeout", 0.1)
    server = serve()
    with socket.create_connection((server.host, server.server_port), timeout=20) as half_open:
        half_open.sendall(sent)
        assert half_open.recv(1) == b""  # closed by the server, not by this socket's time-out
