"""The digest of a feature changes with its own function, kernels, inputs and arguments."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.code import Code, installed
from alpha_assets.errors import BadInput
from alpha_assets.features import CATALOG, INTERACTIONS
from alpha_assets.features.base import as_known, build_feature
from alpha_assets.features.code import compute_digest, feature_digests
from alpha_assets.features.compute import inputs_with
from alpha_assets.features.custom_feeds import own_features
from alpha_assets.features.inputs import INPUTS
from alpha_assets.feeds.custom import OwnFeedSpec
from alpha_assets.panel.joins import joins_of
from alpha_assets.spec import parse_spec

Edited = Callable[[str, str, str], set[str]]


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    return feature_digests()


@pytest.fixture
def changed_by(tmp_path: Path, digests: dict[str, str]) -> Edited:
    """Return which features an edit of a copy of the sources changes."""

    def edit(name: str, old: str, new: str) -> set[str]:
        place = tmp_path / "alpha_assets"
        if not place.exists():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(installed().root, place, ignore=ignored)
        path = place / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, (name, old)
        path.write_text(text.replace(old, new), encoding="utf-8")
        after = feature_digests(Code(place))
        path.write_text(text, encoding="utf-8")
        return {feature for feature, digest in after.items() if digest != digests[feature]}

    return edit


def of_input(*names: str) -> set[str]:
    """Return the features that read some inputs, directly or through other inputs."""
    behind = set(names)
    while more := {i.name for i in INPUTS.values() if behind & {*i.inputs}} - behind:
        behind |= more
    found = {item.name for item in CATALOG if behind & {*item.inputs}}
    return found | {item.name for item in INTERACTIONS if found & {*item.inputs}}


def test_every_feature_has_a_digest_of_its_own(digests: dict[str, str]) -> None:
    assert list(digests) == [item.name for item in (*CATALOG, *INTERACTIONS)]
    assert len(set(digests.values())) == len(digests)


def test_an_edited_feature_changes_itself_and_what_is_made_of_it(changed_by: Edited) -> None:
    found = changed_by(
        "features/price.py", "/ shift(last_close, YEAR) - 1", "/ shift(last_close, YEAR) - 2"
    )
    # Both the interaction and the peers' comparison read `mom_12_1`.
    assert found == {"mom_12_1", "sec_rel_mom_12_1", "x_mom_12_1__sector_short_z_60"}


def test_an_edited_input_changes_what_reads_it(changed_by: Edited) -> None:
    found = changed_by("features/inputs.py", "np.log(high / low)", "np.log(low / high)")
    assert found == of_input("log_range") != set()


def test_an_edited_kernel_changes_what_calls_it(changed_by: Edited) -> None:
    found = changed_by("features/estimators.py", "def parkinson(", "def parkinson(*, z=0, ")
    assert {"vol_park_20", "vol_park_60"} <= found
    assert not found & {"mom_12_1", "vol_c2c_20", "ret_20", "vol_gk_20"}


def test_another_window_or_prose_in_the_source_changes_no_other_feature(
    changed_by: Edited,
) -> None:
    windows = "windows=(1, 2, 3, 5, 10, 20, 60, 120)"
    assert changed_by("features/price.py", windows, "windows=(1, 2, 3, 5, 10, 20)") == set()
    prose = "leaving out the last month, which tends to reverse."
    assert changed_by("features/price.py", prose, "leaving out a month.") == set()
    source = '"C[-21] / C[-252] - 1",\n    source="Jegadeesh & Titman (1993), J. Finance 48."'
    assert changed_by("features/price.py", source, '"x",\n    source="Others (1993)."') == set()


def test_the_arguments_of_the_factory_count() -> None:
    plain = next(item for item in CATALOG if item.name == "ret_5")
    other = replace(plain, fn=partial(plain.fn.func, n=6))  # type: ignore[attr-defined]
    assert feature_digests(catalog=[plain]) != feature_digests(catalog=[other])
    assert feature_digests(catalog=[plain]) == feature_digests(
        catalog=[replace(plain, about="Other prose.", unit="parts")]
    )


def test_what_a_function_was_made_with_counts_or_is_refused() -> None:
    texts = {"rows": 1, "unit": "", "about": "It.", "source": "None."}
    one = build_feature("a", "a", as_known, ("close",), **texts)  # type: ignore[arg-type]
    two = replace(one, inputs=("open",))
    assert feature_digests(catalog=[one]) != feature_digests(catalog=[two])
    strange = replace(one, fn=partial(as_known, by=np.zeros(2)))
    with pytest.raises(BadInput, match="made with a ndarray"):
        feature_digests(catalog=[strange])


def test_what_computes_all_features_leaves_the_features_out(tmp_path: Path) -> None:
    place = tmp_path / "alpha_assets"
    shutil.copytree(installed().root, place, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new, is_changed in (
        ("features/price.py", "HALF_YEAR = 126", "HALF_YEAR = 127", False),
        ("features/inputs.py", "np.log(high / low)", "np.log(low / high)", False),
        ("features/blocks.py", "BLOCK_CELLS = 40_000", "BLOCK_CELLS = 50_000", True),
    ):
        path = place / name
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(old, new), encoding="utf-8")
        assert text.count(old) == 1
        assert (compute_digest(Code(place)) != compute_digest()) == is_changed, name
        path.write_text(text, encoding="utf-8")


def test_features_of_a_market_s_own_feed_count_with_what_they_read(tmp_path: Path) -> None:
    tables = {"scope": "symbol", "columns": {"sentiment": "number"}}
    feed = parse_spec(tables, OwnFeedSpec, origin="us.toml").feed("mood")
    joins = joins_of({"mood": feed})
    own, inputs = own_features(joins), inputs_with(joins, MAX_STALE)
    before = feature_digests(catalog=own, inputs=inputs)
    assert list(before) == ["mood_sentiment", "mood_age"]

    place = tmp_path / "alpha_assets"
    shutil.copytree(installed().root, place, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in (
        ("features/custom_feeds.py", "return x_DN.copy()", "return -x_DN"),
        ("features/inputs.py", "return x_DN\n", "return -x_DN\n"),
    ):
        text = (place / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, name
        (place / name).write_text(text.replace(old, new), encoding="utf-8")
        after = feature_digests(Code(place), own, inputs)
        (place / name).write_text(text, encoding="utf-8")
        assert all(after[feature] != before[feature] for feature in before), name
