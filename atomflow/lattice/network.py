"""From the rates of single hops to a diffusivity: a lone walker on the network of named sites, solved exactly.

Hops a → b of rate k_ij and vector d_ij on a periodic network with stationary probabilities p_i diffuse with

    D = ½ Σ_ij p_i k_ij (d_ij + χ_j − χ_i)(d_ij + χ_j − χ_i)ᵀ,   χ the one that makes it smallest

for reversible rates (J. W. Haus & K. W. Kehr, Phys. Rep. 150, 263 (1987)). With χ = 0 it is the uncorrelated walk; χ is
what returning from dead ends and low sites takes off: on a lattice of equal sites it vanishes and D = z a² k/6. It is a
problem of weighted least squares and is solved as such: rates that differ by many orders are then no difficulty.

The walker is the ion where the site that it goes to was vacant (all other sites empty then), or the vacancy where one
was made (all others full). Both are the ends of dilution: in NZSP three of four sites are full, and ions move together.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.build.nzsp import na_sites
from atomflow.cell import Cell, check_cell_given
from atomflow.errors import InputError, said
from atomflow.estimate import Estimate
from atomflow.lattice.rates import rate_per_ps
from atomflow.plain import Shown, table
from atomflow.units import BOLTZMANN_EV_PER_K, CM2_PER_S_PER_A2_PER_PS

if TYPE_CHECKING:
    from atomflow.lattice.hops import HopResult

#: Energies of a kind of site from different hops may differ by this before it is said, in eV.
_AGREE_EV = 0.05
#: Draws of the barriers behind an interval.
_DRAWS = 400
#: Below this share of the fastest direction, or of the uncorrelated walk, a direction counts as closed.
_CLOSED, _NOTHING = 1e-6, 1e-28
#: Positions between sites: occupied in some crystals, not counted among Hong's four per formula.
_BETWEEN = ("mid",)


@dataclass(frozen=True)
class HopKind:
    """What the network needs of one hop; ``length_A`` is between the ideal sites."""

    names: tuple[str, str]
    length_A: float
    barrier_eV: float
    reverse_eV: float
    attempt_THz: float
    vacancy: bool

    @classmethod
    def of(cls, data: dict[str, Any], where: str = "this hop") -> HopKind:
        """From :meth:`HopResult.to_json` or its file.

        Raises:
            InputError: the hop has no attempt frequency, or the file is of another kind.
        """
        try:
            if data["attempt_THz"] is None:
                raise InputError(f"{where} has no attempt frequency, so no rate")
            return cls((str(data["names"][0]), str(data["names"][1])), float(data["ideal_length_A"]),
                       float(data["barrier_eV"]), float(data["reverse_eV"]), float(data["attempt_THz"]),
                       bool(data["vacancy"]))
        except (KeyError, TypeError, IndexError) as error:
            raise InputError(f"{where} is not the hop.json of a hop of this version ({error})") from None


@dataclass(frozen=True, repr=False)
class NetworkResult(Shown):
    """D of a lone walker.

    Attributes:
        walker: ion or vacancy. n_sites, n_hops: of the network in the cell.
        site_energies_eV: kind → energy of the walker there, the lowest zero.
        rows: [{temperature_K, diffusivity_cm2_per_s (of the walker, mean over directions), tensor_cm2_per_s,
            uncorrelated_cm2_per_s, tracer_cm2_per_s}]; the last is D of the ions, an :class:`Estimate`: of the walker
            where it is the ion, times vacancies per ion where it is a vacancy, unknown where their number is not known.
        vacancies_per_ion: x/(1 − x), x vacant sites of all, from the composition of the cell it was made in.
    """

    walker: str
    n_sites: int
    n_hops: int
    site_energies_eV: dict[str, float]
    vacancies_per_ion: float | None
    rows: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]
    barrier_error_eV: float | None = None

    def text(self) -> str:
        """For people, as ``atomflow hop`` prints it."""
        ions = f"; times {self.vacancies_per_ion:.2f} vacancies per ion" if self.vacancies_per_ion else ""
        sure = f"; barriers ± {self.barrier_error_eV:g} eV (one standard error)" if self.barrier_error_eV else ""
        rows = [[f"{row['temperature_K']:g}", f"{row['diffusivity_cm2_per_s']:.3g}",
                 f"{row['uncorrelated_cm2_per_s']:.3g}", f"{row['tracer_cm2_per_s']:.2g}"] for row in self.rows]
        header = ["T/K", f"D of the {self.walker}, cm²/s", "without memory", "D of the ions"]
        lines = [f"a lone {self.walker} on {self.n_sites} sites, {self.n_hops} hops{ions}{sure}", table(rows, header)]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def read_hop(place: str | Path) -> HopKind:
    """The hop in a folder of ``atomflow hop``, or in its hop.json."""
    path = Path(place)
    path = path / "hop.json" if path.is_dir() else path
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"there is no {path}; give the folder of a finished `atomflow hop`") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return HopKind.of(data, str(path))


def network(cell: Cell, hops: Sequence[HopKind | HopResult], temperatures_K: Sequence[float],
            barrier_error_eV: float | None = None, level: float = 0.95) -> NetworkResult:
    """D of a lone walker whose hops are these, on all sites of the cell that they connect.

    A hop stands for all pairs of sites of its kinds whose distance is within a tenth of its own.

    Args:
        barrier_error_eV: standard error of every barrier, there and back: D gets an interval from draws of them.

    Raises:
        InputError: no hop, hops of an ion and of a vacancy mixed, or a hop twice.
    """
    if not isinstance(hops, (list, tuple)):
        raise InputError(f"hops is a list of hops, like [hop], not {said(hops)}")
    check_cell_given(cell)
    kinds = [hop if isinstance(hop, HopKind) else HopKind.of(hop.to_json()) for hop in hops]
    _check(kinds, barrier_error_eV)
    names, sites = na_sites(cell)
    energies, warnings = _site_energies(kinds)
    used = np.flatnonzero(np.isin(names, list(energies)))
    edges = _edges(cell, names[used], sites[used], kinds)
    rows, closed = [], 0
    per_ion = _vacancies_per_ion(cell, names) if kinds[0].vacancy else 1.0
    for kelvin in temperatures_K:
        tensor, free = _walk(edges, names[used], kinds, kelvin)
        each = np.linalg.eigvalsh(tensor)
        open_ = each > max(_CLOSED * each[-1], _NOTHING * float(np.trace(free)))
        closed = max(closed, 3 - int(open_.sum()))
        mean = float(np.trace(tensor)) / 3.0 if open_.any() else 0.0
        draws = [float(np.trace(_walk(edges, names[used], drawn, kelvin)[0])) / 3.0
                 for drawn in _drawn(kinds, barrier_error_eV)] if mean > 0 else []
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]).tolist() if draws else (None, None)
        ions = Estimate.unknown(level) if per_ion is None else Estimate(mean, low, high, level).scaled(per_ion)
        rows.append({"temperature_K": float(kelvin), "diffusivity_cm2_per_s": mean,
                     "tensor_cm2_per_s": tensor.tolist(), "uncorrelated_cm2_per_s": float(np.trace(free)) / 3.0,
                     "tracer_cm2_per_s": ions})
    if closed:
        warnings.append(f"these hops alone lead nowhere in {closed} of three directions, or a million times slower "
                        "than in the fastest: add others (--also)")
    return NetworkResult("vacancy" if kinds[0].vacancy else "ion", len(used), len(edges[0]), energies,
                         per_ion if kinds[0].vacancy else None, tuple(rows), tuple(warnings), barrier_error_eV)


def _check(kinds: Sequence[HopKind], barrier_error_eV: float | None) -> None:
    if not kinds:
        raise InputError("a network needs at least one hop")
    if len({kind.vacancy for kind in kinds}) > 1:
        raise InputError("hops of an ion to a vacant site and hops into a vacancy that was made do not mix")
    if len({(frozenset(kind.names), round(kind.length_A, 1)) for kind in kinds}) < len(kinds):
        raise InputError("the same hop is given twice")
    if barrier_error_eV is not None and not 0 <= barrier_error_eV < 1:
        raise InputError(f"the error of a barrier must be from 0 to 1 eV, not {barrier_error_eV:g}")


def _drawn(kinds: Sequence[HopKind], error_eV: float | None) -> list[list[HopKind]]:
    """The hops with barriers drawn around theirs, many times; the same draws at every temperature."""
    if not error_eV:
        return []
    shifts = np.random.default_rng(0).normal(0.0, error_eV, (_DRAWS, len(kinds), 2))
    return [[replace(kind, barrier_eV=max(0.0, kind.barrier_eV + there), reverse_eV=max(0.0, kind.reverse_eV + back))
             for kind, (there, back) in zip(kinds, one, strict=True)] for one in shifts]


def _walk(edges: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], names: np.ndarray, kinds: Sequence[HopKind],
          kelvin: float) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) D in cm²/s with these barriers, and without the walk's memory."""
    energies, _ = _site_energies(kinds)
    weight = np.exp(-np.array([energies[name] for name in names]) / (BOLTZMANN_EV_PER_K * kelvin))
    return _diffusivity(edges, weight / weight.sum(), kinds, energies, kelvin)


def _site_energies(kinds: Sequence[HopKind]) -> tuple[dict[str, float], list[str]]:
    """Energy of the walker on each kind of site, by least squares over the hops; the lowest is zero."""
    names = sorted({name for kind in kinds for name in kind.names})
    matrix = np.zeros((len(kinds) + 1, len(names)))
    rises = np.zeros(len(kinds) + 1)
    for row, kind in enumerate(kinds):
        first, last = _ends(kind)
        matrix[row, names.index(last)] += 1.0
        matrix[row, names.index(first)] -= 1.0
        rises[row] = _rise(kind)
    matrix[-1] = 1.0
    solved = np.linalg.lstsq(matrix, rises, rcond=None)[0]
    off = float(np.abs(matrix[:-1] @ solved - rises[:-1]).max())
    notes = [f"the hops do not agree on the energies of the sites, by up to {off:.2f} eV: least squares are used"]
    energies = {name: float(energy - solved.min()) for name, energy in zip(names, solved, strict=True)}
    return energies, notes if off > _AGREE_EV else []


def _ends(kind: HopKind) -> tuple[str, str]:
    """Where the walker starts and ends: a vacancy goes the other way than its ion."""
    return (kind.names[1], kind.names[0]) if kind.vacancy else kind.names


def _rise(kind: HopKind) -> float:
    """Energy at the walker's end above that at its start: the cell after the hop above the cell before."""
    return kind.barrier_eV - kind.reverse_eV


def _edges(cell: Cell, names: np.ndarray, sites: np.ndarray, kinds: Sequence[HopKind]
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(E,) from, (E,) to, (E, 3) vectors and (E,) kinds of all hops out of the sites of one cell, images counted."""
    shifts = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3) @ cell.lattice_A
    vectors = sites[None, :, None] - sites[:, None, None] + shifts
    lengths = np.linalg.norm(vectors, axis=3)
    nearest, which = np.full(lengths.shape, np.inf), np.full(lengths.shape, -1)
    for index, kind in enumerate(kinds):
        pair = np.zeros(lengths.shape[:2], dtype=bool)
        for one, other in {kind.names, kind.names[::-1]}:
            pair |= (names[:, None] == one) & (names[None, :] == other)
        off = np.abs(lengths - kind.length_A)
        closer = pair[:, :, None] & (lengths > 0.1) & (off < 0.1 * kind.length_A + 0.05) & (off < nearest)
        nearest[closer], which[closer] = off[closer], index
    found = [(int(i), int(j), vectors[i, j, s], int(which[i, j, s])) for i, j, s in np.argwhere(which >= 0)]
    missing = sorted({name for kind in kinds for name in kind.names} - set(names.tolist()))
    if missing:
        raise InputError(f"the cell has no site {', '.join(missing)}: hops of one network are of one kind of cell")
    unmet = [kind for index, kind in enumerate(kinds) if not (which == index).any()]
    if unmet:
        raise InputError(f"no two sites {unmet[0].names[0]} and {unmet[0].names[1]} of the cell are about "
                         f"{unmet[0].length_A:.2f} Å apart: hops of one network are of one kind of cell")
    start, end, vector, kind_of = zip(*found, strict=True)
    return np.array(start), np.array(end), np.array(vector), np.array(kind_of)


def _diffusivity(edges: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], share: np.ndarray,
                 kinds: Sequence[HopKind], energies: dict[str, float], kelvin: float) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) D in cm²/s of the walk, and of the walk without its memory."""
    start, end, vector, which = edges
    flow = np.array([_flow(kinds[k], energies, kelvin) for k in which])
    current = flow * share.max()  # p_i k_ij, the same both ways; share.max(): of a site of energy zero
    root = np.sqrt(current / current.max())[:, None]
    differences = np.zeros((len(start), len(share)))
    np.add.at(differences, (np.arange(len(start)), end), 1.0)
    np.add.at(differences, (np.arange(len(start)), start), -1.0)
    chi = np.linalg.lstsq(root * differences, -root * vector, rcond=None)[0]
    left = root * (vector + differences @ chi)
    free, walk = (0.5 * float(current.max()) * CM2_PER_S_PER_A2_PER_PS * (step.T @ step)
                  for step in (root * vector, left))
    return walk, free


def _flow(kind: HopKind, energies: dict[str, float], kelvin: float) -> float:
    """Rate over the top, counted from a site of energy zero: equal both ways (detailed balance)."""
    first, last = _ends(kind)
    top = 0.5 * (energies[first] + kind.barrier_eV + energies[last] + kind.reverse_eV)
    return rate_per_ps(kind.attempt_THz, top, kelvin)


def _vacancies_per_ion(cell: Cell, names: np.ndarray) -> float | None:
    """x/(1 − x) from the ions and sites of the cell (before a vacancy was made), sites between others not counted."""
    sites = int((~np.isin(names, _BETWEEN)).sum())
    ions = int((cell.symbols == "Na").sum())
    return (sites - ions) / ions if 0 < ions < sites else None
