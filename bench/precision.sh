#!/bin/sh
# bench/precision.sh BUILD_DIR PICTURES: 200 steps of the smoke network in float32, half and bf16, on the same crops: the mean loss of the
# last 50 steps. Exit status 1 when 16 bits end more than 3 % away from float32.
set -eu
. "$(dirname "$0")/common.sh"
smoke=$(dirname "$0")/../configs/smoke.ini
for precision in fp32 half bf16; do
    "$1/idm" train -q -c "$smoke" --set "data.train=$2" --set "train.out=$folder/$precision" --set train.epochs=4 \
        --set train.precision=$precision >/dev/null
    tail -n 5 "$folder/$precision/log.jsonl" | sed -nE 's/.*"loss":([0-9.]+).*"skipped":([0-9]+).*/\1 \2/p' |
        awk -v name=$precision '{ sum += $1; skipped = $2 } END { print name, sum / NR, skipped }'
done | awk '
    NR == 1 { whole = $2 }
    {
        printf "%s: loss %.5f, %+.2f %%, %d steps skipped\n", $1, $2, 100 * ($2 / whole - 1), $3
        if ($2 > 1.03 * whole || $2 < 0.97 * whole) failed = 1
    }
    END { exit failed || NR != 3 }'
