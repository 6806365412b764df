"""Folds of every kind: by hand, against a second way that counts label sessions, and refused."""

from datetime import date, time
from itertools import combinations
from math import comb
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pydantic import ValidationError

from alpha_assets.arrays.types import Mask
from alpha_assets.calendar import Calendar, month_of
from alpha_assets.dataset import SplitSpec, split_month, walk_forward
from alpha_assets.dataset.folds import (
    CombinatorialSpec,
    FixedSpec,
    Fold,
    PurgedKFoldSpec,
    combinatorial,
    fixed,
    folds_of,
    purged_kfold,
)
from alpha_assets.errors import RangeError

# Random calendars, spans, horizons and embargoes; each is cut in two ways.
N_QUICK, N_MANY = 2_000, 50_000


def calendar_of(sessions: np.ndarray) -> Calendar:
    return Calendar(
        exchange="TEST",
        zone=ZoneInfo("UTC"),
        decision_time=time(8, 30),
        sessions=sessions,
        decisions=sessions.astype("datetime64[us]") + np.timedelta64(510, "m"),
        sessions_per_year=261.0,
    )


DAYS = np.datetime64("2020-01-01") + np.arange(400)
CALENDAR = calendar_of(DAYS)


def numbers(sessions: np.ndarray) -> list[int]:
    """Places of the days on the calendar that trades every day."""
    return (sessions - DAYS[0]).astype(int).tolist()


def test_purged_folds_by_hand() -> None:
    # Ten sessions in two blocks, h = 1, embargo 1: two sessions are left empty on each side.
    spec = PurgedKFoldSpec(kind="purged_kfold", folds=2, embargo_sessions=1)
    first, second = purged_kfold(CALENDAR, 1, spec, (DAYS[0], DAYS[9]))
    assert (first.key, second.key) == ("1", "2")
    assert numbers(first.test) == [0, 1, 2, 3, 4]
    assert numbers(first.train) == [7, 8, 9]  # 4 + 1 + 1 = 6 < 7
    assert numbers(second.test) == [5, 6, 7, 8, 9]
    assert numbers(second.train) == [0, 1, 2]  # 2 + 1 + 1 = 4 < 5
    assert not len(first.valid)


def test_validation_of_a_purged_fold_by_hand() -> None:
    # Twelve sessions in three blocks, h = 0 apart from the strict rule: fold 1 judges 0 to 3, the
    # run that is left is 5 to 11, its last two validate, and one session before them is purged.
    spec = PurgedKFoldSpec(kind="purged_kfold", folds=3, valid_sessions=2)
    fold, *_ = purged_kfold(CALENDAR, 1, spec, (DAYS[0], DAYS[11]))
    assert numbers(fold.test) == [0, 1, 2, 3]
    assert numbers(fold.valid) == [10, 11]
    assert numbers(fold.train) == [5, 6, 7, 8]


def test_combinations_by_hand() -> None:
    # Nine sessions in three blocks, two judged together: the third trains, purged where they meet.
    spec = CombinatorialSpec(kind="combinatorial", groups=3, tested=2)
    folds = combinatorial(CALENDAR, 1, spec, (DAYS[0], DAYS[8]))
    assert [fold.key for fold in folds] == ["1-2", "1-3", "2-3"]
    assert [numbers(fold.train) for fold in folds] == [[7, 8], [4], [0, 1]]
    assert numbers(folds[1].test) == [0, 1, 2, 6, 7, 8]


def test_a_fixed_fold_by_hand() -> None:
    # Twenty sessions: the test has 5, validation begins 5 earlier; h = 2 purges each before.
    spec = FixedSpec(kind="fixed", valid_share=0.25, test_share=0.25)
    (fold,) = fixed(CALENDAR, 2, spec, (DAYS[0], DAYS[19]))
    assert numbers(fold.train) == list(range(8))  # 7 + 2 = 9 < 10
    assert numbers(fold.valid) == [10, 11, 12]  # 12 + 2 = 14 < 15
    assert numbers(fold.test) == [15, 16, 17, 18, 19]
    days = FixedSpec(kind="fixed", valid_from=date(2020, 1, 11), test_from=date(2020, 1, 16))
    (same,) = folds_of(CALENDAR, 2, days, (DAYS[0], DAYS[19]))
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(same, name), getattr(fold, name))


def test_walk_forward_folds_are_the_months_splits() -> None:
    spec = SplitSpec(lookback_sessions=60, valid_sessions=15, embargo_sessions=2)
    folds = walk_forward(CALENDAR, 5, spec, (DAYS[10], DAYS[250]))
    assert [fold.key for fold in folds][:2] == ["2020-05", "2020-06"]
    assert folds[-1].key == month_of(DAYS[250])
    for fold in folds:
        split = split_month(CALENDAR, fold.key, 5, spec, DAYS[10])
        np.testing.assert_array_equal(fold.train, split.train)
        np.testing.assert_array_equal(fold.valid, split.valid)
        assert {month_of(session) for session in fold.test} == {fold.key}
        assert fold.test[-1] <= DAYS[250]


def meeting(n: int, length: int) -> Mask:
    """Which pairs of n sessions have intervals [D, D + length] that share a session: counted."""
    covered_DS = np.zeros((n, n + length), dtype=np.float32)
    for lag in range(length + 1):
        covered_DS[np.arange(n), np.arange(n) + lag] = 1
    meets_DE: Mask = covered_DS @ covered_DS.T > 0
    return meets_DE


def check(fold: Fold, sessions: np.ndarray, meets_DE: Mask) -> None:
    """Look, session by session, at what each label covers; nothing may be covered twice."""
    train, valid, test = (np.isin(sessions, s) for s in (fold.train, fold.valid, fold.test))
    held = valid | test
    assert int(train.sum() + held.sum()) == len(fold.train) + len(fold.valid) + len(fold.test)
    assert not meets_DE[train][:, held].any(), "a training label meets a held-out one"
    assert not meets_DE[valid][:, test].any(), "a validation label meets a test one"
    allowed = ~meets_DE[:, held].any(axis=1)
    assert (train == allowed).all(), "train is not as large as allowed"


def prove(n_cases: int) -> int:
    """Draw cases, compare every fold with a count; return how many folds were looked at."""
    rng = np.random.default_rng(7)
    looked_at = 0
    refused = 0
    for _ in range(n_cases):
        n = int(rng.integers(8, 49))
        skipped = rng.integers(1, 4, n + 20).cumsum()  # days without a session in between
        calendar = calendar_of(np.datetime64("2020-01-01") + skipped)
        first = int(rng.integers(0, 20))
        sessions = calendar.sessions[first : first + n]
        usable = (sessions[0], sessions[-1])
        horizon, embargo = int(rng.integers(1, 7)), int(rng.integers(0, 4))
        k = int(rng.integers(2, 7))
        tested = int(rng.integers(1, k))
        valid = int(rng.integers(0, 3))
        meets_DE = meeting(n, horizon + embargo)
        shared = {"embargo_sessions": embargo, "valid_sessions": valid}
        specs = (
            PurgedKFoldSpec(kind="purged_kfold", folds=k, **shared),
            CombinatorialSpec(kind="combinatorial", groups=k, tested=tested, **shared),
        )
        for spec, times in zip(specs, (1, comb(k - 1, tested - 1)), strict=True):
            try:
                folds = folds_of(calendar, horizon, spec, usable)
            except RangeError:
                refused += 1
                continue
            for fold in folds:
                check(fold, sessions, meets_DE)
                assert len(fold.valid) == valid
            judged = np.concatenate([fold.test for fold in folds])
            found, counts = np.unique(judged, return_counts=True)
            np.testing.assert_array_equal(found, sessions)
            assert (counts == times).all(), "a session is not judged as often as it should be"
            assert len({fold.key for fold in folds}) == len(folds)
            looked_at += len(folds)
    assert 0 < refused < n_cases * 2
    return looked_at


def test_no_label_reaches_into_a_held_out_one_in_random_cases() -> None:
    assert prove(N_QUICK) > 2 * N_QUICK


@pytest.mark.slow
def test_no_label_reaches_into_a_held_out_one_in_a_hundred_thousand_cases() -> None:
    assert prove(N_MANY) > 2 * N_MANY


def test_fixed_folds_keep_the_same_distance_in_random_cases() -> None:
    rng = np.random.default_rng(3)
    for _ in range(500):
        n, horizon, embargo = (int(rng.integers(*ends)) for ends in ((30, 90), (1, 8), (0, 4)))
        spec = FixedSpec(kind="fixed", valid_share=0.3, test_share=0.2, embargo_sessions=embargo)
        try:
            (fold,) = fixed(CALENDAR, horizon, spec, (DAYS[5], DAYS[4 + n]))
        except RangeError:
            continue
        train, valid, test = (numbers(span) for span in (fold.train, fold.valid, fold.test))
        assert train[0] == 5
        assert train[-1] + horizon + embargo + 1 == valid[0]
        assert valid[-1] + horizon + embargo + 1 == test[0]
        assert test[-1] == 4 + n


@pytest.mark.parametrize("k", [2, 3, 5])
def test_folds_whose_purge_leaves_nothing_are_refused_with_the_numbers(k: int) -> None:
    spec = PurgedKFoldSpec(kind="purged_kfold", folds=k, embargo_sessions=4)
    with pytest.raises(RangeError) as refused:
        purged_kfold(CALENDAR, 20, spec, (DAYS[0], DAYS[29]))
    words = str(refused.value)
    assert f"fold 1 of {k} blocks has nothing to train on" in words or k == 5
    assert "20 sessions of purge and 4 of embargo" in words
    assert "of 30 usable sessions" in words


def test_other_spans_that_are_empty_are_refused_with_the_numbers() -> None:
    with pytest.raises(RangeError, match="3 usable sessions cannot be cut into 4 blocks"):
        purged_kfold(CALENDAR, 1, PurgedKFoldSpec(kind="purged_kfold", folds=4), (DAYS[0], DAYS[2]))
    spec = PurgedKFoldSpec(kind="purged_kfold", folds=2, valid_sessions=9)
    with pytest.raises(RangeError, match="no 9 consecutive sessions to validate on"):
        purged_kfold(CALENDAR, 1, spec, (DAYS[0], DAYS[15]))
    with pytest.raises(RangeError, match="fixed fold has no validation session: of 20 usable"):
        fixed(CALENDAR, 5, FixedSpec(kind="fixed", valid_share=0.2), (DAYS[0], DAYS[19]))


def test_impossible_specs_are_refused() -> None:
    with pytest.raises(ValidationError, match="tested = 3 of groups = 3 leave none to train on"):
        CombinatorialSpec(kind="combinatorial", groups=3, tested=3)
    with pytest.raises(ValidationError, match="leave nothing to train on"):
        FixedSpec(kind="fixed", valid_share=0.5, test_share=0.5)
    with pytest.raises(ValidationError, match="given together"):
        FixedSpec(kind="fixed", test_from=date(2020, 1, 1))


def test_every_choice_of_blocks_has_a_fold() -> None:
    spec = CombinatorialSpec(kind="combinatorial", groups=6, tested=2)
    folds = combinatorial(CALENDAR, 3, spec, (DAYS[0], DAYS[299]))
    chosen = ["-".join(map(str, pair)) for pair in combinations(range(1, 7), 2)]
    assert [fold.key for fold in folds] == chosen
