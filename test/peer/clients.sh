# SPDX-License-Identifier: Apache-2.0
# Shared by the tests of clients: our API server and controllers in a namespace of their own, without nodes. Sourced after lib.sh.

P=cubecli PORT=19443
images_make() { :; } # nothing runs in containers here
in_hub() { nsenter --net=/run/netns/$P-hub -- "$@"; }

# not_run WHAT: the clients come out of package registries, which not everybody reaches.
not_run() { say "NOT RUN: $*"; exit 0; }

# have_program NAME: builds it of its module.
have_program() { "$top/test/peer/build" "$upstream" "$1" >"$build/peer-$1.log" 2>&1 || not_run "$1 cannot be built here: $(tail -n 1 "$build/peer-$1.log")"; }

api_start() {
    start api "$cube" apiserver --data-dir "$T/data" --secure-port $PORT --tls-cert-file "$T/pki/server.crt" --tls-private-key-file "$T/pki/server.key" \
        --client-ca-file "$T/pki/ca.crt" --service-account-key-file "$T/pki/sa.pub" --service-account-signing-key-file "$T/pki/sa.key" \
        --service-account-issuer https://kubernetes.default.svc --service-cluster-ip-range "$SERVICES" --authorization-mode Node,RBAC \
        --requestheader-client-ca-file "$T/pki/front-ca.crt" --requestheader-allowed-names front-proxy --proxy-client-cert-file "$T/pki/front.crt" \
        --proxy-client-key-file "$T/pki/front.key" "$@"
    eventually 20 K get --raw /readyz
}

# api_up [FLAG...]
api_up() {
    begin
    mkdir -p "$T/pki"
    ( cd "$T/pki" && pki_ca ca && pki_ca front-ca && pki_issue front /CN=front-proxy '' front-ca && pki_issue server /CN=kube-apiserver "IP:127.0.0.1,IP:$NET.1,IP:$SERVICE1,DNS:localhost" && pki_issue admin /O=system:masters/CN=admin &&
        pki_issue controllers /CN=system:kube-controller-manager && openssl genrsa -out sa.key 2048 2>/dev/null && openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null ) ||
        { bad "certificates"; finish; exit 1; }
    for name in admin controllers; do
        kubeconfig "$T/$name.conf" "https://127.0.0.1:$PORT" "$T/pki/ca.crt" "{client-certificate: $T/pki/$name.crt, client-key: $T/pki/$name.key}"
    done
    export KUBECONFIG=$T/admin.conf HOME=$T
    api_start "$@" && ok || { bad "the API server" "$(tail -n 5 "$T/log/api.log")"; finish; exit 1; }
    start controllers "$cube" controller-manager --kubeconfig "$T/controllers.conf" --root-ca-file "$T/pki/ca.crt" --service-account-private-key-file "$T/pki/sa.key" \
        --use-service-account-credentials=true --leader-elect=false
    eventually 20 K get serviceaccount default && ok || bad "the default ServiceAccount" "$(tail -n 5 "$T/log/controllers.log")"
}

# count_lines FILE CODE: lines "ok ..." and "FAILED ..." of a client's output as checks; CODE is what it ended with.
count_lines() {
    local line n=0
    while IFS= read -r line; do
        case $line in
        "ok "*) ok; n=$((n + 1)) ;;
        "FAILED "*) bad "${line#FAILED }" ;;
        esac
    done <"$1"
    [ "$2" = 0 ] || bad "$1: the client ended with $2" "$(tail -n 20 "$1")"
    [ $n -gt 0 ] || bad "$1 tells of nothing" "$(tail -n 20 "$1")"
}

# have_python, have_javascript: what requirements.txt and package.json pin, in a folder beside upstream's programs.
have_python() {
    local d=$upstream/python
    cmp -s "$top/test/peer/requirements.txt" "$d/requirements.txt" && return
    rm -rf "$d" && python3 -m venv "$d" >"$build/peer-python.log" 2>&1 && "$d/bin/pip" install -q -r "$top/test/peer/requirements.txt" >>"$build/peer-python.log" 2>&1 ||
        not_run "Python's packages cannot be had: $(tail -n 1 "$build/peer-python.log")"
    cp "$top/test/peer/requirements.txt" "$d/"
}
have_javascript() {
    local d=$upstream/javascript
    command -v npm >/dev/null || not_run "npm is not installed"
    mkdir -p "$d"
    cp "$top/test/peer/javascript_client.mjs" "$d/"
    cmp -s "$top/test/peer/package.json" "$d/done.json" && return
    cp "$top/test/peer/package.json" "$d/"
    (cd "$d" && npm install --silent --no-audit --no-fund --ignore-scripts) >"$build/peer-javascript.log" 2>&1 || not_run "npm's packages cannot be had: $(tail -n 1 "$build/peer-javascript.log")"
    cp "$top/test/peer/package.json" "$d/done.json"
}
