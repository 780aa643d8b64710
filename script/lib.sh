# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts here: messages with times, packages, the build. Sourced, with `set -euo pipefail` in force.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${CUBE_BUILD:-$top/build}
cube=$build/cube
log=${CUBE_LOG:-/tmp/cube-script.log}
step_text= step_start=

now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }

step() { # text: begins a step; its line is finished by done_step or fail
    step_text=$1 step_start=$(now_ms)
    [ -t 1 ] && printf '  ...    %s\r' "$step_text" || true
}

done_step() { # [remark]
    local ms=$(($(now_ms) - step_start))
    printf '  %3d.%ds  %s%s\n' $((ms / 1000)) $((ms % 1000 / 100)) "$step_text" "${1:+: $1}"
}

fail() { # what to do about it
    printf '  failed %s\n' "$step_text"
    [ -s "$log" ] && tail -n 20 "$log" | sed 's/^/    | /'
    printf '\n%s\n' "$1"
    exit 1
}

# wants_help ARGUMENT...: --help is answered with the remarks at the head of the script, before anything is done.
wants_help() {
    local arg
    for arg in "$@"; do
        case $arg in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
    done
}

# takes_only FLAGS ARGUMENT...: refuses what is not among FLAGS (in one word, parted by spaces).
takes_only() {
    local known=" $1 " arg
    shift
    for arg in "$@"; do
        [[ $known == *" $arg "* ]] || { echo "$0: unknown argument \"$arg\"; --help tells what there is" >&2; exit 2; }
    done
}

need_root() {
    [ "$(id -u)" = 0 ] || { echo "This needs root: sudo $0"; exit 1; }
}

packages() { # kind...: the packages named in script/packages for these kinds
    local kind
    for kind in "$@"; do sed -n "s/^$kind: *//p" "$top/script/packages"; done
}

install_packages() { # kind...
    local missing=() p
    step "Debian packages"
    for p in $(packages "$@"); do
        dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$p")
    done
    if [ ${#missing[@]} = 0 ]; then done_step "all there"; return; fi
    command -v apt-get >/dev/null || fail "Install these by hand: ${missing[*]}"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1 || fail "apt-get could not install: ${missing[*]}. Mend that, then run this again."
    done_step "${#missing[@]} installed"
}

build_cube() { # [ninja target...]
    step "build"
    if [ ! -f "$build/build.ninja" ]; then
        (cd "$top" && meson setup "$build" --buildtype=debugoptimized) >"$log" 2>&1 || fail "meson setup failed; $log has the whole text."
    fi
    ninja -C "$build" "${@:-cube}" >"$log" 2>&1 || fail "The build failed; $log has the whole text."
    done_step "$(du -h --apparent-size "$cube" | cut -f1) $cube"
}
