"""A repulsion between atoms closer than any that a model was trained on.

A model has seen no two oxygen atoms 0.6 Å apart and may find them comfortable there: below the shortest distance of its
training set its energy can fall again, and atoms of a random packing that get there never come back. So the universal
repulsion of nuclei screened by their electrons (J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of
Ions in Solids, 1985) is added below those distances and nowhere else: every energy from there on is the model's own, to
the last bit.

It is mace-torch's own ``ZBLBasis`` with other numbers in it, so that mace-torch, LAMMPS and the portable files know it
without being told: the reach of a pair is the sum of two radii, one an element, the screening is that of the book
(mace-torch's own prefactor and exponent screen more), and the scale that a ScaleShiftMACE applies is divided out.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from atomflow.errors import InputError
from atomflow.potentials.mace.imports import mace_module

#: a = 0.8854 a₀ / (Z₁^0.23 + Z₂^0.23)
_PREFACTOR, _EXPONENT = 0.8854, 0.23


def with_repulsion(model: Any, radii_A: Mapping[str, float]) -> Any:
    """A copy of a ScaleShiftMACE that repels two atoms closer than the sum of their radii.

    A repulsion of the same kind that the model has is replaced.

    Args:
        radii_A: one radius in Å for each of the model's elements, by symbol.

    Raises:
        InputError: another kind of model, an element without a radius, or a reach beyond the model's cutoff.
    """
    from ase.data import atomic_numbers, chemical_symbols

    if type(model).__name__ != "ScaleShiftMACE":
        raise InputError(f"a repulsion is added to ScaleShiftMACE models, not to a {type(model).__name__}")
    elements = [chemical_symbols[int(z)] for z in model.atomic_numbers]
    if missing := [symbol for symbol in elements if symbol not in radii_A]:
        raise InputError(f"no radius of repulsion for {', '.join(missing)}")
    if 2 * max(radii_A[symbol] for symbol in elements) >= float(model.r_max):
        raise InputError(f"the repulsion would reach as far as the model's cutoff of {float(model.r_max):g} Å")
    model = copy.deepcopy(model)
    parameter = next(model.parameters())
    repulsion = mace_module("modules.radial").ZBLBasis(p=int(model.radial_embedding.cutoff_fn.p)).to(parameter)
    repulsion.a_prefactor.fill_(_PREFACTOR)
    repulsion.a_exp.fill_(_EXPONENT)
    repulsion.c /= model.scale_shift.scale.flatten()[0]
    repulsion.covalent_radii.zero_()
    for symbol in elements:
        repulsion.covalent_radii[atomic_numbers[symbol]] = radii_A[symbol]
    model.pair_repulsion_fn, model.pair_repulsion = repulsion, True
    return model


def repulsion_radii_A(model: Any) -> dict[str, float] | None:
    """The radii of a model's repulsion by symbol, or None if it has none."""
    from ase.data import chemical_symbols

    if not hasattr(model, "pair_repulsion_fn"):
        return None
    radii = model.pair_repulsion_fn.covalent_radii
    return {chemical_symbols[int(z)]: float(radii[int(z)]) for z in model.atomic_numbers}


class CloseBonds:
    """Evaluates a model's repulsion over undirected bonds, forming nothing where no two atoms are close."""

    def __init__(self, model: Any) -> None:
        self.repulsion, self.numbers = model.pair_repulsion_fn, model.atomic_numbers
        self.reach_A = 2 * float(self.repulsion.covalent_radii[self.numbers].max())

    def node_energies(self, node_attrs: Tensor, first: Tensor, second: Tensor, lengths: Tensor) -> Tensor | None:
        """Half of each bond's energy at either end (N,), before scale and shift; None where no bond is in reach.

        Args:
            node_attrs: (N, Z) one-hot species; ``first``, ``second``: (U,) ends; ``lengths``: (U, 1) in Å.
        """
        (near,) = torch.nonzero(lengths.detach()[:, 0] < self.reach_A, as_tuple=True)
        if not len(near):
            return None
        ends = torch.stack((first[near], second[near]))
        both_ways = torch.cat((ends, ends.flip(0)), dim=1)
        energies: Tensor = self.repulsion(lengths[near].repeat(2, 1), node_attrs, both_ways, self.numbers)
        return energies
