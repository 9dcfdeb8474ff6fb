#!/bin/bash
# tests/run_implementations.sh IDM: verifies goldens on OpenCL implementations other than the default one.
#  - oclgrind: the self-test of a small network, and a whole one on 8 x 8 pixels, with variants = gpu and generic; its log of races,
#    out-of-bounds accesses and reads of what was never written must be empty
#  - PoCL, and rusticl on llvmpipe: tiny, wide and sharp with variants = gpu and generic, and gemm = clblast
# Weights other than tests/data/idm_tiny.pkl come from ../shared by Debian's python3-torch; without them wide and sharp are left out.
# Closing line `N passed, N failed`.
set -u
idm=$(realpath "$1")
cd "$(dirname "$0")" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
begun=0 passed=0 failed=0

# In the background, as many at once as there are cores.
check() { # NAME COMMAND...
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    begun=$((begun + 1))
    run_check $begun "$@" &
}
run_check() { # NUMBER NAME COMMAND...
    local log=$work/$1.log name=$2 result=$work/$1.result
    shift 2
    if "$@" >"$log" 2>&1; then
        echo "ok      $name: $(grep -a 'output error' "$log" | head -n 1)" >"$result"
    else
        { echo "FAILED  $name" && tail -n 5 "$log"; } >"$result"
    fi
}

goldens="" shared=../../shared
"$idm" convert data/idm_tiny.pkl "$work/tiny.safetensors" -q --set model.heads=4 --set model.groups=8 --set sensing.block_size=16
make_weights() { # SEED NAME GOLDEN
    /usr/bin/python3 $shared/reference/synthetic_weights.py "$1" "$work/$2.safetensors" --like "$3"
}
if [ -d $shared ]; then
    goldens=tiny
    make_weights 4 wide $shared/golden/wide.safetensors && goldens="$goldens wide"
    make_weights 6 sharp $shared/golden/sharp.safetensors && goldens="$goldens sharp"
    make_weights 8 small data/golden_small.safetensors
else
    echo "skipped: goldens, no ../shared beside the project"
fi
tolerance() { [ "$1" = sharp ] && echo 4e-6 || echo 2e-6; }

# With oclgrind_uploads.c, which keeps oclgrind's shadow memory right. An interpreter: some thousand operations a second.
no_findings() { # COMMAND...
    local findings=$work/$BASHPID.findings
    : >"$findings"
    IDM_CL_OPTIONS=-cl-opt-disable IDM_CACHE_DIR="$findings.cache" timeout 1200 oclgrind --data-races --uninitialized --check-api \
        --global-mem-size 1073741824 --log "$findings" \
        sh -c 'LD_PRELOAD=$0:$LD_PRELOAD exec "$@"' "$(dirname "$idm")/tests/liboclgrind_uploads.so" "$@" --device Oclgrind \
        --set device.gemm=own || return 1
    [ ! -s "$findings" ] || {
        head -n 20 "$findings"
        return 1
    }
}
if command -v oclgrind >/dev/null; then # first: they take longest
    for variants in generic gpu; do
        check "oclgrind selftest $variants" no_findings "$idm" selftest --set device.variants=$variants --set model.channels=8,16 \
            --set model.heads=1 --set model.groups=2 --set model.steps=1 --set sensing.block_size=4
    done
    for variants in generic gpu; do
        [ -e "$work/small.safetensors" ] && check "oclgrind small $variants" no_findings "$idm" verify data/golden_small.safetensors \
            --weights "$work/small.safetensors" --set device.variants=$variants --tolerance 2e-6
    done
else
    echo "skipped: oclgrind is not installed"
fi

for platform in pocl rusticl; do
    icd=/etc/OpenCL/vendors/$platform.icd
    if [ ! -e $icd ]; then
        echo "skipped: $platform is not installed"
        continue
    fi
    for golden in $goldens; do
        for choice in variants=gpu variants=generic gemm=clblast; do
            check "$platform $golden $choice" env RUSTICL_ENABLE=llvmpipe OCL_ICD_VENDORS=$icd timeout 600 "$idm" verify \
                $shared/golden/$golden.safetensors --weights "$work/$golden.safetensors" --set device.$choice \
                --tolerance "$(tolerance $golden)" --output-only
        done
    done
done

wait
for ((i = 1; i <= begun; i++)); do
    cat "$work/$i.result"
    if grep -q '^ok ' "$work/$i.result"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
