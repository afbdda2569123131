"""Names of potentials and what is known of each. The names stand once, in ``registry.yaml``. Needs no torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from atomflow.config import StrictModel, parse, read_yaml
from atomflow.errors import InputError, nearest
from atomflow.potentials.base import CommitteeMember

PORTABLE_SUFFIX = ".mace.npz"
#: What is used where no potential is named. It comes inside this package, so it needs no network.
DEFAULT = "atomflow-nzsp-zbo"


class Entry(StrictModel):
    """A potential that atomflow knows by name."""

    kind: Literal["mace", "chgnet", "pair"]
    elements: str
    trained_for: str
    reference: str
    licence: str
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    version: str | None = None
    url: str | None = None
    file: str | None = None
    unvalidated: tuple[str, ...] = ()
    committee: tuple[CommitteeMember, ...] = ()
    doubt_warn_eV_per_A: float | None = Field(None, gt=0)

    @property
    def shipped(self) -> Path | None:
        """The model's file inside the package, for a model that comes with atomflow."""
        return Path(__file__).with_name("data") / self.file if self.file else None

    @property
    def file_name(self) -> str | None:
        """Name of the downloaded file in the cache."""
        return self.url.rsplit("/", 1)[1] if self.url else None


@cache
def entries() -> dict[str, Entry]:
    """Every known name with its entry, in the order of ``registry.yaml``."""
    path = Path(__file__).with_name("registry.yaml")
    return {name: parse(Entry, data, f"registry.yaml, {name}") for name, data in read_yaml(path).items()}


def entry(name: str) -> Entry:
    """The entry of a name; :class:`InputError` names the nearest one if there is none."""
    known = entries()
    if name not in known:
        hint = nearest(name, set(known)) or "; atomflow potential list shows the names"
        raise InputError(f"there is no potential named '{name}', and no such file{hint}")
    return known[name]
