# The control experiment on a small scale, from nothing to resistances and a report; some 15 minutes on an idle core.
#   sh workflows/control/quickstart.sh [FOLDER]      # the same command goes on after a stop
# What the numbers can and cannot say is in docs/impedance.md.
set -e
OUT=${1:-runs/control-quickstart}
atomflow campaign run "$(dirname "$0")/quickstart.yaml" -o "$OUT"
atomflow analyze "$OUT" | tee "$OUT/analyze.txt"
atomflow analyze "$OUT" --by region | tee "$OUT/regions.txt"
atomflow compare "$OUT" | tee "$OUT/compare.txt"
atomflow impedance --from "$OUT" -T 1400 --relative-density 0.74 -o "$OUT/impedance.png" | tee "$OUT/impedance.txt"
atomflow report "$OUT"
