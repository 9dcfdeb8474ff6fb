#!/bin/sh
# bench/goldens.sh BUILD_DIR GOLDEN_DIR REFERENCE_DIR WEIGHTS_DIR [NAME...]: `idm verify` (math = exact) of every golden; tiny, wide and sharp
# in every table of variants. WEIGHTS_DIR/NAME.safetensors is made where it is not there (python3 with numpy and torch); large uses full's.
# full and large take minutes. Exit status 1 when an error is above its tolerance.
set -eu
build=$1 goldens=$2 reference=$3 weights=$4 failed=0
shift 4
[ $# -gt 0 ] || set -- tiny wide padded sharp full large
check() { # NAME TOLERANCE WEIGHTS SETTINGS...
    name=$1 tolerance=$2 path=$weights/$3.safetensors
    shift 3
    options=
    for setting in "$@"; do options="$options --set device.$setting"; done
    error=$("$build/idm" verify "$goldens/$name.safetensors" --weights "$path" --json --tolerance "$tolerance" $options | tr -d ' \t\n' |
        sed 's/.*"output_error":\([^,}]*\).*"pass":\([a-z]*\).*/\1 \2/')
    printf '%-8s %-28s %s (%s)\n' "$name" "$*" "$error" "$tolerance"
    case $error in *true) ;; *) failed=1 ;; esac
}
make() { # NAME SEED
    [ -f "$weights/$1.safetensors" ] ||
        python3 "$reference/synthetic_weights.py" "$2" "$weights/$1.safetensors" --like "$goldens/$1.safetensors"
}
for golden in "$@"; do
    case $golden in
    tiny) seed=3 tolerance=2e-6 file=tiny ;;
    wide) seed=4 tolerance=2e-6 file=wide ;;
    padded) seed=5 tolerance=2e-6 file=padded ;;
    sharp) seed=6 tolerance=4e-6 file=sharp ;;
    full) seed=1 tolerance=4e-6 file=full ;;
    large) seed=1 tolerance=1e-5 file=full ;;
    *) echo "no golden $golden" && exit 2 ;;
    esac
    make "$file" "$seed"
    check "$golden" "$tolerance" "$file" variants=cpu
    case $golden in tiny | wide | sharp)
        check "$golden" "$tolerance" "$file" variants=gpu gemm=own
        check "$golden" "$tolerance" "$file" variants=gpu gemm=clblast
        check "$golden" "$tolerance" "$file" variants=generic
        ;;
    esac
done
exit $failed
