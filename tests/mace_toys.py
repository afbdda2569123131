"""Tiny MACE models with random weights: no physics, all of the mathematics."""

import contextlib
import copy
import json
import warnings

import numpy as np
import pytest
import torch

from atomflow.potentials.mace.imports import mace_module

ELEMENTS = [5, 8, 11, 14, 15, 30, 40]
R_MAX = 4.5


def make_mace(seed=0, max_ell=1, **changes):
    """A MACE with random weights: no physics, all of the mathematics."""
    modules = mace_module("modules")
    from e3nn import o3

    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    settings = {
        "r_max": R_MAX, "num_bessel": 6, "num_polynomial_cutoff": 5, "max_ell": max_ell,
        "interaction_cls": modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        "interaction_cls_first": modules.interaction_classes["RealAgnosticInteractionBlock"],
        "num_interactions": 2, "num_elements": len(ELEMENTS), "hidden_irreps": o3.Irreps("8x0e"),
        "MLP_irreps": o3.Irreps("16x0e"), "atomic_energies": np.linspace(-8.0, -1.0, len(ELEMENTS)),
        "avg_num_neighbors": 20.0, "atomic_numbers": ELEMENTS, "correlation": 2, "radial_MLP": [16, 16],
        "gate": modules.gate_dict["silu"], "radial_type": "bessel",
        "atomic_inter_scale": 1.7, "atomic_inter_shift": 0.1,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return modules.ScaleShiftMACE(**{**settings, **changes})
    finally:
        torch.set_default_dtype(before)


def tiny_files(folder, count, **changes):
    """Portable files of so many tiny models in single precision: one built, the others with its weights disturbed."""
    from atomflow.potentials.mace.files import save_portable

    files = [save_portable(make_mace(0, **changes).to(torch.float32), folder / "tiny-0.mace.npz")]
    with np.load(files[0], allow_pickle=False) as archive:
        arrays = dict(archive)
    for number in range(1, count):
        files.append(disturbed(arrays, folder / f"tiny-{number}.mace.npz", number))
    return files


@contextlib.contextmanager
def built_once():
    """Within it models of one shape are built once and copied: building is nine tenths of opening a file.

    What is in the file is read, checked and put into the copy as ever.
    """
    from atomflow.potentials.mace import files

    build, built = files._rebuild, {}

    def copied(settings):
        shape = json.dumps(settings, sort_keys=True)
        if shape not in built:
            built[shape] = build(settings)
        return copy.deepcopy(built[shape])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_rebuild", copied)
        yield


def disturbed(arrays, path, seed, by=0.1):
    """A portable model whose weights are those of ``arrays``, each a little off."""
    rng = np.random.default_rng(seed)
    learnt = [name for name in arrays if "weight" in name and arrays[name].ndim]
    moved = {name: (arrays[name] * rng.normal(1, by, arrays[name].shape)).astype(np.float32) for name in learnt}
    np.savez(path, allow_pickle=False, **{**arrays, **moved})
    return path
