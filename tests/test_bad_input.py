"""What a user gets wrong: each case is one clear line on standard error, exit code 2 (or 1), and no traceback."""

import json
import urllib.request

import numpy as np
import pytest
import yaml

from atomflow.cli.main import run

CELL = """2
Lattice="5.3 0 0 0 5.3 0 0 0 5.3" Properties=species:S:1:pos:R:3 pbc="T T T"
Ar 0 0 0
Ar 2.6 2.6 2.6
"""
CAMPAIGN = """name: toy
structures: {{argon: {{file: good.extxyz}}}}
potential: {{name: lennard-jones-argon}}
relax: none
md: {{time_ps: 0.1}}
temperatures_K: [90]
seeds: 1
{more}
"""
MD = "md good.extxyz -p lennard-jones-argon -T 90 --time-ps 0.1 -o run"


def frames(*positions):
    return "".join(f'1\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 pbc="T T T"\nNa {p}\n'
                   for p in positions)


FILES = {
    "good.extxyz": CELL,
    "empty.extxyz": "",
    "flat.extxyz": CELL.replace('5.3"', '0"'),
    "left.extxyz": CELL.replace('5.3"', '-5.3"'),
    "nan.extxyz": CELL.replace("2.6 2.6 2.6", "nan 2.6 2.6"),
    "onto.extxyz": CELL.replace("2.6 2.6 2.6", "0.01 0 0"),
    "element.extxyz": CELL.replace("Ar 0", "Qq 0"),
    "short.extxyz": CELL.replace("2\n", "3\n", 1),
    "molecule.xyz": "1\n\nNa 0 0 0\n",
    "polonium.extxyz": CELL.replace("Ar", "Po"),
    "noise.cif": "data_x\n_cell_length_a abc\n",
    "partial.cif": "",
    "binary.model": "\x00\x01 not a model",
    "right.yaml": CAMPAIGN.format(more=""),
    "broken.yaml": "name: [unclosed\n",
    "list.yaml": "- a\n- b\n",
    "key.yaml": CAMPAIGN.format(more="temperature_K: [300]"),
    "twice.yaml": CAMPAIGN.format(more="seeds: 2"),
    "seeds.yaml": CAMPAIGN.format(more="").replace("seeds: 1", "seeds: -1"),
    "cold.yaml": CAMPAIGN.format(more="").replace("[90]", "[-90]"),
    "mdkey.yaml": CAMPAIGN.format(more="").replace("time_ps: 0.1", "time_ps: 0.1, timestep: 2"),
    "nocell.yaml": CAMPAIGN.format(more="").replace("good.extxyz", "gone.extxyz"),
    "nopot.yaml": CAMPAIGN.format(more="").replace("lennard-jones-argon", "chgnte"),
    "walk.extxyz": frames("0 0 0", "0.5 0 0", "1 0 0"),
    "count.extxyz": frames("0 0 0", "0.5 0 0") + CELL,
    "hole.extxyz": frames("0 0 0", "nan 0 0", "1 0 0"),
    "one.extxyz": frames("0 0 0"),
}

CASES = {
    # cells
    "relax gone.extxyz -p chgnet -o r.extxyz": "gone.extxyz",
    "relax empty.extxyz -p lennard-jones-argon -o r.extxyz": "empty.extxyz",
    "relax flat.extxyz -p lennard-jones-argon -o r.extxyz": "no volume",
    "relax left.extxyz -p lennard-jones-argon -o r.extxyz": "left-handed",
    "relax nan.extxyz -p lennard-jones-argon -o r.extxyz": "finite",
    "relax element.extxyz -p lennard-jones-argon -o r.extxyz": "element.extxyz",
    "relax short.extxyz -p lennard-jones-argon -o r.extxyz": "short.extxyz",
    "relax molecule.xyz -p lennard-jones-argon -o r.extxyz": "molecule.xyz",
    "relax noise.cif -p lennard-jones-argon -o r.extxyz": "noise.cif",
    "relax good.extxyz -p lennard-jones-argon -o gone/r.extxyz": "gone",
    "relax good.extxyz -p lennard-jones-argon --fmax nan -o r.extxyz": "fmax",
    "relax good.extxyz -p lennard-jones-argon -o r.foo": "r.foo",
    "md onto.extxyz -p lennard-jones-argon -T 90 --time-ps 0.1 -o run": "atom",
    "build nzsp --si 5 -o c.extxyz": "5",
    "build nzsp --order orderd -o c.extxyz": "ordered",
    "build nzsp --supercell 0 1 1 -o c.extxyz": "supercell",
    "build nzsp --supercell 2x1 -o c.extxyz": "takes 3 whole numbers with spaces between, not '2x1'",
    "build nzsp --order random --zn=0,25 -o c.extxyz": "--zn takes a number, not '0,25'; leave units out",
    "build nzsp --order random --zn 3 -o c.extxyz": "zn",
    "build nzsp -o c.pdbx": "c.pdbx",
    # molecular dynamics settings
    f"{MD} --ensemble nvx": "nvx",
    MD.replace("-T 90", "-T -5"): "temperature",
    MD.replace("--time-ps 0.1", "--time-ps 0"): "time_ps",
    f"{MD} --timestep-fs nan": "timestep",
    f"{MD} --frame-interval-fs 3": "frame_interval_fs",
    f"{MD} --timestep-fs 0.002": "'timestep_fs': input should be greater than or equal to 0.01",
    f"{MD} --ensemble npt --pressure-GPa 101325": "'pressure_GPa': input should be less than or equal to 1000",
    "relax good.extxyz -p lennard-jones-argon --fmax 20 -o r.extxyz": "20 eV/Å is no minimum; 0.02 is usual",
    "interface adhesion good.extxyz -p lennard-jones-argon": "adhesion is of two parts, and this cell names none",
    "md good.extxyz -p lennard-jones-argon --time-ps 0.1 -o run": "temperature",
    "md --resume nowhere": "nowhere",
    "quench good.extxyz -p lennard-jones-argon -o q --replicas 0": "replicas",
    "hop good.extxyz --from a --to b -o h --barrier-error -1": "--barrier-error",
    "interface compare-dft -o s --thickness -3": "--thickness",
    "order good.extxyz --pairs Ar-Ar -o x.foo": "x.foo",
    # models
    "potential card lennard-jones-argon --boundary-energies gone.json -o x.html": "gone.json",
    MD.replace("lennard-jones-argon", "chgnt"): "chgnet",
    MD.replace("lennard-jones-argon", "binary.model"): "binary.model",
    MD.replace("lennard-jones-argon", "gone.model"): "gone.model",
    MD.replace("lennard-jones-argon", "mace-mpa-0-medium"): "mace-mpa-0-medium",
    "potential check chgnet polonium.extxyz": "Po",
    f"{MD} --dtype float16": "float16",
    f"{MD} --device tpu": "tpu",
    # campaigns
    "campaign plan gone.yaml": "gone.yaml",
    "campaign plan broken.yaml": "broken.yaml",
    "campaign plan list.yaml": "list.yaml",
    "campaign plan key.yaml": "temperatures_K",
    "campaign plan twice.yaml": "twice",
    "campaign plan seeds.yaml": "seeds",
    "campaign plan cold.yaml": "temperature",
    "campaign plan mdkey.yaml": "timestep_fs",
    "campaign plan nocell.yaml": "gone.extxyz",
    "campaign plan nopot.yaml": "chgnet",
    "campaign status nowhere": "nowhere",
    "campaign run right.yaml -o runfolder": "runfolder holds a run (run.json); give another folder",
    "campaign extend campaign --target-ea-error 0.05": "is that of Na, and there is none in argon",
    "md good.extxyz -p lennard-jones-argon -T 90 --time-ps 0.1 -o campaign": "holds a campaign (campaign.json)",
    "campaign status good.extxyz": "not a campaign folder",
    # trajectories
    "analyze nowhere": "nowhere",
    "analyze walk.extxyz --temperature 900": "frame-interval-fs",
    "analyze walk.extxyz --frame-interval-fs 20": "temperature",
    "analyze walk.extxyz --species Li --temperature 900 --frame-interval-fs 20": "Li",
    "analyze count.extxyz --temperature 900 --frame-interval-fs 20": "count.extxyz",
    "analyze hole.extxyz --temperature 900 --frame-interval-fs 20": "hole.extxyz",
    "analyze one.extxyz --temperature 900 --frame-interval-fs 20": "frame",
    "analyze good.extxyz": "holds one frame: a structure, not a trajectory",
    "analyze walk.extxyz --along x": "--along goes with --by region",
    "analyze": "RUN",
    "relax folder -p lennard-jones-argon -o r.extxyz": "folder is a folder; name the structure in it",
    "md runfolder -p lennard-jones-argon -T 90 --time-ps 0.1 -o new": "export runfolder --format extxyz -o FILE",
    "export nowhere --format extxyz": "nowhere",
    "report nowhere": "nowhere",
    "compare nowhere": "nowhere",
    "paper show fc.Ea9": "fc.Ea",
}


@pytest.fixture
def there(tmp_path, monkeypatch):
    for name in ("folder", "runfolder"):
        (tmp_path / name).mkdir()
    (tmp_path / "runfolder" / "run.json").write_text("{}")
    (tmp_path / "campaign").mkdir()
    (tmp_path / "campaign" / "campaign.json").write_text(json.dumps({
        "format": "atomflow-campaign", "format_version": 1, "name": "toy", "tasks": [],
        "structures": {"argon": {"formula": "Ar2"}}, "config": yaml.safe_load(FILES["right.yaml"])}))
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATOMFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "_opener", None)  # urlopen keeps the proxies of its first call
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    return tmp_path


@pytest.mark.parametrize("command", CASES)
def test_one_clear_line(command, there, capsys):
    code = run(command.split())
    captured = capsys.readouterr()
    complaint = [line for line in captured.err.splitlines() if line.startswith("atomflow: ")]
    assert code in (1, 2)
    assert captured.out == ""
    assert len(complaint) == 1
    assert captured.err.splitlines()[-1] == complaint[0]
    assert CASES[command].lower() in complaint[0].lower()
    assert "internal error" not in complaint[0]
    assert "Traceback" not in captured.err
    assert not (there / "r.extxyz").exists()


def test_there_are_enough_of_them():
    assert len(CASES) >= 30
    assert np.unique(list(CASES)).size == len(CASES)
