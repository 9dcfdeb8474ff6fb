#!/bin/sh
# bench/launches.sh BUILD_DIR WEIGHTS [SIDE [MAX_LAUNCH_MS [VARIANTS]]]: the longest launches (device time) of a reconstruction of SIDE x SIDE
# pixels (128) with that device.max_launch_ms (5). Exit status 1 when one took more than 4 times that. Wants a quiet machine.
set -eu
. "$(dirname "$0")/common.sh"
side=${3:-128} limit=${4:-5} variants=${5:-auto}
picture "$side" "$folder/picture.bmp"
"$1/idm" reconstruct "$folder/picture.bmp" --out "$folder/out" --weights "$2" --yes --profile --set "device.max_launch_ms=$limit" \
    --set "device.variants=$variants" --set device.gemm=own >"$folder/result" 2>"$folder/profile" || { cat "$folder/profile"; exit 1; }
cat "$folder/result"
grep 'ms  ' "$folder/profile" | sort -k6,6nr | head -8
awk -v limit="$limit" '$6 ~ /ms$/ { ms = $6 + 0; if (ms > worst) worst = ms }
    END { printf "longest launch %.1f ms of %.1f\n", worst, 4 * limit; exit !(worst > 0 && worst <= 4 * limit) }' "$folder/profile"
