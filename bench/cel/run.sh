#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Cube's CEL and cel-go in one run. Usage: bench/cel/run.sh BUILD-FOLDER (with bench/cel/bench_cel built; Go for the other)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$1/bench/cel/bench_cel" <"$here/expressions.txt" >"$tmp/ours"
(cd "$here/celgo" && go run .) <"$here/expressions.txt" >"$tmp/theirs"
paste "$tmp/ours" "$tmp/theirs" | awk -F'\t' '
BEGIN { print "compile ns (cel-go, times) | evaluate ns (cel-go, times) | bytes (cel-go, times) | expression" }
{ printf "%d (%d, %.1f) | %d (%d, %.1f) | %d (%d, %.1f) | %s\n", $1, $5, $5 / $1, $2, $6, $6 / $2, $3, $7, $7 / $3, $4 }'
