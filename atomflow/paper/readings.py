"""The two ways to read the sentence that assigns the three activation energies.

The text introduces the spectrum as R_SE, R_ct,anodic, R_ct,cathodic and goes on: "R_ct,anodic, R_ct,cathodic and
R_total at 25 °C are ... respectively. The corresponding conductivity activation energies (Ea1, Ea2, and Ea3)" are
0.27, 0.45 and 0.33 eV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atomflow.paper import quantities as q
from atomflow.paper.model import Paper, load


@dataclass(frozen=True)
class Reading:
    """One assignment. ``energies`` maps a resistance to the id of its energy; ``implied_eV`` is what follows for the
    resistance ``implies``, with its range over the rounding where there is one."""

    name: str
    why: str
    energies: dict[str, str]
    implies: str
    implied_eV: tuple[float | None, float | None, float | None]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "implied_eV": list(self.implied_eV)}


def readings(paper: Paper | None = None) -> list[Reading]:
    """The literal and the alternative reading. Neither makes one of the energies that of bulk NZSP."""
    paper = paper or load()
    implied = q.total_energy_alternative_eV(paper)
    return [
        Reading(
            "literal",
            "'corresponding' refers back to the three resistances just listed",
            {"R_ct,anodic": "fc.Ea1", "R_ct,cathodic": "fc.Ea2", "R_total": "fc.Ea3"},
            "R_SE",
            q.electrolyte_energy_literal_eV(paper),
        ),
        Reading(
            "alternative",
            "the energies follow the order in which the spectrum was introduced",
            {"R_SE": "fc.Ea1", "R_ct,anodic": "fc.Ea2", "R_ct,cathodic": "fc.Ea3"},
            "R_total",
            (implied, None, None),
        ),
    ]
