"""The order section of the card, from planted dynamics of student and teacher."""

import types

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pymatgen")

from atomflow.distill.card_checks import order
from atomflow.distill.card_checks.crystal import NZSP, primitive
from atomflow.distill.card_checks.section import Context
from atomflow.distill.card_checks.settings import CardSettings


def shaken(amplitude_A, seed):
    """A side whose atoms only rattle about the crystal's sites."""
    cell, random = primitive(NZSP).cell, np.random.default_rng(seed)
    frames = [cell.positions_A + random.normal(0, amplitude_A, cell.positions_A.shape) for _ in range(40)]
    answer = {"positions_A": np.array(frames), "frame_interval_fs": 10.0}
    return types.SimpleNamespace(perform=lambda tasks, say: [answer])


def test_tetrahedra_and_octahedra_are_counted_for_both_sides(tmp_path):
    context = Context(None, "toy", shaken(0.03, 1), shaken(0.05, 2), "", CardSettings(), tmp_path, lambda text: None)
    found = order.run(context)
    assert not found.missing
    for side in ("student", "teacher"):
        counted = {pair: found.facts[side][pair]["coordination"]["value"] for pair in ("Si-O", "P-O", "Zr-O")}
        assert counted == pytest.approx({"Si-O": 4, "P-O": 4, "Zr-O": 6}, abs=0.05)
        assert found.facts[side]["Si-O"]["length_A"]["value"] == pytest.approx(1.63, abs=0.03)
    assert 0.5 < found.facts["common_area"]["Si-O"] < 1  # the same sites, other widths
