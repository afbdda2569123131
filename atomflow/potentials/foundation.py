"""Files of the MACE foundation models: found in the cache, or downloaded once, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from atomflow.errors import InputError
from atomflow.potentials import trust
from atomflow.potentials.registry import Entry

_TIMEOUT_S = 30
_PIECE = 1 << 18


def cache_path(known: Entry) -> Path:
    """Where the file of a downloadable model lies, or will."""
    if known.file_name is None:
        raise InputError("this potential is not downloaded from anywhere")
    return trust.cache_folder() / "models" / known.file_name


def cached_file(name: str, known: Entry) -> Path:
    """The model's file in the cache; downloaded if it is not there yet.

    At download its checksum is written beside it (``.sha256``). A file that has changed since is refused.

    Raises:
        InputError: no network, an incomplete or changed file, a cache that cannot be written. Says how to bring it.
    """
    path = cache_path(known)
    if not path.is_file():
        _download(name, str(known.url), path)
    recorded = path.with_name(path.name + ".sha256")
    if recorded.is_file() and recorded.read_text(encoding="utf-8").split()[:1] != [trust.file_sha256(path)]:
        raise InputError(f"{path} has changed since it was downloaded; remove it and {recorded.name} to fetch it anew")
    return path


def _download(name: str, url: str, path: Path) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    how = f"bring the file from {url} to {path}, or use it from anywhere as -p /path/to/{path.name} --trust-model"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            digest = _receive(response, partial, name)
        path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n", encoding="utf-8")
        os.replace(partial, path)
    except urllib.error.HTTPError as error:
        raise InputError(f"cannot download {name}: the server answers {error.code} {error.reason}; {how}") from None
    except urllib.error.URLError as error:
        raise InputError(f"cannot download {name}: no connection ({_reason(error.reason)}); {how}") from None
    except (TimeoutError, ConnectionError, EOFError) as error:
        raise InputError(f"cannot download {name}: the connection broke ({_reason(error)}); {how}") from None
    except OSError as error:
        raise InputError(f"cannot keep {name} in {path.parent}: {_reason(error)}; set ATOMFLOW_CACHE") from None
    finally:
        partial.unlink(missing_ok=True)


def _receive(response: Any, partial: Path, name: str) -> str:
    """Write the answer to ``partial``; returns its sha256. Raises ``EOFError`` if less came than was promised."""
    if "text/html" in response.headers.get("Content-Type", ""):
        raise EOFError("a web page came instead of a file")
    total = int(response.headers.get("Content-Length", 0))
    print(f"downloading {name}, {total / 1e6:.1f} MB", file=sys.stderr, flush=True)
    digest, received, shown = hashlib.sha256(), 0, 0
    with partial.open("wb") as file:
        while piece := response.read(_PIECE):
            file.write(piece)
            digest.update(piece)
            received += len(piece)
            if total and sys.stderr.isatty() and received * 100 // total > shown:
                shown = received * 100 // total
                print(f"\r{shown:3d} %", end="" if received < total else "\n", file=sys.stderr, flush=True)
        file.flush()
        os.fsync(file.fileno())
    if received == 0 or (total and received != total):
        raise EOFError(f"{received} of {total} bytes came")
    return digest.hexdigest()


def _reason(error: Any) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
