"""What a melt and quench is asked to do. Importable without torch."""

from __future__ import annotations

from typing import Any, Literal, Self

import pydantic

from atomflow.config import StrictModel, parse
from atomflow.units import FS_PER_PS

#: A zinc borate melt is held above this, or the packing is not forgotten in picoseconds, K.
MELT_ABOVE_K = 2500.0


class QuenchConfig(StrictModel):
    """Melt, quench by stages, anneal and settle at the cell's own volume.

    Down to the anneal the cell is fixed (and grains are held, where there are any); from the anneal on it is free, and
    so is every atom. All cooling goes at one rate. Every duration is a whole number of frame intervals.

    Attributes:
        melt_temperature_K: of the melt.
        start_ps: Langevin dynamics with which the packing gets to that temperature.
        melt_ps: time in the melt after that.
        rate_K_per_ps: of all cooling. 1 K/ps is 10¹² K/s: every simulated quench is far faster than a real one.
        step_K: cooling goes by linear ramps of at most this much, each a run of its own.
        anneal_temperature_K: where the cell is set free.
        anneal_ps: time there.
        end_temperature_K: where cooling ends.
        settle_ps: time there; its frames are the glass.
        pressure_GPa: once the cell is free.
        barostat: once the cell is free; ``auto``: isotropic for a glass, anisotropic where grains are in the cell.
        barostat_time_fs: relaxation time of the cell.
        thermostat_time_fs: relaxation time of the thermostat; cooling lags behind by about rate × this.
        timestep_fs: time step. B–O bonds vibrate in 25 fs and are hot: 1 fs.
        frame_interval_fs: between stored frames, in every stage.
        checkpoint_interval_ps: between checkpoints.
        hold: keep the grains still until the anneal, where the cell has a film (region ``glass``) and other regions.
        release_steps: steps of the relaxation in which held grains are let go.
        relax: at the end relax the last frame and its cell.
        relax_steps, relax_fmax_eV_per_A: of that relaxation.
        seed: of every random number.
    """

    melt_temperature_K: float = pydantic.Field(default=3000.0, gt=0, le=10000)
    start_ps: float = pydantic.Field(default=1.0, gt=0)
    melt_ps: float = pydantic.Field(default=5.0, gt=0)
    rate_K_per_ps: float = pydantic.Field(default=100.0, gt=0)
    step_K: float = pydantic.Field(default=500.0, gt=0)
    anneal_temperature_K: float = pydantic.Field(default=800.0, gt=0)
    anneal_ps: float = pydantic.Field(default=5.0, gt=0)
    end_temperature_K: float = pydantic.Field(default=300.0, gt=0)
    settle_ps: float = pydantic.Field(default=5.0, gt=0)
    pressure_GPa: float = 0.0
    barostat: Literal["auto", "isotropic", "anisotropic"] = "auto"
    barostat_time_fs: float = pydantic.Field(default=1000.0, gt=0)
    thermostat_time_fs: float = pydantic.Field(default=100.0, gt=0)
    timestep_fs: float = pydantic.Field(default=1.0, gt=0, le=20)
    frame_interval_fs: float = pydantic.Field(default=50.0, gt=0)
    checkpoint_interval_ps: float = pydantic.Field(default=0.5, gt=0)
    hold: bool = True
    release_steps: int = pydantic.Field(default=100, ge=1)
    relax: bool = False
    relax_steps: int = pydantic.Field(default=300, ge=1)
    relax_fmax_eV_per_A: float = pydantic.Field(default=0.02, gt=0)
    seed: int = pydantic.Field(default=1, ge=0, lt=2**62)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.melt_temperature_K > self.anneal_temperature_K >= self.end_temperature_K:
            raise ValueError(f"temperatures fall from the melt over the anneal to the end, not from "
                             f"{self.melt_temperature_K:g} over {self.anneal_temperature_K:g} to "
                             f"{self.end_temperature_K:g} K")
        for name in ("melt_ps", "anneal_ps", "settle_ps"):
            frames = getattr(self, name) * FS_PER_PS / self.frame_interval_fs
            if abs(frames - round(frames)) > 1e-6 * max(1.0, frames) or round(frames) < 1:
                raise ValueError(f"{name} ({getattr(self, name):g}) is not a whole number of frame intervals "
                                 f"({self.frame_interval_fs:g} fs)")
        return self

    def dump(self) -> dict[str, Any]:
        """JSON-able; ``QuenchConfig.from_dump`` gives the config back."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dump(cls, data: dict[str, Any], where: str = "quench configuration") -> QuenchConfig:
        """Validate ``data``; :class:`InputError` with one line for the first problem."""
        return parse(cls, data, where)
