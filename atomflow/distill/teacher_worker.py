"""Runs in the teacher's own environment: performs the tasks that it is named.

    python teacher_worker.py FOLDER TEACHER NAME [NAME ...]

A task is FOLDER/NAME.task.json (see operations.py beside this file), its result NAME.result.json, written whole and
renamed; a band that is under way keeps its images in NAME.band.json and goes on from them.
A line of JSON on standard output for every task done, and for every word about one that takes long. atomflow need not
be installed: the files needed of it are found beside this one, and import nothing of it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import label_worker
import operations


def keep_freed_memory() -> None:
    """As atomflow's own force calls do (a fifth of a call of SevenNet), where malloc can be told so."""
    file = Path(__file__).parents[1] / "potentials" / "allocator.py"
    found = importlib.util.spec_from_file_location("allocator", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    module.keep_freed_memory()


def main(folder: str, teacher: str, names: list[str]) -> None:
    warnings.simplefilter("ignore")
    keep_freed_memory()
    calculator, version = label_worker.calculator_of(teacher)

    def say(text: str) -> None:
        print(json.dumps({"says": text}), flush=True)

    for name in names:
        result, images = Path(folder) / f"{name}.result.json", Path(folder) / f"{name}.band.json"
        asked = json.loads((Path(folder) / f"{name}.task.json").read_text())
        found = operations.perform(asked, calculator, images, say)
        partial = result.with_suffix(".partial")
        partial.write_text(json.dumps({**found, "version": version}))
        os.replace(partial, result)
        images.unlink(missing_ok=True)
        print(json.dumps({"task": name, "seconds": found["seconds"]}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
