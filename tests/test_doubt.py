"""The committee's doubt: its formula, its files, and who may be in it."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mace")

import doubt_toys  # noqa: E402
from doubt_toys import oxide  # noqa: E402

from atomflow import potentials  # noqa: E402
from atomflow.errors import InputError  # noqa: E402
from atomflow.potentials import committee  # noqa: E402
from atomflow.potentials.committee import members_of_files, with_committee  # noqa: E402
from atomflow.potentials.edges import build_edges  # noqa: E402
from atomflow.potentials.evaluate import evaluate_cells  # noqa: E402
from atomflow.potentials.pair import LennardJones  # noqa: E402

files, models, student = doubt_toys.files, doubt_toys.models, doubt_toys.student


def test_spread_is_the_standard_deviation_of_the_force_vectors(files, models, student):
    cell = oxide(1)
    forces = []
    for model in models:
        atoms = cell.to_ase()
        atoms.calc = model.calculator()
        forces.append(atoms.get_forces())
    by_component = np.std(forces, axis=0, ddof=1)
    found = committee.force_spread(student, cell)
    np.testing.assert_allclose(found, np.linalg.norm(by_component, axis=1), rtol=2e-4)
    assert found.shape == (8,)
    assert found.min() > 0


def test_members_that_agree_have_no_doubt(models):
    assert committee.force_spread(models[0], oxide(1), [models[0]] * 2).max() < 1e-6


def test_members_of_longer_reach_get_edges_of_their_own():
    near, far = (LennardJones(device="cpu", epsilon_eV=0.1, sigma_A=2.0, cutoff_A=c, switch_A=2.4) for c in (3.0, 6.0))
    cell = oxide(2)
    apart = [evaluate_cells(each, [cell.numbers], [cell.positions_A], [cell.lattice_A]).forces_eV_per_A
             for each in (near, far)]
    where = torch.tensor(np.array(cell.positions_A)), torch.tensor(np.array(cell.lattice_A))[None]
    owner = np.zeros(len(cell), int)
    short = build_edges(cell.positions_A, cell.lattice_A[None], owner, 3.0, near.device)
    batch = committee.CommitteeBatch([far], near.cutoff_A, cell.numbers, owner, 1)
    found = batch.spread(*where, short, apart[0])
    assert found.max() > 1e-3
    np.testing.assert_allclose(found, committee.spread_of(torch.stack(apart)), rtol=1e-10)


def test_a_potential_without_a_committee_says_so(models):
    with pytest.raises(InputError, match="has no committee"):
        committee.force_spread(models[0], oxide(1))


def test_a_member_that_is_gone_or_changed_is_one_line(files, models, tmp_path):
    copy = tmp_path / "copy.mace.npz"
    copy.write_bytes(files[1].read_bytes())
    student = with_committee(models[0], members_of_files([copy]))
    copy.write_bytes(files[2].read_bytes())
    with pytest.raises(InputError, match=r"copy\.mace\.npz is not the committee's member .* \(checksum\)"):
        committee.open_members(student)
    copy.unlink()
    with pytest.raises(InputError, match="is not whole"):
        committee.open_members(student)
    with pytest.raises(InputError, match="for the committee"):
        members_of_files([copy])


def test_a_member_must_know_the_elements(files, models):
    identity = models[0].identity
    more = identity.model_copy(update={"elements": ("Ar", *identity.elements, "Xe")})
    with pytest.raises(InputError, match=r"member tiny-1\S* does not know Ar, Xe"):
        committee.open_members(with_committee(replace(models[0], identity=more), members_of_files(files[1:])))


def test_identity_names_the_committee_and_is_as_before_without_one(files, models, student):
    data = student.identity.model_dump(mode="json")
    assert [member["file"] for member in data["committee"]] == [str(file) for file in files[1:]]
    alone = models[0].identity.model_dump(mode="json")
    assert "committee" not in alone
    assert "doubt_warn_eV_per_A" not in alone
    assert {**alone, "committee": data["committee"]} == data


def test_a_folder_of_a_trained_committee_loads_with_its_limit(files, tmp_path):
    for file in files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    committee.write_committee(tmp_path, files[0].name, [file.name for file in files[1:]])
    committee.set_limit(tmp_path, 0.25)
    loaded = potentials.load(tmp_path, device="cpu")
    assert loaded.identity.doubt_warn_eV_per_A == 0.25
    assert len(committee.open_members(loaded)) == 2
    assert loaded.identity.name == "tiny-0"
    (tmp_path / "committee.json").write_text(json.dumps({"format": "atomflow-committee", "format_version": 1}))
    with pytest.raises(InputError, match="does not describe a committee"):
        potentials.load(tmp_path)
    (tmp_path / "committee.json").unlink()
    with pytest.raises(InputError, match="holds 3 trained models"):
        potentials.load(tmp_path)
    with pytest.raises(InputError, match="holds no trained models"):
        potentials.load(tmp_path.parent)
