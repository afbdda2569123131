"""The only conversion factors of the project.

Inside atomflow lengths are Å, energies eV, masses amu, times fs, temperatures K. A name carries its unit
(``timestep_fs``), and a value is converted once, at the edge, with a factor from this file.
Values are CODATA 2018.
"""

BOLTZMANN_EV_PER_K = 8.617333262e-5
BOLTZMANN_J_PER_K = 1.380649e-23
ELEMENTARY_CHARGE_C = 1.602176634e-19
AVOGADRO_PER_MOL = 6.02214076e23
FARADAY_C_PER_MOL = ELEMENTARY_CHARGE_C * AVOGADRO_PER_MOL
AMU_KG = 1.66053906660e-27

#: (eV/Å)/amu → Å/fs²
ACCELERATION_A_PER_FS2 = ELEMENTARY_CHARGE_C / AMU_KG * 1e-10
#: amu·(Å/fs)² → eV
KINETIC_EV = 1.0 / ACCELERATION_A_PER_FS2

EV_PER_A3_IN_GPA = 160.21766208
EV_PER_A2_IN_J_PER_M2 = 16.021766208
CM2_PER_S_PER_A2_PER_PS = 1e-4
CM2_PER_S_PER_A2_PER_FS = 1e-1
A3_IN_CM3 = 1e-24
FS_PER_PS = 1000.0
#: amu/Å³ → g/cm³
G_PER_CM3_PER_AMU_PER_A3 = 1.66053906660
KELVIN_AT_0_CELSIUS = 273.15
EV_IN_KJ_PER_MOL = 96.48533212
CM_PER_MM = 0.1
SIEMENS_PER_MILLISIEMENS = 1e-3
SECONDS_PER_HOUR = 3600.0
