# SPDX-License-Identifier: Apache-2.0
# Shared by the peer tests. Everything happens in namespaces made here: a hub (a bridge, with the control plane's programs of
# a test beside it) and nodes around it, each with its own network, mounts, process numbers and /run. To end a node's first
# process ends everything in it. Sourced.

. "$(dirname "${BASH_SOURCE[0]}")/../script/lib.sh"
T=${CUBE_PEER_DIR:-/tmp/cube-test-peer}   # state; removed at the end unless KEEP is set
P=cubepeer                                # prefix of namespaces and cgroups
NET=10.199.0                              # hub .1, nodes .11, .12
SERVICES=10.97.0.0/16 SERVICE1=10.97.0.1 DNS=10.97.0.10 PODS=10.198.0.0/16
PORT=19443
pids=()

sysctls="vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes"

seconds() { awk -v a="$1" -v b="$(now_ms)" 'BEGIN {printf "%.1f s", (b - a) / 1000}'; }
step() { say "$(printf '%7s  %s' "$(seconds "$began")" "$*")"; }

# start NAME COMMAND...: a daemon beside the hub; its pid goes to pid_NAME, its output to $T/log.
start() {
    local name=$1; shift
    setsid nsenter --net=/run/netns/$P-hub -- "$@" >>"$T/log/$name.log" 2>&1 </dev/null &
    printf -v "pid_${name//-/_}" %s $!
    pid_add $!
}

pid_add() { pids+=("$1"); echo "$1" >>"$T/pids"; }

# stop NAME
stop() {
    local -n p=pid_${1//-/_}
    [ -n "${p:-}" ] || return 0
    kill "$p" 2>/dev/null; wait "$p" 2>/dev/null
    p=
}

# node_make N: an empty machine $P-nN with the address $NET.1N.
node_make() {
    local name=$P-n$1 d=$T/n$1
    ip netns add "$name"
    ip link add "${P}v$1" netns $P-hub type veth peer name eth0 netns "$name"
    ip -n $P-hub link set "${P}v$1" master br0 up
    ip -n "$name" link set lo up
    ip -n "$name" addr add "$NET.1$1/24" dev eth0
    ip -n "$name" link set eth0 up
    ip -n "$name" route add default via $NET.1
    nsenter --net=/run/netns/"$name" -- sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter'
    mkdir -p "$d"
    setsid nsenter --net=/run/netns/"$name" -- unshare -m -u -p -f --kill-child --mount-proc --propagation private \
        "$top/test/peer/node-init" "$name" "$d" >"$T/log/$name.log" 2>&1 </dev/null &
    pid_add $!
    printf -v "node_outer_$1" %s $!
    eventually 10 test -s "$d/ready" || return 1
    local -n pid=node_outer_$1
    printf '#!/bin/sh\nexec nsenter -t %s --net --mount --uts --pid -- "$@"\n' "$(pgrep -P "$pid")" >"$T/bin/on$1"
    chmod +x "$T/bin/on$1"
}

# run_on N NAME COMMAND...: a daemon there, with its output in $T/log/NAME-N.log; end_on N NAME ends it.
run_on() {
    local n=$1 name=$2; shift 2
    "on$n" sh -c "setsid \"\$0\" \"\$@\" >>$T/log/$name-$n.log 2>&1 </dev/null & echo \$! >$T/$name-$n.pid" "$@"
}
end_on() { "on$1" kill "$(cat "$T/$2-$1.pid")"; eventually 20 "on$1" sh -c "! kill -0 $(cat "$T/$2-$1.pid")"; }

# node N COMMAND...: runs it there. As a program, for checks: on1, on2.
node() {
    local -n outer=node_outer_$1
    shift
    nsenter -t "$(pgrep -P "$outer")" --net --mount --uts --pid -- "$@"
}

# node_route: pods of a node are reached through its address, from everywhere.
node_route() { # N CIDR
    ip -n $P-hub route replace "$2" via "$NET.1$1"
    for other in 1 2; do
        [ "$other" = "$1" ] || [ ! -e /run/netns/$P-n$other ] || ip -n $P-n$other route replace "$2" via "$NET.1$1"
    done
}

# containerd_start N POD-CIDR: Debian's containerd with a bridge for that range; the images are those of cube and the tests.
containerd_start() {
    local d=$T/n$1
    mkdir -p "$d/cni"
    cat >"$d/containerd.toml" <<END
version = 2
root = "$d/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "cube.local/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${CNI_BIN:-/usr/lib/cni}"
    conf_dir = "$d/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
END
    [ -z "${2:-}" ] || cni_write "$1" "$2"
    node "$1" sh -c "exec setsid containerd --config $d/containerd.toml >$T/log/containerd$1.log 2>&1 </dev/null &"
    eventually 30 node "$1" test -S /run/containerd/containerd.sock || return 1
    for archive in "$T/pause.tar" "$build/hello.tar"; do
        node "$1" ctr -n k8s.io images import "$archive" >/dev/null || return 1
    done
}

cni_write() { # N POD-CIDR
    cat >"$T/n$1/cni/10-peer.conflist" <<END
{"cniVersion":"0.4.0","name":"peer","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"isDefaultGateway":true,"hairpinMode":true,"ipMasq":false,
  "ipam":{"type":"host-local","ranges":[[{"subnet":"$2"}]]}},
 {"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}
END
}

# The images: the tests' and the smallest pause there is (ours, as the build made it).
images_make() {
    [ -s "$build/hello.tar" ] || "$top/script/image" "$build/hello.tar" >/dev/null || return 1
    local w=$T/pause; mkdir -p "$w/root"
    cp "$build/src/pause/pause" "$w/root/pause" || return 1
    umoci init --layout "$w/image" && umoci new --image "$w/image:pause" &&
        umoci insert --rootless --image "$w/image:pause" "$w/root/pause" /pause &&
        umoci config --image "$w/image:pause" --config.entrypoint /pause &&
        skopeo --insecure-policy copy --quiet "oci:$w/image:pause" "docker-archive:$T/pause.tar:cube.local/pause:1"
}

# ---- a control plane's certificates, for the cluster whose API server is upstream's -----------------------------------------

pki_ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.crt" -subj "/CN=$1" -days 30 2>/dev/null; }

# pki_issue NAME SUBJECT [SAN] [CA]
pki_issue() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA "${4:-ca}.crt" -CAkey "${4:-ca}.key" -CAcreateserial -days 30 -out "$1.crt" \
        -extfile <(printf 'extendedKeyUsage=clientAuth,serverAuth\n'; [ -z "${3:-}" ] || echo "subjectAltName=$3") 2>/dev/null
}

# kubeconfig FILE SERVER CA USER-YAML
kubeconfig() {
    cat >"$1" <<END
apiVersion: v1
kind: Config
clusters: [{name: peer, cluster: {server: "$2", certificate-authority: "$3"}}]
users: [{name: peer, user: $4}]
contexts: [{name: peer, context: {cluster: peer, user: peer}}]
current-context: peer
END
}

# ---- upstream's control plane beside the hub -----------------------------------------------------------------------------------

# upstream_api NODES USER...: etcd and kube-apiserver, certificates and kubeconfigs for that many nodes (node, node2), for admin and
# for each user system:USER (controllers and scheduler are there anyway).
upstream_api() {
    local n name server=https://$NET.1:$PORT pki=$T/pki nodes=$1
    shift
    mkdir -p "$pki"
    ( cd "$pki" && pki_ca ca && pki_ca front-ca &&
        pki_issue server /CN=kube-apiserver "IP:127.0.0.1,IP:$NET.1,IP:$SERVICE1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default.svc" &&
        pki_issue admin /O=system:masters/CN=admin && pki_issue kubelet-client /O=system:masters/CN=kubelet-client &&
        pki_issue controllers /CN=system:kube-controller-manager && pki_issue scheduler /CN=system:kube-scheduler && pki_issue front /CN=front-proxy &&
        for n in $(seq "$nodes"); do
            pki_issue "node$n" "/O=system:nodes/CN=system:node:$P-n$n" && pki_issue "node$n-serving" "/O=system:nodes/CN=system:node:$P-n$n" "IP:$NET.1$n,DNS:$P-n$n" || exit 1
        done &&
        for name in "$@"; do pki_issue "$name" "/CN=system:$name" || exit 1; done &&
        openssl genrsa -out sa.key 2048 2>/dev/null && openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null ) || return 1
    for name in admin controllers scheduler "$@" $(seq -f 'node%g' "$nodes"); do
        kubeconfig "$T/$name.conf" "$server" "$pki/ca.crt" "{client-certificate: $pki/$name.crt, client-key: $pki/$name.key}"
    done
    start etcd "$upstream/etcd" --data-dir "$T/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380 --unsafe-no-fsync
    start apiserver "$upstream/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --advertise-address=$NET.1 --secure-port=$PORT \
        --client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/server.crt" --tls-private-key-file="$pki/server.key" --cert-dir="$T/apiserver" \
        --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-cluster-ip-range=$SERVICES --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
        --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" --kubelet-certificate-authority="$pki/ca.crt" \
        --kubelet-preferred-address-types=InternalIP --requestheader-client-ca-file="$pki/front-ca.crt" --requestheader-allowed-names=front-proxy \
        --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group --requestheader-username-headers=X-Remote-User \
        --proxy-client-cert-file="$pki/front.crt" --proxy-client-key-file="$pki/front.key"
}

# kubelet_config N: $T/nN/kubelet.yaml, for ours as for upstream's.
kubelet_config() {
    local d=$T/n$1 pki=$T/pki
    mkdir -p "$d/kubelet" "$d/manifests"
    cat >"$d/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$P-n$1
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [$DNS]
clusterDomain: cluster.local
resolvConf: $d/resolv.conf
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $pki/node$1-serving.crt
tlsPrivateKeyFile: $pki/node$1-serving.key
staticPodPath: $d/manifests
failSwapOn: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
END
}

upstream_scheduler() {
    start scheduler "$upstream/kube-scheduler" --kubeconfig="$T/scheduler.conf" --authentication-kubeconfig="$T/scheduler.conf" \
        --authorization-kubeconfig="$T/scheduler.conf" --leader-elect=false
}
upstream_controllers() {
    start controllers "$upstream/kube-controller-manager" --kubeconfig="$T/controllers.conf" --authentication-kubeconfig="$T/controllers.conf" \
        --authorization-kubeconfig="$T/controllers.conf" --service-account-private-key-file="$T/pki/sa.key" --root-ca-file="$T/pki/ca.crt" \
        --cluster-signing-cert-file="$T/pki/ca.crt" --cluster-signing-key-file="$T/pki/ca.key" --use-service-account-credentials=true \
        --allocate-node-cidrs=true --cluster-cidr=$PODS --service-cluster-ip-range=$SERVICES --leader-elect=false
}

# ---- the workload every combination has to bear --------------------------------------------------------------------------------

phase_is() { [ "$(K get pods -l app="$1" --field-selector=status.phase=Running --no-headers 2>/dev/null | wc -l)" = "$2" ]; }
gone() { local left; left=$(K get "$@" --ignore-not-found -o name 2>&1) && [ -z "$left" ]; }
field() { [ "$(K get "$1" "$2" -o jsonpath="$3" 2>/dev/null)" = "$4" ]; }
says() { K logs "$1" --tail=5 2>/dev/null | grep -q "$2"; }

# rollout NAME [NODE]: a Deployment rolls out, its log and exec answer, it scales, is updated, is deleted with all it made.
rollout() {
    local name=$1 at=${2:-} t
    t=$(now_ms)
    K apply -f - >/dev/null <<END || { bad "$name: apply"; return 1; }
apiVersion: apps/v1
kind: Deployment
metadata: {name: $name}
spec:
  replicas: 2
  selector: {matchLabels: {app: $name}}
  template:
    metadata: {labels: {app: $name}}
    spec:
      terminationGracePeriodSeconds: 1
      ${at:+nodeSelector: {kubernetes.io/hostname: $at\}}
      containers:
      - name: web
        image: $image
        env: [{name: GENERATION, value: one}, {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        command: [sh, -c, 'echo \$GENERATION \$POD > /www/index.html; cat /www/index.html; trap "exit 0" TERM; httpd -f -p 8080 -h /www & wait']
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
        ports: [{containerPort: 8080}]
END
    check "$name: rolls out" 'successfully rolled out' K rollout status "deployment/$name" --timeout=90s
    say "         $name: two replicas ready after $(seconds "$t")"
    check "$name: its log comes back" "one $name-" K logs "deployment/$name"
    check "$name: exec" "^one $name-" K exec "deployment/$name" -- cat /www/index.html
    t=$(now_ms)
    K scale "deployment/$name" --replicas=4 >/dev/null
    check "$name: scales up" 'successfully rolled out' K rollout status "deployment/$name" --timeout=90s
    K scale "deployment/$name" --replicas=1 >/dev/null
    eventually 60 phase_is "$name" 1 && ok || bad "$name: scales down" "$(K get pods -l app="$name" 2>&1)"
    K set env "deployment/$name" GENERATION=two >/dev/null
    check "$name: an update rolls out" 'successfully rolled out' K rollout status "deployment/$name" --timeout=90s
    eventually 30 phase_is "$name" 1 && ok || bad "$name: one pod after the update" "$(K get pods -l app="$name" 2>&1)"
    check "$name: the new pods answer" "two $name-" K logs "deployment/$name"
    check "$name: two generations are kept" '(?s)\n1 .*\n2 ' K rollout history "deployment/$name"
    K delete deployment "$name" --cascade=foreground --timeout=60s >/dev/null 2>&1 && ok || bad "$name: foreground delete"
    eventually 30 gone replicasets,pods -l "app=$name" && ok || bad "$name: all it made is gone" "$(K get rs,pods -l "app=$name" 2>&1)"
    say "         $name: scaled, updated and deleted in $(seconds "$t")"
}

# ---- begin and end ----------------------------------------------------------------------------------------------------------------

clear_up() {
    local p n
    exec 2>/dev/null # the shell tells of each job that it lost
    for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
    for p in "${pids[@]}"; do
        n=50
        while [ $((n--)) -gt 0 ] && kill -0 "$p" 2>/dev/null; do sleep 0.1; done
        kill -KILL "$p" 2>/dev/null
    done
    wait 2>/dev/null
    pids=()
    namespaces_remove
    [ ! -s "$T/sysctls" ] || while read -r s v; do echo "$v" >"/proc/sys/$s"; done <"$T/sysctls" 2>/dev/null
    [ -n "${KEEP:-}" ] || rm -rf "$T"
}

namespaces_remove() {
    local n c
    for n in hub n1 n2; do ip netns delete $P-$n 2>/dev/null; done
    for c in /sys/fs/cgroup /sys/fs/cgroup/*; do
        for n in n1 n2; do
            [ ! -d "$c/$P-$n" ] || find "$c/$P-$n" -depth -type d -exec rmdir {} + 2>/dev/null
        done
    done
}

# What an earlier run that was killed left: its processes by the pids it wrote down.
clear_old() {
    local p
    for p in $(cat "$T"/pids 2>/dev/null); do
        [ -r "/proc/$p/cmdline" ] || continue
        tr '\0' ' ' <"/proc/$p/cmdline" | grep -q "$P\|$T" && kill -KILL "$p" 2>/dev/null
    done
    namespaces_remove
    rm -rf "$T"
}

begin() {
    began=$(now_ms)
    clear_old
    mkdir -p "$T/log" "$T/bin"
    # hub COMMAND..., K ARGUMENTS... (kubectl there): programs, so that checks can give them a time limit
    printf '#!/bin/sh\nexec nsenter --net=/run/netns/%s -- "$@"\n' $P-hub >"$T/bin/hub"
    printf '#!/bin/sh\nexec nsenter --net=/run/netns/%s -- "%s" "$@"\n' $P-hub "$upstream/kubectl" >"$T/bin/K"
    chmod +x "$T"/bin/*
    PATH=$T/bin:$PATH
    ( cd /proc/sys && for s in $sysctls; do [ -f "$s" ] && echo "$s $(cat "$s")"; done ) >"$T/sysctls"
    trap clear_up EXIT
    trap 'exit 1' INT TERM
    ip netns add $P-hub
    ip -n $P-hub link set lo up
    ip -n $P-hub link add br0 type bridge
    ip -n $P-hub addr add $NET.1/24 dev br0
    ip -n $P-hub link set br0 up
    hub sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter'
    images_make || { bad "images could not be made"; finish; exit 1; }
}

log_tail() { local f; for f in "$@"; do say "--- $f"; tail -n 15 "$T/log/$f.log" 2>/dev/null | cut -c1-300 | sed 's/^/    | /'; done; }
