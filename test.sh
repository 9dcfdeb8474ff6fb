#!/bin/bash
# The whole test suite: ./test.sh [--vendors]
#
# Installs what is missing by apt (Debian 12), builds Release and AddressSanitizer + UndefinedBehaviorSanitizer, runs every test.
# --vendors also installs GPU vendors' compilers and other OpenCL implementations, and runs those tests; without it the compile gate runs
# for the compilers that are there. The closing line is `N passed, N failed`; the exit status is 0 when nothing failed.
# IDM_TEST_DEVICE=D chooses the device of the tests (default: the fastest).
set -u
cd "$(dirname "$0")" || exit 1
vendors=no
case "${1:-}" in
--vendors) vendors=yes ;;
"") ;;
*)
    echo "usage: ./test.sh [--vendors]" >&2
    exit 2
    ;;
esac
. tests/packages.sh
install_packages $build_packages libcmocka-dev clang-format
[ -d ../shared ] && install_packages python3-minimal python3-numpy python3-torch libopenblas0-pthread
[ $vendors = yes ] && install_packages clang llvm libclang-rt-dev clang-tidy

root=$PWD jobs=$(nproc) passed=0 failed=0 skipped=0 failures=""
started=$SECONDS
log=build/test-logs
mkdir -p "$log"
# kernels built once for all test programs, and nothing outside the build folder is touched
export POCL_CACHE_DIR="$root/build/cache/pocl" IDM_CACHE_DIR="$root/build/cache/idm"
mkdir -p "$POCL_CACHE_DIR" "$IDM_CACHE_DIR"

fail() {
    failed=$((failed + $2))
    failures="$failures  $1\n"
}
# one NAME COMMAND...: a check that passes or fails as a whole
one() {
    local name=$1 begun=$SECONDS
    shift
    if "$@" >"$log/$name.log" 2>&1; then
        passed=$((passed + 1))
        printf '%-34s ok      %4d s\n' "$name" $((SECONDS - begun))
    else
        fail "$name ($log/$name.log)" 1
        printf '%-34s FAILED  %4d s\n' "$name" $((SECONDS - begun))
        tail -n 20 "$log/$name.log"
    fi
}
# measured NAME COMMAND...: runs a program that prints cmocka's totals, or `N passed, N failed`, and leaves them in NAME.totals
measured() {
    local name=$1 begun=$SECONDS status good bad skip
    shift
    rm -f "$log/$name.totals"
    "$@" >"$log/$name.log" 2>&1
    status=$?
    good=$(sed -nE 's/^\[  PASSED  \] ([0-9]+) test.*/\1/p; s/^([0-9]+) passed, [0-9]+ failed.*/\1/p' "$log/$name.log" | tail -n 1)
    bad=$(sed -nE 's/^\[  FAILED  \] ([0-9]+) test.*/\1/p; s/^[0-9]+ passed, ([0-9]+) failed.*/\1/p' "$log/$name.log" | tail -n 1)
    skip=$(sed -nE 's/^\[  SKIPPED \] ([0-9]+) test.*/\1/p' "$log/$name.log" | tail -n 1)
    [ $status -ne 0 ] && [ "${bad:-0}" = 0 ] && bad=1 # it crashed, or never came to its totals
    [ $status -eq 0 ] && [ -z "$good" ] && bad=1
    echo "${good:-0} ${bad:-0} ${skip:-0}" >"$log/$name.totals"
    printf '%-34s %s passed, %s failed, %s skipped %4d s\n' "$name" "${good:-0}" "${bad:-0}" "${skip:-0}" $((SECONDS - begun))
    [ "${bad:-0}" = 0 ] || grep -vE '^\[( RUN|       OK)' "$log/$name.log" | tail -n 20
}
# count NAME: adds up what `measured` left
count() {
    local good=0 bad=1 skip=0
    read -r good bad skip <"$log/$1.totals"
    passed=$((passed + good)) skipped=$((skipped + skip))
    [ "$bad" = 0 ] || fail "$1 ($log/$1.log)" "$bad"
}
counted() {
    measured "$@"
    count "$1"
}
build() { cmake -S . -B "$1" "${@:2}" && cmake --build "$1" -j "$jobs"; }
# every test program of a build folder that is not in the words of $skip_tests, as many at once as there are cores: much of their time is
# one thread's
run_tests() {
    local folder=$1 label=$2 program name names=""
    export IDM_BINARY="$root/$folder/idm" IDM_BUFFER_COUNTER="$root/$folder/tests/libbuffer_counter.so" \
        IDM_WRITE_FAILER="$root/$folder/tests/libwrite_failer.so"
    for program in "$folder"/tests/test_*; do
        name=$(basename "$program")
        [ -f "$program" ] && [ -x "$program" ] || continue
        case " ${skip_tests:-} " in *" $name "*) continue ;; esac
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
        measured "$label-$name" env -C tests timeout 900 "$root/$program" &
        names="$names $label-$name"
    done
    wait
    for name in $names; do count "$name"; done
}

echo "== Release"
one build-release build build -DCMAKE_BUILD_TYPE=Release -DIDM_TESTS=ON
if [ $failed -gt 0 ]; then
    echo "$passed passed, $failed failed"
    exit 1
fi
run_tests build release

echo "== Address and undefined-behaviour sanitizers"
one build-sanitize build build-sanitize -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 -DIDM_SANITIZE=ON
# Leaks are the OpenCL implementations' own, and of these only PoCL is sure to load beside the sanitizer. Left out: what loads the installed
# library, which would need the sanitizer preloaded, whole networks, and where the time is all in kernels.
vendors_before=${OCL_ICD_VENDORS-/etc/OpenCL/vendors}
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
[ -e /etc/OpenCL/vendors/pocl.icd ] && export OCL_ICD_VENDORS=/etc/OpenCL/vendors/pocl.icd
skip_tests="test_attention_tokens test_embed test_goldens test_gradients test_launches test_limits test_memory_budget test_reference test_small_model test_specialisation" run_tests build-sanitize sanitize
unset ASAN_OPTIONS UBSAN_OPTIONS
export OCL_ICD_VENDORS=$vendors_before

if command -v clang >/dev/null; then
    echo "== Fuzzing, 5 s each"
    one build-fuzz build build-fuzz -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang -DIDM_SANITIZE=ON -DIDM_FUZZ=ON -DIDM_TESTS=ON
    for target in build-fuzz/tests/fuzz_*; do
        [ -f "$target" ] && [ -x "$target" ] || continue
        name=$(basename "$target")
        scratch=$(mktemp -d)
        corpus=tests/fuzz/corpus/${name#fuzz_}
        [ -d "$corpus" ] || corpus=
        one "$name" "$target" -max_total_time=5 -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$log/" "$scratch" $corpus
        rm -rf "$scratch"
    done
else
    echo "== Fuzzing: skipped, no clang"
fi

echo "== Style"
one clang-format sh -c 'git ls-files "*.c" "*.h" | grep -v "^tests/vendors/planted" | xargs clang-format --dry-run --Werror'

if command -v clang-tidy >/dev/null; then
    one clang-tidy sh -c "ls src/*/*.c | xargs -P $jobs -n 8 clang-tidy -p build-sanitize --extra-arg=-Wno-unknown-warning-option --quiet"
fi

echo "== Compile gate: GPU vendors' compilers"
if [ $vendors = yes ]; then counted vendors-gate tests/vendors/gate.sh --install build/tests/list_kernels
else counted vendors-gate tests/vendors/gate.sh build/tests/list_kernels; fi

if [ $vendors = yes ]; then
    echo "== Other OpenCL implementations"
    counted implementations tests/run_implementations.sh build/idm
fi

[ -n "$failures" ] && printf 'failed:\n%b' "$failures"
[ $skipped -gt 0 ] && echo "$skipped tests were skipped for want of ../shared or a device (see $log)"
echo "$((SECONDS - started)) s"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
