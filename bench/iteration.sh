#!/bin/bash
# bench/iteration.sh BUILD_DIR [SIDE [MODE...]]: a training iteration of the published network, batch 1 of SIDE x SIDE (128), float32, in
# every recompute mode, as a multiple of the forward pass of `idm eval` in the same minutes, with the device memory counted outside the
# program (tests/buffer_counter.c). Exit status 1 above 3.8 (none), 5.0 (blocks) or 6.0 (invert) forward passes. Wants a quiet machine.
set -eu
. "$(dirname "$0")/common.sh"
build=$(realpath "$1") side=${2:-128}
config=$(realpath "$(dirname "$0")/../configs/published-10.ini")
modes=("${@:3}")
[ ${#modes[@]} -gt 0 ] || modes=(none blocks invert)
mkdir "$folder/pictures"
for i in 1 2 3; do picture "$side" "$folder/pictures/$i.bmp"; done

forward() { # the fastest of the pictures after the first, in seconds
    "$build/idm" eval -q "$folder/pictures" -c "$config" --json |
        tr '{' '\n' | sed -nE 's/.*"seconds":[[:space:]]*([0-9.]+).*/\1/p' | tail -n 2 | sort -n | head -n 1
}
iteration() { # MODE: the faster of the two after the first
    IDM_BUFFER_COUNT=$folder/trace LD_PRELOAD=$build/tests/libbuffer_counter.so "$build/idm" train -q -c "$config" --set train.init=random \
        --set "data.train=$folder/pictures" --set data.validation= --set "data.patch_size=$side" --set train.batch_size=1 \
        --set train.epochs=1 --set train.iterations_per_epoch=3 --set train.log_every=1 --set "train.out=$folder/$1" \
        --set "memory.recompute=$1" >/dev/null
    sed -nE 's/.*"seconds":([0-9.]+).*/\1/p' "$folder/$1/log.jsonl" |
        awk 'NR > 1 && (least == "" || $1 - before < least) { least = $1 - before } { before = $1 } END { print least }'
}

failed=0
for mode in "${modes[@]}"; do
    before=$(forward)
    seconds=$(iteration "$mode")
    after=$(forward)
    peak=$(awk '{ peak = $3 } END { printf "%.3f", peak / 1073741824 }' "$folder/trace")
    rm -rf "${folder:?}/$mode"
    awk -v mode="$mode" -v s="$seconds" -v a="$before" -v b="$after" -v peak="$peak" '
        BEGIN {
            forward = a < b ? a : b
            most = mode == "none" ? 3.8 : mode == "blocks" ? 5 : 6
            printf "%-7s %7.1f s an iteration, forward pass %.1f and %.1f s: ratio %.2f of at most %.1f; peak %s GiB\n", mode, s, a, b, s / forward, most, peak
            exit !(s / forward <= most)
        }' || failed=1
done
exit $failed
