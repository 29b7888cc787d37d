# SPDX-License-Identifier: Apache-2.0
# What the benchmarks share: a tined of their own with one sleeping guest, and medians.
# shellcheck shell=bash disable=SC2034
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${TINE_BUILD:-$tree/build}
tine=$build/src/cli/tine
base=/var/tmp
[ ! -d /scratch/ext4 ] || base=/scratch/ext4
work=$(mktemp -d "$base/tine-bench.XXXXXX")
data=$work/data
export TINE_SOCKET=$work/tined.sock
"$build/src/api/tined" --data-dir "$data" --socket "$TINE_SOCKET" --vmm "$build/src/vmm/tine-vmm" \
    --kit "$build/kit" --agent-timeout 600s 2>"$work/tined.log" &
tined_pid=$!

# shellcheck disable=SC2317 # called by the trap
finish() {
    local all
    mapfile -t all < <("$tine" --json ps -a | jq -r '.[].id')
    [ ${#all[@]} = 0 ] || "$tine" rm -f "${all[@]}" >/dev/null
    kill "$tined_pid"
    wait "$tined_pid" || true
    rm -rf "$work"
}
trap finish EXIT
until "$tine" ps >/dev/null 2>&1; do
    kill -0 "$tined_pid"
    sleep 0.1
done

boot_sleeper() { # a 256 MiB guest with 64 MiB of pattern, in standby
    "$tine" run --name source --vcpus 2 --memory 256MB >/dev/null
    "$tine" exec -T source oracle fill 64 1 </dev/null >/dev/null
    "$tine" standby source >/dev/null
    source_id=$("$tine" --json inspect source | jq -r .id)
}

milliseconds() { # COMMAND...
    local begin=$EPOCHREALTIME
    "$@" >/dev/null 2>&1 </dev/null
    awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", (b - a) * 1000 }'
}

# Reads "A B" pairs; prints the median of each and of B / A, pair by pair.
ratios() { # RATIO_NAME A_NAME B_NAME [UNIT]
    awk -v names="$1;$2;$3;${4:-ms}" '
        function median(v, n,    i, j, t) {
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && v[j - 1] > v[j]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
            return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
        }
        { a[NR] = $1; b[NR] = $2; r[NR] = $2 / $1 }
        END {
            split(names, name, ";")
            printf "%s: median %.1f over %d pairs (min %.1f, max ", name[1], median(r, NR), NR, r[1]
            printf "%.1f); medians: %s %.1f %s, %s %.1f %s\n", r[NR],
                name[2], median(a, NR), name[4], name[3], median(b, NR), name[4]
        }'
}
