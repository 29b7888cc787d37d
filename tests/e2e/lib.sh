# SPDX-License-Identifier: Apache-2.0
# What the end-to-end tests share: a tined of their own on the wanted file system, and assertions that
# stop the test. Sourced with the file system's name (ext4 or xfs) as the first argument.
# shellcheck shell=bash disable=SC2034
set -uo pipefail
export LC_ALL=C

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${TINE_BUILD:-$tree/build}
kit=$build/kit
filesystem=${1:?ext4 or xfs}
image=
if [ -d "/scratch/$filesystem" ]; then
    work=$(mktemp -d "/scratch/$filesystem/e2e.XXXXXX")
else # natively: a file system of that kind in a file
    image=$(mktemp /var/tmp/tine-e2e.XXXXXX)
    truncate -s 8G "$image"
    "mkfs.$filesystem" -q "$image" >/dev/null
    work=$(mktemp -d /var/tmp/tine-e2e-mount.XXXXXX)
    mount -o loop "$image" "$work"
fi
data=$work/data
export TINE_SOCKET=$work/tined.sock
tined_pid=
tined_options=() # more of them, for start_tined
out= # of the last expect
err=

tine() { "$build/src/cli/tine" "$@"; }

fail() {
    echo "FAILED at line ${BASH_LINENO[1]:-?}: $*"
    exit 1
}

# expect STATUS COMMAND...: runs it without input; its output lands in $out and $err.
expect() {
    local wanted=$1 status=0
    shift
    out=$("$@" </dev/null 2>"$work/stderr") || status=$?
    err=$(cat "$work/stderr")
    [ "$status" = "$wanted" ] || fail "$* ended with $status, not $wanted: $out $err"
}
contains() { [[ $1 == *"$2"* ]] || fail "\"$2\" is not in \"$1\""; }
equal() { [ "$1" = "$2" ] || fail "\"$1\" is not \"$2\"${3:+ ($3)}"; }
one_line() { [ "$(printf '%s\n' "$1" | wc -l)" = 1 ] || fail "not one line: $1"; }

start_tined() { # [DATA_DIR]
    "$build/src/api/tined" --data-dir "${1:-$data}" --socket "$TINE_SOCKET" \
        --vmm "$build/src/vmm/tine-vmm" --kit "$kit" --agent-timeout 600s \
        --pager "$build/src/pager/tine-pager" --pager-dir "$work/run" \
        "${tined_options[@]}" >>"$work/tined.log" 2>&1 &
    tined_pid=$!
    for _ in $(seq 300); do
        tine ps >/dev/null 2>&1 && return
        kill -0 "$tined_pid" 2>/dev/null || fail "tined did not start: $(tail -3 "$work/tined.log")"
        sleep 0.1
    done
    fail "tined does not answer"
}
stop_tined() {
    kill "$tined_pid"
    wait "$tined_pid"
    tined_pid=
}

state_of() { tine --json inspect "$1" | jq -r .state; }
id_of() { tine --json inspect "$1" | jq -r .id; }
vmm_of() { tine --json inspect "$1" | jq -r .tine.vmm_pid; }
guest_dir() { echo "$data/guests/$(id_of "$1")"; }
# The memory file of an instance, asleep or running after a restore.
memory_of() { find "$(guest_dir "$1")" -name memory -type f; }
links_of() { stat -c %h "$(memory_of "$1")"; }
inode_of() { stat -c %i "$(memory_of "$1")"; }
# How often an instance was put to sleep.
naps_of() { grep -c 'Z standby[^:]*: ok' "$(guest_dir "$1")/log/operations.log"; }
# Sets $firecracker: the one that TINE_FIRECRACKER names; else tine-vmm, which speaks the same API, called
# by that name.
find_firecracker() {
    firecracker=${TINE_FIRECRACKER:-}
    if [ -n "$firecracker" ]; then
        [ -x "$firecracker" ] || fail "TINE_FIRECRACKER=$firecracker is no program"
        return
    fi
    firecracker=$work/firecracker
    cat >"$firecracker" <<END
#!/bin/sh
[ "\$1" != --version ] || { echo "Firecracker v1.16.1"; exit; }
exec "$build/src/vmm/tine-vmm" "\$@"
END
    chmod 755 "$firecracker"
}
# The VMM processes of this test: those whose id names a guest directory below $work.
own_vmms() {
    local pid id
    for pid in $(pgrep -x tine-vmm; pgrep -x firecracker); do
        id=$(tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -A1 -x -e --id | tail -1)
        [ -z "$id" ] || [ -z "$(find "$work" -maxdepth 4 -path "*/guests/$id")" ] || echo "$pid"
    done
}
# The pagers of this test; nothing if none runs.
own_pagers() { pgrep -f -x -- ".*/tine-pager --run-dir $work/run" || true; }
in_guest() { tine exec -T "$@" </dev/null; }
oracle_clean() { # NAME SEED
    local said
    said=$(in_guest "$1" oracle check "$2")
    [[ $said =~ ^bad_pages\ 0\ of\ [1-9][0-9]*$ ]] || fail "$1: the oracle said: $said"
}

# Mappings of no file in the VMM: one more for each piece of memory that the guest gave back.
given_back() { grep -c ' 00:00 0 *$' "/proc/$(vmm_of "$1")/maps"; }
# The guest fills its page cache and frees it, and reports what is free in pieces of megabytes.
give_back() {
    local before
    before=$(given_back "$1")
    for _ in $(seq 60); do
        in_guest "$1" sh -c 'dd if=/dev/zero of=/tmp/big bs=1M count=64 2>/dev/null; rm /tmp/big'
        for _ in $(seq 20); do
            [ "$(given_back "$1")" -le "$before" ] || return 0
            sleep 0.5
        done
    done
    fail "$1 gives no memory back"
}

finish_test() {
    local status=$? pid
    if [ "$status" != 0 ] && [ -e "$work/tined.log" ]; then
        echo "--- tined's log"
        tail -30 "$work/tined.log"
    fi
    [ -z "$tined_pid" ] || kill "$tined_pid" 2>/dev/null
    wait 2>/dev/null
    for pid in $(own_vmms) $(own_pagers); do kill -9 "$pid"; done
    if [ -n "$image" ]; then
        umount -l "$work"
        rm -f "$image"
    fi
    rm -rf "$work"
    exit "$status"
}
trap finish_test EXIT
