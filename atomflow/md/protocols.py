"""What one step does: Langevin while equilibrating, then the ensemble asked for. One flat batch, one recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from atomflow.errors import InputError
from atomflow.md import barostats, integrators, thermostats
from atomflow.md.config import PER_SYSTEM, MDConfig
from atomflow.md.forces import Forces
from atomflow.md.random import BAROSTAT, LANGEVIN, PerStep, bussi_numbers, normals_per_atom, normals_per_system
from atomflow.md.state import State
from atomflow.units import FS_PER_PS


def check_alike(configs: Sequence[MDConfig]) -> None:
    """Raise :class:`InputError` naming the first setting in which systems of one batch must not differ, but do."""
    for name in MDConfig.model_fields:
        values = {getattr(config, name) for config in configs}
        if name not in PER_SYSTEM and len(values) > 1:
            shown = ", ".join(str(value) for value in sorted(values, key=str))
            raise InputError(f"runs of one batch must share '{name}' (found {shown}); start them as separate batches")


def random_keys(state: State, configs: Sequence[MDConfig]) -> list[int]:
    """What keys each system's random numbers; see :meth:`MDConfig.random_key`."""
    return [config.random_key(sha256) for config, sha256 in zip(configs, state.cells_sha256, strict=True)]


class Protocol:
    """Advances a batch by one step at a time. Everything random or ramped is a function of the step number."""

    def __init__(self, state: State, configs: Sequence[MDConfig]) -> None:
        check_alike(configs)
        self.config = configs[0]
        device, seeds = state.device, random_keys(state, configs)
        counts = state.counts.tolist()
        degrees = [round(dof) for dof in state.degrees_of_freedom.tolist()]
        constant = all(config.temperature_end_K is None for config in configs)
        targets = torch.tensor([c.temperature_K for c in configs], dtype=torch.float64, device=device)
        ramp = PerStep(lambda step: np.array([c.target_K(step) for c in configs]), device)
        self._target: Callable[[int], torch.Tensor] = (lambda step: targets) if constant else ramp.at
        self._langevin = PerStep(normals_per_atom(seeds, counts, LANGEVIN), device)
        self._bussi = PerStep(bussi_numbers(seeds, degrees), device)
        self._cell_noise = PerStep(normals_per_system(seeds, (3, 3), BAROSTAT), device)
        self._barostat = barostats.Barostat(
            self.config.barostat,
            torch.tensor([c.pressure_GPa for c in configs], dtype=torch.float64, device=device),
            self.config.barostat_time_fs,
            self.config.compressibility_per_GPa,
        )

    def equilibrating(self, step: int) -> bool:
        """Whether the step that starts at ``step`` belongs to equilibration."""
        return step < self.config.equilibration_steps

    def advance(self, state: State, forces: Forces) -> None:
        """One time step; ``state.step`` counts it."""
        config, target = self.config, self._target(state.step)
        thermostat = "langevin" if self.equilibrating(state.step) else config.thermostat
        if config.ensemble == "nve" and not self.equilibrating(state.step):
            integrators.verlet_step(state, forces, config.timestep_fs)
        elif config.ensemble == "npt":
            self._npt_step(state, forces, target, thermostat)
        elif thermostat == "langevin":
            integrators.verlet_step(state, forces, config.timestep_fs, lambda s: self._langevin_update(s, target))
        elif thermostat == "nose-hoover":
            self._nose_hoover_step(state, forces, target)
        else:
            integrators.verlet_step(state, forces, config.timestep_fs)
            self._bussi_update(state, target)
        state.step += 1

    def _langevin_update(self, state: State, target: torch.Tensor) -> None:
        config = self.config
        friction = 1.0 / config.thermostat_time_fs
        if self.equilibrating(state.step):
            friction = config.equilibration_friction_per_ps / FS_PER_PS
        noise = self._langevin.at(state.step)
        thermostats.langevin_step(state, config.timestep_fs, friction, target, noise)

    def _bussi_update(self, state: State, target: torch.Tensor) -> None:
        config = self.config
        thermostats.bussi_step(state, config.timestep_fs, config.thermostat_time_fs, target, self._bussi.at(state.step))

    def _nose_hoover_step(self, state: State, forces: Forces, target: torch.Tensor) -> None:
        config = self.config
        if state.chain.shape[2] == 0:
            thermostats.nose_hoover_init(state)
        thermostats.nose_hoover_step(state, 0.5 * config.timestep_fs, config.thermostat_time_fs, target)
        integrators.verlet_step(state, forces, config.timestep_fs)
        thermostats.nose_hoover_step(state, 0.5 * config.timestep_fs, config.thermostat_time_fs, target)

    def _npt_step(self, state: State, forces: Forces, target: torch.Tensor, thermostat: str) -> None:
        """Velocity Verlet with the cell rescaled half way, by the pressure at the start of the step."""
        config = self.config
        strain = barostats.strain_increment(
            state, state.pressure_tensor_eV_per_A3(), self._barostat, config.timestep_fs, target,
            self._cell_noise.at(state.step),
        )
        turned = strain

        def middle(moving: State) -> None:
            nonlocal turned
            turned = barostats.rescale(moving, strain)
            if thermostat == "langevin":
                self._langevin_update(moving, target)

        before = barostats.stress_work_eV(state, strain)
        integrators.verlet_step(state, forces, config.timestep_fs, middle)
        state.work_eV = state.work_eV + 0.5 * (before + barostats.stress_work_eV(state, turned))
        if thermostat == "bussi":
            self._bussi_update(state, target)
