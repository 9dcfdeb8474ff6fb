#!/bin/sh
# bench/memory.sh BUILD_DIR WEIGHTS SIDE BUDGET_GIB [SECONDS]: device memory of `idm reconstruct` on a SIDE x SIDE picture with that
# memory.budget, weights included, counted outside the program (tests/buffer_counter.c). With SECONDS the program is stopped then: all its
# memory is there before the first launch, as the time of the last change shows. Exit status 1 when the peak is not below the budget.
set -eu
. "$(dirname "$0")/common.sh"
picture "$3" "$folder/picture.bmp"
start=$(awk '{ print $1 }' /proc/uptime)
status=0
IDM_BUFFER_COUNT=$folder/trace LD_PRELOAD=$1/tests/libbuffer_counter.so ${5:+timeout "$5"} "$1/idm" reconstruct "$folder/picture.bmp" \
    --out "$folder/out" --weights "$2" --yes --set "memory.budget=${4}GiB" || status=$?
[ "$status" = 0 ] || [ -n "${5:-}" ] || exit "$status"
awk -v start="$start" -v now="$(awk '{ print $1 }' /proc/uptime)" -v budget="$4" -v side="$3" '
    { if ($2 > held) { grown = $1 } held = $2; peak = $3 }
    END {
        gib = 1073741824
        printf "%d x %d: peak %.0f bytes = %.4f GiB of %.2f, memory last grew after %.0f s of %.0f s\n", side, side, peak, peak / gib, budget, grown - start, now - start
        exit !(peak > 0 && peak < budget * gib)
    }' "$folder/trace"
