#!/bin/sh
# bench/submit.sh IDM [DIR] [OPTION]...: what idm does on a device, for CONTRIBUTING-GPU.md: devices, self-test of every table of variants, the tiny
# golden (float32 and half), tuning where this idm can, speed. Everything goes to the new folder DIR (idm-report), and DIR.tar.gz holds it. OPTIONs, such
# as --device 1:0, are idm's. A part that fails does not stop the others; its log is kept. SECONDS_OF_BENCH, SECONDS_OF_TUNE: how long these take (120, 300).
# Exit status 1 when any part failed, 2 for wrong usage.
set -u
usage() {
    echo "usage: bench/submit.sh IDM [DIR] [OPTION]..." >&2
    exit 2
}
[ $# -ge 1 ] || usage
idm=$1 data=$(cd "$(dirname "$0")/../tests/data" && pwd) failed=0 out=idm-report
shift
case "${1:-}" in
"" | -*) ;;
*)
    out=$1
    shift
    ;;
esac
"$idm" --version >/dev/null || usage
mkdir "$out" || exit 2

# part NAME COMMAND...: its stdout to NAME.txt, the rest to NAME.log, a line to summary.txt
part() {
    name=$1
    shift
    begun=$(date +%s)
    if "$@" >"$out/$name.txt" 2>"$out/$name.log"; then state=ok; else state="FAILED, exit status $?" failed=1; fi
    printf '%-20s %5d s  %s\n' "$name" $(($(date +%s) - begun)) "$state" | tee -a "$out/summary.txt"
    [ "$state" = ok ] || tail -n 3 "$out/$name.log" >&2
}

{
    "$idm" --version
    uname -srm
    date -u +%Y-%m-%d
} >"$out/summary.txt"
part devices "$idm" devices --json
for variants in gpu generic; do part "selftest-$variants" "$idm" selftest --set "device.variants=$variants" "$@"; done
for precision in fp32 half; do
    tolerances=
    [ $precision = fp32 ] || tolerances="--tolerance 1e-2 --gradient-tolerance 0.1"
    # shellcheck disable=SC2086
    part "verify-$precision" "$idm" verify "$data/golden_tiny.safetensors" --weights "$data/idm_tiny.pkl" --set model.heads=4 --set model.groups=8 \
        --set sensing.block_size=16 --set "train.precision=$precision" $tolerances "$@"
done
if "$idm" help tune >/dev/null 2>&1; then
    part tune "$idm" tune --training --seconds "${SECONDS_OF_TUNE:-300}" --out "$out/tuning" "$@"
    [ ! -s "$out/tuning" ] || set -- --set "device.tuning=$out/tuning" "$@"
fi
part bench "$idm" bench --seconds "${SECONDS_OF_BENCH:-120}" --out "$out/bench.json" "$@"

tar -czf "$out.tar.gz" -C "$(dirname "$out")" "$(basename "$out")" && echo "$out.tar.gz: see bench/CONTRIBUTING-GPU.md"
exit $failed
