"""The only reader of ``structures/``: a crystal by name, with its provenance, its checksum verified."""

from __future__ import annotations

import hashlib
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomflow.config import StrictModel, parse, read_yaml
from atomflow.errors import InputError, MissingPackageError, nearest

if TYPE_CHECKING:
    from pymatgen.core import Structure


class CrystalFacts(StrictModel):
    """What ``structures/index.yaml`` says of one crystal; ``cell`` is a, b, c in Å and α, β, γ in degrees."""

    file: str
    formula: str
    space_group: str
    cell: tuple[float, float, float, float, float, float]
    ordered: bool
    source: str
    verified: str
    licence: str
    note: str
    sha256: str


def folder() -> Path:
    """Where the crystal files lie: inside the installed package, or ``structures/`` of a source checkout."""
    package = Path(__file__).parent
    for candidate in (package / "structures", package.parent / "structures"):
        if (candidate / "index.yaml").is_file():
            return candidate
    raise InputError(f"the crystal files are missing: no structures/index.yaml beside {package}; reinstall atomflow")


def list() -> tuple[str, ...]:
    """The names of all crystals, in the order of the index."""
    return tuple(_index(folder()))


def facts(name: str) -> CrystalFacts:
    """Formula, space group, cell, source and checksum of a crystal, from the index."""
    index = _index(folder())
    if name not in index:
        hint = nearest(name, set(index)) or f"; {folder() / 'index.yaml'} lists the {len(index)} known ones"
        raise InputError(f"there is no crystal '{name}'{hint}")
    return index[name]


def load(name: str) -> Structure:
    """The crystal as a pymatgen structure of its conventional cell, sites labelled as in its CIF.

    ``structure.properties`` holds the provenance (see :func:`provenance`). Partly occupied sites stay so.

    Raises:
        InputError: no such crystal, or its file is missing or is not the one that was verified (checksum).
    """
    known = facts(name)
    path = folder() / known.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != known.sha256:
        raise InputError(
            f"{path} was altered: its sha256 is {found[:12]}…, the verified file's {known.sha256[:12]}…; restore it"
        )
    try:
        from pymatgen.io.cif import CifParser
    except ImportError:
        raise MissingPackageError("reading crystals needs pymatgen: pip install 'atomflow[build]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # occupancies rounded in print (0.6667) are said aloud at every reading
        structure = CifParser.from_str(content.decode()).parse_structures(primitive=False)[0]
    structure.properties = provenance(name)
    return structure


def provenance(name: str) -> dict[str, Any]:
    """What a cell built from this crystal records of it: name, source and checksum of the file."""
    known = facts(name)
    return {"crystal": name, "source": known.source, "sha256": known.sha256}


@cache
def _index(where: Path) -> dict[str, CrystalFacts]:
    path = where / "index.yaml"
    return {name: parse(CrystalFacts, data, f"{path}: {name}") for name, data in read_yaml(path).items()}
