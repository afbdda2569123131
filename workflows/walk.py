"""Every command for interfaces, from nothing to figures, on cells small enough for one CPU thread; what took how long.

    python workflows/walk.py -o runs/walk                       # the table; the same command goes on after a stop
    python workflows/walk.py -o runs/walk --potential NAME      # with another potential
    python workflows/walk.py -o runs/walk --only hop --again    # some steps anew

It shows that the commands fit together and what they cost. So small, so short and so hurried, none of its numbers says
anything about a material.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One command of the walk: its name, its words after ``atomflow``, and the figure it leaves."""

    name: str
    words: str
    figure: str = ""


#: {p} is the potential. Files are relative to the folder of the walk.
STEPS = (
    Step("pack a glass", "build glass --units 2 --seed 1 -o melt.extxyz"),
    Step("melt and quench it", "quench melt.extxyz -p {p} --melt-ps 0.5 --rate-K-per-ps 2000 --anneal-ps 0.5 "
                               "--settle-ps 1 --timestep-fs 2 -o glass"),
    Step("beside the literature", "order glass --glass"),
    Step("radial distribution", "order glass -o rdf.png", "rdf.png"),
    Step("boundary, mirror", "build boundary --plane 1 1 0 --kind mirror --grain-thickness 6 --width 0.5 "
                             "-o mirror.extxyz"),
    Step("boundary, tilt", "build boundary --plane 1 1 0 --kind tilt --grain-thickness 6 -o tilt.extxyz"),
    Step("boundary, twist", "build boundary --plane 1 1 0 --kind twist --grain-thickness 6 -o twist.extxyz"),
    Step("boundary, shift", "build boundary --plane 1 1 0 --kind shift --shift 0.25 0 --grain-thickness 6 "
                            "-o shift.extxyz"),
    Step("search of translations", "interface search mirror.extxyz -p {p} --grid-a 2 --shortlist 3 --short-steps 8 "
                                   "--finalists 1 --fmax 0.1 -o search"),
    Step("boundary energy", "interface energy search/best.extxyz -p {p} --fmax 0.1 --json"),
    Step("slab", "build slab --plane 1 0 1 --thickness 13 -o slab.extxyz"),
    Step("surface energy", "interface energy slab.extxyz -p {p} --fmax 0.1 --json"),
    Step("sealed boundary", "build sealed --boundary search/best.extxyz --glass glass --film 3 --na-uptake 1 "
                            "-o sealed.extxyz"),
    Step("quench its film", "quench sealed.extxyz -p {p} --melt-ps 0.3 --rate-K-per-ps 5000 --anneal-ps 0.3 "
                            "--settle-ps 0.5 --timestep-fs 2 -o sealed"),
    Step("the film beside the literature", "order sealed --glass"),
    Step("dynamics of it", "md sealed -p {p} -T 1400 --time-ps 1 --equilibration-ps 0.2 --thermostat-time-fs 100 "
                           "--frame-interval-fs 20 -o sealed-run"),
    Step("by region", "analyze sealed-run --by region --along z -o sealed-profile.png", "sealed-profile.png"),
    Step("sodium on glass", "build contact --on glass glass --max-strain 0.06 -o on-glass.extxyz"),
    Step("sodium on the sealed one", "build contact --on sealed sealed --max-strain 0.06 -o on-sealed.extxyz"),
    Step("sodium on NZSP", "build contact --metal Na --on nzsp --max-strain 0.04 --thickness 7 --metal-thickness 7 "
                           "-o contact.extxyz"),
    Step("relax it", "relax contact.extxyz -p {p} --max-steps 60 -o relaxed-contact.extxyz"),
    Step("work of adhesion", "interface adhesion relaxed-contact.extxyz -p {p} --fmax 0.1 --max-steps 60"),
    Step("hot dynamics", "md relaxed-contact.extxyz -p {p} -T 600 --time-ps 1 --equilibration-ps 0.2 "
                         "--frame-interval-fs 20 -o contact-run"),
    Step("what formed", "order contact-run --contact -o depth.png", "depth.png"),
    Step("contact by region", "analyze contact-run --by region --along z -o profile.png", "profile.png"),
    Step("another phase", "build phase ZrO2 -o zro2.extxyz"),
    Step("X-ray lines", "xrd zro2.extxyz --compare-paper -o xrd.png", "xrd.png"),
    Step("Nyquist plot", "impedance --grain-sigma 9.1e-4 --boundary-sigma 2e-6 --grain-size-um 1 --boundary-nm 1.6 "
                         "-o nyquist.png", "nyquist.png"),
    Step("crystal", "build nzsp --order ordered -o crystal.extxyz"),
    Step("relax cell and atoms", "relax crystal.extxyz -p {p} --cell-too --fmax 0.02 --dtype float64 "
                                 "-o relaxed.extxyz"),
    Step("phonons", "phonon relaxed.extxyz -p {p} --supercell 1 1 1 -o phonons", "phonons/bands.png"),
    Step("hop", "hop relaxed.extxyz -p {p} --from mid --to Na2 --vacancy --images 3 --fmax 0.1 --vibrating-a 3 -o hop",
         "hop/barrier.png"),
    Step("reactivity", "reactivity --pair NZSP ZBO -p {p} --fmax 0.1 -o reactivity", "reactivity/reactivity.png"),
)


def main() -> int:
    """Run what is not done yet; print the table."""
    parser = argparse.ArgumentParser(description="Every command for interfaces on small cells; what took how long.")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/walk"))
    parser.add_argument("--potential", default="atomflow-nzsp-zbo")
    parser.add_argument("--only", action="append", help="steps whose name or command contains this (repeat)")
    parser.add_argument("--again", action="store_true", help="run them even if they were done")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    done = read(options.out, options.potential)
    for step in chosen(options.only):
        if options.again or done.get(step.name, {}).get("rc") != 0:
            done[step.name] = walk(step, options.out, options.potential)
            kept = {"potential": options.potential, "steps": done}
            (options.out / "times.json").write_text(json.dumps(kept, indent=1))
            print(f"{done[step.name]['wall_s']:7.1f} s  {step.name}", file=sys.stderr, flush=True)
            if done[step.name]["rc"] != 0:
                print(f"{step.name} failed; its words are in {log(step, options.out)}", file=sys.stderr)
                return 1
    text = table(done, options.potential)
    (options.out / "table.md").write_text(text)
    print(text)
    return 0


def chosen(only: list[str] | None) -> list[Step]:
    """The steps asked for, in their order."""
    return [step for step in STEPS if not only or any(word in f"{step.name} {step.words}" for word in only)]


def read(folder: Path, potential: str) -> dict[str, dict[str, float]]:
    """What was done before with this potential."""
    path = folder / "times.json"
    if not path.is_file():
        return {}
    data = json.loads(path.read_text())
    if data["potential"] != potential:
        sys.exit(f"{folder} was walked with {data['potential']}; name another folder (-o)")
    return data["steps"]


def walk(step: Step, folder: Path, potential: str) -> dict[str, float]:
    """Run one command on one thread: exit code, seconds on the clock and of the processor."""
    command = [str(Path(sys.executable).with_name("atomflow")), *step.words.format(p=potential).split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    remove(step, folder)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with log(step, folder).open("w") as words:
        rc = subprocess.run(command, cwd=folder, env=environment, stdout=words, stderr=subprocess.STDOUT).returncode
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rc": rc, "wall_s": round(wall, 1), "cpu_s": round(used, 1)}


def remove(step: Step, folder: Path) -> None:
    """Take away what an earlier or interrupted step left."""
    if "-o" in (words := step.words.split()):
        place = folder / words[words.index("-o") + 1]
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


def log(step: Step, folder: Path) -> Path:
    """Where what the command says is kept."""
    return folder / f"{step.name.replace(' ', '-').replace(',', '')}.txt"


def table(done: dict[str, dict[str, float]], potential: str) -> str:
    """A markdown table of the steps that were done, and their sum."""
    rows = [(step, done[step.name]) for step in STEPS if step.name in done]
    lines = ["| | command | s | of which computing | figure |", "|---|---|---|---|---|"]
    lines += [f"| {step.name} | `atomflow {step.words.format(p='NAME')}` | {times['wall_s']:.0f} "
              f"| {times['cpu_s']:.0f} | {step.figure} |" for step, times in rows]
    wall, cpu = (sum(times[key] for _, times in rows) / 60 for key in ("wall_s", "cpu_s"))
    return "\n".join([*lines, f"\nAltogether {wall:.1f} min, {cpu:.1f} min of computing, with {potential}.\n"])


if __name__ == "__main__":
    sys.exit(main())
