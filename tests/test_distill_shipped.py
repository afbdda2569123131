"""The potential that comes with atomflow: the file it claims to be, no pickle inside, and as good as its entry says."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from atomflow import potentials
from atomflow.distill import errors_table
from atomflow.distill.frames import read_frames
from atomflow.errors import InputError
from atomflow.potentials.registry import entries, entry
from atomflow.potentials.trust import file_sha256

NAME = "atomflow-nzsp-0"
DATA = Path(__file__).parent / "data" / "distill"


@pytest.fixture(scope="module")
def student():
    return potentials.load(NAME, device="cpu")


@pytest.fixture(scope="module")
def facts():
    return json.loads(entry(NAME).shipped.with_name(f"{NAME}.json").read_text())


SHIPPED = [name for name, known in entries().items() if known.file]


@pytest.mark.parametrize("name", SHIPPED)
def test_files_are_those_of_the_registry_and_small(name):
    folder = entry(name).shipped.parent
    files = {entry(name).shipped: entry(name).sha256}
    files |= {folder / each.file: each.sha256 for each in entry(name).committee}
    for path, sha256 in files.items():
        assert file_sha256(path) == sha256
        assert path.stat().st_size < 5e6


@pytest.mark.parametrize("path", sorted(entry(NAME).shipped.parent.glob("*.npz")), ids=lambda path: path.name)
def test_nothing_in_a_shipped_file_is_a_pickle(path):
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            assert name.endswith(".npy")
    with np.load(path, allow_pickle=False) as arrays:
        assert all(arrays[key].dtype != object for key in arrays.files)


def test_altered_file_is_refused(tmp_path, monkeypatch):
    copy = tmp_path / entry(NAME).shipped.name
    content = bytearray(entry(NAME).shipped.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    monkeypatch.setattr(type(entry(NAME)), "shipped", property(lambda self: copy))
    with pytest.raises(InputError, match="checksum"):
        potentials.load(NAME)


def test_identity_says_what_it_is_and_what_for(student):
    assert set(student.identity.elements) == {"Na", "Zr", "Si", "P", "O", "Zn", "B"}
    assert "SevenNet" in student.identity.trained_for + student.identity.reference
    with pytest.raises(InputError, match="Li"):
        student.check_elements(np.array([3, 8]))


def test_forces_are_those_of_the_day_it_was_released(student):
    """An update of torch, e3nn or mace-torch must not change the physics."""
    pairs = errors_table.evaluate(read_frames(DATA / "reference.npz"), student.calculator())
    for pair in pairs:
        np.testing.assert_allclose(pair.force_errors_eV_per_A, 0.0, rtol=0, atol=2e-4)
        assert pair.student.energy_eV == pytest.approx(pair.frame.labels.energy_eV, abs=1e-3 * pair.frame.n_atoms)


def test_held_out_nzsp_is_as_good_as_stated(student, facts):
    """Teacher's labels of systems that were not trained on, against the figures that the package states."""
    row = errors_table.error_row("held out", errors_table.evaluate(read_frames(DATA / "held_out.npz"),
                                                                    student.calculator()))
    assert row.systems >= 6
    assert row.force_rmse_eV_per_A.value < 1.2 * facts["held_out_nzsp_dynamics"]["force_rmse_eV_per_A"]["value"]
    assert 0.96 < row.slope < 1.04


def test_every_shipped_file_is_registered_and_described():
    folder = entry(NAME).shipped.parent
    registered = {known.file for known in entries().values() if known.file}
    members = {each.file for known in entries().values() for each in known.committee}
    assert {path.name for path in folder.glob("*.mace.npz")} == registered | members
    for name in registered:
        assert (folder / name.replace(".mace.npz", ".json")).exists()
