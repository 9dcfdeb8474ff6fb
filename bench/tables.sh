#!/bin/sh
# bench/tables.sh [BUILD]: makes src/tune/kernel_reports.txt (what GPU vendors' compilers report) and, by the model that reads it, the tuning tables in
# configs/tuning anew, building BUILD (build) between. Needs what tests/vendors/gate.sh --install installs, and ptxas. After a change of kernels, of the
# candidates of `idm tune`, of the model or its devices; then run tests/vendors/gate.sh, which compiles what the tables choose. Only tables
# are kept with which `idm plan --for GPU` predicts less time than with --set device.tuning=none.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
tests/vendors/gate.sh --reports src/tune/kernel_reports.txt "$build/tests/list_kernels"
cmake --build "$build" --target choose_tables
"$build/tests/choose_tables" configs/tuning
# of the tables' own choices, too
cmake "$build" >/dev/null
cmake --build "$build"
