# SPDX-License-Identifier: Apache-2.0
# Shared by the tests here. A test makes a cluster of its own (own folders, ports, ranges, names), clears what an earlier
# run left, checks what commands print, and ends with a count. Sourced; `set -uo pipefail` is in force.

set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${CUBE_BUILD:-$top/build}
cube=$build/cube
T=/tmp/cube-test-cluster
cluster_flags=(--data-dir "$T/data" --run-dir "$T/run" --config-dir "$T/conf" --port 16443 --kubelet-port 11250
    --bridge cubet0 --proxy-table cube-test --service-cidr 10.97.0.0/16 --pod-cidr 10.245.0.0/16 --dns-ip 10.97.0.10
    --node-name cube-test --cgroup-root /cube-test --service-node-port-range 31000-31999)
export KUBECONFIG=$T/conf/admin.conf
image=cube.local/hello:1

# own_cluster NAME NODE PORT SERVICES PODS [FLAG...]: instead of that one a cluster that may run beside other tests. SERVICES and
# PODS are the first two numbers of its ranges, NAME at most five letters.
own_cluster() {
    T=/tmp/cube-test-$1
    cluster_flags=(--data-dir "$T/data" --run-dir "$T/run" --config-dir "$T/conf" --port "$3" --kubelet-port $(($3 - 5000))
        --bridge "cubet${1}0" --proxy-table "cube-t$1" --service-cidr "$4.0.0/16" --pod-cidr "$5.0.0/16" --dns-ip "$4.0.10"
        --node-name "$2" --cgroup-root "/cube-t$1" --service-node-port-range 31000-31999 "${@:6}")
    export KUBECONFIG=$T/conf/admin.conf
}
passed=0 failed=0

[ "$(id -u)" = 0 ] || { echo "needs root"; exit 1; }

say() { printf '%s\n' "$*"; }

ok() { passed=$((passed + 1)); }

bad() { # name, what was seen
    failed=$((failed + 1))
    say "FAILED: $1"
    printf '%s\n' "${2:-}" | head -n 30 | sed 's/^/    | /'
}

finish() {
    say "$passed checks passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# run_it COMMAND...: with a time limit; a function must be exported.
run_it() {
    if declare -F "$1" >/dev/null; then timeout 180 bash -c '"$@"' _ "$@"; else timeout 180 "$@"; fi 2>&1 </dev/null
}

# check NAME REGEX COMMAND...: the command succeeds and its output (both streams) matches (Perl's, over all lines).
check() {
    local name=$1 want=$2 out code
    shift 2
    out=$(run_it "$@"); code=$?
    if [ $code = 0 ] && grep -qzP -- "$want" <<<"$out"; then ok; else bad "$name ($*): exit code $code, expected /$want/" "$out"; fi
}

# check_fails NAME CODE REGEX COMMAND...: CODE is a pattern, too.
check_fails() {
    local name=$1 want_code=$2 want=$3 out code
    shift 3
    out=$(run_it "$@"); code=$?
    if [[ $code =~ ^($want_code)$ ]] && grep -qzP -- "$want" <<<"$out"; then ok; else
        bad "$name ($*): exit code $code, expected $want_code and /$want/" "$out"
    fi
}

# is NAME WANT COMMAND...: prints exactly WANT.
is() {
    local name=$1 want=$2 got
    shift 2
    got=$(run_it "$@")
    [ "$got" = "$want" ] && ok || bad "$name ($*): expected exactly \"$want\"" "$got"
}

# eventually SECONDS COMMAND...: until it succeeds.
eventually() {
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}

# One test at a time has the cluster's folders and ports, whoever started it. The cluster itself must not inherit the lock.
lock_fd=
lock_cluster() {
    [ -z "$lock_fd" ] || return 0
    exec {lock_fd}>"$T.lock"
    flock -n "$lock_fd" || { say "waiting for another test that uses $T"; flock "$lock_fd"; }
}

cluster_clear() {
    lock_cluster
    "$cube" down --purge "${cluster_flags[@]}" {lock_fd}>&- >/dev/null || say "cube down --purge failed"
    rm -rf "$T"
}

cluster_up() {
    mkdir -p "$T"
    "$cube" up "${cluster_flags[@]}" "$@" {lock_fd}>&- || { tail -n 40 "$T/data/log/cube.log" | sed 's/^/    | /'; return 1; }
}

cluster_images() {
    [ -s "$build/hello.tar" ] || "$top/script/image" "$build/hello.tar" >/dev/null || return 1
    "$cube" image import "$build/hello.tar" "${cluster_flags[@]}"
}

# The kubectl under test: upstream's when it could be built (Go), else ours.
upstream=${CUBE_PEER:-$build/peer}
real_kubectl() { [ -x "$upstream/kubectl" ] || "$top/test/peer/build" "$upstream" kubectl >"$build/peer.log" 2>&1; }

# Puts `kubectl` into PATH: upstream's when it is there, else ours; a folder to work in becomes the current one.
use_kubectl() {
    mkdir -p "$T/bin" "$T/work"
    if [ -x "$upstream/kubectl" ]; then ln -sf "$upstream/kubectl" "$T/bin/kubectl"; else ln -sf "$cube" "$T/bin/kubectl"; fi
    export PATH=$T/bin:$PATH KUBECACHEDIR=$T/kubecache HOME=$T/work
    cd "$T/work" || exit 1
}

# until_is SECONDS NAME WANT COMMAND...: prints WANT before the time is over.
until_is() {
    local end=$((SECONDS + $1)) name=$2 want=$3 got
    shift 3
    while got=$(run_it "$@"); [ "$got" != "$want" ]; do
        if [ $SECONDS -ge $end ]; then bad "$name ($*): expected \"$want\"" "$got"; return 1; fi
        sleep 0.3
    done
    ok
}

section_name='' section_start=$SECONDS
section() { # name: tells how long the one before took
    [ -z "$section_name" ] || say "$section_name: $((SECONDS - section_start)) s, $passed passed, $failed failed so far"
    section_name=$1 section_start=$SECONDS
}

# A script for containers that end at once when asked to: as process 1, they would ignore the signal.
sleeper="trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"

now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }

# eventually_text SECONDS REGEX COMMAND...: prints the output once it matches.
eventually_text() {
    local end=$((SECONDS + $1)) want=$2 got
    shift 2
    while got=$("$@" 2>&1); ! grep -qE -- "$want" <<<"$got"; do
        [ $SECONDS -lt $end ] || { printf '%s\n' "$got"; return 1; }
        sleep 0.3
    done
    printf '%s\n' "$got"
}

# distinct N COMMAND...: runs it N times; how many different first words it printed.
distinct() { local n=$1; shift; for _ in $(seq "$n"); do "$@"; done | awk '{print $1}' | sort -u | wc -l; }

# ---- kubectl, in short; all may be used in `check` and in `bash -c` -----------------------------------------------------------

# jp OBJECT PATH [ARGUMENT...]: a JSON path of it.
jp() { local of=$1 path=$2; shift 2; kubectl get "$of" "$@" -o "jsonpath=$path"; }

# kget ARGUMENT...: kubectl get without its remarks; a server that did not answer is no empty answer.
kget() { kubectl get "$@" 2>/dev/null || echo "kubectl get $* failed"; }

# names_of ARGUMENT...: of all that `kubectl get` finds, in one line.
names_of() { kget "$@" --no-headers -o custom-columns=N:.metadata.name | paste -sd' '; }

# is_gone ARGUMENT...: the server says that it has no such thing.
is_gone() { local left; left=$(kubectl get "$@" --ignore-not-found -o name 2>&1) && [ -z "$left" ]; }

# sh_in POD [CONTAINER] SCRIPT
sh_in() { local c=(); [ $# -lt 3 ] || c=(-c "$2"); kubectl exec "$1" "${c[@]}" -- sh -c "${!#}"; }

# event NAME|KIND/NAME REGEX: within seconds an event about it matches.
event() { eventually_text 20 "$2" kubectl get events --field-selector "involvedObject.name=${1#*/}"; }

# first_process CONTAINER-ID: the machine's number of it, found by its cgroup; the container's other processes come and go.
first_process() {
    grep -lsP '^NSpid:.*\t1$' /dev/null $(grep -ls "${1#*://}" /proc/[0-9]*/cgroup | sed 's/cgroup$/status/') | cut -d/ -f3
}

# pod_pid POD: of its first container.
pod_pid() { first_process "$(jp "pod/$1" '{.status.containerStatuses[0].containerID}')"; }

export -f now_ms eventually eventually_text distinct jp kget names_of is_gone sh_in event first_process pod_pid
