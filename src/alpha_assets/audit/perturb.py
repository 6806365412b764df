"""Other worlds that a decision must not be able to tell from this one.

Noise and deletion change what became readable after the cut; a restatement changes the past
the way a vendor does when a later split is carried into all earlier prices.
"""

from collections.abc import Callable

import numpy as np
import polars as pl

from alpha_assets.feeds import Feed

NOISE_SD = 0.2  # of the log of a row's price factor
RESTATED_FACTORS = (0.5, 2.0, 4.0)  # powers of two: ratios of restated prices keep every bit

PRICES = ("open", "high", "low", "close")
CLOCK = ("available_at", "ingested_at", "revision")

Perturbation = Callable[[Feed, pl.DataFrame], pl.DataFrame]


def noise(cut: np.datetime64, seed: int) -> Perturbation:
    """Return the world in which every row readable only after `cut` holds other values.

    Prices of a row are multiplied by one log-normal factor, so that high stays above low; all
    other values are dealt out anew among the feed's later rows.  Keys and clock stay.
    """

    def perturb(feed: Feed, rows: pl.DataFrame) -> pl.DataFrame:
        later = _later(rows, cut)
        generator = np.random.default_rng([seed, *feed.name.encode()])
        changed = rows.filter(later)
        prices = [name for name in PRICES if name in changed.columns]
        factor = pl.Series(np.exp(generator.normal(0.0, NOISE_SD, changed.height)))
        others = [name for name in changed.columns if name not in (*feed.key, *CLOCK, *prices)]
        order = generator.permutation(changed.height)
        changed = changed.with_columns(
            *[(pl.col(name) * factor).alias(name) for name in prices],
            *[changed[name].gather(order) for name in others],
        )
        return pl.concat([rows.filter(~later), changed])

    return perturb


def deletion(cut: np.datetime64) -> Perturbation:
    """Return the world in which nothing was published after `cut`."""

    def perturb(feed: Feed, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.filter(~_later(rows, cut))

    return perturb


def restatement(cut: np.datetime64, seed: int) -> Perturbation:
    """Return the world in which a vendor has carried later splits into all bars up to `cut`.

    Per symbol one power of two: earlier prices are divided and volumes multiplied by it;
    traded value and adjustment factors, being ratios or money, stay.
    """

    def perturb(feed: Feed, rows: pl.DataFrame) -> pl.DataFrame:
        if feed.name not in ("daily_bars", "dividends"):
            return rows
        symbols = rows["symbol"].unique().sort()
        generator = np.random.default_rng([seed, len("restatement")])
        chosen = generator.choice(np.array(RESTATED_FACTORS), len(symbols))
        factors = pl.DataFrame({"symbol": symbols, "_factor": chosen})
        factor = pl.when(_later(rows, cut)).then(1.0).otherwise(pl.col("_factor"))
        divided = [name for name in (*PRICES, "amount") if name in rows.columns]
        multiplied = [name for name in ("volume",) if name in rows.columns]
        return (
            rows.join(factors, on="symbol", how="left", maintain_order="left")
            .with_columns(
                *[pl.col(name) / factor for name in divided],
                *[pl.col(name) * factor for name in multiplied],
            )
            .drop("_factor")
        )

    return perturb


def _later(rows: pl.DataFrame, cut: np.datetime64) -> pl.Series:
    return pl.Series(rows["available_at"].dt.replace_time_zone(None).to_numpy() > cut)
