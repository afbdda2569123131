"""Everything about short-range order at once: what ``atomflow order`` prints."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.blocks import estimate
from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.order.coordination import CUTOFFS_A, Shell, bridge_angles, cutoff_of, shell
from atomflow.order.frames import FRAMES, Source, of_what, open_source
from atomflow.order.rdf import Rdf, radial_distribution
from atomflow.order.rings import boroxol_fraction
from atomflow.order.separation import Separation, separation
from atomflow.plain import Shown, table
from atomflow.runs.chain import replicas_in
from atomflow.units import G_PER_CM3_PER_AMU_PER_A3


@dataclass(frozen=True, repr=False)
class OrderResult(Shown):
    """Short-range order of one or several replicas.

    Attributes:
        sources, n_frames: what was looked at. of: its cell and potential, in a line.
        density_g_per_cm3: of the whole box.
        rdfs: {pair: g(r)}. shells: {pair: coordination, lengths, angles}.
        bridges: {``B-O-B``: (mean angle, histogram)}.
        boroxol: share of borons in B3O3 rings; unknown without boron.
        separation: whether Zn and B part; None where there are not at least two of each.
        warnings: what was doubtful in files of other programs.
    """

    sources: tuple[str, ...]
    n_frames: int
    region: str | None
    density_g_per_cm3: Estimate
    rdfs: dict[str, Rdf]
    shells: dict[str, Shell]
    bridges: dict[str, tuple[Estimate, dict[str, np.ndarray]]]
    boroxol: Estimate
    of: str
    separation: Separation | None = None
    warnings: tuple[str, ...] = ()

    @property
    def n_replicas(self) -> int:
        return len(self.sources)

    def text(self) -> str:
        """For people, as ``atomflow order`` prints it."""
        lines = [f"{self.n_frames} frames of {self.n_replicas} replica(s); density "
                 f"{self.density_g_per_cm3:.4g} g/cm³", f"of {self.of}"]
        rows = []
        for pair, rdf in self.rdfs.items():
            found = self.shells.get(pair)
            rows.append([pair, "-" if rdf.peak_A is None else f"{rdf.peak_A:.3f}",
                         "-" if rdf.minimum_A is None else f"{rdf.minimum_A:.2f}",
                         f"{found.cutoff_A:g}" if found else "-", f"{found.mean:.3g}" if found else "-",
                         f"{found.length_A:.4g}" if found else "-", f"{found.angle_deg:.4g}" if found else "-"])
        lines.append(table(rows, ["pair", "g(r) peak/Å", "valley/Å", "cutoff/Å", "coordination", "bond/Å", "angle/°"]))
        for pair, found in self.shells.items():
            parts = []
            for number, share in found.fractions.items():
                length = found.lengths_A.get(number)
                at = f" at {length.value:.3f} Å" if length and length.value is not None else ""
                parts.append(f"{number}: {100 * (share.value or 0):.3g} %{at}")
            lines.append(f"{pair}: " + ", ".join(parts))
        lines += [f"{name} angle: {mean:.4g}°" for name, (mean, _) in self.bridges.items() if mean.value is not None]
        if self.separation is not None:
            like, chance = self.separation.like_neighbours, self.separation.like_chance
            lines.append(f"Zn among the cation neighbours of Zn: {like:.3g} "
                         f"(chance {chance[0]:.2g} to {chance[2]:.2g})")
            lines.append(self.separation.sentence)
        if self.boroxol.value is not None:
            lines.append(f"boron in B3O3 (boroxol) rings: {self.boroxol:.3g}")
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "n_replicas": self.n_replicas,
                "bridges": {name: {"angle_deg": mean, "histogram": histogram}
                            for name, (mean, histogram) in self.bridges.items()}}


def measure(
    what: Any,
    pairs: Sequence[str] | None = None,
    cutoffs_A: Mapping[str, float] | None = None,
    r_max_A: float = 8.0,
    bin_A: float = 0.05,
    n_frames: int = FRAMES,
    discard_ps: float = 0.0,
    region: str | None = None,
    level: float = 0.95,
) -> OrderResult:
    """Short-range order of a cell, a trajectory, a path, or a list of them (replicas).

    The folder of a quench stands for the frames with which it ended, or for its replicas.

    Args:
        pairs: ``["B-O", "Zn-O"]``, centre first; every pair with a stated cutoff when not given.
        cutoffs_A: bond lengths beyond the built-in ones, ``{"B-O": 1.85}``.
        region: only atoms of this region are centres.

    Raises:
        InputError: nothing to look at, or elements, pairs, regions that are not there.
    """
    given = what if isinstance(what, (list, tuple)) else [what]
    replicas = [one for item in given
                for one in (replicas_in(Path(item)) if isinstance(item, (str, os.PathLike)) else [item])]
    sources = [open_source(item, n_frames, discard_ps) for item in replicas]
    if not sources:
        raise InputError("there is nothing to look at: the list is empty")
    chosen = list(dict.fromkeys(pairs)) if pairs else _present(sources, cutoffs_A or {}, region)
    if not chosen:
        raise InputError("no pair with a known bond length is in it; name pairs and cutoffs, like --cutoff Na-Na=4")
    rdfs = {pair: radial_distribution(sources, pair, r_max_A, bin_A, region) for pair in chosen}
    stated = [pair for pair in chosen if pair in CUTOFFS_A or pair in (cutoffs_A or {})]
    shells = {pair: shell(sources, pair, cutoff_of(pair, cutoffs_A), region, level) for pair in stated}
    bridges = {f"{a}-{b}-{a}": bridge_angles(sources, f"{a}-{b}", cutoff_of(f"{a}-{b}", cutoffs_A), region, level)
               for a, b in (pair.split("-") for pair in stated) if a in ("B", "Si", "P") and b == "O"}
    boroxol = Estimate.unknown(level)
    if "B-O" in stated:
        boroxol = estimate([_boroxol(source, cutoff_of("B-O", cutoffs_A), region) for source in sources], level)
    return OrderResult(tuple(s.name for s in sources), sum(len(s.chosen) for s in sources), region,
                       estimate([_densities(source) for source in sources], level), rdfs, shells, bridges, boroxol,
                       of_what(sources),
                       separation(sources, region=region, level=level) if _has_both(sources, region) else None,
                       tuple(text for source in sources for text in source.warnings))


def _has_both(sources: Sequence[Source], region: str | None) -> bool:
    """Whether every source has two Zn and two B that count."""
    counted = [_counted(source, region) for source in sources]
    return all(min((symbols == "Zn").sum(), (symbols == "B").sum()) >= 2 for symbols in counted)


def _present(sources: Sequence[Source], cutoffs_A: Mapping[str, float], region: str | None) -> list[str]:
    """Pairs with a cutoff whose elements are in every source, the centres in the region."""
    common = set.intersection(*(set(source.symbols.tolist()) for source in sources))
    centres = set.intersection(*(set(_counted(source, region).tolist()) for source in sources)) or common
    return [pair for pair in {**CUTOFFS_A, **cutoffs_A} if set(pair.split("-")) <= common
            and pair.split("-")[0] in centres]


def _counted(source: Source, region: str | None) -> np.ndarray:
    """Symbols of the atoms that are centres."""
    return source.symbols if region is None else source.symbols[source.regions == region]


def _densities(source: Source) -> np.ndarray:
    from ase.data import atomic_masses, atomic_numbers

    mass = sum(float(atomic_masses[atomic_numbers[str(symbol)]]) for symbol in source.symbols)
    volumes = np.array([abs(np.linalg.det(lattice)) for _, lattice in source.frames()])
    return mass / volumes * G_PER_CM3_PER_AMU_PER_A3


def _boroxol(source: Source, cutoff_A: float, region: str | None) -> np.ndarray:
    mask = None if region is None else source.regions == region
    return np.array([boroxol_fraction(p, box, source.symbols, cutoff_A, mask) for p, box in source.frames()])
