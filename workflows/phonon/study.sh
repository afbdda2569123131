# Phonons of ordered NZSP in a supercell of at least 10 Å, and the barriers of its shortest Na hops with their harmonic
# rates, to be laid beside D of molecular dynamics (workflows/bulk). An hour on a CPU.
#   bash workflows/phonon/study.sh
set -e
mkdir -p runs/phonon
atomflow build nzsp --order ordered -o runs/phonon/cell.extxyz
atomflow relax runs/phonon/cell.extxyz -p atomflow-nzsp-0 --cell-too --fmax 0.001 --max-steps 2000 --dtype float64 -o runs/phonon/relaxed.extxyz
atomflow phonon runs/phonon/relaxed.extxyz -p atomflow-nzsp-0 -o runs/phonon/phonons
# The shortest steps between occupied sites; only with the last of them they lead through the crystal in all directions.
atomflow hop runs/phonon/relaxed.extxyz -p atomflow-nzsp-0 --from mid --to mid --vacancy -o runs/phonon/mid-mid
atomflow hop runs/phonon/relaxed.extxyz -p atomflow-nzsp-0 --from mid --to Na2 --vacancy -o runs/phonon/mid-Na2
atomflow hop runs/phonon/relaxed.extxyz -p atomflow-nzsp-0 --from mid --to Na2 --vacancy --length 4.47 -o runs/phonon/mid-Na2-long
atomflow hop runs/phonon/relaxed.extxyz -p atomflow-nzsp-0 --from mid --to mid --vacancy --length 5.27 --images 9 --fmax 0.02 -T 300 -T 600 -T 900 --also runs/phonon/mid-mid --also runs/phonon/mid-Na2 --also runs/phonon/mid-Na2-long -o runs/phonon/mid-mid-long
# Beside the dynamics of a finished bulk study: the last line once more, with --beside runs/bulk (the hop is read back)
