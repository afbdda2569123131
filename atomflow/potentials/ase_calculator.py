"""Any atomflow potential as an ASE calculator, by the same batched path that the engine takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from atomflow.errors import InputError
from atomflow.potentials.edges import build_edges

if TYPE_CHECKING:
    from atomflow.potentials.base import BatchModel, Potential


class BatchCalculator(Calculator):
    """ASE calculator over :meth:`Potential.batch_model`. Periodic cells only; stress in ASE's sign and Voigt order."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  (ASE's own interface)

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential
        self._numbers: np.ndarray | None = None
        self._model: BatchModel | None = None

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        import torch

        super().calculate(atoms, properties, system_changes)
        cell: Any = self.atoms
        if not np.all(cell.pbc):
            raise InputError("atomflow potentials need a cell that is periodic in all three directions")
        numbers = cell.numbers
        owner = np.zeros(len(numbers), dtype=np.int64)
        if self._model is None or self._numbers is None or not np.array_equal(numbers, self._numbers):
            self.potential.check_elements(numbers)
            self._model = self.potential.batch_model(numbers, owner, 1)
            self._numbers = numbers.copy()
        model = self._model
        positions, lattices = cell.positions, cell.cell.array[None]
        edges = build_edges(positions, lattices, owner, model.cutoff_A, model.device) if model.needs_edges else None
        answer = model(
            torch.as_tensor(positions, device=model.device),
            torch.as_tensor(np.array(lattices), device=model.device),
            edges,
            "stress" in properties,
        )
        energy = float(answer.energy_eV[0])
        self.results = {"energy": energy, "free_energy": energy, "forces": answer.forces_eV_per_A.cpu().numpy()}
        if answer.stress_eV_per_A3 is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(answer.stress_eV_per_A3[0].cpu().numpy())
