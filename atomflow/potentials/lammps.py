"""A potential in the form in which LAMMPS takes it: the lines of its pair style, and the file they name.

MACE goes through mace-torch's own wrappers (https://mace-docs.readthedocs.io/en/latest/guide/lammps_mliap.html).
``mliap``: LAMMPS calls the model in Python; many GPUs share one cell. ``libtorch``: TorchScript for ACEsuit's fork of
LAMMPS, one GPU. Lennard-Jones is LAMMPS's ``lj/mdf``, whose taper is ours:
(1 − x)³(1 + 3x + 6x²) = 1 − 10x³ + 15x⁴ − 6x⁵.
"""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atomflow.errors import AtomflowError, InputError, MissingPackageError
from atomflow.potentials.base import Potential

INTERFACES = ("mliap", "libtorch")
#: the model as mace-torch saves it, from which either form can be made again
MODEL_FILE = "potential.model"
_FILES = {"mliap": "potential.mliap_lammps.pt", "libtorch": "potential.lammps.pt"}
_NEEDS_MLIAP = (
    "LAMMPS with KOKKOS, ML-IAP and PYTHON (cmake -D PKG_KOKKOS=ON -D PKG_ML-IAP=ON -D PKG_ML-SNAP=ON -D PKG_PYTHON=ON",
    "  -D MLIAP_ENABLE_PYTHON=ON -D BUILD_SHARED_LIBS=ON, for GPUs -D Kokkos_ENABLE_CUDA=ON), and mace-torch in its",
    "  Python. With cuequivariance there, the model is faster when converted on that machine:",
    f"  mace_create_lammps_model {MODEL_FILE} --format=mliap --dtype=DTYPE ; then name its file in potential.in.",
)
_NEEDS_LIBTORCH = (
    "ACEsuit's LAMMPS (https://github.com/ACEsuit/lammps, branch mace) with ML-MACE, libtorch and KOKKOS.",
)


@dataclass(frozen=True)
class PairStyle:
    """How LAMMPS is told of a potential.

    Attributes:
        lines: commands: pair_style, pair_coeff.
        needs: which build of LAMMPS it takes, in lines for people.
        launch: how LAMMPS is started; ``INPUT`` stands for the input file.
        files: names of the files written.
    """

    lines: tuple[str, ...]
    needs: tuple[str, ...]
    launch: str
    files: tuple[str, ...] = ()


def pair_style(potential: Potential, elements: Sequence[str], folder: Path, interface: str = "mliap") -> PairStyle:
    """Write what LAMMPS needs of ``potential`` into ``folder``, and say how it is named.

    Args:
        elements: of atom types 1, 2, ...
        interface: of MACE models, ``mliap`` or ``libtorch``.

    Raises:
        InputError: a potential that has no form for LAMMPS, or an unknown interface.
        MissingPackageError: this mace-torch has no such wrapper.
    """
    from atomflow.potentials.mace.potential import MacePotential
    from atomflow.potentials.pair import LennardJones

    if interface not in INTERFACES:
        raise InputError(f"--interface must be one of {', '.join(INTERFACES)}, not '{interface}'")
    if isinstance(potential, LennardJones):
        lines = (f"pair_style lj/mdf {potential.switch_A:.16g} {potential.cutoff_A:.16g}",
                 f"pair_coeff * * {potential.epsilon_eV:.16g} {potential.sigma_A:.16g}")
        return PairStyle(lines, ("any LAMMPS with the package EXTRA-PAIR.",), "lmp -in INPUT")
    if not isinstance(potential, MacePotential):
        raise InputError(f"{potential.identity.name} ({potential.identity.kind}) has no form for LAMMPS here; "
                         "MACE models and lennard-jones-argon have")  # fmt: skip
    return _mace(potential, elements, folder, interface)


def _mace(potential: Any, elements: Sequence[str], folder: Path, interface: str) -> PairStyle:
    import torch

    from atomflow.potentials.mace.potential import head_names

    model = copy.deepcopy(potential.model).cpu()
    head = head_names(model)[potential.head]
    target, named = folder / _FILES[interface], " ".join(elements)
    torch.save(model, folder / MODEL_FILE)
    try:
        if interface == "mliap":
            torch.save(_mliap(model, head), target)
        else:
            _compiled(model, head).save(str(target))
    except (AtomflowError, OSError):
        raise
    except Exception as error:  # TorchScript and pickling can fail in many ways
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{potential.identity.name} cannot be converted to {interface}: {reason}") from None
    files = (target.name, MODEL_FILE)
    if interface == "mliap":
        needs = tuple(line.replace("DTYPE", potential.identity.dtype) for line in _NEEDS_MLIAP)
        lines = (f"pair_style mliap unified {target.name} 0", f"pair_coeff * * {named}")
        launch = "mpirun -np GPUS lmp -k on g GPUS -sf kk -pk kokkos newton on neigh half -in INPUT"
        return PairStyle(lines, needs, launch, files)
    lines = ("pair_style mace no_domain_decomposition", f"pair_coeff * * {target.name} {named}")
    return PairStyle(lines, _NEEDS_LIBTORCH, "lmp -k on g 1 -sf kk -in INPUT", files)


def _mliap(model: Any, head: str) -> Any:
    model.lammps_mliap = True
    return _wrapper("calculators.lammps_mliap_mace", "LAMMPS_MLIAP_MACE")(model, **_head(model, head))


def _compiled(model: Any, head: str) -> Any:
    from e3nn.util import jit

    wrapped = _wrapper("calculators", "LAMMPS_MACE")(model, **_head(model, head))
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jit.compile(wrapped)


def _head(model: Any, head: str) -> dict[str, str]:
    return {"head": head} if getattr(model, "heads", None) else {}


def _wrapper(module: str, name: str) -> Any:
    from atomflow.potentials.mace.imports import mace_module

    found = getattr(mace_module(module), name, None)
    if found is None:
        raise MissingPackageError(f"this mace-torch has no {name}; pip install -U mace-torch")
    return found
