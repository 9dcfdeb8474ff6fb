#!/bin/sh
# bench/implementations.sh BUILD_DIR GOLDEN_DIR REFERENCE_DIR WEIGHTS_DIR: tiny and sharp, forward and gradients, in float32, half and bf16
# (gradients.sh), on every OpenCL implementation for CPUs that is here: PoCL, also through the emulated matrix unit; rusticl on llvmpipe; Intel's
# runtime, if INTEL names the folder of its libraries (pip install intel-opencl-rt intel-cmplr-lib-rt; its own libOpenCL.so must not lie
# there). Takes some ten minutes. Exit status 1 when an error is above its bound.
set -u
here=$(dirname "$0") failed=0
run() { # NAME TABLES ENVIRONMENT...
    echo "$1"
    tables=$2
    shift 2
    env "$@" TABLES="$tables" MODES=none PRECISIONS="fp32 half bf16" "$here/gradients.sh" $arguments tiny sharp || failed=1
}
arguments="$1 $2 $3 $4"
vendors=/etc/OpenCL/vendors
[ ! -e $vendors/pocl.icd ] || run pocl "cpu gpu generic emulate" OCL_ICD_VENDORS=$vendors/pocl.icd
[ ! -e $vendors/rusticl.icd ] || run rusticl gpu OCL_ICD_VENDORS=$vendors/rusticl.icd RUSTICL_ENABLE=llvmpipe
if [ "${INTEL:-}" ]; then
    icd=$(mktemp --suffix=.icd)
    trap 'rm -f "$icd"' EXIT
    echo "$INTEL/libintelocl.so" >"$icd"
    run intel "cpu gpu" OCL_ICD_VENDORS="$icd" LD_LIBRARY_PATH="$INTEL"
fi
exit $failed
