"""Which families a recipe's models lean on: the verb, its sessions, its refusals."""

from pathlib import Path

import pytest

import alpha_assets as aa
from alpha_assets.errors import BadInput, MissingOutput, RangeError

pytestmark = pytest.mark.usefixtures("pipelines")


def test_families_are_judged_on_validation_sessions_alone(tiny_run: Path) -> None:
    found = aa.importance("tiny", storage=str(tiny_run))
    rows = found["importance"]
    assert {row["horizon"] for row in rows} == {2, 5}
    assert {row["family"] for row in rows} >= {"price", "volatility", "liquidity", "trend"}
    # Fifteen validation sessions for each of two models, none of a decided month's labels known.
    assert 15 <= rows[0]["n_sessions"] <= 30
    assert all(row["last"] < "2021-08-01" for row in rows)
    for horizon in (2, 5):
        losses = [row["loss"] for row in rows if row["horizon"] == horizon]
        assert losses == sorted(losses, reverse=True)
    alone = aa.importance("tiny", storage=str(tiny_run), last_month="2021-07")
    assert alone["importance"][0]["n_sessions"] == 15
    short = alone["importance"][-1]  # of the longer horizon
    assert (short["low"], short["high"]) == (None, None)
    assert (
        "no interval: 15 sessions are fewer than 3 blocks of" in alone["rows"][-1]["lost without"]
    )


def test_what_cannot_be_judged_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingOutput, match=r"'?tiny'? has no model .* makes it"):
        aa.importance("tiny", storage=str(tmp_path))
    with pytest.raises(MissingOutput, match="has no model on market 'tiny' from 2021-09 on; "):
        aa.importance("tiny", storage=str(tiny_run), first_month="2021-09")
    with pytest.raises(RangeError, match="'2021-13' is not a month"):
        aa.importance("tiny", storage=str(tiny_run), last_month="2021-13")
    with pytest.raises(RangeError, match="last month 2021-07 is before first month 2021-08"):
        aa.importance("tiny", storage=str(tiny_run), first_month="2021-08", last_month="2021-07")
    with pytest.raises(BadInput, match=r"split.valid_sessions = 0, and families are judged on"):
        aa.importance("tiny", storage=str(tiny_run), overrides=["split.valid_sessions=0"])
