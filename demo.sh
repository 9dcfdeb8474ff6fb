#!/bin/bash
# Shows what idm does, on a bare Debian 12: installs what is missing by apt (sudo where not root), builds into build/, then lists the OpenCL
# devices, checks every kernel on the one idm would use, and measures and reconstructs three photographs with the small trained network.
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

step "idm selftest -c configs/small.ini    (every kernel variant for this network, against double precision; the first run builds the kernels)"
build/idm selftest -c configs/small.ini

step "idm measure examples/coffee.png -c configs/small.ini --out out-demo/measured    (the camera: one measurement for every ten pixels)"
build/idm measure examples/coffee.png -c configs/small.ini --out out-demo/measured

step "idm reconstruct out-demo/measured -c configs/small.ini --out out-demo/from-measurements    (from these numbers alone)"
build/idm reconstruct out-demo/measured -c configs/small.ini --out out-demo/from-measurements

step "idm eval examples -c configs/small.ini --out out-demo --panel    (measured and reconstructed, in colour; PSNR and SSIM of the luminance)"
build/idm eval examples -c configs/small.ini --out out-demo --panel

step "idm report out-demo"
build/idm report out-demo

cat <<END

out-demo/NAME_panel.png: the photograph; what the measurements say of each pixel by themselves (A^T y); the reconstruction; its errors.
out-demo/report.html has all of it on one page.
The network is the small one that ships with idm (configs/small.ini, bench/SMALL_MODEL.md), trained in a few hours on part of two CPU cores.
With the authors' released weights, net_params_50.pkl, the published network does the same with --weights net_params_50.pkl.
END
