"""Boundary and surface energies of a potential beside those that DFT gave for the same planes of NZSP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from atomflow.build.boundary import build_boundary, crystal_of, nzsp_crystal
from atomflow.build.planes import lattice_plane
from atomflow.build.slab import good_cuts, in_plane_frame
from atomflow.build.surface import build_slab
from atomflow.cell import Cell, read_cell
from atomflow.config import StrictModel, check_config_given, parse, read_yaml
from atomflow.errors import InputError
from atomflow.interfaces.comparison import Comparison, Row
from atomflow.interfaces.energy import InterfaceEnergy, boundary_energy, surface_energy, with_thicker
from atomflow.interfaces.journal import Journal
from atomflow.interfaces.relaxing import Say
from atomflow.interfaces.translation import SearchConfig, search
from atomflow.potentials import Potential
from atomflow.potentials.base import check_potential_given
from atomflow.units import EV_PER_A2_IN_J_PER_M2

#: What we ask of a potential, J/m².
GOAL_J_PER_M2 = 0.08
#: Cuts that break more Zr-O bonds than the best by this factor are not tried.
CUT_RANGE = 4 / 3
#: Rows of published cells that are relaxed on.
THEIRS = ("their cell", "their slab")


class Published(StrictModel):
    """One published energy; ``plane`` on the primitive cell, ``cell`` the file of the boundary itself if it is here."""

    plane: tuple[int, int, int]
    J_per_m2: float = Field(gt=0)
    eV_per_A2: float | None = Field(None, gt=0)
    stoichiometric: bool
    cell: str | None = None

    @property
    def name(self) -> str:
        return "(" + " ".join(map(str, self.plane)) + ")"


class PublishedSet(StrictModel):
    """All of a publication."""

    source: str
    method: str
    boundaries: tuple[Published, ...]
    surfaces: tuple[Published, ...]


@cache
def published() -> PublishedSet:
    """Xie et al. 2023."""
    path = Path(__file__).with_name("data") / "xie2023.yaml"
    return parse(PublishedSet, read_yaml(path), path.name)


def compare_dft(
    potential: Potential,
    folder: str | Path,
    planes: Sequence[tuple[int, int, int]] | None = None,
    surfaces: bool = True,
    thicker: bool = True,
    cuts: int = 2,
    grain_thickness_A: float = 13.0,
    config: SearchConfig | None = None,
    say: Say | None = None,
    stop: Callable[[], bool] | None = None,
    searches: bool = True,
) -> Comparison:
    """Build, search and relax the published boundaries with a potential, at its own lattice constants.

    Args:
        folder: of the searches and results; called again with the same folder it goes on.
        planes: of the boundaries; the stoichiometric ones when not given.
        surfaces: also the published surfaces of whole formula units. thicker: also with grains twice as thick.
        cuts: how many cuts of a plane are tried, of those that break at most a third more Zr-O bonds than the best.

    Raises:
        InputError: a plane without a published energy, or a folder that holds another comparison.
    """
    check_potential_given(potential)
    if config is not None:
        check_config_given(config, SearchConfig)
    config, say = config or SearchConfig.model_validate({}), say or (lambda text: None)
    chosen = _chosen(planes)
    identity = {"potential": potential.identity.sha256, "settings": config.model_dump(), "thicker": thicker,
                "cuts": cuts, "grain_thickness_A": grain_thickness_A}  # fmt: skip
    journal = Journal(folder, identity, "comparison")
    work = _Work(potential, journal, _crystal(potential, journal, say), config, thicker, cuts, grain_thickness_A, say,
                 stop)  # fmt: skip
    rows = [work.once("boundary", item, work.boundary) for item in (chosen if searches else ())]
    rows += [work.once("their cell", item, work.theirs) for item in chosen if item.cell is not None]
    whole = [item for item in published().surfaces if item.stoichiometric and surfaces]
    rows += [work.once("surface", item, work.surface) for item in (whole if searches else ())]
    rows += [work.once("their slab", item, work.theirs) for item in whole if item.cell is not None]
    return judged(rows, work.crystal.volume_A3, potential)


@dataclass(frozen=True)
class _Work:
    """What every row needs."""

    potential: Potential
    journal: Journal
    crystal: Cell
    config: SearchConfig
    thicker: bool
    cuts: int
    thickness_A: float
    say: Say
    stop: Callable[[], bool] | None

    def once(self, what: str, item: Published, compute: Callable[[Published, str], Row]) -> Row:
        """A row out of the journal, or computed and put there."""
        key = what.replace(" ", "-") + "".join(f"{i:+d}" for i in item.plane)
        if self.journal.get(key) is None:
            self.say(f"{what} {item.name}")
            row = compute(item, key)
            self.journal.put(key, row.to_json())
            self.say(f"{what} {item.name}: {row.ours_J_per_m2:.3f} J/m², DFT {item.J_per_m2:g}")
        return _read(self.journal.get(key))

    def boundary(self, item: Published, key: str) -> Row:
        """Every cut searched on its own; the lowest of all."""
        found = []
        for cut in self.ranks(item):
            built = build_boundary(item.plane, "mirror", self.crystal, grain_thickness=self.thickness_A, cut=cut)
            found.append((cut, search(built, self.potential, self.journal.folder / f"{key}-cut{cut}", self.config,
                                      self.say, self.stop)))  # fmt: skip
        cut, best = min(found, key=lambda one: one[1].energy_eV)
        every = sorted(one["energy_eV"] for _, result in found for one in result.finalists if not one["problems"])
        runner = (every[1] - every[0]) / (2 * best.area_A2) * EV_PER_A2_IN_J_PER_M2 if len(every) > 1 else None
        energy = boundary_energy(best.cell, self.potential, None, self.config.fmax_eV_per_A, self.config.max_steps,
                                 None, None, best.built)  # fmt: skip
        return _row(item, self.doubled(energy, best.built), runner, cut)

    def theirs(self, item: Published, key: str) -> Row:
        """The published boundary or slab, relaxed on from where DFT left it: two interfaces in either."""
        energy = boundary_energy(_theirs(item), self.potential, _dft_crystal(), self.config.fmax_eV_per_A,
                                 self.config.max_steps)  # fmt: skip
        if item in published().surfaces:
            return replace(_row(item, energy, None, None), what="their slab", excess_volume_A=None)
        return replace(_row(item, energy, None, None), what="their cell")

    def surface(self, item: Published, key: str) -> Row:
        """Every cut relaxed; the lowest."""
        found = []
        for cut in self.ranks(item):
            built = build_slab(item.plane, self.crystal, thickness=self.thickness_A, cut=cut)
            energy = surface_energy(built, self.potential, None, self.config.fmax_eV_per_A, self.config.max_steps)
            found.append((cut, energy, built))
        cut, energy, built = min(found, key=lambda one: one[1].energy_eV_per_A2)
        return _row(item, self.doubled(energy, built), None, cut)

    def doubled(self, energy: InterfaceEnergy, built: Cell) -> InterfaceEnergy:
        if not self.thicker:
            return energy
        return with_thicker(energy, built, self.potential, self.config.fmax_eV_per_A, self.config.max_steps, self.say)

    def ranks(self, item: Published) -> range:
        """The cuts to try, best first."""
        plane = lattice_plane(self.crystal.lattice_A, item.plane)
        good = good_cuts(in_plane_frame(crystal_of(self.crystal).groups, plane), plane)
        close = [cut for cut in good if cut.broken_per_nm2 <= CUT_RANGE * good[0].broken_per_nm2]
        return range(min(self.cuts, len(close)))


def judged(rows: Sequence[Row], volume_A3: float, potential: Potential) -> Comparison:
    """Order and error of the boundaries among the rows."""
    import scipy.stats

    same = np.array([[row.theirs_J_per_m2, row.ours_J_per_m2] for row in rows if row.what in THEIRS])
    pairs = np.array([[row.theirs_J_per_m2, row.ours_J_per_m2] for row in rows if row.what == "boundary"])
    error = float(np.abs(pairs[:, 1] - pairs[:, 0]).mean()) if len(pairs) else float("nan")
    spearman = kendall = None
    if len(pairs) >= 3:
        spearman = float(scipy.stats.spearmanr(pairs[:, 0], pairs[:, 1]).statistic)
        kendall = float(scipy.stats.kendalltau(pairs[:, 0], pairs[:, 1]).statistic)
    same_error = float(np.abs(same[:, 1] - same[:, 0]).mean()) if len(same) else None
    same_kendall = float(scipy.stats.kendalltau(same[:, 0], same[:, 1]).statistic) if len(same) >= 3 else None
    return Comparison(tuple(rows), spearman, kendall, error, same_error, same_kendall,
                      bool(kendall == 1.0 and error <= GOAL_J_PER_M2), volume_A3, _dft_crystal().volume_A3,
                      potential.identity.model_dump(mode="json"), published().source)  # fmt: skip


def _dft_crystal() -> Cell:
    """The primitive cell on Xie's axes, as DFT relaxed it."""
    source = nzsp_crystal("dft")
    return Cell(source.groups.numbers, source.groups.positions_A, source.lattice_A, None,  # type: ignore[arg-type]
                source.groups.sites, {"builder": "nzsp", "cell": "dft"})  # fmt: skip


def _theirs(item: Published) -> Cell:
    return read_cell(Path(__file__).with_name("data") / str(item.cell))


def _chosen(planes: Sequence[tuple[int, int, int]] | None) -> list[Published]:
    known = {item.plane: item for item in published().boundaries}
    if planes is None:
        return [item for item in known.values() if item.stoichiometric]
    for plane in planes:
        if plane not in known:
            names = ", ".join(item.name for item in known.values())
            raise InputError(f"there is no published boundary energy for {plane}; there is for {names}")
        if not known[plane].stoichiometric:
            raise InputError(f"the lowest published {known[plane].name} boundary does not hold whole formula units; "
                             "its energy depends on chemical potentials and cannot stand beside ours")  # fmt: skip
    return [known[plane] for plane in planes]


def _crystal(potential: Potential, journal: Journal, say: Say) -> Cell:
    """Ordered NZSP on Xie's primitive axes, atoms and lattice relaxed with the potential."""
    from atomflow.md import relax

    if (known := journal.cell("crystal")) is not None:
        return known
    say("relaxing the crystal")
    relaxed, result = relax(_dft_crystal(), potential, True, 0.005, 400)
    if not result.converged:
        say(f"warning: the crystal is not quite relaxed: {result.fmax_eV_per_A:.3f} eV/Å left")
    journal.put_cell("crystal", relaxed)
    kept = journal.cell("crystal")  # as a later call will read it: the checksums of what is built from it must agree
    return relaxed if kept is None else kept


def _row(item: Published, energy: InterfaceEnergy, runner_up_J_per_m2: float | None, cut: int | None) -> Row:
    ours = energy.energy_J_per_m2, energy.thicker_J_per_m2, runner_up_J_per_m2, energy.excess_volume_A
    return Row(energy.what, item.plane, item.J_per_m2, *ours, energy.n_atoms, energy.converged, energy.warnings, cut)


def _read(data: dict[str, Any]) -> Row:
    plain = {name: value for name, value in data.items() if name != "difference_J_per_m2"}
    return Row(**{**plain, "plane": tuple(plain["plane"]), "warnings": tuple(plain["warnings"])})
