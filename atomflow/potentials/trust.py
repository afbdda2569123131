"""Which pickled model files may be opened. Opening a pickle runs whatever code its author put there.

A file is opened when its checksum is pinned in ``registry.yaml``, or was trusted on this account before; trusting
writes the checksum into ``trusted-models.txt`` in the cache folder, so that workers and resumed runs need no flag.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from atomflow.errors import InputError


def cache_folder() -> Path:
    """``$ATOMFLOW_CACHE``, or ``~/.cache/atomflow``."""
    given = os.environ.get("ATOMFLOW_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "atomflow"


def file_sha256(path: Path) -> str:
    """Checksum of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def trusted_before(sha256: str) -> bool:
    """Whether this account has trusted a file of this checksum."""
    try:
        lines = _list_file().read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(line.split(maxsplit=1)[0] == sha256 for line in lines if line.strip())


def remember(sha256: str, path: Path) -> None:
    """Trust this checksum from now on. Where the cache cannot be written, the flag is needed each time."""
    if trusted_before(sha256):
        return
    try:
        _list_file().parent.mkdir(parents=True, exist_ok=True)
        with _list_file().open("a", encoding="utf-8") as file:
            file.write(f"{sha256}  {path.name}\n")
    except OSError:
        return


def check_pickle(path: Path, sha256: str, pinned: str | None, trust_model: bool) -> None:
    """Raise :class:`InputError` unless this pickled file may be opened.

    A file that should be a named model but has another checksum than the pinned one is refused whatever is trusted.
    """
    if pinned is not None and sha256 != pinned:
        raise InputError(
            f"{path} has sha256 {sha256}, not the {pinned} of this model: "
            "it is damaged or another file; remove it to download it again"
        )
    if pinned is not None or trusted_before(sha256):
        return
    if not trust_model:
        raise InputError(
            f"{path} is a pickled model with an unknown checksum (sha256 {sha256}); opening it runs code from its "
            "author: if you trust it, give --trust-model once (trust_model=True in Python)"
        )
    remember(sha256, path)


def _list_file() -> Path:
    return cache_folder() / "trusted-models.txt"
