"""A study for people: tables on a terminal."""

from __future__ import annotations

from atomflow.plain import table
from atomflow.reactivity.interface import Mixture
from atomflow.reactivity.study import PotentialStudy, ReactivityResult
from atomflow.reactivity.window import Window


def text(result: ReactivityResult) -> str:
    """Every potential in turn, then what holds for all."""
    parts = [_study(item) for item in result.studies]
    if len(result.studies) > 1:
        parts.append(_side_by_side(result))
    return "\n\n".join([*parts, "\n".join(f"limit: {line}" for line in result.limits)])


def _study(item: PotentialStudy) -> str:
    lines = [f"== {item.name} ({item.potential['sha256'][:12]}), {len(item.crystals)} crystals =="]
    error = item.error_eV_per_atom
    if error is not None:
        lines.append(f"error of this potential: {error:.3f} eV/atom, root mean square over {len(item.known)} reactions "
                     "of measured enthalpy")
    rows = []
    for contact in item.contacts:
        rows += [[f"{contact.names[0]} + {contact.names[1]}", f"{m.share:.2f}", _number(m.energy_eV_per_atom, 3),
                  _number(m.kJ_per_mol, 0), ", ".join(m.reduced) or "-",
                  ("* " if m == contact.strongest else "") + m.reaction] for m in contact.mixtures if _says(m)]
        if not any(_says(m) for m in contact.mixtures):
            rows.append([f"{contact.names[0]} + {contact.names[1]}", "-", "-", "-", "-", "none gains energy"])
    lines += ["", "reactions (* gains most; share: atoms of the first)",
              table(rows, ["pair", "share", "eV/atom", "kJ/mol", "reduced", "reaction"])]
    notes = {name: source for contact in item.contacts
             for name, source in zip(contact.names, contact.energies, strict=True)}
    lines += [f"energy of {name}: {source}" for name, source in notes.items()]
    lines += ["", "stability against sodium", table([_window(w) for w in item.windows], [
        "material", "above hull, meV/atom", "window / V", "in excess of Na, kJ/mol", "reduced", "forms with Na"])]
    if item.reductions:
        lines += ["", "does sodium reduce it?", table([
            [f"{r.cation} in {r.oxide}", r.verdict, _mixture(r.strongest), f"{r.to_element_kJ_per_mol_Na:+.0f}",
             "-" if r.measured_kJ_per_mol_Na is None else f"{r.measured_kJ_per_mol_Na:+.0f}",
             _mixture(r.measured_strongest), "stays" if r.denied_by_publication else "-"] for r in item.reductions],
            ["cation", "verdict", "strongest reducing mixture", "to the element, kJ/mol Na", "measured",
             "mixture, from measured enthalpies", "publication"])]
    if item.known:
        lines += ["", "measured enthalpies (298 K) beside computed energies (0 K), kJ/mol", table(
            [[k.reaction, _number(k.measured_kJ_per_mol, 0),
              _number(k.computed_kJ_per_mol, 0), _number(k.error_eV_per_atom, 3)] for k in item.known],
            ["reaction", "measured", "computed", "error, eV/atom"])]
    return "\n".join(lines + [f"warning: {line}" for line in item.warnings])


def _says(mixture: Mixture) -> bool:
    """Not a material that stays what it is."""
    return abs(mixture.energy_eV_per_atom) > 1e-6


def _number(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def _mixture(mixture: Mixture | None) -> str:
    return "-" if mixture is None else f"{mixture.energy_eV_per_atom:+.3f} eV/atom: {', '.join(mixture.products)}"


def _window(w: Window) -> list[str]:
    def volts(value: float | None, error: float | None, beyond: str) -> str:
        return beyond if value is None else f"{value:.2f}" + ("" if error is None else f" ± {error:.1f}")

    low, high = volts(w.reduction_V, w.reduction_error_V, "-∞"), volts(w.oxidation_V, w.oxidation_error_V, "∞")
    above = str(round(1000 * w.above_hull_eV_per_atom))
    return [w.name, above, f"{low} to {high}", _number(w.with_metal_kJ_per_mol, 0),
            ", ".join(w.reduced) or "-", ", ".join(w.with_metal)]


def _side_by_side(result: ReactivityResult) -> str:
    """The strongest reaction of every pair, potential beside potential."""
    rows = []
    for index, (one, other) in enumerate(result.pairs):
        for item in result.studies:
            best = item.contacts[index].strongest
            error = "" if item.error_eV_per_atom is None else f" ± {item.error_eV_per_atom:.3f}"
            rows.append([f"{one} + {other}", item.name, f"{best.energy_eV_per_atom:+.3f}{error}",
                         ", ".join(best.products)])
    return "potentials side by side: the strongest reaction\n" + table(rows, ["pair", "potential", "eV/atom", "forms"])
