"""The shape of the package, read from its import statements: no circles, and rooms that only look back."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Rooms from left to right, as data flows: each may import those before it, at the top of a file or inside a function.
#: A name that stands alone in ``atomflow/`` is a room of one file. ``runs`` is what md writes and analysis reads, and
#: so comes before both.
ROOMS = (
    "version", "errors", "units", "plain", "estimate", "blocks", "config", "cell", "crystals",
    "build", "potentials", "paper", "runs", "transport", "order", "md", "lattice", "quench", "interfaces",
    "campaign", "reactivity", "distill", "impedance", "compare", "report", "cli",
)  # fmt: skip

#: What these rooms must work without, whatever they import of ours in turn.
WITHOUT = {
    "transport": ("torch", "pymatgen"), "paper": ("torch", "pymatgen"), "compare": ("torch", "pymatgen"),
    "report": ("torch", "pymatgen"), "impedance": ("torch", "pymatgen"), "runs": ("torch", "pymatgen"),
    "order": ("torch",), "build": ("torch",), "md": ("pymatgen",), "potentials": ("pymatgen",),
}  # fmt: skip

#: Conversions that a caller who has pymatgen or torch asks for; nothing calls them by itself.
ON_REQUEST = {("atomflow.cell", "pymatgen"), ("atomflow.crystals", "pymatgen")}


@cache
def files() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((ROOT / "atomflow").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, own: set[str]) -> list[tuple[str, bool]]:
    """What a source file imports, and whether at its top level; a module of ``own`` by its full name.

    Imports for type checkers count as those inside functions do: they run no code, but they say who knows whom.
    """
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, "imports are absolute here"
                names = [f"{child.module}.{alias.name}" for alias in child.names]
                found.extend((name if name in own else str(child.module), top) for name in names)
            inner = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            visit(child, top and not inner and not typing)

    visit(ast.parse(source), True)
    return found


@cache
def graph() -> dict[str, list[tuple[str, bool]]]:
    own = set(files())
    return {name: imports(path.read_text(encoding="utf-8"), own) for name, path in files().items()}


def reached(starts: list[str], only_top: bool) -> set[str]:
    """Modules that run when these are imported, the packages they stand in among them."""
    seen: set[str] = set()
    todo = list(starts)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += [other for other, top in graph()[name] if other in files() and (top or not only_top)]
            todo += [name.rpartition(".")[0]] if "." in name else []
    return seen


def room(module: str) -> str | None:
    """The room of a module; the package's own ``__init__`` is in none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def test_imports_are_found_wherever_they_stand():
    source = ("import a\nfrom b import c\nif TYPE_CHECKING:\n    import d\ntry:\n    import e\nexcept ImportError:\n"
              "    pass\ndef f():\n    from b import g\n    import h.i\nclass K:\n    import j\n")
    assert imports(source, {"b.c"}) == [("a", True), ("b.c", True), ("d", False), ("e", True), ("b", False),
                                        ("h.i", False), ("j", True)]


def test_no_module_imports_itself_in_a_circle():
    """Not even through an import inside a function: what two files share stands in a third."""
    ours = {name: {other for other, _ in found if other in files() and other != name}
            for name, found in graph().items()}
    TopologicalSorter(ours).prepare()  # raises CycleError and names the circle


def test_rooms_look_back_only():
    assert {room(name) for name in files()} - {None} == set(ROOMS)
    place = {name: index for index, name in enumerate(ROOMS)}
    ahead = [f"{name} imports {other}" for name, found in graph().items() for other, _ in found
             if other in files() and room(name) and room(other) and place[room(other)] > place[room(name)]]
    assert ahead == []


@pytest.mark.parametrize(("where", "package"), [(where, each) for where, some in WITHOUT.items() for each in some])
def test_rooms_that_must_do_without(where, package):
    """No import of the package, at any level, in the room or in anything that it imports."""
    of_room = [name for name in files() if room(name) == where]
    assert of_room
    found = [f"{name} imports {other}" for name in reached(of_room, only_top=False) for other, _ in graph()[name]
             if other.split(".")[0] == package and (name, package) not in ON_REQUEST]
    assert found == []


def test_importing_the_package_imports_nothing_heavy():
    """``import atomflow`` and the command's entry load no package that takes longer than themselves."""
    heavy = {"torch", "pymatgen", "ase", "scipy", "matplotlib", "h5py", "numpy", "yaml", "pydantic"}
    found = [f"{name} imports {other}" for name in reached(["atomflow", "atomflow.cli.main"], only_top=True)
             for other, top in graph()[name] if top and other.split(".")[0] in heavy]
    assert found == []


def test_readme_names_every_room():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "atomflow").glob("*/__init__.py")}
    assert {name for name in folders if f"`atomflow/{name}/`" not in text} <= {"cli"}
