#!/bin/sh
# bench/gradients.sh BUILD_DIR GOLDEN_DIR REFERENCE_DIR WEIGHTS_DIR [NAME...]: gradients of `idm verify` (math = exact) of goldens, in every
# recompute mode and every table of variants (MODES, TABLES): whole vector, median and worst tensor. WEIGHTS_DIR/NAME.safetensors is made
# where it is not there (python3 with numpy and torch). full takes minutes a row. Exit status 1 when an error is above its bound.
set -eu
build=$1 goldens=$2 reference=$3 weights=$4 failed=0
shift 4
[ $# -gt 0 ] || set -- tiny wide padded sharp small_v full
for golden in "$@"; do
    whole=5e-6 median=2e-6 worst=3e-4 inverted=2e-3
    case $golden in
    tiny) seed=3 ;;
    wide) seed=4 ;;
    padded) seed=5 ;;
    sharp) seed=6 whole=1e-4 median=2e-5 worst=3e-3 inverted=3e-3 ;;
    small_v) seed=7 median=5e-6 ;;
    full) seed=1 ;;
    *) echo "no golden $golden" && exit 2 ;;
    esac
    [ -f "$weights/$golden.safetensors" ] ||
        python3 "$reference/synthetic_weights.py" "$seed" "$weights/$golden.safetensors" --like "$goldens/$golden.safetensors"
    for variants in ${TABLES:-cpu gpu generic}; do
        for mode in ${MODES:-none blocks invert}; do
            most=$worst
            [ "$mode" != invert ] || most=$inverted
            # a status of 4 is judged here, by the bounds above
            "$build/idm" verify -q "$goldens/$golden.safetensors" --weights "$weights/$golden.safetensors" --json \
                --set "device.variants=$variants" --set "memory.recompute=$mode" --tolerance 1 --gradient-tolerance 1 |
                tr -d ' \t\n' | sed -E 's/.*"whole":([^,]*),"median":([^,]*),"worst":([^,]*),.*/\1 \2 \3/' |
                awk -v name="$golden" -v table="$variants" -v mode="$mode" -v whole=$whole -v median=$median -v worst=$most '
                    {
                        pass = NF == 3 && $1 <= whole && $2 <= median && $3 <= worst
                        printf "%-8s %-8s %-7s whole %.1e median %.1e worst %.1e %s\n", name, table, mode, $1, $2, $3, pass ? "" : "ABOVE"
                    }
                    END { exit !pass }' || failed=1
        done
    done
done
exit $failed
