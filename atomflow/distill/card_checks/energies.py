"""Energies of the NZSP orderings, and of reactions with competing phases, against the teacher."""

from __future__ import annotations

import numpy as np

from atomflow.distill.card_checks.crystal import NZSP, ORDERINGS
from atomflow.distill.card_checks.crystal_relax import EVALUATIONS, Rest, at_rest, atoms_in, known
from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.distill.sides import Side

TITLE = "Relative energies: orderings and competing phases"

#: Formula units on the left (negative) and right (positive); crystals by name.
REACTIONS: dict[str, dict[str, float]] = {
    "Na3Zr2Si2PO12 → Na3PO4 + 2 ZrSiO4": {NZSP: -1, "Na3PO4_alpha": 1, "ZrSiO4_zircon_I41amd": 2},
    "ZrO2 + SiO2 → ZrSiO4": {"ZrO2_baddeleyite_P21c": -1, "SiO2_quartz": -1, "ZrSiO4_zircon_I41amd": 1},
    "Na2O + SiO2 → Na2SiO3": {"Na2O_Fm-3m": -1, "SiO2_quartz": -1, "Na2SiO3_Cmc21": 1},
    "Na2O + B2O3 → 2 NaBO2": {"Na2O_Fm-3m": -1, "B2O3-I_P3121": -1, "NaBO2_R-3c": 2},
    "4 ZnO + 3 B2O3 → Zn4B6O13": {"ZnO_P63mc": -4, "B2O3-I_P3121": -3, "Zn4B6O13_I-43m": 1},
}
#: Atoms of the formula unit that the reactions count.
FORMULA_ATOMS = {
    NZSP: 20,
    "Na3PO4_alpha": 8,
    "ZrSiO4_zircon_I41amd": 6,
    "ZrO2_baddeleyite_P21c": 3,
    "SiO2_quartz": 3,
    "Na2O_Fm-3m": 3,
    "Na2SiO3_Cmc21": 6,
    "B2O3-I_P3121": 5,
    "NaBO2_R-3c": 4,
    "ZnO_P63mc": 2,
    "Zn4B6O13_I-43m": 23,
}


def work(context: Context) -> Work:
    cost = EVALUATIONS * atoms_in(list(dict.fromkeys([*_orderings(context), *_phases(context)])))
    return Work(student=cost, teacher=cost)


def run(context: Context) -> Section:
    section = Section(columns=["", "student", "teacher", "student − teacher"])
    sides: list[Side] = [context.student, *([context.teacher] if context.teacher else [])]
    found = [(_order_energies(context, side), _reaction_energies(context, side)) for side in sides]
    order_errors, reaction_errors = [], []
    for name in found[0][0]:
        values = [orders[name] for orders, _ in found]
        section.rows.append([f"{name}, meV/atom above the Xie 2023 ordering", *_shown(values, 1)])
        order_errors += [values[0] - values[1]] if len(values) > 1 else []
    for name in found[0][1]:
        values = [reactions[name] for _, reactions in found]
        section.rows.append([f"{name}, meV/atom of the product side", *_shown(values, 0)])
        reaction_errors += [values[0] - values[1]] if len(values) > 1 else []
    section.facts = {
        "sides": [side.name for side in sides],
        "orderings_meV_per_atom": [orders for orders, _ in found],
        "reactions_meV_per_atom": [reactions for _, reactions in found],
    }
    if order_errors:
        same = _ranking(found[0][0]) == _ranking(found[1][0])
        section.lines.append(
            f"Orderings of NZSP: {'same' if same else 'NOT the same'} order of energies as the teacher's, largest "
            f"difference {np.abs(order_errors).max():.1f} meV/atom."
        )
    if reaction_errors:
        section.lines.append(
            f"Reaction energies: mean |difference| to the teacher {np.abs(reaction_errors).mean():.0f} meV/atom "
            f"over {len(reaction_errors)} reactions."
        )
    if not context.teacher:
        section.missing.append(f"the teacher's energies: {context.no_teacher}")
    return section


def _orderings(context: Context) -> list[str]:
    return known(context, ORDERINGS)


def _phases(context: Context) -> list[str]:
    names = [name for reaction in REACTIONS.values() for name in reaction]
    return known(context, list(dict.fromkeys(names)))


def _order_energies(context: Context, side: Side) -> dict[str, float]:
    """meV/atom above the first crystal's."""
    rests = at_rest(context, side, _orderings(context))
    zero = rests[NZSP].energy_per_atom_eV
    return {name: 1e3 * (rest.energy_per_atom_eV - zero) for name, rest in rests.items()}


def _reaction_energies(context: Context, side: Side) -> dict[str, float]:
    """meV per atom of the product side; negative: the products are lower."""
    phases = _phases(context)
    rests = at_rest(context, side, phases)
    return {
        name: 1e3 * _reaction_eV_per_atom(reaction, rests)
        for name, reaction in REACTIONS.items()
        if set(reaction) <= set(phases)
    }


def _reaction_eV_per_atom(reaction: dict[str, float], rests: dict[str, Rest]) -> float:
    total = sum(count * rests[name].energy_per_atom_eV * FORMULA_ATOMS[name] for name, count in reaction.items())
    return total / sum(count * FORMULA_ATOMS[name] for name, count in reaction.items() if count > 0)


def _ranking(energies: dict[str, float]) -> list[str]:
    return sorted(energies, key=lambda name: energies[name])


def _shown(values: list[float], digits: int) -> list[str]:
    own = f"{values[0]:.{digits}f}"
    if len(values) == 1:
        return [own, "-", "-"]
    return [own, f"{values[1]:.{digits}f}", f"{values[0] - values[1]:+.{digits}f}"]
