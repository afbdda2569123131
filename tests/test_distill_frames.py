"""Labelled frames on disk: compact, free of pickles, exact to the stated precision; damage is one clear line."""

import numpy as np
import pytest

from atomflow.distill.frames import Frame, Labels, read_about, read_frames, write_frames
from atomflow.errors import InputError


def some_frames(labelled: bool) -> list[Frame]:
    rng = np.random.default_rng(4)
    frames = []
    for count in (3, 5):
        labels = Labels(-1234.56789012345, rng.normal(size=(count, 3)) * 10, rng.normal(size=(3, 3)) * 0.1)
        lattice = np.eye(3) * 15 + rng.random((3, 3))
        temperature = 900.0 if count == 3 else None
        frames.append(Frame(rng.integers(1, 41, count), rng.random((count, 3)) * 30, lattice, f"s{count}", "nzsp", "md",
                            "train", temperature,
                            labels if labelled else None))
    return frames


@pytest.mark.parametrize("labelled", [True, False])
def test_written_and_read_back(tmp_path, labelled):
    frames = some_frames(labelled)
    path = write_frames(frames, tmp_path / "set.npz", {"teacher": "t"})
    assert read_about(path) == {"teacher": "t"}
    for before, after in zip(frames, read_frames(path), strict=True):
        assert after.facts() == before.facts()
        np.testing.assert_array_equal(after.numbers, before.numbers)
        np.testing.assert_array_equal(after.lattice_A, before.lattice_A)
        np.testing.assert_allclose(after.positions_A, before.positions_A, rtol=0, atol=2e-6)
        if labelled:
            assert after.labels.energy_eV == before.labels.energy_eV
            np.testing.assert_allclose(after.labels.forces_eV_per_A, before.labels.forces_eV_per_A, rtol=1e-6, atol=0)


def test_labels_travel_to_ase_under_mace_names():
    atoms = some_frames(True)[0].to_ase()
    assert atoms.calc is None
    assert atoms.info["REF_energy"] == -1234.56789012345
    assert atoms.arrays["REF_forces"].shape == (3, 3)
    assert atoms.info["REF_stress"].shape == (9,)


def test_half_labelled_is_refused(tmp_path):
    with pytest.raises(InputError, match="some are not"):
        write_frames([some_frames(True)[0], some_frames(False)[1]], tmp_path / "set.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"text"])
def test_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(InputError) as error:
        read_frames(tmp_path / "bad.npz")
    assert "\n" not in str(error.value)
    assert "bad.npz" in str(error.value)


def test_pickles_are_never_opened(tmp_path):
    np.savez(tmp_path / "evil.npz", header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError):
        read_frames(tmp_path / "evil.npz")
