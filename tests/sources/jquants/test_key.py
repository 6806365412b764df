"""The API key is in no log, error, file, name or picture of an object."""

import json
import logging
import pickle
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.sources.jquants.conftest import KEY, Read, Serve

from alpha_assets.errors import AlphaAssetsError, FeedError
from alpha_assets.sources.jquants import ApiKey, JQuantsSpec
from alpha_assets.sources.jquants.transport import RequestsTransport
from alpha_assets.sources.sim_jquants import Fault, Faults


def everything(folder: Path) -> bytes:
    return b"\n".join(
        str(path).encode() + path.read_bytes() for path in folder.rglob("*") if path.is_file()
    )


def chain(error: BaseException | None) -> str:
    """Return all that an error and those behind it could show to anyone."""
    words = ""
    while error is not None:
        words += "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
        error = error.__cause__ or error.__context__
    return words


def test_a_whole_fetch_with_faults_leaves_the_key_nowhere(
    serve: Serve, read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script = [Fault("too_many"), Fault("error", after=2), Fault("cut", after=3), Fault("repeat")]
    source = read(serve(faults=Faults(script)))
    for feed in ("trading_calendar", "daily_bars", "listings"):
        source.rows(feed)
        source.fingerprint(feed)
    shown = "\n".join(
        [
            caplog.text,
            repr([vars(record) for record in caplog.records]),
            repr(source),
            repr(vars(source)),
            repr(vars(source._asking())),
            repr(source.spec),
            source.spec.model_dump_json(),
            json.dumps(dict(source.identity)),
            json.dumps(dict(source.off())),
        ]
    )
    assert source.tally.throttled == 1
    assert source.tally.retries >= 3
    assert KEY not in shown
    assert KEY.encode() not in everything(tmp_path)


def test_no_error_of_a_fetch_shows_the_key(serve: Serve, read: Read, tmp_path: Path) -> None:
    errors = []
    for kind in ("error", "malformed", "cut", "too_many"):
        server = serve(faults=Faults([Fault(kind, times=99)]))
        with pytest.raises(AlphaAssetsError) as caught:
            read(server, folder=tmp_path / kind).rows("daily_bars")
        errors.append(chain(caught.value))
    with pytest.raises(AlphaAssetsError) as caught:  # nobody listens
        read(folder=tmp_path / "nobody").rows("daily_bars")
    errors.append(chain(caught.value))
    with pytest.raises(AlphaAssetsError) as caught:
        read(serve(keys={"another": "standard"}), folder=tmp_path / "x").rows("daily_bars")
    errors.append(chain(caught.value))
    assert len(errors) == 6
    assert KEY not in "".join(errors)


def test_an_error_of_the_network_carries_no_request(serve: Serve) -> None:
    with pytest.raises(AlphaAssetsError) as caught:
        RequestsTransport(1.0).get("http://127.0.0.1:1/v2/x", {}, {"x-api-key": KEY})
    assert KEY not in chain(caught.value)
    assert caught.value.__context__ is None


def test_a_redirect_is_not_followed_to_where_the_key_does_not_belong() -> None:
    asked: list[str] = []

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v2/x"
        reply = RequestsTransport(9.0).get(url, {}, {"x-api-key": KEY})
        server.shutdown()
    assert reply.status == 302
    assert asked == ["/v2/x"]


def test_a_key_is_neither_printed_nor_pickled() -> None:
    key = ApiKey(KEY)
    assert KEY not in f"{key} {key!r} {key!s}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)


@pytest.mark.parametrize("text", ["two words", "line\nbreak", "ключ", "tab\t"])
def test_what_cannot_be_a_key_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(FeedError, match="JQUANTS_API_KEY") as caught:
        ApiKey(text)
    assert text not in str(caught.value)


def test_the_key_comes_from_the_environment_and_from_nowhere_else() -> None:
    assert ApiKey.from_environment({"JQUANTS_API_KEY": KEY}).header() == {"x-api-key": KEY}
    with pytest.raises(FeedError, match="JQUANTS_API_KEY is not set"):
        ApiKey.from_environment({})
    assert "key" not in JQuantsSpec.model_fields


@pytest.mark.parametrize(
    "url",
    [
        "http://api.jquants.com/v2",
        "ftp://x",
        "https://user:pw@api.jquants.com/v2",
        "http://10.0.0.1",
    ],
)
def test_an_address_that_would_show_the_key_on_the_way_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        JQuantsSpec.model_validate({"first": "2020-01-06", "base_url": url}, strict=False)
