#!/bin/bash
# Shows what idm does, on a bare Debian 12: installs what is missing by apt (sudo where not root), builds into build/, then lists the OpenCL
# devices, checks every kernel on the one idm would use, and measures and reconstructs a picture.
set -eu
cd "$(dirname "$0")"
. tests/packages.sh
install_packages $build_packages
step() { printf '\n== %s\n' "$*"; }

step "Building"
cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DIDM_TESTS=OFF >build-demo.log 2>&1 && cmake --build build -j "$(nproc)" >>build-demo.log 2>&1 || {
    tail -n 20 build-demo.log
    exit 1
}
rm -f build-demo.log
export POCL_CACHE_DIR="$PWD/build/cache/pocl" IDM_CACHE_DIR="$PWD/build/cache/idm"
mkdir -p "$POCL_CACHE_DIR" "$IDM_CACHE_DIR"
ls -l build/idm

step "idm devices"
build/idm devices

step "idm selftest    (every kernel variant for the published network, against double precision; kernels are built on the first run)"
build/idm selftest

step "idm measure tests/data/picture.png --out out-demo    (the camera: one measurement for every ten pixels)"
build/idm measure tests/data/picture.png --out out-demo

step "idm reconstruct out-demo/picture.safetensors --out out-demo    (the published network of 115 million parameters)"
build/idm reconstruct out-demo/picture.safetensors --out out-demo --yes

cat <<END

out-demo/picture.png is what a network with random weights makes of the measurements. It is poor: idm ships no trained weights yet.
With the authors' released weights, net_params_50.pkl, this is the same with --weights net_params_50.pkl.
END
