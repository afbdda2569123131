"""Import mace-torch without what its import does to the process.

e3nn 0.4 loads a file of its own constants in a way that torch ≥ 2.6 refuses, and mace-torch answers by switching
torch's safe loading off for the whole process. Here only the one harmless type is allowed, and the switch is put back.
What the import prints and warns of is left out: standard output belongs to our own results.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import warnings
from typing import Any

from atomflow.errors import MissingPackageError

_SWITCH = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def mace_module(name: str) -> Any:
    """The module ``mace.<name>``, e.g. ``mace_module("modules")``.

    Raises:
        MissingPackageError: mace-torch is not installed.
    """
    import torch

    before = os.environ.get(_SWITCH)
    torch.serialization.add_safe_globals([slice])
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(f"mace.{name}")
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"MACE models need mace-torch, and {error.name} is not installed: pip install 'atomflow[md]'"
        ) from None
    finally:
        if before is None:
            os.environ.pop(_SWITCH, None)
        else:
            os.environ[_SWITCH] = before
