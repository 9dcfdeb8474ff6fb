#!/bin/sh
# bench/gradients.sh BUILD_DIR GOLDEN_DIR REFERENCE_DIR WEIGHTS_DIR [NAME...]: output and gradients of `idm verify` (math = exact) of goldens, in
# every recompute mode and every table of variants (MODES, TABLES: cpu, gpu, generic, and emulate, the cpu table with the emulated matrix
# unit), and in 16 bits (PRECISIONS, fp32): errors of the output, the whole gradient, its median and its worst tensor.
# WEIGHTS_DIR/NAME.safetensors is made where it is not there (python3 with numpy and torch). full takes minutes a row. Exit status 1 when an
# error is above its bound.
set -eu
build=$1 goldens=$2 reference=$3 weights=$4 failed=0
shift 4
[ $# -gt 0 ] || set -- tiny wide padded sharp small_v full
# row NAME TABLE MODE PRECISION
row() {
    case $2 in
    emulate) table=matrix=emulate ;;
    *) table=variants=$2 ;;
    esac
    # a status of 4 is judged here, by the bounds above
    "$build/idm" verify -q "$goldens/$1.safetensors" --weights "$weights/$1.safetensors" --json --set "device.$table" \
        --set "memory.recompute=$3" --set "train.precision=$4" --tolerance 1 --gradient-tolerance 100 | tr -d ' \t\n' |
        sed -E 's/.*"output_error":([^,}]*).*"whole":([^,]*),"median":([^,]*),"worst":([^,]*),.*/\1 \2 \3 \4/' |
        awk -v name="$1" -v table="$2" -v mode="$3" -v precision="$4" -v out=$out -v whole=$whole -v median=$median -v worst=$most '
            {
                pass = NF == 4 && $1 <= out && $2 <= whole && $3 <= median && $4 <= worst
                printf "%-8s %-8s %-7s %-4s out %.1e whole %.1e median %.1e worst %.1e %s\n", name, table, mode, precision, $1, $2, $3, $4, pass ? "" : "ABOVE"
            }
            END { exit !(NR > 0 && pass) }' || failed=1
}
# Of 16 bits no bound is on the worst tensor: the smallest ones are below the rounding of what they are summed from.
bounds() { # NAME MODE PRECISION
    out=2e-6 whole=5e-6 median=2e-6 most=3e-4
    [ "$2" != invert ] || most=2e-3
    case $1 in
    sharp)
        out=4e-6 whole=1e-4 median=2e-5 most=3e-3 ;;
    small_v) median=5e-6 ;;
    full) out=4e-6 ;;
    esac
    case $3 in
    half) out=2e-3 whole=2e-3 median=2e-3 most=1e3 ;;
    bf16) out=1.5e-2 whole=3e-2 median=3e-2 most=1e3 ;;
    esac
    # its gradients amplify rounding eight times as much as tiny's
    case $1.$3 in
    sharp.half) whole=1e-2 median=1e-2 ;;
    sharp.bf16) whole=1e-1 median=1e-1 ;;
    esac
}
for golden in "$@"; do
    case $golden in
    tiny) seed=3 ;;
    wide) seed=4 ;;
    padded) seed=5 ;;
    sharp) seed=6 ;;
    small_v) seed=7 ;;
    full) seed=1 ;;
    *) echo "no golden $golden" && exit 2 ;;
    esac
    [ -f "$weights/$golden.safetensors" ] ||
        python3 "$reference/synthetic_weights.py" "$seed" "$weights/$golden.safetensors" --like "$goldens/$golden.safetensors"
    for precision in ${PRECISIONS:-fp32}; do
        for variants in ${TABLES:-cpu gpu generic}; do
            for mode in ${MODES:-none blocks invert}; do
                bounds "$golden" "$mode" "$precision"
                row "$golden" "$variants" "$mode" "$precision"
            done
        done
    done
done
exit $failed
