"""The files a user writes: what to sample, and how to train."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from atomflow.config import StrictModel

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[tuple[float, float], "low and high of a uniform draw"]


class Distortion(StrictModel):
    """How far atoms and cell are brought out of place; every frame draws its own values from the ranges."""

    volume: float = Field(default=0.08, ge=0, lt=0.5)
    shear: float = Field(default=0.015, ge=0, lt=0.2)
    framework_A: Range = (0.02, 0.13)
    mobile_A: Range = (0.05, 0.4)


class NzspSource(StrictModel):
    """Random decorations of NZSP; every system is another decoration."""

    kind: Literal["nzsp"]
    systems: int = Field(ge=1)
    frameworks: tuple[Literal["monoclinic", "rhombohedral"], ...] = ("monoclinic", "monoclinic", "rhombohedral")
    silicon: tuple[float, ...] = (0, 0.5, 1, 1.5, 2, 2, 2, 2, 2.5, 3)
    zinc_every: int = Field(12, ge=0)
    distortion: Distortion = Distortion()


class CrystalSource(StrictModel):
    """Ordered crystals: names from ``structures/``, files, or folders of files; every system is one crystal."""

    kind: Literal["crystals"]
    crystals: tuple[str, ...]
    family: str = "oxide"
    elements: tuple[str, ...] = ("Na", "Zr", "Si", "P", "O", "Zn", "B")
    must_hold: str | None = None
    per_crystal: int = Field(2, ge=1)
    atoms: tuple[int, int] = (16, 62)
    distortion: Distortion = Distortion(volume=0.07, framework_A=(0.02, 0.12), mobile_A=(0.04, 0.2))


class PackingSource(StrictModel):
    """Random packings of whole oxide units, e.g. ``{ZnO: [3, 6], B2O3: [4, 6]}``; every system is one packing."""

    kind: Literal["packings"]
    systems: int = Field(ge=1)
    family: str
    units: dict[str, tuple[int, int]]
    density_g_per_cm3: Range
    floor: Range = (0.8, 1.02)
    atoms_max: int = Field(48, ge=8)


class BuiltSource(StrictModel):
    """Cells of ``atomflow build``; every system draws one value of each option, e.g. ``plane: [[1, 1, 0], [2, 0, 0]]``.

    ``ground`` is what a sealed boundary or a contact stands on. Frames whose drawn values of ``system_by`` (an option,
    or ``ground.plane``) agree are one system; with none, every cell is. ``held_out`` names values that are kept for the
    test.
    """

    kind: Literal["built"] = "built"
    builder: Literal["nzsp", "glass", "boundary", "sealed", "contact"]
    systems: int = Field(1, ge=1)
    family: str = "built"
    options: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    ground: BuiltSource | None = None
    system_by: tuple[str, ...] = ()
    held_out: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    atoms_max: int = Field(160, ge=8)
    distortion: Distortion | None = None

    @model_validator(mode="after")
    def _values_and_ground(self) -> BuiltSource:
        empty = [key for key, values in self.options.items() if not values]
        if empty:
            raise ValueError(f"option {empty[0]} has no values to draw from")
        if self.builder == "sealed" and (self.ground is None or self.ground.builder != "boundary"):
            raise ValueError("a sealed source needs a ground: a source with builder boundary")
        if self.ground is not None and self.builder not in ("sealed", "contact"):
            raise ValueError(f"a {self.builder} stands on nothing; leave out ground")
        return self


class DynamicsSource(StrictModel):
    """Short molecular dynamics with a potential, started from the systems of another source.

    With ``cooled_from_K`` the first gap is run at that temperature (or at the target, if that is higher) and the
    following ones ever closer to the target: a melt that is quenched.
    """

    kind: Literal["dynamics"]
    potential: str
    start: Annotated[NzspSource | CrystalSource | PackingSource | BuiltSource, Field(discriminator="kind")]
    cooled_from_K: float | None = Field(None, gt=0)
    temperatures_K: tuple[float, ...]
    gaps_steps: tuple[int, ...] = (40, 40, 40)
    timestep_fs: float = Field(2.0, gt=0)
    friction_per_fs: float = Field(0.03, gt=0)
    descent_steps: int = Field(10, ge=0)


Start = NzspSource | CrystalSource | PackingSource | BuiltSource
Source = Annotated[Start | DynamicsSource, Field(discriminator="kind")]


class SampleConfig(StrictModel):
    """``atomflow potential sample``: sources of configurations, one seed, and what is held out for the test."""

    name: str
    seed: int = 1
    held_out_fraction: Fraction = 0.12
    held_out_silicon: tuple[float, ...] = (1.5,)
    sources: tuple[Source, ...]
    keep: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _some_source(self) -> SampleConfig:
        if not self.sources:
            raise ValueError("no sources are given")
        return self


class StudentConfig(StrictModel):
    """``atomflow potential train``: the student's shape and its training, in mace-torch's terms.

    ``start_from`` is the folder of an earlier student of the same shape, whose weights and zero of energy are taken
    over: how a further round with more labels goes on. ``grow_from`` is a shipped student or a ``.mace.npz`` file with
    fewer channels, a lower ``max_ell`` or ``correlation``: the new one begins with its energies and zero of energy.
    ``message_degree`` is mace-torch's max_L: 0 sends scalars between atoms (64x0e), 1 vectors too (64x0e+64x1o), which
    brings a student nearer to its teacher and slows it down several times on a CPU, where scalars take a shorter way.
    ``committee`` trains so many members, each with a seed and a validation split of its own; how far they disagree is
    the student's doubt.
    ``repulsion`` adds the repulsion of nuclei below the distances of the training set to the trained student; training
    itself runs without it.
    """

    name: str
    labelled: tuple[str, ...]
    start_from: str | None = None
    grow_from: str | None = None
    seed: int = 1
    elements: tuple[str, ...] = ("B", "O", "Na", "Si", "P", "Zn", "Zr")
    channels: int = Field(64, ge=1)
    message_degree: int = Field(0, ge=0, le=2)
    max_ell: int = Field(2, ge=0, le=4)
    correlation: int = Field(2, ge=1, le=4)
    layers: int = Field(2, ge=1, le=4)
    cutoff_A: float = Field(5.0, gt=1)
    average_neighbours: float = Field(40.0, gt=0)
    loss: Literal["universal", "weighted", "stress"] = "universal"
    energy_weight: float = Field(1.0, ge=0)
    forces_weight: float = Field(100.0, ge=0)
    stress_weight: float = Field(1.0, ge=0)
    batch_size: int = Field(4, ge=1)
    learning_rate: float = Field(0.01, gt=0)
    learning_rate_decay: float = Field(0.94, gt=0, le=1)
    epochs: int = Field(60, ge=1)
    largest_force_eV_per_A: float = Field(25.0, gt=0)
    validation_fraction: Fraction = 0.07
    trained_for: str
    threads: int = Field(1, ge=1)
    committee: int = Field(1, ge=1, le=10)
    repulsion: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> StudentConfig:
        if self.start_from and self.grow_from:
            raise ValueError("start_from and grow_from exclude each other: the weights come from one student")
        if self.grow_from and self.message_degree:
            raise ValueError("grow_from: only students with message_degree 0 can grow")
        if self.message_degree > self.max_ell:
            raise ValueError("message_degree cannot exceed max_ell, the degree of what the messages are made of")
        return self

    @property
    def hidden_irreps(self) -> str:
        """What an atom sends, in e3nn's terms: 64x0e, or 64x0e+64x1o."""
        return "+".join(f"{self.channels}x{degree}{'eo'[degree % 2]}" for degree in range(self.message_degree + 1))
