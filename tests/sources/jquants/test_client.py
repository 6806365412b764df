"""Pages, pauses, second tries; what each refusal means; where the key goes."""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.sources.jquants.conftest import KEY, StandingClock

from alpha_assets.errors import FeedError, Unreachable
from alpha_assets.sources.jquants import ApiKey
from alpha_assets.sources.jquants import client as asking
from alpha_assets.sources.jquants.client import Client, NotEntitled, WrongKey
from alpha_assets.sources.jquants.limiter import Limiter
from alpha_assets.sources.jquants.transport import Reply, TransportFailure

Script = list[Reply | TransportFailure]


class Scripted:
    """A transport that answers what it was told to, in order."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        self.asked.append((url, dict(params), dict(headers)))
        answer = self.script.pop(0)
        if isinstance(answer, TransportFailure):
            raise answer
        return answer


def page(rows: list[dict[str, Any]], following: str | None = None) -> Reply:
    body: dict[str, Any] = {"data": rows}
    if following is not None:
        body["pagination_key"] = following
    return Reply(200, json.dumps(body).encode(), {})


def says(status: int, message: str) -> Reply:
    return Reply(status, json.dumps({"message": message}).encode(), {})


Make = Callable[[Script], tuple[Client, Scripted]]


@pytest.fixture
def make(tmp_path: Path, clock: StandingClock) -> Make:
    def client(script: Script) -> tuple[Client, Scripted]:
        transport = Scripted(script)
        limiter = Limiter.of_plan("standard", tmp_path, clock)
        return Client("https://api.test/v2", ApiKey(KEY), transport, limiter, clock), transport

    return client


ONE, TWO, THREE = {"Code": "1"}, {"Code": "2"}, {"Code": "3"}


def test_pages_are_followed_with_the_same_parameters(make: Make) -> None:
    client, transport = make([page([ONE], "a"), page([TWO], "b"), page([THREE], "")])
    assert client.rows("/x", {"date": "2023-07-03"}) == [ONE, TWO, THREE]
    assert [params for _, params, _ in transport.asked] == [
        {"date": "2023-07-03"},
        {"date": "2023-07-03", "pagination_key": "a"},
        {"date": "2023-07-03", "pagination_key": "b"},
    ]


def test_numbers_stay_the_text_that_they_were(make: Make) -> None:
    body = b'{"data": [{"C": 4050.10, "Vo": 12, "S": "007", "F": true, "N": null}]}'
    client, _ = make([Reply(200, body, {})])
    assert client.rows("/x", {}) == [
        {"C": "4050.10", "Vo": "12", "S": "007", "F": "true", "N": None}
    ]


def test_429_pauses_a_minute_and_longer_the_next_times(make: Make, clock: StandingClock) -> None:
    client, _ = make([says(429, "slow"), says(429, "slow"), says(429, "slow"), page([ONE])])
    assert client.rows("/x", {}) == [ONE]
    assert clock.waits == [60, 90, 120]
    assert client.tally.throttled == 3


def test_429_that_does_not_end_is_an_error(make: Make) -> None:
    client, transport = make([says(429, "slow")] * 9)
    with pytest.raises(FeedError, match="too many requests after 5 pauses"):
        client.rows("/x", {})
    assert len(transport.asked) == 6


def test_server_errors_are_tried_again_after_5_10_20_40_seconds(
    make: Make, clock: StandingClock
) -> None:
    client, _ = make([says(500, "a"), says(502, "b"), says(503, "c"), says(504, "d"), page([ONE])])
    assert client.rows("/x", {}) == [ONE]
    assert clock.waits == [5, 10, 20, 40]


def test_a_server_that_stays_down_is_named(make: Make) -> None:
    client, transport = make([says(500, "broken")] * 6)
    with pytest.raises(FeedError, match="/x date=2023-07-03: no usable answer after 5 tries"):
        client.rows("/x", {"date": "2023-07-03"})
    assert len(transport.asked) == 5


@pytest.mark.parametrize(
    "harm",
    [
        TransportFailure("timed out"),
        Reply(200, b'{"data": [{"Code": "1"}', {}),
        Reply(200, b"\x1f\x8b\x00", {}),
        Reply(200, b'{"data": [{"C": NaN}]}', {}),
        Reply(200, b"[]", {}),
    ],
)
def test_what_is_not_whole_is_asked_again(make: Make, harm: Reply | TransportFailure) -> None:
    client, transport = make([harm, page([ONE])])
    assert client.rows("/x", {}) == [ONE]
    assert len(transport.asked) == 2


def test_210_is_an_empty_page(make: Make) -> None:
    client, _ = make([says(210, "outside the hours")])
    assert client.rows("/x", {}) == []


def test_a_bad_request_is_not_repeated(make: Make) -> None:
    client, transport = make([says(400, "code or date"), page([ONE])])
    with pytest.raises(FeedError, match="refused with status 400: code or date"):
        client.rows("/x", {})
    assert len(transport.asked) == 1


def test_403_says_whether_the_key_or_the_plan_is_meant(make: Make) -> None:
    client, _ = make(
        [says(403, "The incoming api key is invalid or expired."), says(403, "not subscribed")]
    )
    with pytest.raises(WrongKey, match="JQUANTS_API_KEY"):
        client.rows("/x", {})
    with pytest.raises(NotEntitled, match="not included in the plan"):
        client.rows("/x", {})


@pytest.mark.parametrize(
    "again", [page([ONE], "a"), page([ONE], "c")], ids=["with its key", "with a new key"]
)
def test_a_page_that_comes_twice_begins_the_query_again(make: Make, again: Reply) -> None:
    client, _ = make([page([ONE], "a"), again, page([ONE], "a"), page([TWO])])
    assert client.rows("/x", {}) == [ONE, TWO]
    assert client.tally.repeated_pages == 1


def test_pages_that_go_in_a_circle_are_an_error(make: Make) -> None:
    client, _ = make([page([ONE], "a"), page([TWO], "a")] * 5)
    with pytest.raises(FeedError, match="a page came twice"):
        client.rows("/x", {})


def test_the_key_goes_to_the_api_and_not_to_the_address_of_a_file(make: Make) -> None:
    table = gzip.compress(b"Date,Close\n2023-07-03,1.5\n2023-07-04,\n")
    address = Reply(200, b'{"url": "https://files.test/signed?x=1"}', {})
    client, transport = make([address, Reply(200, table, {})])
    assert client.bulk_rows("f") == [
        {"Date": "2023-07-03", "Close": "1.5"},
        {"Date": "2023-07-04", "Close": None},
    ]
    assert transport.asked[0][2] == {"x-api-key": KEY}
    assert transport.asked[1] == ("https://files.test/signed?x=1", {}, {})


def test_a_file_that_is_cut_is_fetched_again_under_a_new_address(make: Make) -> None:
    table = gzip.compress(b"Date,Close\n2023-07-03,1.5\n")
    address = Reply(200, b'{"url": "https://files.test/a"}', {})
    client, transport = make([address, Reply(200, table[:-9], {}), address, Reply(200, table, {})])
    assert client.bulk_rows("f") == [{"Date": "2023-07-03", "Close": "1.5"}]
    assert len(transport.asked) == 4


def test_a_key_that_a_server_sends_back_is_not_repeated(make: Make) -> None:
    client, _ = make([says(400, f"what is {KEY}?")])
    with pytest.raises(FeedError) as caught:
        client.rows("/x", {})
    assert KEY not in str(caught.value)


def test_an_answer_of_another_form_is_named(make: Make) -> None:
    client, _ = make([Reply(200, b'{"daily_quotes": []}', {})])
    with pytest.raises(FeedError, match="no list of rows under `data`"):
        client.rows("/x", {})


def slow_down(status: int, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, b'{"message": "slow"}', named)


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"Retry_After": "300"}, 300),  # longer than two minutes, as asked
        ({"retry_after": "300"}, 300),  # names of headers have no case
        ({"Retry_After": "Fri, 06 Nov 2020 14:35:00 GMT"}, 300),  # five minutes after EVENING
        ({"Retry_After": "30"}, 60),  # never shorter than our own pause
        ({"Retry_After": "Fri, 06 Nov 2020 14:00:00 GMT"}, 60),  # already over
        ({"Retry_After": "\u00b2"}, 60),  # a digit to Python's isdigit, not to float
        ({"Retry_After": "soon"}, 60),
        ({"Retry_After": "Fri, 99 Nov 99999999999999 99:00:00 GMT"}, 60),
        ({}, 60),
    ],
)
def test_a_429_waits_for_as_long_as_it_asks(
    make: Make, clock: StandingClock, headers: dict[str, str], waited: float
) -> None:
    client, _ = make([slow_down(429, **headers), page([ONE])])
    assert client.rows("/x", {}) == [ONE]
    assert clock.waits == [waited]


def test_a_503_waits_for_as_long_as_it_asks(make: Make, clock: StandingClock) -> None:
    client, _ = make([slow_down(503, Retry_After="77"), slow_down(503), page([ONE])])
    assert client.rows("/x", {}) == [ONE]
    assert clock.waits == [77, 10]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("named", "seconds"),
    [
        ("86400", "86,400"),
        ("86400.5", "86,400"),
        ("1" + "000" * 7, "1" + ",000" * 7),
        ("9" * 400, "inf"),
    ],
)
def test_a_server_that_asks_for_a_day_is_left_to_the_user(
    make: Make, status: int, named: str, seconds: str
) -> None:
    client, _ = make([slow_down(status, Retry_After=named)])
    with pytest.raises(Unreachable, match=f"asks for {seconds} s without a request"):
        client.rows("/x", {})


def test_empty_pages_without_end_are_an_error(make: Make) -> None:
    client, transport = make([page([], f"key {n}") for n in range(100)])
    with pytest.raises(FeedError, match="10 empty pages in a row, each naming a further one"):
        client.rows("/x", {})
    assert len(transport.asked) == 10


def test_an_empty_page_between_full_ones_is_no_fault(make: Make) -> None:
    client, _ = make([page([ONE], "a"), page([], "b"), page([TWO])])
    assert client.rows("/x", {}) == [ONE, TWO]


def test_pages_and_rows_without_end_are_errors(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "N_PAGES_AT_MOST", 20)
    monkeypatch.setattr(asking, "N_ROWS_AT_MOST", 50)
    client, _ = make([page([{"Code": str(n)}], f"key {n}") for n in range(100)])
    with pytest.raises(FeedError, match="more than 20 pages"):
        client.rows("/x", {})
    client, _ = make([page([{"C": f"{n} {k}"} for k in range(30)], f"key {n}") for n in range(9)])
    with pytest.raises(FeedError, match="more than 50 rows for one query"):
        client.rows("/x", {})


DEEP = b"[" * 200_000


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (DEEP + b"]" * 200_000, "nested too deep"),
        (b'{"data": [{"C": ' + DEEP + b"]" * 200_000 + b"}]}", "nested too deep"),
        (b'{"data": [], "pagination_key": ["a"]}', "pagination_key is no text but list"),
        (b'{"data": [], "pagination_key": {"a": 1}}', "pagination_key is no text but dict"),
        (b'{"data": [], "pagination_key": true}', "pagination_key is no text but bool"),
        (b'{"data": [{"C": "\\uD800"}]}', "text that is no Unicode"),
        (b'{"data": [], "pagination_key": "\\udcff"}', "text that is no Unicode"),
    ],
    ids=["deep", "deep value", "list", "object", "flag", "half a pair", "half a pair as key"],
)
def test_hostile_answers_end_in_words(make: Make, body: bytes, words: str) -> None:
    client, _ = make([Reply(200, body, {})] * 30)
    with pytest.raises(FeedError, match=words):
        client.rows("/x", {})


def test_an_error_nested_deep_ends_in_words(make: Make) -> None:
    client, _ = make([Reply(400, DEEP, {})])
    with pytest.raises(FeedError, match="refused with status 400"):
        client.rows("/x", {})


def test_control_characters_of_a_server_are_not_printed(make: Make) -> None:
    client, _ = make([says(400, "a\x1b[31mred\nline")])
    with pytest.raises(FeedError, match=r"a \[31mred line"):
        client.rows("/x", {})


def test_a_page_longer_than_the_bound_is_not_parsed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "JSON_BYTES", 100)
    client, _ = make([page([{"Code": "1" * 200}])] * 5)
    with pytest.raises(FeedError, match="the answer is longer than 100 bytes"):
        client.rows("/x", {})


def test_a_file_of_history_that_unpacks_without_end_is_an_error(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "FILE_BYTES", 1_000)
    address = Reply(200, b'{"url": "https://files.test/a"}', {})
    bomb = Reply(200, gzip.compress(b"A\n" + b"1\n" * 10_000), {})
    client, _ = make([address, bomb] * 5)
    with pytest.raises(Unreachable, match="unpacks to more than 1,000 bytes"):
        client.bulk_rows("f")


def test_a_pair_of_halves_is_a_character(make: Make) -> None:
    client, _ = make([Reply(200, b'{"data": [{"C": "\\ud83d\\ude00"}]}', {})])
    assert client.rows("/x", {}) == [{"C": "\U0001f600"}]


@pytest.mark.parametrize(
    ("packed", "rows"),
    [
        # Packed in two parts that follow each other, as `cat a.gz b.gz` does.
        (gzip.compress(b"A,B\n1,2\n") + gzip.compress(b"3,4\n"), ["1", "3"]),
        (gzip.compress(b"A,B\n1,2\n") + b"rest", None),
        ((gzip.compress(b"A,B\n1,2\n") + gzip.compress(b"3,4\n"))[:-3], None),
        (gzip.compress(b"A,A\n1,2\n"), None),  # which of the two?
        (gzip.compress(b"A,B\n1,2\n3"), None),  # cut in the middle, then packed
    ],
    ids=["two parts", "rest", "second part cut", "column twice", "cut"],
)
def test_a_file_of_history_is_read_whole_or_not_at_all(
    make: Make, packed: bytes, rows: list[str] | None
) -> None:
    client, _ = make(
        [Reply(200, b'{"url": "https://files.test/a"}', {}), Reply(200, packed, {})] * 5
    )
    if rows is not None:
        assert [row["A"] for row in client.bulk_rows("f")] == rows
        return
    with pytest.raises(Unreachable, match=r"(is not whole|names a column twice)"):
        client.bulk_rows("f")
