"""MACE models on disk: pickled torch modules, which must be trusted, and a portable format, which need not be.

A portable file (``.mace.npz``) is an ordinary NumPy archive without pickles: the settings from which mace-torch
rebuilds the network, as JSON, and its weights as arrays. Opening it runs no code of the author's.
"""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atomflow.errors import AtomflowError, InputError
from atomflow.potentials import trust
from atomflow.potentials.mace.imports import mace_module
from atomflow.potentials.mace.potential import MacePotential, from_module, probe_energies
from atomflow.potentials.registry import PORTABLE_SUFFIX, Entry

_SETTINGS_KEY = "__settings__"
_FORMAT = "atomflow-mace"
#: Settings that hold a class or a function in memory and its name in the file.
_CLASS_KEYS = ("interaction_cls", "interaction_cls_first", "readout_cls")
_IRREPS_KEYS = ("hidden_irreps", "MLP_irreps", "edge_irreps")


def load_file(
    path: Path,
    *,
    device: str = "auto",
    dtype: str = "float32",
    trust_model: bool = False,
    head: str | None = None,
    name: str | None = None,
    known: Entry | None = None,
) -> MacePotential:
    """A MACE model from a local file, portable or pickled.

    What identifies it, its name or its source, can be given to :func:`atomflow.potentials.load` again: a head that was
    chosen stays in both.

    Raises:
        InputError: the file is no MACE model, is damaged, or is a pickle that nobody vouched for.
    """
    chosen = f"#{head}" if head else ""
    source = f"{path.resolve()}{chosen}"
    if known and not head:
        source = known.url or f"comes with atomflow ({known.file})"
    return from_module(
        open_module(path, pinned=known.sha256 if known else None, trust_model=trust_model),
        name=(name or path.name.removesuffix(PORTABLE_SUFFIX).removesuffix(".model")) + chosen,
        sha256=trust.file_sha256(path),
        source=source,
        device=device,
        dtype=dtype,
        head=head,
        reference=known.reference if known else "I. Batatia et al., NeurIPS 2022 (MACE)",
        trained_for=known.trained_for if known else "not stated in the file",
        unvalidated=known.unvalidated if known else (),
    )


def open_module(path: Path, *, pinned: str | None = None, trust_model: bool = False) -> Any:
    """The torch module in a file, in the precision it was saved in. A pickled file must be trusted."""
    if path.name.endswith(".npz"):
        if pinned is not None and trust.file_sha256(path) != pinned:
            raise InputError(f"{path} is not the file its name stands for (checksum); reinstall atomflow")
        return load_portable(path)
    trust.check_pickle(path, trust.file_sha256(path), pinned, trust_model)
    return _unpickle(path)


def _unpickle(path: Path) -> Any:
    mace_module("modules")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} is no model that torch can open: {reason}") from None
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"{path} holds a {type(model).__name__}, not a model (a checkpoint of weights is not enough)")
    return model


def save_portable(model: Any, path: str | Path) -> Path:
    """Write a MACE module in the portable format; the file is read back and must give the same forces.

    Raises:
        InputError: the model is of a kind that cannot be rebuilt from its settings.
    """
    path = Path(path)
    if not path.name.endswith(PORTABLE_SUFFIX):
        raise InputError(f"a portable MACE model is written to a name that ends in {PORTABLE_SUFFIX}, not {path.name}")
    settings = _settings_of(model)
    state = {key: value.detach().cpu().numpy() for key, value in model.state_dict().items()}
    partial = path.with_name(f".{path.name}.partial.npz")
    try:
        np.savez(partial, allow_pickle=False, **{_SETTINGS_KEY: np.array(json.dumps(settings))}, **state)
        _check_same(model, load_portable(partial), path)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def load_portable(path: str | Path) -> Any:
    """The MACE module of a portable file, on the CPU, in the precision it was saved in."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            settings = json.loads(str(archive[_SETTINGS_KEY]))
            state = {key: torch.as_tensor(archive[key]) for key in archive.files if key != _SETTINGS_KEY}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path} is no portable MACE model, or it is damaged; atomflow potential convert makes one of "
                         "a model of mace-torch") from None
    if settings.get("format") != _FORMAT or settings.get("format_version") != 1:
        raise InputError(f"{path} is no portable MACE model of a version that this atomflow reads")
    model = _rebuild(settings)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{path}: the weights do not fit the settings: {reason}") from None
    return model


def _settings_of(model: Any) -> dict[str, Any]:
    """The constructor's arguments of a MACE module as plain JSON."""
    scripts = mace_module("tools.scripts_utils")
    arguments = scripts.extract_config_mace_model(model)
    if "error" in arguments or type(model).__name__ != "ScaleShiftMACE":
        raise InputError(f"only ScaleShiftMACE models have a portable form, not {type(model).__name__}")
    gates = mace_module("modules").gate_dict
    settings: dict[str, Any] = {}
    for key, value in arguments.items():
        if key in _CLASS_KEYS:
            value = value.__name__
        elif key == "gate":
            value = next((name for name, gate in gates.items() if gate is value), None)
        elif key in _IRREPS_KEYS:
            value = None if value is None else str(value)
        elif isinstance(value, (np.ndarray, torch.Tensor)):
            value = value.tolist()
        settings[key] = value
    dtype = "float64" if next(model.parameters()).dtype == torch.float64 else "float32"
    return {"format": _FORMAT, "format_version": 1, "class": "ScaleShiftMACE", "dtype": dtype, "arguments": settings}


def _rebuild(settings: dict[str, Any]) -> Any:
    modules = mace_module("modules")
    from e3nn import o3

    arguments = dict(settings["arguments"])
    for key in _CLASS_KEYS:
        arguments[key] = _named_block(modules.blocks, arguments[key])
    for key in _IRREPS_KEYS:
        arguments[key] = None if arguments[key] is None else o3.Irreps(arguments[key])
    arguments["gate"] = modules.gate_dict[arguments["gate"]] if arguments["gate"] is not None else None
    for key in ("atomic_energies", "atomic_inter_scale", "atomic_inter_shift"):
        arguments[key] = np.array(arguments[key])
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if settings["dtype"] == "float64" else torch.float32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return modules.ScaleShiftMACE(**arguments)
    finally:
        torch.set_default_dtype(before)


def _named_block(blocks: Any, name: str) -> Any:
    """A MACE block by its class name; nothing else of that module can be reached from a file."""
    block = getattr(blocks, str(name), None)
    if not (isinstance(block, type) and issubclass(block, torch.nn.Module) and str(name).endswith("Block")):
        raise InputError(f"the model asks for a block '{name}' that mace-torch does not have")
    return block


def _check_same(model: Any, copy: Any, path: Path) -> None:
    """Raise unless the rebuilt model gives the energies of the original, to rounding, on a small cluster."""
    if not torch.allclose(probe_energies(model).cpu(), probe_energies(copy), rtol=1e-5, atol=1e-6):
        raise AtomflowError(f"the model cannot be written to {path}: rebuilt from its settings it differs from itself")
