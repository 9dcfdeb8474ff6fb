#!/bin/sh
# bench/start.sh BUILD_DIR PUBLISHED_WEIGHTS TINY_WEIGHTS: seconds of the command `idm reconstruct` on 64 x 64 pixels, for every table of
# variants: with empty caches (all kernels are built and checked), again, and again with the tiny network. Exit status 1 when building the
# published network's kernels takes more than 60 s with the cpu table, or the second start of the tiny network more than 2 s.
set -eu
. "$(dirname "$0")/common.sh"
picture 64 "$folder/picture.bmp"
export IDM_CACHE_DIR="$folder/idm" POCL_CACHE_DIR="$folder/pocl"
run() { # WEIGHTS VARIANTS: leaves the seconds in $took
    begin=$(seconds)
    "$idm" reconstruct -q "$folder/picture.bmp" --out "$folder/out" --weights "$1" --set "device.variants=$2" >/dev/null
    took=$(since "$begin")
}
idm=$1/idm failed=0
printf '%-8s %12s %12s %12s %12s\n' table 'cold, s' 'again, s' 'tiny, s' 'tiny again, s'
for table in ${TABLES:-cpu gpu generic}; do
    rm -rf "$IDM_CACHE_DIR" "$POCL_CACHE_DIR"
    run "$2" "$table" && cold=$took
    run "$2" "$table" && warm=$took
    run "$3" "$table" && tiny=$took
    run "$3" "$table" && again=$took
    printf '%-8s %12s %12s %12s %12s\n' "$table" "$cold" "$warm" "$tiny" "$again"
    [ "$table" != cpu ] || awk -v a="$cold" -v b="$warm" -v c="$again" 'BEGIN { exit !(a - b > 60 || c > 2) }' || continue
    [ "$table" != cpu ] || failed=1
done
exit $failed
