# What sodium, NZSP and zinc borate form with one another, and by how much: all competing crystals relaxed with one
# potential, each once; killed, the same command goes on. Minutes on a CPU.
#   bash workflows/reactivity/study.sh
set -e
atomflow reactivity -p atomflow-nzsp-zbo --fmax 0.02 --max-steps 400 -o runs/reactivity
# With the energy of a quenched glass in place of the crystals nearest to it, and another potential beside:
#   atomflow reactivity -p atomflow-nzsp-zbo -p chgnet --zbo runs/glass/prepare/glass-1 -o runs/reactivity-glass
