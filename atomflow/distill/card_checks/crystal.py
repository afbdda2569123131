"""Crystals of ``structures/`` as primitive cells, and their conventional lattice after relaxing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomflow import crystals
from atomflow.cell import Cell

#: Ordered NZSP; with the two other orderings of the same 12 Na.
NZSP = "NZSP_C2c_ordered_DFT_Xie2023"
ORDERINGS = (
    NZSP,
    "NZSP_C2c_ordered_Na1Na3_HongCoords_PDF84-1200cell",
    "NZSP_C2c_ordered_Na2Na3_HongCoords_PDF84-1200cell",
)
#: Measured at room temperature (powder card PDF 84-1200): a, b, c in Å, β in degrees, 3.244 g/cm³.
NZSP_MEASURED = ("NZSP_C2c_ordered_DFTcoords_PDF84-1200cell", "experiment, PDF 84-1200")


@dataclass(frozen=True)
class Crystal:
    """A primitive cell and what turns its lattice into the conventional one: ``conventional = matrix @ primitive``."""

    name: str
    cell: Cell
    matrix: np.ndarray

    def lattice_parameters(self, cell: Cell) -> np.ndarray:
        """a, b, c (Å), α, β, γ (degrees) of the conventional cell when the primitive one has become ``cell``."""
        rows = self.matrix @ cell.lattice_A
        lengths = np.linalg.norm(rows, axis=1)
        pairs = ((1, 2), (0, 2), (0, 1))
        return np.concatenate(
            [lengths, [np.degrees(np.arccos(rows[i] @ rows[j] / lengths[i] / lengths[j])) for i, j in pairs]]
        )


def elements_of(name: str) -> set[str]:
    """Elements of a crystal by its name."""
    return {str(element) for element in crystals.load(name).composition.elements}


def primitive(name: str) -> Crystal:
    """The primitive cell of an ordered crystal."""
    structure = crystals.load(name)
    small = structure.get_primitive_structure()
    matrix = np.round(structure.lattice.matrix @ np.linalg.inv(small.lattice.matrix), 6)
    return Crystal(name, Cell.from_pymatgen(small, crystals.provenance(name)), matrix)


def where_from(name: str) -> str:
    """The origin of a crystal's tabulated lattice, in a few words."""
    source = crystals.facts(name).source
    return "DFT, Materials Project" if source.startswith("Materials Project") else source.split(";")[0].split(" (")[0]
