"""The page: offline, the same every time, loud about simulation, deaf to markup in names."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alpha_assets.report.inputs import ReportInputs
from alpha_assets.report.tearsheet import dividend_words, tear_sheet

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def page(run: ReportInputs) -> str:
    return tear_sheet(run)


def own_part(page: str) -> str:
    """The page less the bundled library, which names web addresses that it never asks."""
    return "".join(sorted(page.split("<script>"), key=len)[:-1])


def test_same_inputs_give_the_same_page(page: str, run: ReportInputs) -> None:
    assert tear_sheet(run) == page


def test_page_asks_nothing_of_the_network(page: str) -> None:
    own = own_part(page)
    assert not re.search(r"<(link|img|iframe|object|embed|video|audio|source)\b", own)
    assert not re.search(r"\bsrc\s*=|@import|url\(", own)
    schemas = set(re.findall(r"https?://[^\"'\s)]+", own))
    assert schemas == {"https://vega.github.io/schema/vega-lite/v6.4.1.json"}
    assert "default-src 'none'" in own


def test_page_stays_under_three_megabytes_for_ten_years(
    make_run: Callable[..., ReportInputs],
) -> None:
    assert len(tear_sheet(make_run(2_500, 12)).encode()) < 3_000_000


def test_simulation_is_announced_first_and_real_data_is_not_slandered(
    page: str, make_run: Callable[..., ReportInputs]
) -> None:
    body = page[page.index("<body>") :]
    assert body.index("SIMULATED DATA") < body.index("<h1>")
    real = tear_sheet(make_run(60, 12, simulated=False))
    assert "SIMULATED DATA" not in real
    assert "made up" not in real


def test_header_says_what_when_and_from_which_data(page: str) -> None:
    header = page[page.index("<header>") : page.index("</header>")]
    for word in ("rolling_transformer", "sim", "2021-01-04", "3f9ac01b77de", "b1946ac92492d234"):
        assert word in header
    assert "Sharpe" in header
    assert "t (smallest of three)" in header


def test_feeds_that_are_off_are_named_with_the_reason(page: str) -> None:
    assert "borrow, not in the folder" in page


def test_notes_name_basis_static_sectors_and_vanished_names(page: str) -> None:
    assert "Prices as quoted" in page
    assert page.index("Read this first") < page.index("What it earned")
    assert "Sectors are static" in page
    assert "because the source stopped delivering the name: 1 (source_end)" in page
    assert "No cash rates were given" in page
    assert "Exit returns are those of the generator." in page


def test_dividends_are_named_by_the_feed_and_by_what_was_booked(run: ReportInputs) -> None:
    metrics: Any = json.loads(json.dumps(run.metrics))
    assert "no dividends feed: no dividend is booked" in dividend_words(metrics)
    metrics["data"]["feeds"].append("dividends")
    assert "has none for what was held" in dividend_words(metrics)
    metrics["portfolio"]["dividends"] = {"money": -1_250_000.0, "n_sessions": 3}
    assert "ex-date: −1.25 m JPY over 3 sessions" in dividend_words(metrics)
    metrics["data"]["basis"] = "total_return"
    assert "inside the price and not booked again" in dividend_words(metrics)


def test_figures_of_the_document_are_on_the_page(page: str, run: ReportInputs) -> None:
    metrics: Any = run.metrics
    net = metrics["portfolio"]["net"]
    assert f"{net['sharpe']:.2f} ± {net['sharpe_se']:.2f}" in page
    assert f"{metrics['signal']['h5']['rank_ic']['mean']:.4f}" in page


def test_models_whose_best_epoch_is_the_last_are_marked(page: str) -> None:
    table = page[page.index("<h3>Month by month</h3>") :]
    table = table[: table.index("</table>")]
    assert table.count("the best epoch is the last: raise training.max_epochs") == 1
    assert table.count("complete") == 7


def test_markup_in_names_is_text(make_run: Callable[..., ReportInputs]) -> None:
    evil = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'
    inputs = make_run(60, 12, name=evil)
    metrics: Any = dict(inputs.metrics)
    metrics["signal"]["h5"]["by_sector"] = [
        {"sector": evil, "mean": 0.1, "error": 0.1, "t": 1.0, "n_sessions": 60}
    ]
    metrics["data"]["notes"] = [evil]
    metrics["data"]["feeds_off"] = [{"feed": evil, "why": evil}]
    metrics["costs"]["trades_by_reason"] = [{"reason": evil, "n_trades": 1, "notional": 1.0}]
    page = own_part(tear_sheet(replace(inputs, metrics=metrics, about=evil)))
    assert "<script>alert" not in page
    assert "<img" not in page
    plain_page = own_part(tear_sheet(make_run(60, 12)))
    assert page.count("<script") == plain_page.count("<script")
    assert page.count("</script") == plain_page.count("</script")


def test_empty_run_gives_a_page_that_says_so(empty_run: ReportInputs) -> None:
    page = tear_sheet(empty_run)
    assert "The signal cannot be judged" in page
    assert "The portfolio cannot be judged" in page
    assert "Nothing to draw" in page
    assert "nan" not in re.findall(r"<td[^>]*>([^<]*)<", page)


def test_missing_figure_says_why_where_it_stands(make_run: Callable[..., ReportInputs]) -> None:
    page = tear_sheet(make_run(30, 12))
    assert re.search(r'<td title="30 sessions are fewer than 100">–</td>', page)


def test_book_that_loses_before_costs_has_no_break_even_in_its_headline(
    make_run: Callable[..., ReportInputs],
) -> None:
    page = tear_sheet(make_run(400, 40, simulated=False, skill=0.0))
    assert "loses before costs" in page
    assert "dotted amber" not in page


def test_command_to_make_it_again_is_on_the_page(page: str) -> None:
    wanted = "alpha-assets run --recipe rolling_transformer --market sim --first-month 2021-01"
    assert wanted in page


RULE = "quantile 0.1, band 0.2, step 1, monthly"  # as long as the rules of a simulated market
ATTAINED = {
    "capital": 1e8,
    "cost_scale": 1.0,
    **dict.fromkeys(("attainable", "reached", "own_rule"), 4.36),
    **dict.fromkeys(("attainable_error", "reached_error", "own_rule_error"), 1.46),
    **dict.fromkeys(("reached_share", "own_rule_share"), 0.48),
    **dict.fromkeys(("reached_share_error", "own_rule_share_error"), 0.29),
    **dict.fromkeys(("chosen_on_even", "chosen_on_odd"), RULE),
}
PROBE = """<script>
const seen = setInterval(() => {
  const root = document.documentElement;
  if (root.getAttribute("data-drawn") !== "yes") return;
  clearInterval(seen);
  root.setAttribute("data-charts", document.querySelectorAll(".chart canvas").length);
  const boxes = [...document.querySelectorAll(".scroll")];
  const cut = boxes.filter(it => it.scrollWidth > it.clientWidth);
  root.setAttribute("data-cut", cut.map(it => it.parentElement.querySelector("h3").textContent));
  root.setAttribute("data-overflow", root.scrollWidth > root.clientWidth ? "yes" : "no");
  document.querySelector("button[data-log]").click();
  setTimeout(() => {
    const canvas = document.querySelector("#chart-equity canvas");
    const { left, top } = canvas.getBoundingClientRect();
    const at = { clientX: left + 200, clientY: top + 120, bubbles: true };
    canvas.dispatchEvent(new PointerEvent("pointerover", at));
    canvas.dispatchEvent(new PointerEvent("pointermove", at));
  }, 300);
}, 50);
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_browser_draws_all_charts_that_answer_and_do_not_scroll_sideways(
    run: ReportInputs, tmp_path: Path, width: int
) -> None:
    assert CHROMIUM is not None
    page = tear_sheet(replace(run, metrics={**run.metrics, "attainable": {"sharpe": [ATTAINED]}}))
    file = tmp_path / "page.html"
    end = page.rindex("</body>")  # the library has one in its text
    file.write_text(page[:end] + PROBE + page[end:], encoding="utf-8")
    profile = tmp_path / "profile"
    sizes = (f"--window-size={width},900", f"--user-data-dir={profile}")
    found = subprocess.run(
        [CHROMIUM, *FLAGS, *sizes, "--virtual-time-budget=8000", "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    root = found[: found.index("<head>")]
    places = page.count('<div class="chart"')
    assert places > 10
    assert f'data-charts="{places}"' in root
    assert 'data-overflow="no"' in root
    if width == 1280:
        assert 'data-cut=""' in root
    assert 'data-log="equity" aria-pressed="true"' in found
    tooltip = found[found.index('id="vg-tooltip-element"') :]
    assert re.search(r'session</td><td class="value">2021-\d\d-\d\d<', tooltip)
    assert re.search(r'net</td><td class="value">1\.\d{3}<', tooltip)
