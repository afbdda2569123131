"""What a molecular dynamics run is asked to do. Importable without torch."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, Self

import pydantic

from atomflow.config import StrictModel, parse
from atomflow.units import FS_PER_PS

#: fields in which the systems of one flat batch may differ
PER_SYSTEM = ("temperature_K", "temperature_end_K", "pressure_GPa", "seed", "time_ps")
#: fields that came after the first release
_YOUNGER = ("held_regions", "doubt_interval_fs", "doubt_warn_eV_per_A", "doubt_stop_eV_per_A")


class MDConfig(StrictModel):
    """One simulation: Langevin equilibration, then production in the ensemble asked for.

    Time steps are counted from the start of equilibration; production time 0 is the end of equilibration, and frames
    are stored from there. Every interval must be a whole number of time steps.

    Attributes:
        ensemble: ``nve`` (velocity Verlet), ``nvt`` (and its ``thermostat``), ``npt`` (and its ``barostat``).
        temperature_K: target temperature, and that of the initial velocities.
        temperature_end_K: with it, the target of production runs linearly in time from ``temperature_K`` to this.
        time_ps: length of production.
        equilibration_ps: Langevin dynamics before production (with the barostat when ``ensemble`` is ``npt``).
        timestep_fs: time step; 2 fs suits oxides without hydrogen.
        thermostat: of production, ``bussi`` (leaves diffusion alone), ``nose-hoover`` or ``langevin`` (damps it).
        thermostat_time_fs: relaxation time of ``bussi`` and ``nose-hoover``; 1 / friction of ``langevin``.
        equilibration_friction_per_ps: friction of the Langevin equilibration.
        pressure_GPa: target pressure of ``npt``; positive under compression.
        barostat: ``anisotropic`` (all six cell parameters move) or ``isotropic`` (only the volume).
        barostat_time_fs: relaxation time of the cell.
        compressibility_per_GPa: estimate of the isothermal compressibility; with the time above it sets how fast the
            cell relaxes, not where to.
        frame_interval_fs: between stored production frames.
        thermo_interval_fs: between rows of energies and temperature.
        checkpoint_interval_ps: between checkpoints.
        seed: of velocities, thermostat and barostat.
        skin_A: the neighbour list reaches this far beyond the cutoff.
        max_temperature_factor: the run stops when the temperature exceeds this many times the target + 1000 K.
        max_force_eV_per_A: the run stops when a force component exceeds this.
        min_distance_A: the run stops when two atoms come closer than this; 0 does not look.
        held_regions: atoms of these regions of the cell stand still; temperatures are those of the others. Not with
            ``npt``, which moves every atom with the cell.
        doubt_interval_fs: between looks at the potential's committee; so that they cost 2 % of the run when not given,
            never when 0.
        doubt_warn_eV_per_A: a force spread beyond this is a warning; the potential's own limit when not given.
        doubt_stop_eV_per_A: a force spread beyond this ends the run, with a checkpoint.
    """

    ensemble: Literal["nve", "nvt", "npt"] = "nvt"
    temperature_K: float = pydantic.Field(gt=0, le=20000)
    temperature_end_K: float | None = pydantic.Field(default=None, gt=0, le=20000)
    time_ps: float = pydantic.Field(gt=0)
    equilibration_ps: float = pydantic.Field(default=0.0, ge=0)
    timestep_fs: float = pydantic.Field(default=2.0, ge=0.01, le=20)
    thermostat: Literal["bussi", "langevin", "nose-hoover"] = "bussi"
    thermostat_time_fs: float = pydantic.Field(default=500.0, gt=0)
    equilibration_friction_per_ps: float = pydantic.Field(default=10.0, gt=0)
    pressure_GPa: float = pydantic.Field(default=0.0, ge=-100, le=1000)
    barostat: Literal["anisotropic", "isotropic"] = "anisotropic"
    barostat_time_fs: float = pydantic.Field(default=2000.0, gt=0)
    compressibility_per_GPa: float = pydantic.Field(default=0.01, gt=0)
    frame_interval_fs: float = pydantic.Field(default=20.0, gt=0)
    thermo_interval_fs: float = pydantic.Field(default=20.0, gt=0)
    checkpoint_interval_ps: float = pydantic.Field(default=1.0, gt=0)
    seed: int = pydantic.Field(default=1, ge=0, lt=2**63)
    skin_A: float = pydantic.Field(default=1.0, ge=0, le=10)
    max_temperature_factor: float = pydantic.Field(default=5.0, gt=1)
    max_force_eV_per_A: float = pydantic.Field(default=500.0, gt=0)
    min_distance_A: float = pydantic.Field(default=0.0, ge=0)
    held_regions: tuple[str, ...] = ()
    doubt_interval_fs: float | None = pydantic.Field(default=None, ge=0)
    doubt_warn_eV_per_A: float | None = pydantic.Field(default=None, gt=0)
    doubt_stop_eV_per_A: float | None = pydantic.Field(default=None, gt=0)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, interval_fs in (
            ("time_ps", self.time_ps * FS_PER_PS),
            ("equilibration_ps", self.equilibration_ps * FS_PER_PS),
            ("frame_interval_fs", self.frame_interval_fs),
            ("thermo_interval_fs", self.thermo_interval_fs),
            ("checkpoint_interval_ps", self.checkpoint_interval_ps * FS_PER_PS),
        ):
            if _steps(interval_fs, self.timestep_fs) is None:
                raise ValueError(f"{name} ({interval_fs:g} fs) is not a whole number of time steps "
                                 f"(timestep_fs = {self.timestep_fs:g})")
        if _steps(self.doubt_interval_fs or 0.0, self.thermo_interval_fs) is None:
            raise ValueError(f"doubt_interval_fs ({self.doubt_interval_fs:g} fs) is not a whole number of thermo "
                             f"intervals ({self.thermo_interval_fs:g} fs), and is recorded with them")
        if self.doubt_interval_fs == 0 and (self.doubt_warn_eV_per_A or self.doubt_stop_eV_per_A):
            raise ValueError("doubt_interval_fs: 0 never asks the committee; there is nothing to warn of or to stop at")
        if self.thermostat_time_fs < 5 * self.timestep_fs or self.barostat_time_fs < 5 * self.timestep_fs:
            raise ValueError(f"thermostat_time_fs and barostat_time_fs must be at least five time steps "
                             f"({5 * self.timestep_fs:g} fs)")
        if self.ensemble == "nve" and self.temperature_end_K is not None:
            raise ValueError("temperature_end_K needs a thermostat; use the ensemble nvt or npt")
        if self.ensemble != "npt" and (self.pressure_GPa or self.barostat != "anisotropic"):
            raise ValueError(f"pressure_GPa and barostat are for the ensemble npt; {self.ensemble} holds the cell")
        if self.ensemble == "npt" and self.thermostat == "nose-hoover":
            raise ValueError("npt goes with the thermostat bussi or langevin, not with nose-hoover")
        if self.ensemble == "npt" and self.held_regions:
            raise ValueError("npt moves every atom with the cell; held_regions go with nvt or nve")
        return self

    # --- in time steps ----------------------------------------------------------------------------------------

    @property
    def production_steps(self) -> int:
        return self._whole(self.time_ps * FS_PER_PS)

    @property
    def equilibration_steps(self) -> int:
        return self._whole(self.equilibration_ps * FS_PER_PS)

    @property
    def total_steps(self) -> int:
        return self.equilibration_steps + self.production_steps

    @property
    def frame_every(self) -> int:
        return self._whole(self.frame_interval_fs)

    @property
    def thermo_every(self) -> int:
        return self._whole(self.thermo_interval_fs)

    @property
    def checkpoint_every(self) -> int:
        return self._whole(self.checkpoint_interval_ps * FS_PER_PS)

    def _whole(self, interval_fs: float) -> int:
        return round(interval_fs / self.timestep_fs)

    def random_key(self, cell_sha256: str) -> int:
        """What keys the random numbers of a run that starts from this cell: seed, temperature and the cell itself.

        Runs of equal seed must not share their noise: the thermostat's luck would move all points of an Arrhenius line
        together, and all the structures that are compared with one another.
        """
        told = f"{self.seed} {self.temperature_K!r} {cell_sha256}"
        return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "little")

    def target_K(self, step: int) -> float:
        """Target temperature at ``step``, counted from the start of equilibration."""
        if self.temperature_end_K is None or step <= self.equilibration_steps:
            return self.temperature_K
        done = min(1.0, (step - self.equilibration_steps) / self.production_steps)
        return self.temperature_K + done * (self.temperature_end_K - self.temperature_K)

    def dump(self) -> dict[str, Any]:
        """JSON-able; ``MDConfig.from_dump`` gives the config back.

        What younger fields say by default is left out, so that the names of runs, checksums of this, stay as they were.
        """
        data = self.model_dump(mode="json")
        younger = {name: MDConfig.model_fields[name].default for name in _YOUNGER}
        return {key: value for key, value in data.items() if key not in younger or getattr(self, key) != younger[key]}

    @classmethod
    def from_dump(cls, data: dict[str, Any], where: str = "md configuration") -> MDConfig:
        """Validate ``data``; :class:`InputError` with one line for the first problem."""
        return parse(cls, data, where)


def _steps(interval_fs: float, timestep_fs: float) -> int | None:
    """Whole number of time steps in the interval, at least one unless the interval is zero; None when it is not one."""
    ratio = interval_fs / timestep_fs
    steps = round(ratio)
    if abs(ratio - steps) > 1e-6 * max(1.0, abs(ratio)) or (steps == 0 and interval_fs > 0):
        return None
    return steps
