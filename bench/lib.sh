# SPDX-License-Identifier: Apache-2.0
# What the benchmarks share: a tined of their own with one sleeping guest, medians, and --json.
# shellcheck shell=bash disable=SC2034
json=false
[ "${1:-}" != --json ] || json=true
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${TINE_BUILD:-$tree/build}
tine=$build/src/cli/tine
steps=$build/bench/steps/bench-steps
base=/var/tmp
[ ! -d "/scratch/${filesystem:=ext4}" ] || base=/scratch/$filesystem
work=$(mktemp -d "$base/tine-bench.XXXXXX")
data=$work/data
export TINE_SOCKET=$work/tined.sock
tined_start() { # OPTION...
    "$build/src/api/tined" --data-dir "$data" --socket "$TINE_SOCKET" --vmm "$build/src/vmm/tine-vmm" \
        --kit "$build/kit" --agent-timeout 600s "$@" 2>>"$work/tined.log" &
    tined_pid=$!
    until "$tine" ps >/dev/null 2>&1; do
        kill -0 "$tined_pid"
        sleep 0.1
    done
}
tined_end() { # VMs go on
    kill "$tined_pid"
    wait "$tined_pid" || true
}

# shellcheck disable=SC2317 # called by the trap
finish() {
    local all
    mapfile -t all < <("$tine" --json ps -a | jq -r '.[].id')
    [ ${#all[@]} = 0 ] || "$tine" rm -f "${all[@]}" >/dev/null
    tined_end
    rm -rf "$work"
}
trap finish EXIT
# shellcheck disable=SC2154 # the benchmark's
tined_start ${tined_options[@]+"${tined_options[@]}"}

boot_sleeper() { # a 256 MiB guest with 64 MiB of pattern, in standby
    "$tine" run --name source --vcpus 2 --memory 256MB >/dev/null
    "$tine" exec -T source oracle fill 64 1 </dev/null >/dev/null
    "$tine" standby source >/dev/null
    source_id=$("$tine" --json inspect source | jq -r .id)
}

# Where it ran, as an object.
machine() {
    jq -n --arg kvm "${TINE_KVM:-native}" --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" \
        --argjson mib "$(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo)" \
        '{kvm: $kvm, host_kernel: $kernel, host_cpus: $cpus, host_mib: $mib}'
}

milliseconds() { # COMMAND...
    local begin=$EPOCHREALTIME
    "$@" >/dev/null 2>&1 </dev/null
    awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", (b - a) * 1000 }'
}

# Reads "A B" pairs, whose medians and that of B / A, pair by pair, report() tells. B_over_A is the
# key, with what is measured in front if there are several: "bytes_full_over_merge".
ratios() { # KEY A_NAME B_NAME [UNIT]
    jq -Rn --arg key "$1" --arg a "$2" --arg b "$3" --arg unit "${4:-ms}" '
        def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
        def tenths: . * 10 | round / 10;
        [inputs | split(" ") | map(tonumber)] | map(.[1] / .[0]) as $ratios |
        {($key): {median: ($ratios | median | tenths), min: ($ratios | min | tenths),
                  max: ($ratios | max | tenths), pairs: length,
                  "\($a)_\($unit)": (map(.[0]) | median | tenths),
                  "\($b)_\($unit)": (map(.[1]) | median | tenths)}}' >>"$work/ratios"
}

# With --json one object, else a line per ratio.
report() {
    if [ "$json" = true ]; then
        jq -cs add "$work/ratios"
        return
    fi
    jq -r 'to_entries[] | (.key | sub("_over_"; " / ") | gsub("_"; " ")) as $name |
        (.value | to_entries[-2:] | map((.key | split("_")) as [$of, $unit] | "\($of) \(.value) \($unit)") | join(", ")) as $medians |
        "\($name): median \(.value.median) over \(.value.pairs) pairs (min \(.value.min), max \(.value.max)); medians: \($medians)"' \
        "$work/ratios"
}
