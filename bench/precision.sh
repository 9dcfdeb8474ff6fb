#!/bin/sh
# bench/precision.sh BUILD_DIR PICTURES: 200 steps of the smoke network in float32, half and bf16, on the same crops: the mean loss of the
# last 50 steps. Exit status 1 when 16 bits end more than 3 % away from float32. Training amplifies any rounding: how far float32 ends from
# itself with a learning rate that is 0.01 % larger is printed beside them.
set -eu
. "$(dirname "$0")/common.sh"
idm=$1/idm smoke=$(dirname "$0")/../configs/smoke.ini pictures=$2
# end NAME PRECISION LEARNING_RATE: NAME, mean loss, steps skipped
end() {
    "$idm" train -q -c "$smoke" --set "data.train=$pictures" --set "train.out=$folder/$1" --set train.epochs=4 --set train.milestones=2,3 \
        --set train.log_every=1 --set train.precision="$2" --set train.learning_rate="$3" >/dev/null
    tail -n 50 "$folder/$1/log.jsonl" | sed -nE 's/.*"loss":([0-9.]+).*"skipped":([0-9]+).*/\1 \2/p' |
        awk -v name="$1" '{ sum += $1; skipped = $2 } END { print name, sum / NR, skipped }'
}
{
    end fp32 fp32 1e-3
    end half half 1e-3
    end bf16 bf16 1e-3
    end fp32_faster fp32 1.0001e-3
} | awk '
    NR == 1 { whole = $2 }
    {
        printf "%s: loss %.5f, %+.2f %%, %d steps skipped\n", $1, $2, 100 * ($2 / whole - 1), $3
        if (NR <= 3 && ($2 > 1.03 * whole || $2 < 0.97 * whole)) failed = 1
    }
    END { exit failed || NR != 4 }'
