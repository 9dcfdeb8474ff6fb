# Sourced by demo.sh and test.sh: installs Debian packages that are missing, with sudo where not root.
build_packages="build-essential cmake pkg-config git ocl-icd-opencl-dev pocl-opencl-icd libclblast-dev libpng-dev libinih-dev libtiff-dev
    libjpeg62-turbo-dev libcjson-dev libzip-dev libxxhash-dev"

install_packages() {
    local missing="" package as_root=""
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || {
        echo "no apt here: make sure that these are installed, under your system's names: $*" >&2
        return 0
    }
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "installing$missing"
    { $as_root apt-get update -q && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -q -y --no-install-recommends $missing; } \
        >/tmp/idm-apt.log 2>&1 || {
        tail -n 20 /tmp/idm-apt.log >&2
        echo "apt-get could not install$missing" >&2
        exit 1
    }
}
