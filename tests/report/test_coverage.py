"""The section on coverage: a row per family, and in words whatever is missing, late or off."""

import re
from dataclasses import replace
from typing import Any

import pytest

from alpha_assets.report.coverage import coverage_tables, remarks
from alpha_assets.report.inputs import ReportInputs
from alpha_assets.report.tearsheet import tear_sheet


@pytest.fixture(scope="module")
def section(run: ReportInputs) -> str:
    page = tear_sheet(run)
    start = page.index("<h2>Coverage</h2>")
    return page[start : page.index("</section>", start)]


def cells(section: str, first: str) -> list[str]:
    """The cells of the row that starts with a word."""
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in section.split("<tr>")]
    return next(row for row in rows if row and row[0] == first)


def test_every_family_has_a_row_of_figures(section: str) -> None:
    assert cells(section, "price") == [
        *("price", "6 of 6", "", "98.7 %", "91.2 % in 2021-02", "2021-01-05", "2021-07-30", "0"),
    ]
    assert cells(section, "sector_short")[1:5] == ["5 of 6", "", "40.0 %", "40.0 % in 2021-07"]
    assert cells(section, "sector_short")[-1] == "31"
    assert cells(section, "iv") == ["iv", "0 of 2", "2", *["–"] * 5]


def test_what_is_missing_late_or_off_is_said_in_words_with_what_it_costs(section: str) -> None:
    said = re.findall(r"<li><b>([^<]*)</b>: ([^<]*)</li>", section)
    assert said == [
        ("sector_short", "the column sector_short_rel_z_60 is missing in 2021-07."),
        ("sector_short", "never filled: sector_short_ext_run."),
        (
            "iv is off",
            "needs the feed &#39;option_summary&#39;, which is off: the folder has no "
            "option_summary.parquet; costs iv_30, iv_term_slope.",
        ),
    ]


def test_feeds_are_told_with_rows_corrections_and_silence(section: str) -> None:
    assert cells(section, "sector_short_selling") == [
        *("sector_short_selling", "22,471", "33", "2021-01-04", "2021-07-29"),
        *("2021-07-29", "12", "31"),
    ]
    assert cells(section, "index_options")[2] == "–"
    assert "<td" in section
    assert "option_summary</td>" not in section  # off, and nothing stored
    assert 'title="up to 10 are usual"' in section


def test_a_page_without_coverage_has_no_such_section(run: ReportInputs) -> None:
    assert "<h2>Coverage</h2>" not in tear_sheet(replace(run, coverage=None))
    assert (coverage_tables(None), remarks(None)) == ({}, [])


def test_a_family_that_lacks_some_of_its_features_is_partly_off(run: ReportInputs) -> None:
    coverage: Any = run.coverage
    price = {**coverage["families"][0], "off": [{"why": "needs ticks", "features": ["tick_rel"]}]}
    (said,) = remarks({"families": [price]})
    assert (said.family, said.text) == ("price is partly off", "needs ticks; costs tick_rel.")


def test_markup_in_a_name_is_text(run: ReportInputs) -> None:
    coverage: Any = run.coverage
    family = {**coverage["families"][1], "findings": ["<script>alert(1)</script>"]}
    page = tear_sheet(replace(run, coverage={"families": [family], "feeds": []}))
    assert "<script>alert" not in page
