#!/bin/bash
# tests/run_implementations.sh IDM: verifies goldens on OpenCL implementations other than the default one.
#  - PoCL: tiny, wide and sharp with variants = gpu and generic, and gemm = clblast; rusticl on llvmpipe: these of tiny, the rest with variants = gpu
#  - oclgrind: the self-test of a small network, and a whole one on 8 x 8 pixels, with variants = gpu and generic; its log of races,
#    out-of-bounds accesses and reads of what was never written must be empty
# Weights other than tests/data/idm_tiny.pkl come from ../shared by Debian's python3-torch; without them wide and sharp are left out.
# Closing line `N passed, N failed`.
set -u
idm=$(realpath "$1")
cd "$(dirname "$0")" || exit 1
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $name: $(grep -a 'output error' "$work/log" | head -n 1)"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
        tail -n 5 "$work/log"
    fi
}

goldens="" shared=../../shared
"$idm" convert data/idm_tiny.pkl "$work/tiny.safetensors" -q --set model.heads=4 --set model.groups=8 --set sensing.block_size=16
if [ -d $shared ]; then
    goldens=tiny
    /usr/bin/python3 $shared/reference/synthetic_weights.py 4 "$work/wide.safetensors" --like $shared/golden/wide.safetensors &&
        goldens="$goldens wide"
    /usr/bin/python3 $shared/reference/synthetic_weights.py 6 "$work/sharp.safetensors" --like $shared/golden/sharp.safetensors &&
        goldens="$goldens sharp"
else
    echo "skipped: goldens, no ../shared beside the project"
fi
tolerance() { [ "$1" = sharp ] && echo 4e-6 || echo 2e-6; }

for platform in pocl rusticl; do
    icd=/etc/OpenCL/vendors/$platform.icd
    if [ ! -e $icd ]; then
        echo "skipped: $platform is not installed"
        continue
    fi
    for golden in $goldens; do
        choices="variants=gpu variants=generic gemm=clblast"
        # llvmpipe does about 1 GFLOP/s
        [ $platform = rusticl ] && [ $golden != tiny ] && choices=variants=gpu
        for choice in $choices; do
            check "$platform $golden $choice" env RUSTICL_ENABLE=llvmpipe OCL_ICD_VENDORS=$icd timeout 600 "$idm" verify \
                $shared/golden/$golden.safetensors --weights "$work/$golden.safetensors" --set device.$choice \
                --tolerance "$(tolerance $golden)" --output-only
        done
    done
done

# oclgrind's log stays empty, with oclgrind_uploads.c to keep its shadow memory right. An interpreter: a few MFLOP/s.
small="--set device.gemm=own --device Oclgrind"
no_findings() { # COMMAND...
    rm -f "$work/findings"
    IDM_CL_OPTIONS=-cl-opt-disable IDM_CACHE_DIR="$work/oclgrind-cache" timeout 1200 oclgrind --data-races --uninitialized --check-api \
        --global-mem-size 1073741824 --log "$work/findings" \
        sh -c 'LD_PRELOAD=$0:$LD_PRELOAD exec "$@"' "$(dirname "$idm")/tests/liboclgrind_uploads.so" "$@" || return 1
    [ ! -s "$work/findings" ] || {
        head -n 20 "$work/findings"
        return 1
    }
}
if command -v oclgrind >/dev/null; then
    [ -d $shared ] && /usr/bin/python3 $shared/reference/synthetic_weights.py 8 "$work/small.safetensors" --like data/golden_small.safetensors
    for variants in gpu generic; do
        check "oclgrind selftest $variants" no_findings "$idm" selftest $small --set device.variants=$variants --set model.channels=16,32 \
            --set model.heads=2 --set model.groups=4 --set model.steps=1 --set sensing.block_size=4
        [ -e "$work/small.safetensors" ] && check "oclgrind small $variants" no_findings "$idm" verify data/golden_small.safetensors $small \
            --weights "$work/small.safetensors" --set device.variants=$variants --tolerance 2e-6
    done
else
    echo "skipped: oclgrind is not installed"
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
