"""The student of the whole material system and its committee: the errors the package states are those it has."""

import json
from pathlib import Path

import numpy as np
import pytest

from atomflow import potentials
from atomflow.distill import errors_table
from atomflow.distill.card_checks import close
from atomflow.distill.frames import read_frames
from atomflow.potentials.committee import committee_forces, open_members, spread_of
from atomflow.potentials.evaluate import evaluate_cells
from atomflow.potentials.registry import entry
from atomflow.potentials.repulsion import repulsion_radii_A

NAME = "atomflow-nzsp-zbo"
TESTS = Path(__file__).parent
LABELLED = TESTS.parent / "workflows" / "potential" / "labelled" / "nzsp-zbo.npz"
ALONG = LABELLED.with_name("along.npz")
FAMILIES = ("boundary", "contact", "glass", "metal", "nzsp", "oxide", "sealed", "surface")


@pytest.fixture(scope="module")
def student():
    return potentials.load(NAME, device="cpu")


@pytest.fixture(scope="module")
def facts():
    return json.loads(entry(NAME).shipped.with_name(f"{NAME}.json").read_text())


@pytest.fixture(scope="module")
def held_out():
    return read_frames(TESTS / "data" / "distill" / "held_out_zbo.npz")


def pairs_of(student, frames):
    """Student beside teacher, by the package's own batched path."""
    answer = evaluate_cells(student, [f.numbers for f in frames], [f.positions_A for f in frames],
                            [f.lattice_A for f in frames])
    ends = np.cumsum([frame.n_atoms for frame in frames])
    forces = np.split(answer.forces_eV_per_A.cpu().numpy(), ends[:-1])
    return [errors_table.Pair(frame, errors_table.Labels(float(energy), force, stress)) for frame, energy, force, stress
            in zip(frames, answer.energy_eV, forces, answer.stress_eV_per_A3.cpu().numpy(), strict=True)]


def group_of(frame):
    """The key of ``held_out_by_family``: the family, and whether its frames are hot."""
    return f"{frame.family}{errors_table.heat(frame.temperature_K)}"


def test_held_out_families_are_as_good_as_stated(student, facts, held_out):
    pairs = pairs_of(student, held_out)
    for family in FAMILIES:
        rows = [pair for pair in pairs if pair.frame.family == family]
        told = [facts["held_out_by_family"][group] for group in {group_of(pair.frame) for pair in rows}]
        stated = max(row["force_rmse_eV_per_A"]["value"] for row in told)
        assert len(rows) >= 2, family
        found = errors_table.error_row(family, rows).force_rmse_eV_per_A.value
        assert found < 1.8 * stated, family  # two to six frames of a family here, all of them in the slow test


def test_glasses_and_films_that_it_never_saw_are_known_at_300_and_1000_K(student):
    """Every run of workflows/potential/along.yaml is within 0.12 eV/Å; what was asked is 0.15."""
    frames = read_frames(ALONG)[::5]
    pairs = pairs_of(student, frames)
    assert len({(pair.frame.system, pair.frame.temperature_K) for pair in pairs}) == 18
    for pair in pairs:
        row = errors_table.error_row(pair.frame.system, [pair])
        assert row.force_rmse_eV_per_A.value < 0.12, row
        assert 0.97 < row.slope < 1.03, row


def test_forces_are_those_of_the_day_it_was_released(student):
    """An update of torch, e3nn or mace-torch must not change the physics."""
    for pair in pairs_of(student, read_frames(TESTS / "data" / "distill" / "reference_zbo.npz")):
        np.testing.assert_allclose(pair.force_errors_eV_per_A, 0.0, rtol=0, atol=5e-4)
        assert pair.student.energy_eV == pytest.approx(pair.frame.labels.energy_eV, abs=1e-3 * pair.frame.n_atoms)


@pytest.mark.slow
@pytest.mark.skipif(not LABELLED.exists(), reason="the labelled set is part of the source checkout only")
def test_the_whole_table_of_held_out_systems_can_be_computed_again(student, facts):
    frames = [frame for path in (LABELLED, ALONG) for frame in read_frames(path) if frame.split == "test"]
    pairs = [pair for start in range(0, len(frames), 20) for pair in pairs_of(student, frames[start : start + 20])]
    for group, stated in facts["held_out_by_family"].items():
        row = errors_table.error_row(group, [pair for pair in pairs if group_of(pair.frame) == group])
        assert (row.frames, row.systems) == (stated["frames"], stated["systems"])
        assert row.force_rmse_eV_per_A.value == pytest.approx(stated["force_rmse_eV_per_A"]["value"], rel=0.01)


def test_no_held_out_system_was_trained_on():
    if not LABELLED.exists():
        pytest.skip("the labelled set is part of the source checkout only")
    frames = read_frames(LABELLED)
    trained = {f.system for f in frames if f.split == "train"}
    assert not trained & {f.system for path in (LABELLED, ALONG) for f in read_frames(path) if f.split == "test"}
    held_out = read_frames(TESTS / "data" / "distill" / "held_out_zbo.npz")
    assert {f.system for f in held_out} <= {f.system for f in frames if f.split == "test"}


def test_committee_is_whole_and_its_disagreement_ranks_the_true_error(student, held_out):
    others = open_members(student)
    assert len(others) == 2
    frames = [f for f in held_out if f.family in ("glass", "sealed", "contact", "boundary")][::2]
    cells = [f.numbers for f in frames], [f.positions_A for f in frames], [f.lattice_A for f in frames]
    forces = committee_forces(student, *cells, others)
    true = np.concatenate([f.labels.forces_eV_per_A for f in frames])
    error, spread = np.linalg.norm(forces[0] - true, axis=1), spread_of(forces)
    order = [np.argsort(np.argsort(values)) for values in (error, spread)]
    assert np.corrcoef(*order)[0, 1] > 0.25


@pytest.mark.skipif(not LABELLED.exists(), reason="the labelled set is part of the source checkout only")
def test_the_repulsion_touches_no_trained_frame_and_fills_the_holes_below(student, held_out):
    frames = close.shown(read_frames(LABELLED))
    closest = close.closest_distances_A(frames)
    radii = repulsion_radii_A(student.model)
    assert all(radii[a] + radii[b] < distance for (a, b), distance in closest.items())
    for member in open_members(student):
        assert repulsion_radii_A(member.model) == pytest.approx(radii)
    candidates, double = close.candidates(held_out), student.with_dtype("float64")
    # without it they fell behind 4, 11, 10 and 20 eV; two borons and two oxygens, for which its reach ends at 1.15 and
    # 0.86 Å, still fall, behind 19 and 11 eV
    for pair, wall_eV in {("Na", "Na"): 100, ("B", "B"): 15, ("O", "O"): 8, ("Na", "O"): 100}.items():
        path = close.paths(pair, candidates, closest)[0]
        assert close.pushed(path, close.energies_eV(path, double), closest[pair])["climb_eV"] > wall_eV, pair
