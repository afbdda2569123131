# The phonon study in seconds: the primitive cell without repeats, hardly relaxed. Its imaginary modes are its own fault.
#   bash workflows/phonon/smoke.sh
set -e
mkdir -p runs/phonon-smoke
atomflow build nzsp --order ordered --primitive -o runs/phonon-smoke/cell.extxyz
atomflow relax runs/phonon-smoke/cell.extxyz -p atomflow-nzsp-0 --cell-too --fmax 0.04 --device cpu -o runs/phonon-smoke/relaxed.extxyz
atomflow phonon runs/phonon-smoke/relaxed.extxyz -p atomflow-nzsp-0 --supercell 1 1 1 --device cpu -o runs/phonon-smoke/phonons
atomflow hop runs/phonon-smoke/relaxed.extxyz -p atomflow-nzsp-0 --from mid --to Na2 --vacancy --images 1 --fmax 0.5 --max-steps 40 --vibrating-a 0 --dtype float32 --device cpu -o runs/phonon-smoke/hop
