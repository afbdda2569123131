"""A potential by its name or its file. Torch and the models' packages are imported when one is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from atomflow.errors import InputError, said
from atomflow.potentials import registry
from atomflow.potentials.allocator import keep_freed_memory
from atomflow.potentials.base import Potential, torch_device, torch_dtype


def availability(name: str) -> str:
    """``yes``, ``to download``, or which package is missing; nothing is loaded to find out."""
    from importlib.util import find_spec

    known = registry.entry(name)
    if known.kind == "mace":
        from atomflow.potentials import foundation

        path = known.shipped or foundation.cache_path(known)
        package, ready = "mace", "yes" if path.is_file() else "to download"
    else:
        package, ready = {"chgnet": "chgnet", "pair": "torch"}[known.kind], "yes"
    return ready if find_spec(package) is not None else f"needs {package}"


def load(
    name: str | Path, *, device: str = "auto", dtype: str = "float32", trust_model: bool = False,
    committee: Sequence[str | Path] = (),
) -> Potential:
    """Load a potential by registry name or from a local file.

    Args:
        name: a name of ``atomflow potential list``, or the path of a MACE model: ``.mace.npz`` (portable, safe), a
            pickled ``.model``, or a folder that ``atomflow potential train`` wrote. ``#head`` at the end chooses a
            readout head of a model that has several.
        device: ``cpu``, ``cuda`` or ``auto`` (CUDA where there is one).
        dtype: precision of the model, ``float32`` or ``float64``. Positions and energies are float64 in any case.
        trust_model: run the code inside a pickled file whose checksum is not known, and remember the checksum.
        committee: files of further models, in place of the potential's own committee, if it has one.

    Raises:
        InputError: unknown name, unreadable file, untrusted pickle, no network, no such device.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise InputError(f"a potential is loaded by its name or file, not by {said(name)}; the names: "
                         f"{', '.join(registry.entries())}")
    loaded = _load(name, device, dtype, trust_model)
    if not committee:
        return loaded
    from atomflow.potentials.committee import members_of_files, with_committee

    return with_committee(loaded, members_of_files(committee))


def _load(name: str | Path, device: str, dtype: str, trust_model: bool) -> Potential:
    text, _, head = str(name).partition("#")
    path = Path(text).expanduser()
    if text not in registry.entries() and path.is_dir():
        from atomflow.potentials.committee import load_folder

        return load_folder(path, device, dtype)
    is_file = text not in registry.entries() and path.is_file()
    if not is_file and (path.suffix in (".model", ".pt", ".pth", ".npz") or "/" in text):
        raise InputError(f"there is no model file {path}")
    known = None if is_file else registry.entry(text)
    torch_dtype(dtype)  # wrong ones are told before anything is fetched or opened
    if torch_device(device).type == "cpu":
        keep_freed_memory()
    if known is not None:
        return _load_entry(text, known, device, dtype, trust_model, head or None)
    from atomflow.potentials.mace.files import load_file

    return load_file(path, device=device, dtype=dtype, trust_model=trust_model, head=head or None)


def _load_entry(
    name: str, known: registry.Entry, device: str, dtype: str, trust_model: bool, head: str | None
) -> Potential:
    if known.kind == "pair":
        from atomflow.potentials.pair import LennardJones

        return LennardJones(name=name, device=device, dtype=dtype)
    if known.kind == "chgnet":
        from atomflow.potentials import chgnet

        return chgnet.load(name, known, device=device, dtype=dtype)
    from atomflow.potentials import foundation
    from atomflow.potentials.committee import with_committee
    from atomflow.potentials.mace.files import load_file

    loaded = load_file(
        known.shipped or foundation.cached_file(name, known),
        device=device, dtype=dtype, trust_model=trust_model, head=head, name=name, known=known,
    )
    return with_committee(loaded, known.committee, known.doubt_warn_eV_per_A) if known.committee else loaded
