# The reactivity study in seconds: three elements, hardly relaxed. It says nothing about any reaction.
#   bash workflows/reactivity/smoke.sh
set -e
atomflow reactivity --pair Na2O SiO2 -p atomflow-nzsp-0 --fmax 0.5 --max-steps 30 --device cpu -o runs/reactivity-smoke
