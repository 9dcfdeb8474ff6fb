#!/bin/bash
# bench/resume.sh BUILD_DIR PICTURES [KILLS [SEED]]: trains the smoke network twice, once undisturbed and once killed (kill -9) at KILLS
# (20) random moments and resumed each time. Then a run that wants more than 1 GiB is killed half-way, and goes on where PoCL has 1 GiB
# (POCL_MEMORY_LIMIT), beside one that was left alone. Exit status 1 when a byte of the weights or of Adam's state differs.
set -eu
. "$(dirname "$0")/common.sh"
idm=$(realpath "$1")/idm pictures=$2 kills=${3:-20}
RANDOM=${4:-1}
smoke=$(dirname "$0")/../configs/smoke.ini

# begin RUN SETTING..., and resume RUN: in the background, as $pid
begin() {
    local settings=(--set "data.train=$pictures" --set "train.out=$folder/$1") setting
    for setting in "${@:2}"; do settings+=(--set "$setting"); done
    "$idm" train -q -c "$smoke" "${settings[@]}" >/dev/null &
    pid=$!
}
resume() {
    "$idm" train -q --resume "$folder/$1" >/dev/null &
    pid=$!
}
has_checkpoint() { compgen -G "$folder/$1/step_*[0-9]" >/dev/null; }
same() { # RUN RUN STEP
    local file
    for file in weights.safetensors optimizer.safetensors; do cmp "$folder/$1/step_$3/$file" "$folder/$2/step_$3/$file"; done
}

often=train.save_every=5it
started=$(seconds)
begin whole $often
wait $pid
took=$(since "$started")
echo "undisturbed: 300 steps in $took s"
killed=0
while [ $killed -lt "$kills" ]; do
    if has_checkpoint cut; then resume cut; else
        rm -rf "$folder/cut"
        begin cut $often
    fi
    # from the first moment on, and on average a share of the run and the time to start
    sleep "$(awk -v r=$RANDOM -v t="$took" -v n="$kills" 'BEGIN { print 2 * (1 + t / n) * r / 32768 }')"
    kill -KILL $pid 2>/dev/null || break
    wait $pid 2>/dev/null || killed=$((killed + 1))
done
[ -d "$folder/cut/step_0000300" ] || resume cut
wait $pid
same whole cut 0000300
echo "killed $killed times: the same bytes"

large="data.patch_size=64 train.batch_size=32 train.epochs=1 train.iterations_per_epoch=8 train.save_every=2it memory.micro_batch=32"
# shellcheck disable=SC2086
begin large $large
wait $pid
# shellcheck disable=SC2086
begin narrow $large
until has_checkpoint narrow; do sleep 0.2; done
kill -KILL $pid
wait $pid 2>/dev/null || export POCL_MEMORY_LIMIT=1
resume narrow
wait $pid
same large narrow 0000008
echo "resumed with 1 GiB: the same bytes"
