"""Errors against the teacher: known errors come back as what they are."""

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from atomflow.distill import errors_table
from atomflow.distill.card import card_data
from atomflow.distill.card_page import write_card
from atomflow.distill.errors_table import Pair
from atomflow.distill.frames import Frame, Labels
from atomflow.errors import InputError

RNG = np.random.default_rng(11)


def frame(system: str, forces: np.ndarray, split: str = "test", temperature: float | None = None) -> Frame:
    count = len(forces)
    numbers = np.array([8] * (count - 1) + [11])
    return Frame(numbers, RNG.random((count, 3)) * 6, np.eye(3) * 6, system, "nzsp", "md", split, temperature,
                 Labels(-5.0 * count, forces, np.zeros((3, 3))))


def pair(system: str, error: np.ndarray, scale: float = 1.0, shift_eV_per_atom: float = 0.0,
         temperature: float | None = None) -> Pair:
    forces = RNG.normal(size=error.shape)
    own = frame(system, forces, temperature=temperature)
    energy = own.labels.energy_eV + shift_eV_per_atom * own.n_atoms
    return Pair(own, Labels(energy, scale * forces + error, np.eye(3) * 0.01))


def test_rmse_slope_and_energy_of_known_errors():
    pairs = [pair(f"s{k}", np.full((10, 3), 0.05), shift_eV_per_atom=0.002) for k in range(6)]
    row = errors_table.error_row("all", pairs)
    assert row.force_rmse_eV_per_A.value == pytest.approx(0.05, rel=1e-12)
    assert row.force_rmse_eV_per_A.low == pytest.approx(0.05, rel=1e-12)
    assert row.energy_rmse_meV_per_atom == pytest.approx(2.0, rel=1e-9)
    assert row.energy_spread_meV_per_atom == pytest.approx(0.0, abs=1e-9)
    assert row.stress_rmse_GPa == pytest.approx(0.01 * 160.21766208 / np.sqrt(3), rel=1e-9)


def test_softening_shows_as_the_slope():
    pairs = [pair(f"s{k}", np.zeros((10, 3)), scale=0.8) for k in range(3)]
    assert errors_table.error_row("all", pairs).slope == pytest.approx(0.8, rel=1e-12)


def test_interval_is_over_systems_and_few_systems_have_none():
    even = [pair(f"s{k}", np.full((10, 3), 0.1)) for k in range(8)]
    uneven = [*even[:7], pair("outlier", np.full((10, 3), 1.0))]
    narrow, wide = (errors_table.error_row("x", group).force_rmse_eV_per_A for group in (even, uneven))
    assert wide.high - wide.low > 10 * (narrow.high - narrow.low) + 0.1
    assert errors_table.error_row("x", even[:2]).force_rmse_eV_per_A.low is None


def test_element_rows_separate_who_is_wrong():
    error = np.zeros((10, 3))
    error[-1] = 0.3
    table = errors_table.by_element([pair("s", error)])["nzsp"]
    assert table["Na"]["force_rmse_eV_per_A"] == pytest.approx(0.3, rel=1e-9)
    assert table["O"]["force_rmse_eV_per_A"] == pytest.approx(0.0, abs=1e-12)


def test_hot_frames_are_a_group_of_their_own():
    zeros = np.zeros((4, 3))
    pairs = [pair("melt", zeros, temperature=1800.0), pair("glass", zeros, temperature=1000.0), pair("rest", zeros)]
    assert [row.group for row in errors_table.by_family(pairs)] == \
        ["nzsp, md", "nzsp, md, above 1000 K", "nzsp, md, to 1000 K"]  # fmt: skip


def test_worst_system_first():
    pairs = [pair("good", np.full((4, 3), 0.01)), pair("bad", np.full((4, 3), 0.5))]
    assert [row.group for row in errors_table.by_system(pairs)] == ["bad", "good"]


class Shifted(Calculator):
    """Zero forces and energy."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


class Student:
    class identity:
        @staticmethod
        def model_dump():
            return {"name": "<student>", "trained_for": "tests", "cutoff_A": 5.0, "elements": ["O"], "sha256": "0" * 64}

    def calculator(self):
        return Shifted()


def test_card_uses_held_out_frames_only_and_is_self_contained(tmp_path):
    forces = RNG.normal(size=(6, 3))
    frames = [frame("held", forces, temperature=900.0), frame("seen", forces * 50, split="train")]
    data = card_data(frames, Student(), {"teacher": "t"})
    assert data["by_family"][0]["force_rmse_eV_per_A"]["value"] == pytest.approx(np.sqrt((forces**2).mean()), rel=1e-6)
    assert data["by_temperature"][0]["group"] == "nzsp,  900 K"
    assert data["by_family"][0]["group"].endswith(", to 1000 K")
    page = write_card(data, tmp_path / "card.html").read_text()
    assert "&lt;student&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert (tmp_path / "card.json").exists()


def test_card_without_held_out_frames_is_refused():
    with pytest.raises(InputError, match="no test frames"):
        card_data([frame("seen", np.ones((3, 3)), split="train")], Student(), {})
