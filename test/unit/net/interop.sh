#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Other programs' clients against our server: curl over HTTP/1.1, h2c and h2, nghttp, h2load, openssl s_client.
# usage: interop.sh <serve program>
set -eu
for tool in curl openssl; do
    command -v $tool >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
dir=$(mktemp -d)
mkfifo "$dir/in"
"$1" "$dir" <"$dir/in" >"$dir/out" &
pid=$!
exec 9>"$dir/in"
trap 'exec 9>&-; wait $pid || true; rm -rf "$dir"' EXIT
for _ in $(seq 200); do [ -s "$dir/out" ] && break; sleep 0.05; done
read -r plain secure <"$dir/out"
fail() { echo "FAILED: $*"; exit 1; }
same() { [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"; }
ask() { curl -sS --max-time 20 --cacert "$dir/ca.crt" "$@"; }
cert=(--cert "$dir/client.crt" --key "$dir/client.key")

same h1 "11 plain nobody -" "$(ask --http1.1 "$plain/whoami")"
same h10 "10 plain nobody -" "$(ask --http1.0 "$plain/whoami")"
same h2c "20 plain nobody -" "$(ask --http2-prior-knowledge "$plain/whoami")"
same h2 "20 TLSv1.3 nobody -" "$(ask "$secure/whoami")"
same "h2 with certificate" "20 TLSv1.3 ann ops" "$(ask "${cert[@]}" "$secure/whoami")"
same "h1 with certificate" "11 TLSv1.3 ann ops" "$(ask "${cert[@]}" --http1.1 "$secure/whoami")"
same "TLS 1.2" "20 TLSv1.2 ann ops" "$(ask "${cert[@]}" --tls-max 1.2 "$secure/whoami")"
ask --tls-max 1.1 "$secure/whoami" >/dev/null 2>&1 && fail "TLS 1.1 was accepted"
for version in --http1.1 --http2; do
    same "stream $version" "line line line " "$(ask $version "$secure/stream" | tr '\n' ' ')"
    head -c 5000000 /dev/urandom >"$dir/big"
    ask $version --data-binary @"$dir/big" -o "$dir/back" "$secure/echo"
    cmp "$dir/big" "$dir/back" || fail "echo $version"
    ask $version -H 'Transfer-Encoding: chunked' -T - -X POST "$secure/echo" -o "$dir/back" <"$dir/big"
    cmp "$dir/big" "$dir/back" || fail "chunked echo $version"
    same "status $version" 404 "$(ask $version -o /dev/null -w '%{http_code}' "$secure/nothing")"
    same "head $version" 36 "$(ask $version -I "$secure/small" | tr -d '\r' | sed -n 's/^[Cc]ontent-[Ll]ength: //p')"
    same "reuse $version" 1 "$(ask $version -o /dev/null -o /dev/null -w '%{num_connects}\n' "$secure/small" "$secure/small" \
        | awk '{ n += $1 } END { print n }')"
done
# Its exit code tells nothing: a line feed is no HTTP/2 preface, and our closing may reach it before its own.
echo | openssl s_client -connect "${secure#https://}" -CAfile "$dir/ca.crt" -alpn h2 -verify_return_error \
    >"$dir/s_client" 2>&1 || true
grep -q 'ALPN protocol: h2' "$dir/s_client" || fail "s_client, no ALPN: $(cat "$dir/s_client")"
grep -q 'Verify return code: 0' "$dir/s_client" || fail "s_client, not verified: $(cat "$dir/s_client")"
for weak in AES128-SHA ECDHE-ECDSA-AES128-SHA; do
    echo | openssl s_client -connect "${secure#https://}" -tls1_2 -cipher "$weak:@SECLEVEL=0" >/dev/null 2>&1 &&
        fail "cipher $weak was accepted"
done
if command -v nghttp >/dev/null; then
    nghttp -v "$plain/stream" >"$dir/nghttp" 2>&1 || fail "nghttp"
    grep -q 'x-lines: 3' "$dir/nghttp" || fail "nghttp: no trailer"
fi
if command -v h2load >/dev/null; then
    h2load -n 2000 -c 4 -m 50 "$secure/small" >"$dir/h2load" 2>&1
    grep -q '2000 succeeded, 0 failed' "$dir/h2load" || fail "h2load: $(cat "$dir/h2load")"
fi
echo ok
