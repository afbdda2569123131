"""Reactivity: what sodium, NZSP and zinc borate form with one another, from crystals relaxed with one potential."""

from atomflow.reactivity.relaxing import RelaxedCrystal, relax_crystals
from atomflow.reactivity.study import ReactivityResult, study

__all__ = ["ReactivityResult", "RelaxedCrystal", "relax_crystals", "study"]
