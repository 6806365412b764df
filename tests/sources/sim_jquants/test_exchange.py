"""Keys, plans, parameters, pages, limits and the publication clock of the local server."""

import math
from datetime import timedelta

import polars as pl
import pytest
import requests
from tests.sources.jquants.conftest import KEY, SMALL, Serve, StandingClock
from tests.sources.sim_jquants.conftest import Ask, tokyo, unpacked

from alpha_assets.sources.sim.source import SimSource
from alpha_assets.sources.sim_jquants import Fault, Faults

BARS = "/equities/bars/daily"


def test_it_listens_to_this_machine_only(serve: Serve) -> None:
    server = serve()
    assert server.server_address[0] == "127.0.0.1"
    assert server.base_url == f"http://127.0.0.1:{server.server_port}/v2"


def test_a_wrong_key_and_an_unknown_path_are_403(serve: Serve, ask: Ask) -> None:
    server = serve()
    wrong = {"message": "The incoming api key is invalid or expired."}
    assert ask(server, "/markets/calendar", api_key="wrong") == (403, wrong)
    assert ask(server, "/listed/info")[0] == 403
    assert requests.post(server.base_url + BARS, timeout=9).status_code == 403


def test_each_key_has_its_plan(serve: Serve, ask: Ask) -> None:
    server = serve(keys={"f": "free", "s": "standard", "p": "premium"}, clock=None)
    for path, params, allowed in (
        (BARS, {"date": "2020-08-05"}, "fsp"),
        ("/indices/bars/daily/topix", {}, "sp"),
        ("/markets/short-ratio", {"date": "2020-08-05"}, "sp"),
        ("/equities/valuation", {"date": "2020-08-05"}, "sp"),
        ("/markets/breakdown", {"date": "2020-08-05"}, "p"),
        ("/fins/dividend", {"date": "2020-08-05"}, "p"),
    ):
        for key in "fsp":
            _, body = ask(server, path, api_key=key, **params)
            refused = "subscription" in body.get("message", "")
            assert refused == (key not in allowed), (path, key)


def test_a_valuation_is_asked_by_code_or_by_day(serve: Serve, ask: Ask) -> None:
    server, path = serve(), "/equities/valuation"
    assert ask(server, path)[0] == 400
    assert ask(server, path, **{"from": "2020-08-03", "to": "2020-08-05"})[0] == 400
    assert {r["Date"] for r in ask(server, path, date="2020-08-05")[1]["data"]} == {"2020-08-05"}
    span = ask(server, path, code="1301", **{"from": "20200803", "to": "20200805"})[1]["data"]
    assert [(row["Code"], row["Date"][-2:]) for row in span] == [
        ("13010", "03"),
        ("13010", "04"),
        ("13010", "05"),
    ]
    one = ask(server, path, code="13010", date="2020-08-04")[1]["data"]
    assert one == span[1:2]


def test_a_free_plan_sees_nothing_of_the_last_twelve_weeks(
    serve: Serve, ask: Ask, clock: StandingClock
) -> None:
    server = serve(keys={"f": "free", "s": "standard"})
    old, new = "2020-08-14", "2020-08-17"  # the evening is that of 2020-11-06
    assert ask(server, BARS, api_key="f", date=old)[1]["data"]
    assert not ask(server, BARS, api_key="f", date=new)[1]["data"]
    assert ask(server, BARS, api_key="s", date=new)[1]["data"]


def test_a_standard_plan_sees_ten_years(serve: Serve, ask: Ask, clock: StandingClock) -> None:
    server = serve(clock=None)
    assert ask(server, BARS, date="2020-11-06")[1]["data"]
    clock.time += timedelta(days=3653)
    assert not ask(server, BARS, date="2020-11-06")[1]["data"]


def test_halves_of_the_day_are_keys_of_the_premium_plan_only(serve: Serve, ask: Ask) -> None:
    server = serve(keys={"s": "standard", "p": "premium"})
    standard = ask(server, BARS, api_key="s", date="2020-08-05")[1]["data"][0]
    premium = ask(server, BARS, api_key="p", date="2020-08-05")[1]["data"][0]
    assert not {"MO", "AVa"} & set(standard)
    assert {"MO", "MAdjVo", "AVa"} <= set(premium)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (BARS, {}),
        (BARS, {"from": "2020-08-05"}),
        (BARS, {"date": "2020-08-05", "to": "2020-08-06"}),
        (BARS, {"date": "2020-02-30"}),
        (BARS, {"date": "yesterday"}),
        (BARS, {"code": "12"}),
        (BARS, {"date": "2020-08-05", "holidayDivision": "1"}),
        ("/markets/calendar", {"from": "2020-13-01"}),
        ("/bulk/list", {}),
        ("/bulk/list", {"endpoint": "/weather"}),
        ("/bulk/get", {"key": "nothing"}),
    ],
)
def test_what_cannot_be_asked_is_400_with_a_message(
    serve: Serve, ask: Ask, path: str, params: dict[str, str]
) -> None:
    status, body = ask(serve(), path, **params)
    assert status == 400
    assert body["message"]


def test_dates_and_codes_are_understood_in_both_forms(serve: Serve, ask: Ask) -> None:
    server = serve()
    long = ask(server, BARS, code="13010", from_="2020-08-05", to="2020-08-07")
    short = ask(server, BARS, code="1301", from_="20200805", to="20200807")
    assert long == short
    assert [row["Date"] for row in long[1]["data"]] == ["2020-08-05", "2020-08-06", "2020-08-07"]


def test_a_query_without_a_match_is_an_empty_list(serve: Serve, ask: Ask) -> None:
    assert ask(serve(), BARS, date="2020-08-08") == (200, {"data": []})


def test_pages_hold_every_row_once_and_end_without_a_key(serve: Serve, ask: Ask) -> None:
    whole = ask(serve(page_size=1000), BARS, date="2020-08-05")[1]
    server = serve(page_size=7)
    rows, keys, page = [], [], {}
    while True:
        _, body = ask(server, BARS, date="2020-08-05", **page)
        rows += body["data"]
        if "pagination_key" not in body:
            break
        keys.append(body["pagination_key"])
        page = {"pagination_key": keys[-1]}
    assert rows == whole["data"]
    assert "pagination_key" not in whole
    assert len(set(keys)) == len(keys) == math.ceil(len(rows) / 7) - 1


def test_a_page_of_another_query_is_400(serve: Serve, ask: Ask) -> None:
    server = serve(page_size=7)
    key = ask(server, BARS, date="2020-08-05")[1]["pagination_key"]
    assert ask(server, BARS, date="2020-08-06", pagination_key=key)[0] == 400
    assert ask(server, BARS, date="2020-08-05", pagination_key="guess")[0] == 400


def test_a_row_appears_at_its_publication_time(
    serve: Serve, ask: Ask, clock: StandingClock
) -> None:
    server = serve()
    clock.time = tokyo("2020-11-05T16:29:59")
    assert not ask(server, BARS, date="2020-11-05")[1]["data"]
    clock.time = tokyo("2020-11-05T16:30:00")
    assert ask(server, BARS, date="2020-11-05")[1]["data"]


def test_the_master_of_a_session_appears_the_evening_before(
    serve: Serve, ask: Ask, clock: StandingClock
) -> None:
    server = serve()
    clock.time = tokyo("2020-11-05T17:29:00")
    assert ask(server, "/equities/master", date="2020-11-06")[1]["data"][0]["Date"] == "2020-11-05"
    clock.time = tokyo("2020-11-05T17:30:00")
    assert ask(server, "/equities/master", date="2020-11-06")[1]["data"][0]["Date"] == "2020-11-06"


def test_the_master_of_a_closed_day_is_that_of_the_next_session(serve: Serve, ask: Ask) -> None:
    rows = ask(serve(), "/equities/master", date="2020-08-08")[1]["data"]  # a Saturday
    assert {row["Date"] for row in rows} == {"2020-08-11"}


def test_an_issue_that_left_is_in_no_later_master(serve: Serve, ask: Ask, sim: SimSource) -> None:
    left = sim.rows("listings").filter(pl.col("exit") != "active").row(0, named=True)
    server, master = serve(), "/equities/master"
    assert ask(server, master, code=left["symbol"], date=str(left["end"]))[1]["data"]
    after = str(left["end"] + timedelta(days=1))
    assert not ask(server, master, code=left["symbol"], date=after)[1]["data"]


def test_a_correction_overwrites_the_bar_when_it_is_published(
    serve: Serve, ask: Ask, clock: StandingClock, sim: SimSource
) -> None:
    server = serve()
    late = sim.rows("daily_bars").filter(revision=1).row(3, named=True)
    query = {"code": late["symbol"], "date": str(late["event_date"])}
    clock.time = late["available_at"] - timedelta(minutes=1)
    [before] = ask(server, BARS, **query)[1]["data"]
    clock.time = late["available_at"]
    [after] = ask(server, BARS, **query)[1]["data"]
    assert after["C"] == late["close"]
    assert after["Vo"] == late["volume"]
    assert (before["C"], before["Vo"]) != (after["C"], after["Vo"])


def test_a_split_restates_the_adjusted_history_and_not_the_raw_one(
    serve: Serve, ask: Ask, clock: StandingClock, sim: SimSource
) -> None:
    server = serve()
    split = sim.rows("daily_bars").filter(pl.col("adjustment_factor") == 0.5).row(0, named=True)
    span = {"code": split["symbol"], "to": str(split["event_date"] - timedelta(days=1))}
    clock.time = tokyo(f"{split['event_date']}T16:29:00")
    before = ask(server, BARS, **span)[1]["data"]
    clock.time = tokyo(f"{split['event_date']}T16:30:00")
    after = ask(server, BARS, **span)[1]["data"]
    [ex_day] = ask(server, BARS, code=split["symbol"], date=str(split["event_date"]))[1]["data"]
    assert (ex_day["AdjFactor"], ex_day["ExRT"], ex_day["AdjC"]) == (0.5, "1", ex_day["C"])
    assert [row["C"] for row in before] == [row["C"] for row in after]
    for old, new in zip(before, after, strict=True):
        if old["C"] is not None:
            assert new["AdjC"] == pytest.approx(old["AdjC"] / 2, abs=0.11)
            assert new["AdjVo"] == pytest.approx(old["AdjVo"] * 2, abs=2)


def test_a_listed_issue_without_a_trade_has_a_row_of_nulls(
    serve: Serve, ask: Ask, sim: SimSource
) -> None:
    _, body = ask(serve(page_size=5000), BARS, code="13010")
    rows = {row["Date"]: row for row in body["data"]}
    traded = sim.rows("daily_bars").filter(symbol="13010")["event_date"].dt.to_string().to_list()
    assert set(traded) < set(rows)
    for day, row in rows.items():
        values = [row[name] for name in ("O", "H", "L", "C", "Vo", "Va", "AdjC", "AdjVo")]
        assert all((value is None) == (day not in traded) for value in values)
        assert row["AdjFactor"] is not None
    assert rows["2020-10-01"]["C"] is None


def test_bodies_are_packed_for_who_can_unpack_them(serve: Serve) -> None:
    server = serve()
    url, headers = server.base_url + "/markets/calendar", {"x-api-key": KEY}
    plain = requests.get(url, headers={**headers, "Accept-Encoding": "identity"}, timeout=9)
    packed = requests.get(url, headers={**headers, "Accept-Encoding": "gzip"}, timeout=9)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.content == packed.content
    assert int(packed.headers["Content-Length"]) < len(plain.content) / 3


def test_too_many_requests_are_refused_and_twice_too_many_block_for_five_minutes(
    serve: Serve, ask: Ask, clock: StandingClock
) -> None:
    server = serve(keys={KEY: "free"})
    calendar = "/markets/calendar"
    codes = [ask(server, calendar)[0] for _ in range(7)]
    assert codes == [200] * 5 + [429] * 2
    clock.time += timedelta(seconds=61)
    assert ask(server, calendar)[0] == 200
    assert [ask(server, calendar)[0] for _ in range(10)][-1] == 429
    clock.time += timedelta(minutes=4)
    assert ask(server, calendar)[0] == 429
    clock.time += timedelta(minutes=2)
    assert ask(server, calendar)[0] == 200


def test_a_429_says_not_how_long_to_wait(serve: Serve) -> None:
    server = serve(faults=Faults([Fault("too_many")]))
    answer = requests.get(server.base_url + BARS, headers={"x-api-key": KEY}, timeout=9)
    assert answer.status_code == 429
    assert "Retry-After" not in answer.headers


def test_files_of_history_hold_whole_months_under_long_names(
    serve: Serve, ask: Ask, sim: SimSource
) -> None:
    server = serve(page_size=5000)
    listed = ask(server, "/bulk/list", endpoint=BARS)[1]["data"]
    months = [row["Key"][-13:-7] for row in listed]
    assert months == ["202007", "202008", "202009", "202010"]  # November is not over
    assert all({"Key", "LastModified", "Size"} == set(row) for row in listed)
    address = ask(server, "/bulk/get", key=listed[1]["Key"])[1]["url"]
    body = requests.get(address, timeout=9).content  # without a key
    assert len(body) == listed[1]["Size"]
    header, *lines = unpacked(body).splitlines()
    assert header.startswith("Date,Code,Open,High,Low,Close,UpperLimit,LowerLimit,Volume,Turnover")
    days = {line[:10] for line in lines}
    assert min(days) == "2020-08-03"
    assert max(days) == "2020-08-31"


def test_an_address_of_a_file_is_good_for_five_minutes(
    serve: Serve, ask: Ask, clock: StandingClock
) -> None:
    server = serve()
    address = ask(server, "/bulk/get", endpoint=BARS, date="2020-08")[1]["url"]
    assert requests.get(address, timeout=9).status_code == 200
    clock.time += timedelta(minutes=6)
    assert requests.get(address, timeout=9).status_code == 403


def test_a_free_plan_has_no_files(serve: Serve, ask: Ask) -> None:
    assert ask(serve(keys={KEY: "free"}), "/bulk/list", endpoint=BARS)[0] == 403


def test_nothing_that_lies_beyond_the_spans_end_is_shown(
    serve: Serve, ask: Ask, clock: StandingClock
) -> None:
    server = serve(page_size=5000)
    clock.time += timedelta(days=90)
    rows = ask(server, BARS, code="13010")[1]["data"]
    assert rows[-1]["Date"] == str(SMALL.last)
