#!/bin/sh
# tests/vendors/gate.sh [--install] [--table FILE.md | --reports FILE.txt] [LIST_KERNELS [--only TEXT]...]: compiles all kernels of the gpu and generic tables for NVIDIA, AMD and
# Intel GPUs and SPIR-V with the vendors' compilers, as far as they are installed (--install: by apt first, Debian 12). See gate.py.
# LIST_KERNELS: the program of that name in the build folder's tests/; without it the gate only tests itself on planted defects.
# --table: also writes the table as Markdown (bench/VENDORS.md is made so). --only: those kernels whose vendor, source, name and options have TEXT, or all of several TEXTs.
# --reports: instead of checking, writes what the model of GPUs needs of the products' kernels (src/tune/kernel_reports.txt is made so; reports.py).
# Prints a table, the failures, and `N passed, N failed`; exit status 1 on any failure.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

if [ "${1:-}" = --install ]; then
    shift
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y --no-install-recommends clang-19 lld-19 libclc-15 rocm-device-libs \
        intel-opencl-icd llvm-spirv-15 spirv-tools pocl-opencl-icd mesa-opencl-icd oclgrind python3
fi

table=
if [ "${1:-}" = --table ]; then
    table=$2
    shift 2
fi
reports=
if [ "${1:-}" = --reports ]; then
    reports=$2
    shift 2
fi
[ $# -gt 0 ] || exec python3 "$here/gate.py"
kernels=$(mktemp -d)
trap 'rm -rf "$kernels"' EXIT
list_kernels=$1
shift
"$list_kernels" "$kernels" ${reports:+--launches}
if [ "$reports" ]; then
    python3 "$here/reports.py" "$kernels" "$reports"
    exit
fi
python3 "$here/gate.py" "$kernels" ${table:+--table "$table"} "$@"
