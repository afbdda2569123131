"""atomflow: from a crystal to an Arrhenius line, held against the publication.

Importing this package costs milliseconds: no torch, no pymatgen, no side effects. Import the room you need:

    from atomflow.build import nzsp          # cells
    from atomflow import potentials, md      # forces and dynamics (torch)
    from atomflow import transport           # diffusivities (no torch)
"""

from atomflow.version import __version__

__all__ = ["__version__"]
