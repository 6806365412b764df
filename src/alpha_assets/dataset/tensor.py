"""Cross-sections and labels as one tensor that lives where the model does.

Time-major: the windows of one decision session are T contiguous slabs, gathered by index.
No loader, no workers, no host copy, nothing read back in the training step.
Shape letters: D sessions, N symbols, T steps, F features, H horizons, M market-wide series,
B sessions of a batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
import torch
from torch import Tensor

from alpha_assets.arrays.places import codes, places_on
from alpha_assets.arrays.types import Array, Dates, Index
from alpha_assets.dataset.axes import Axes
from alpha_assets.dataset.batch import Batch, select_edges
from alpha_assets.dataset.cells import (
    Cells,
    TargetTransform,
    features_on,
    places_in,
    refuse_duplicates,
    returns_on,
    targets_on,
)
from alpha_assets.dataset.neighbours import Neighbours
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.dataset.vectors import Vectors
from alpha_assets.errors import BadInput, RangeError


@dataclass(frozen=True, eq=False)
class Dataset:
    """All sessions that one month's model may look at, resident on its device.

    Attributes:
        axes: what the places mean.
        x_DNF: features; 0 where there is no universe row.
        valid_DN: there is a universe row.
        mask_DN: to be trained on and scored: a universe row, and a bar at D-1.
        target_DNH: what the loss fits; NaN where unknown.
        return_DNH: forward returns, Float64 on the host, what evaluation reads; NaN where unknown.
        symbol_id_N: see `Batch`.
        sector_id_DN: see `Batch`.
        market_DM: market-wide series, 0 on sessions without rows.
        graph: who is whose neighbour; None where the recipe asks for no graph.
        vectors: raw vectors by name of the input, beside the resident tensors.
    """

    axes: Axes
    x_DNF: Tensor
    valid_DN: Tensor
    mask_DN: Tensor
    target_DNH: Tensor
    return_DNH: Array
    symbol_id_N: Tensor
    sector_id_DN: Tensor
    market_DM: Tensor
    graph: Neighbours | None = None
    vectors: Mapping[str, Vectors] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        cross_section: pl.DataFrame,
        axes: Axes,
        *,
        tradable: pl.DataFrame,
        labels: pl.DataFrame | None = None,
        transform: TargetTransform | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Dataset":
        """Return the resident tensors of `axes`.

        Args:
            cross_section: `session`, `symbol`, the features and market-wide series, `sector`;
                rows outside the axes are left out.
            axes: the sessions, symbols and columns wanted.
            tradable: `session`, `symbol` of every panel row with a bar at D-1 (`stale` = 0).
            labels: `session`, `symbol`, `horizon`, `label` (forward return, a fraction, null
                where unknown); None where nothing is fitted.
            transform: what the loss fits, from the returns of the tradable names of each
                session; None: the returns themselves.
            device: where the tensors live.
            dtype: of the features; Float16 on CUDA only.

        Raises:
            BadInput: duplicate rows, or a feature that is null or not finite: missing must
                have become 0 in the cross-section.
        """
        cells = Cells.of(cross_section, axes, tradable)
        return cls.of_cells(
            cells, axes, labels=labels, transform=transform, device=device, dtype=dtype
        )

    @classmethod
    def of_cells(
        cls,
        cells: Cells,
        axes: Axes,
        *,
        labels: pl.DataFrame | None = None,
        transform: TargetTransform | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Dataset":
        """Return the resident tensors of cells and labels; see `build`."""
        if dtype == torch.float16 and torch.device(device).type != "cuda":
            raise BadInput(
                f"a resident copy of {dtype} on {device}: half precision is for CUDA only; "
                'set training.resident = "float32"'
            )
        return_DNH = returns_on(labels, axes)
        mask_DN = cells.valid_DN & cells.tradable_DN
        return cls(
            axes=axes,
            x_DNF=torch.from_numpy(cells.x_DNF).to(device=device, dtype=dtype),
            valid_DN=torch.from_numpy(cells.valid_DN).to(device),
            mask_DN=torch.from_numpy(mask_DN).to(device),
            target_DNH=torch.from_numpy(
                targets_on(return_DNH, mask_DN, cells.sector_DN, transform)
            ).to(device),
            return_DNH=return_DNH,
            symbol_id_N=torch.from_numpy(
                codes(pl.Series(axes.symbols, dtype=pl.String), axes.known_symbols) + 1
            ).to(device),
            sector_id_DN=torch.from_numpy(cells.sector_DN).to(device),
            market_DM=torch.from_numpy(cells.market_DM).to(device),
        )

    def with_columns(self, names: Sequence[str], value_DNV: Tensor, family: str) -> "Dataset":
        """Return the dataset with columns behind its own: what was fitted on one fold.

        Args:
            names: of the columns.
            value_DNV: on the dataset's axes and device; set to 0 where there is no universe row.
            family: that they are of.
        """
        n_own = len(self.axes.features)
        families = dict(self.axes.families) | {family: tuple(range(n_own, n_own + len(names)))}
        axes = replace(
            self.axes,
            features=(*self.axes.features, *names),
            families={name: families[name] for name in sorted(families)},
        )
        value_DNV = torch.where(self.valid_DN[..., None], value_DNV.to(self.x_DNF.dtype), 0.0)
        return replace(self, axes=axes, x_DNF=torch.cat([self.x_DNF, value_DNV], dim=-1))

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.x_DNF.device

    def sizes(self, steps: int) -> Sizes:
        """Return what a model must know of the data, for windows of `steps` sessions."""
        return Sizes(
            n_features=len(self.axes.features),
            n_market=len(self.axes.market_features),
            steps=steps,
            n_horizons=len(self.axes.horizons),
            n_symbols=len(self.axes.known_symbols),
            n_sectors=len(self.axes.known_sectors),
            families=self.axes.families,
            n_neighbours=0 if self.graph is None else self.graph.edge_GNK.shape[-1],
            vectors={name: one.table_RV.shape[1] for name, one in self.vectors.items()},
            columns=self.axes.features,
        )

    def appended(self, rows: pl.DataFrame, columns: Sequence[str], family: str) -> "Dataset":
        """Return a view with further columns behind the others; 0 where there is no row.

        Args:
            rows: `session`, `symbol` and the columns; rows outside the axes are left out.
            columns: in which order.
            family: the name of their family.

        Raises:
            BadInput: duplicate rows, or a value that is null or not finite.
        """
        axes, n_before = self.axes, len(self.axes.features)
        d, n, rows = places_in(rows, axes, family)
        refuse_duplicates(d * len(axes.symbols) + n, rows, family)
        added = replace(axes, features=tuple(columns), families={})
        more_DNF = torch.from_numpy(features_on(rows, added, d, n)).to(self.x_DNF)
        more_DNF *= self.valid_DN[..., None]
        places = tuple(range(n_before, n_before + len(columns)))
        return replace(
            self,
            x_DNF=torch.cat([self.x_DNF, more_DNF], dim=-1),
            axes=replace(
                axes,
                features=(*axes.features, *columns),
                families=dict(sorted({**axes.families, family: places}.items())),
            ),
        )

    def places(self, sessions: Dates, steps: int) -> Index:
        """Return the places of decision sessions whose windows of `steps` lie on the axis.

        Raises:
            RangeError: a session off the axis, or one whose window starts before it.
        """
        wanted = np.asarray(sessions, dtype="datetime64[D]")
        place = places_on(self.axes.sessions, wanted)
        off = (place < 0) | (place < steps - 1)
        if off.any():
            raise RangeError(
                f"the window of {steps} sessions that ends at {wanted[off][0]} is not in a dataset "
                f"of {self.axes.sessions[0]} to {self.axes.sessions[-1]}; build it from "
                f"{steps - 1} sessions before the first decision"
            )
        return place

    def windows(self, place_B: Tensor, steps: int) -> Batch:
        """Return the windows of `steps` sessions that end at each place of the session axis.

        Args:
            place_B: on the dataset's device, each at least `steps - 1`.
            steps: T.
        """
        window_BT = place_B[:, None] + torch.arange(1 - steps, 1, device=place_B.device)
        edges_BNK, weight_BNK = self._edges(place_B)
        vectors_BNV, has_vector_BN = self._vectors(place_B)
        return Batch(
            x_BNTF=self.x_DNF[window_BT].transpose(1, 2),
            valid_BNT=self.valid_DN[window_BT].transpose(1, 2),
            mask_BN=self.mask_DN[place_B],
            symbol_id_N=self.symbol_id_N,
            sector_id_BN=self.sector_id_DN[place_B],
            market_BTM=self.market_DM[window_BT],
            edges_BNK=edges_BNK,
            edge_weight_BNK=weight_BNK,
            vectors_BNV=vectors_BNV,
            has_vector_BN=has_vector_BN,
        )

    def _vectors(self, place_B: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return vectors_BNV and has_vector_BN by name, 0 where there is no universe row."""
        valid_BN = self.valid_DN[place_B]
        vectors: dict[str, Tensor] = {}
        has: dict[str, Tensor] = {}
        for name, one in self.vectors.items():
            vector_BNV, has_BN = one.at(place_B, self.device)
            has[name] = has_BN & valid_BN
            vectors[name] = vector_BNV.masked_fill(~has[name][..., None], 0.0)
        return vectors, has

    def _edges(self, place_B: Tensor) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Return edges_BNK and edge_weight_BNK at some sessions; nothing without a graph."""
        if self.graph is None:
            return None, None
        return self.graph.at(place_B, self.valid_DN[place_B])

    def cross_section(self, session: np.datetime64, steps: int) -> tuple[Batch, tuple[str, ...]]:
        """Return the windows of exactly one session's universe rows, and their symbols, sorted.

        The batch does not depend on which other sessions or symbols the dataset holds, so that
        a score has the same bits wherever it is made.
        """
        place = int(self.places(np.array([session]), steps)[0])
        row_N = torch.nonzero(self.valid_DN[place])[:, 0]
        span = slice(place - steps + 1, place + 1)
        edges_BNK, weight_BNK = self._edges(torch.tensor([place], device=self.device))
        if edges_BNK is not None and weight_BNK is not None:
            edges_BNK, weight_BNK = select_edges(edges_BNK, weight_BNK, row_N)
        vectors_BNV, has_vector_BN = self._vectors(torch.tensor([place], device=self.device))
        batch = Batch(
            x_BNTF=self.x_DNF[span].index_select(1, row_N)[None].transpose(1, 2),
            valid_BNT=self.valid_DN[span].index_select(1, row_N)[None].transpose(1, 2),
            mask_BN=self.mask_DN[place, row_N][None],
            symbol_id_N=self.symbol_id_N[row_N],
            sector_id_BN=self.sector_id_DN[place, row_N][None],
            market_BTM=self.market_DM[span].clone()[None],
            edges_BNK=edges_BNK,
            edge_weight_BNK=weight_BNK,
            vectors_BNV={name: v.index_select(1, row_N) for name, v in vectors_BNV.items()},
            has_vector_BN={name: h.index_select(1, row_N) for name, h in has_vector_BN.items()},
        )
        return batch, tuple(self.axes.symbols[i] for i in row_N.tolist())
