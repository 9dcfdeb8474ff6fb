#!/bin/bash
# bench/growth.sh BUILD_DIR [SIDE...]: time of a forward pass of the published network, float32, against the operations that the model
# asks for, at pictures of SIDE x SIDE (64 128 256 512): a straight line t = a + b FLOPs (least squares of relative residuals) and how far
# each size is from it. Exit status 1 above 25 %. 512 x 512 takes minutes on a CPU. Wants a quiet machine.
set -eu
. "$(dirname "$0")/common.sh"
build=$(realpath "$1")
config=$(realpath "$(dirname "$0")/../configs/published-10.ini")
sides=("${@:2}")
[ ${#sides[@]} -gt 0 ] || sides=(64 128 256 512)
for side in "${sides[@]}"; do
    flops=$("$build/idm" plan -c "$config" --set "data.patch_size=$side" --set train.batch_size=1 --json |
        sed -nE 's/.*"forward_flops":[[:space:]]*([0-9.e+]+).*/\1/p')
    mkdir "$folder/$side"
    picture "$side" "$folder/$side/1.bmp"
    [ "$side" -gt 128 ] || cp "$folder/$side/1.bmp" "$folder/$side/2.bmp" # a small picture's first run would count the kernels' build
    "$build/idm" eval -q "$folder/$side" -c "$config" --json | tr '{' '\n' |
        sed -nE 's/.*"seconds":[[:space:]]*([0-9.]+).*/\1/p' | tail -n 1 | sed "s/^/$side $flops /" | tee -a "$folder/times"
done
awk '
    { side[NR] = $1; x[NR] = $2; y[NR] = $3; w = 1 / ($3 * $3); s += w; sx += w * $2; sy += w * $3; sxx += w * $2 * $2; sxy += w * $2 * $3 }
    END {
        b = (s * sxy - sx * sy) / (s * sxx - sx * sx)
        a = (sy - b * sx) / s
        for (i = 1; i <= NR; i++) {
            off = y[i] / (a + b * x[i]) - 1
            printf "%4d x %-4d %7.2f TFLOP %8.2f s %6.0f GFLOP/s %+6.1f %% of the line\n", side[i], side[i], x[i] / 1e12, y[i], x[i] / y[i] / 1e9, 100 * off
            if (off > 0.25 || off < -0.25) bad = 1
        }
        printf "line: %.2f s + FLOPs / %.0f GFLOP/s\n", a, 1 / b / 1e9
        exit bad
    }' "$folder/times"
