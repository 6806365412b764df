"""The lines of a CSV file: cut ones are named, whole ones are let through."""

from pathlib import Path

import pytest

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.sources.files.check import import_check
from alpha_assets.sources.files.csv_integrity import line_problems
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec

HEADER = "date,symbol,open,high,low,close,volume\n"
WHOLE = HEADER + "2020-01-02,A,1,1,1,1,10\n"


def rules(content: str) -> list[str]:
    found = line_problems(content.encode(), "daily_bars.csv", "daily_bars")
    return [problem.rule for problem in found]


@pytest.mark.parametrize(
    "content",
    [
        WHOLE,
        WHOLE.replace("\n", "\r\n"),
        HEADER,
        'date,name\n2020-01-02,"Inc., The"\n',
        'date,name\n2020-01-02,"two\nlines"\n',
        WHOLE + "\n",
    ],
)
def test_whole_lines_have_nothing_to_say(content: str) -> None:
    assert rules(content) == []


@pytest.mark.parametrize(
    "last", ["2020-01-03,AB", "2020-01-03,A,1", "2020-01-03,A,1,1,1,1", "2020-01-0"]
)
def test_a_file_that_was_cut_stops(last: str, tmp_path: Path, new_york: Calendar) -> None:
    # Read without this rule, `AB` is a symbol that did not trade.
    (tmp_path / "daily_bars.csv").write_text(WHOLE + last)

    report = import_check(tmp_path, new_york)

    assert "uneven_line" in [problem.rule for problem in report.errors]
    assert "no_last_newline" in [problem.rule for problem in report.warnings]
    source = FilesSource(FilesSourceSpec(path=str(tmp_path)), new_york)
    with pytest.raises(FeedError, match=rf"daily_bars\.csv row 2: \d fields: {last}"):
        source.rows("daily_bars")


def test_a_line_that_is_too_long_is_named_beside_the_other_problems(
    tmp_path: Path, new_york: Calendar
) -> None:
    (tmp_path / "daily_bars.csv").write_text(WHOLE + "2020-01-03,A,1,1,-1,1,10,7\n")

    report = import_check(tmp_path, new_york)

    assert [p.rule for p in report.errors] == ["uneven_line", "price_not_positive"]
    example = report.errors[0].examples[0]
    assert (example.file, example.row) == ("daily_bars.csv", 2)
    assert "has the header's 7 fields" in report.errors[0].wanted


def test_lines_are_counted_where_values_are_quoted() -> None:
    content = 'date,name\n2020-01-02,"Inc., The"\n2020-01-03\n2020-01-06,"a","b"\n'
    (problem,) = line_problems(content.encode(), "benchmark.csv", "benchmark")
    assert (problem.rule, problem.count) == ("uneven_line", 2)
    assert [example.row for example in problem.examples] == [2, 3]


def test_a_last_line_without_end_is_odd_and_no_error(tmp_path: Path, new_york: Calendar) -> None:
    (tmp_path / "daily_bars.csv").write_text(WHOLE.rstrip("\n"))
    report = import_check(tmp_path, new_york)
    assert report.errors == ()
    assert [problem.rule for problem in report.warnings] == ["no_last_newline"]
    source = FilesSource(FilesSourceSpec(path=str(tmp_path)), new_york)
    assert source.rows("daily_bars").height == 1


def test_a_quote_that_is_never_closed_is_named() -> None:
    content = "date,name\n" + '2020-01-02,"' + "x" * 200_000
    assert "uneven_line" in rules(content)
