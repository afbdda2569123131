"""What a user writes of one source of configurations: the entries of ``sources`` in ``sample.yaml``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from atomflow.config import StrictModel


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] <= ends[1]:
        raise ValueError(f"the first number is the low end and the second the high one, not {ends[0]:g}, {ends[1]:g}")
    return ends


#: Low and high of a uniform draw.
Range = Annotated[tuple[float, float], AfterValidator(_rising)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
#: More than any of these oxides has at any pressure that a potential is made for.
_DENSEST_G_PER_CM3 = 10.0
Framework = Literal["monoclinic", "rhombohedral"]


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
    frameworks: tuple[Framework, ...] = ("monoclinic", "monoclinic", "rhombohedral")
    silicon: tuple[float, ...] = (0, 0.5, 1, 1.5, 2, 2, 2, 2, 2.5, 3)
    zinc_every: int = Field(12, ge=0)
    distortion: Distortion = Distortion()


class CrystalSource(StrictModel):
    """Ordered crystals: names from ``structures/``, files, or folders of files; every formula is a system."""

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
    units: dict[str, Annotated[tuple[Count, Count], AfterValidator(_rising)]]
    density_g_per_cm3: Range
    floor: Range = (0.8, 1.02)
    atoms_max: int = Field(48, ge=8)

    @model_validator(mode="after")
    def _can_be_drawn(self) -> PackingSource:
        if sum(low for low, _ in self.units.values()) < 1:
            raise ValueError("units: a packing may come out empty; let at least one unit begin at 1")
        if not 0 < self.density_g_per_cm3[0] <= self.density_g_per_cm3[1] <= _DENSEST_G_PER_CM3:
            raise ValueError(f"density_g_per_cm3 lies above 0 and up to {_DENSEST_G_PER_CM3:g} for these oxides")
        return self


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


StartSource = Annotated[NzspSource | CrystalSource | PackingSource | BuiltSource, Field(discriminator="kind")]


class GuidedSource(StrictModel):
    """What all sources share whose atoms a potential moves.

    With ``rattled`` every frame, or every ``rattled_every``-th of a system, is followed by a copy of it, strained and
    rattled so far.
    """

    potential: str
    rattled: Distortion | None = None
    rattled_every: int = Field(1, ge=1)


class DynamicsSource(GuidedSource):
    """Short molecular dynamics with a potential, started from the systems of another source.

    With ``cooled_from_K`` the first gap is run at that temperature (or at the target, if that is higher) and the
    following ones ever closer to the target: a melt that is quenched.
    """

    kind: Literal["dynamics"]
    start: StartSource
    cooled_from_K: float | None = Field(None, gt=0)
    temperatures_K: tuple[float, ...]
    gaps_steps: tuple[int, ...] = (40, 40, 40)
    timestep_fs: float = Field(2.0, gt=0)
    friction_per_fs: float = Field(0.03, gt=0)
    descent_steps: int = Field(10, ge=0)


class RelaxingSource(GuidedSource):
    """The way from a crowded cell of another source to near rest, in the steps that ``atomflow relax`` takes.

    Up to ``frames`` of it a system, the first and the last among them, at even parts of how far the energy or the
    logarithm of the largest force has fallen (``even_in``). The way ends where no force is above ``fmax_eV_per_A``, or
    after ``max_steps``; frames with a force above ``largest_force_eV_per_A`` are passed over.
    """

    kind: Literal["relaxing"]
    start: StartSource
    frames: int = Field(8, ge=2)
    even_in: Literal["energy", "force"] = "energy"
    fmax_eV_per_A: Positive = 0.3
    max_steps: int = Field(250, ge=1)
    largest_force_eV_per_A: Positive = 40.0


class Warm(StrictModel):
    """Dynamics at one of ``temperatures_K`` (in turns) before a hop is looked for; every ``look_every_fs`` it is seen
    where the ions are.
    """

    temperatures_K: tuple[Positive, ...] = (450.0, 600.0, 900.0)
    time_ps: Positive = 2.0
    timestep_fs: Positive = 2.0
    look_every_fs: Positive = 20.0


class HopsSource(GuidedSource):
    """Ways of one Na to an empty site of a random decoration of NZSP, by a nudged elastic band of the potential.

    Every system is the decoration that the hop leaves; the one that it comes to is of the same split, and neither is
    one of the card's hops, which are those of ``card_seeds``. The cell is strained by ``volume`` and ``shear`` first
    (as a :class:`Distortion`). Frames are the ``images`` of the band and its ends, which come to rest at half of
    ``fmax_eV_per_A``. Another hop is drawn where the ion comes back to where it was, and where the way has no barrier
    between its ends or one above ``barrier_max_eV``.

    With ``warm`` the decoration is brought to a temperature first. Where an ion leaves its site for good meanwhile, the
    band is stretched between what dynamics was shortly before and after, and ``images`` frames of it are given too;
    otherwise an ion is moved in the cell as dynamics left it.
    """

    kind: Literal["hops"]
    systems: int = Field(ge=1)
    family: str = "nzsp"
    frameworks: tuple[Framework, ...] = ("monoclinic", "monoclinic", "rhombohedral")
    silicon: tuple[float, ...] = (0, 0.5, 1, 1.5, 2, 2, 2, 2.5)
    zinc_every: int = Field(5, ge=0)
    longest_A: Positive = 4.3
    volume: float = Field(0.03, ge=0, lt=0.5)
    shear: float = Field(0.005, ge=0, lt=0.2)
    images: int = Field(3, ge=1)
    fmax_eV_per_A: Positive = 0.1
    max_steps: int = Field(40, ge=1)
    barrier_max_eV: Positive = 2.0
    card_seeds: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    warm: Warm | None = None

    @model_validator(mode="after")
    def _some_site_is_empty(self) -> HopsSource:
        if any(silicon >= 3 for silicon in self.silicon):
            raise ValueError("silicon: at x = 3 all Na sites of the cell are taken, and none can hop; take at most 2.5")
        return self


Source = Annotated[
    NzspSource | CrystalSource | PackingSource | BuiltSource | DynamicsSource | RelaxingSource | HopsSource,
    Field(discriminator="kind"),
]
