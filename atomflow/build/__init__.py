"""From facts to cells: pure functions that return a checked :class:`atomflow.cell.Cell`.

    from atomflow.build.nzsp import build_nzsp
    cell = build_nzsp(order="random", supercell=(2, 1, 1), seed=7)
"""
