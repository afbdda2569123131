"""How much the sections of a card measure: a YAML file given with ``--settings``, every value with a default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from atomflow.config import StrictModel

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
#: A run that can be lengthened is begun as one of this length, and stands, with a checkpoint, where it is long enough.
LONGEST_PS = 1000.0


class CardSettings(StrictModel):
    """What is measured, and for how long; times in ps of dynamics, temperatures in K.

    Attributes:
        crystals: from ``structures/``, for lattice parameters and reaction energies; those with unknown elements are
            left out. fmax_eV_per_A, relax_steps: of every relaxation.
        eos_crystals, eos_strain, eos_points: volumes (1 ± eos_strain)³ of each.
        phonon_displacement_A: of one atom at a time, in ordered C2/c NZSP.
        hop_seeds: random 40-atom decorations of NZSP, in each of which one Na goes to the nearest empty site.
            hop_images: between the ends. hop_teacher_bands: whether the teacher relaxes and climbs a band of its own,
            hundreds of evaluations; without it, only its energies along the student's path.
        boundary_searches: whether boundaries are built and searched too; without, the published cells only, a minute.
        order_*: dynamics of student and teacher beside one another, ordered 40-atom cell.
        diffusion_*: dynamics of the student (diffusion_ps, diffusion_seeds) and of CHGNet (diffusion_chgnet_ps,
            diffusion_chgnet_seeds) from one published cell. Runs that are there go on when more is asked;
            diffusion_minutes: CHGNet for no longer than this a run and call (0: only what is there).
        drift_*: constant energy. stability_*: runs that must not fall apart, NZSP and, where boron is known, ZBO, all
            seeds of a system in one batch; stability_minutes: for no longer than this a system and call (the next call
            goes on; 0: only say how far they came); to the end when not given.
        speed_atoms: cells of about so many atoms are timed.
    """

    crystals: tuple[str, ...] = (
        "ZnO_P63mc",
        "ZrO2_baddeleyite_P21c",
        "SiO2_quartz",
        "ZrSiO4_zircon_I41amd",
        "Na2O_Fm-3m",
        "Na2SiO3_Cmc21",
        "B2O3-I_P3121",
        "NaBO2_R-3c",
        "BPO4_I-4",
        "Zn4B6O13_I-43m",
        "Na3PO4_alpha",
        "NaZr2P3O12_R-3c_Hong1976",
    )
    fmax_eV_per_A: Positive = 0.02
    relax_steps: Count = 150
    eos_crystals: tuple[str, ...] = ("NZSP_C2c_ordered_DFT_Xie2023", "ZnO_P63mc", "Zn4B6O13_I-43m")
    eos_strain: float = Field(0.02, gt=0, lt=0.1)
    eos_points: int = Field(7, ge=5)
    phonon_displacement_A: Positive = 0.01
    hop_seeds: tuple[int, ...] = (1, 2, 3)
    hop_images: Count = 3
    hop_steps: Count = 60
    hop_teacher_bands: bool = True
    boundary_searches: bool = True
    order_temperature_K: Positive = 1000.0
    order_student_ps: Positive = 4.0
    order_teacher_ps: Positive = 0.4
    diffusion_temperatures_K: tuple[Positive, ...] = (1500.0, 1000.0)
    diffusion_atoms: Literal[40, 80] = 80
    diffusion_ps: float = Field(40.0, gt=0, le=LONGEST_PS)
    diffusion_seeds: Count = 1
    diffusion_chgnet_ps: float = Field(10.0, ge=0, le=LONGEST_PS)
    diffusion_chgnet_seeds: Count = 1
    diffusion_minutes: float | None = Field(None, ge=0)
    drift_temperature_K: Positive = 1000.0
    drift_ps: Positive = 2.0
    stability_seeds: Count = 2
    stability_nzsp_K: Positive = 1500.0
    stability_nzsp_ps: Positive = 20.0
    stability_zbo_K: Positive = 2500.0
    stability_zbo_ps: Positive = 5.0
    stability_minutes: float | None = Field(None, ge=0)
    speed_atoms: tuple[Count, ...] = (80, 640)
