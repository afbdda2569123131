"""The electrostatic energy of an ordering, as a quadratic form in "is this site filled, Si, Zn?".

Every decision on a template is one variable s ∈ {0, 1}: Na here or not, Si in place of P, Zn in place of Zr. A
decision moves point charges of formal size (Na 1, Zr 4, Zn 2, Si 4, P 5, O -2); Si in place of P also draws its four
oxygens from their P-O to their Si-O distance. With all charges q = q₀ + D s the energy of the cell that is built,

    E = ½ qᵀ G q = E₀ + h·s + ½ sᵀ J s,

is exact, not a lattice approximation, and one exchange costs one row of J.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomflow.build.checks import FORMAL_CHARGE
from atomflow.build.ewald import translation_interactions
from atomflow.build.ordering import Ordering
from atomflow.build.template import T_O_LENGTH_A, Template


@dataclass(frozen=True, eq=False)
class OrderingEnergy:
    """E(s) = constant + field·s + ½ sᵀ coupling s in eV, for decisions that leave the cell neutral.

    Attributes:
        constant: energy in eV of all decisions 0 (no Na, all P, all Zr): not neutral, a reference only.
        field: (K,) eV.
        coupling: (K, K) eV, symmetric, zero diagonal.
        na, t, zr: indices of the variables of the template's Na, T and Zr sites, in the template's order.
    """

    constant: float
    field: np.ndarray
    coupling: np.ndarray
    na: np.ndarray
    t: np.ndarray
    zr: np.ndarray

    def variables(self, ordering: Ordering) -> np.ndarray:
        """(K,) of 0.0 and 1.0."""
        s = np.zeros(len(self.field))
        s[self.na], s[self.t], s[self.zr] = ordering.na_filled, ordering.t_is_si, ordering.zr_is_zn
        return s

    def ordering(self, s: np.ndarray) -> Ordering:
        filled = s > 0.5
        return Ordering(filled[self.na], filled[self.t], filled[self.zr])

    def energy_eV(self, s: np.ndarray) -> float:
        """Electrostatic energy of the whole cell in eV."""
        return float(self.constant + self.field @ s + 0.5 * s @ self.coupling @ s)


def ordering_energy(base: Template, repeats: tuple[int, int, int]) -> OrderingEnergy:
    """The energy of every ordering of ``repeat(base, repeats)``."""
    points, q0, decisions = _charges(base)
    interaction = translation_interactions(points, base.lattice_A, repeats)
    n, n_base = len(interaction), decisions.shape[1]
    total = interaction.sum(axis=0)
    constant = 0.5 * n * q0 @ total @ q0
    field = decisions.T @ total @ q0
    blocks = np.einsum("pk,cpq,ql->ckl", decisions, interaction, decisions, optimize=True)
    coupling = _block_circulant(blocks, repeats)
    field = np.tile(field, n) + 0.5 * np.diag(coupling)
    np.fill_diagonal(coupling, 0.0)
    numbering = np.arange(n * n_base).reshape(n, n_base)
    ends = np.cumsum([len(base.na), len(base.t), len(base.zr)])
    na, t, zr = np.split(numbering, ends[:-1], axis=1)
    return OrderingEnergy(float(constant), field, coupling, na.ravel(), t.ravel(), zr.ravel())


def _charges(base: Template) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (P, 3) fractional, charges q₀ (P,) with every decision 0, and D (P, K): what each decision adds.

    Points: Na, T, Zr, oxygens at the P-O length, oxygens at the Si-O length. Decisions: Na, T, Zr sites.
    """
    to_fractional = np.linalg.inv(base.lattice_A)
    n_na, n_t, n_zr, n_o = len(base.na), len(base.t), len(base.zr), len(base.o_parent)
    o_p, o_si = (base.oxygen_A(np.full(n_t, T_O_LENGTH_A[x])) @ to_fractional for x in ("P", "Si"))
    points = np.concatenate([base.na, base.t, base.zr, o_p, o_si])
    charge = FORMAL_CHARGE
    q0 = np.repeat([0.0, charge["P"], charge["Zr"], charge["O"], 0.0], [n_na, n_t, n_zr, n_o, n_o])
    decisions = np.zeros((len(points), n_na + n_t + n_zr))
    steps = [charge["Na"], charge["Si"] - charge["P"], charge["Zn"] - charge["Zr"]]
    sites = np.arange(n_na + n_t + n_zr)
    decisions[sites, sites] = np.repeat(steps, [n_na, n_t, n_zr])
    first_o = n_na + n_t + n_zr
    oxygen = np.arange(n_o)
    decisions[first_o + oxygen, n_na + base.o_parent] = -charge["O"]
    decisions[first_o + n_o + oxygen, n_na + base.o_parent] = charge["O"]
    return points, q0, decisions


def _block_circulant(blocks: np.ndarray, repeats: tuple[int, int, int]) -> np.ndarray:
    """(n·K, n·K) from (n, K, K): block [c, d] is ``blocks[d - c]``, the difference taken in the periodic supercell."""
    n, k, _ = blocks.shape
    copies = np.array(np.unravel_index(np.arange(n), repeats)).T
    difference = (copies[None] - copies[:, None]) % np.array(repeats)
    index = np.ravel_multi_index(tuple(np.moveaxis(difference, -1, 0)), repeats)
    return blocks[index].transpose(0, 2, 1, 3).reshape(n * k, n * k)
