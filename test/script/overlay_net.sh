# SPDX-License-Identifier: Apache-2.0
# Shared by 61-overlay and bench/net_vxlan: machines that are network namespaces. n1 and n2 are on one network, n3 and n4 on
# another, r is the router between them, and the API server's machine (this one) is behind the router, too. Each machine has a
# bridge cni0 and one pod (p1 ...) that `cube cni` made. Sourced after lib.sh.

P=covl                          # of all names here
A=192.168.201 B=192.168.202 H=192.168.200
PODS=10.237
ns() { local n=$1; shift; ip netns exec "$P-$n" "$@"; }
api() { "$cube" kubectl --kubeconfig "$T/conf/admin.conf" "$@"; }
pod() { printf '%s' "$PODS.$1.2"; }
overlay_pids=()
export P A B H PODS T cube top

wire() { # machine network host-number
    ip link add "$P$1" type veth peer name eth0 netns "$P-$1" && ip link set "$P$1" netns "$P-r"
    ns r ip link set "$P$1" master "br$2" up
    ns "$1" ip link set lo up
    ns "$1" ip address add "$3/24" dev eth0
    ns "$1" ip link set eth0 up
    ns "$1" ip route add default via "${3%.*}.1"
    ns "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
}

net_make() {
    local i
    for i in r n1 n2 n3 n4 p1 p2 p3 p4; do ip netns add "$P-$i" || return 1; done
    ns r ip link set lo up
    for i in A B; do ns r ip link add br$i type bridge && ns r ip address add "${!i}.1/24" dev br$i && ns r ip link set br$i up; done
    ip link add ${P}h type veth peer name host netns $P-r
    ip address add $H.1/24 dev ${P}h && ip link set ${P}h up
    ns r ip address add $H.2/24 dev host && ns r ip link set host up
    ip route add $A.0/24 via $H.2; ip route add $B.0/24 via $H.2
    ns r sysctl -qw net.ipv4.ip_forward=1
    wire n1 A $A.11; wire n2 A $A.12; wire n3 B $B.13; wire n4 B $B.14
}

net_clear() {
    local i
    for i in "${overlay_pids[@]}"; do kill "$i" 2>/dev/null; wait "$i" 2>/dev/null; done
    overlay_pids=()
    for i in p1 p2 p3 p4 n1 n2 n3 n4 r; do ip netns delete "$P-$i" 2>/dev/null; done
    ip link delete ${P}h 2>/dev/null
    true
}

api_up() { # an API server and nothing else
    mkdir -p "$T"
    "$cube" up "${cluster_flags[@]}" --advertise-address $H.1 \
        --without controllers,scheduler,kubelet,proxy,dns,overlay,policy {lock_fd}>&-
}

node_object() { # number address [annotations as YAML flow]
    api apply -f - <<END >/dev/null
apiVersion: v1
kind: Node
metadata: {name: n$1, annotations: {${3:-}}}
spec: {podCIDR: $PODS.$1.0/24, podCIDRs: [$PODS.$1.0/24]}
END
    api patch node "n$1" --subresource=status --type=merge \
        -p "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"$2\"}]}}" >/dev/null
}

overlay_start() { # number flags...
    local n=$1
    shift
    ip netns exec "$P-n$n" "$cube" overlay --kubeconfig "$T/conf/admin.conf" --node-name "n$n" --cluster-cidr $PODS.0.0/16 \
        --net-config-path "$T/net-conf.json" --subnet-file "$T/n$n.env" "$@" {lock_fd}>&- >>"$T/overlay-n$n.log" 2>&1 </dev/null &
    overlay_pids+=($!)
}

pod_make() { # number mtu
    printf '{"cniVersion":"1.0.0","name":"net%s","type":"cube-cni","bridge":"cni0","isDefaultGateway":true,"mtu":%s,"ipam":{"type":"host-local","dataDir":"%s/cni%s","ranges":[[{"subnet":"%s.%s.0/24"}]]}}' \
        "$1" "$2" "$T" "$1" "$PODS" "$1" | ns "n$1" env CNI_COMMAND=ADD CNI_CONTAINERID="pod$1" CNI_NETNS=/run/netns/$P-p"$1" \
        CNI_IFNAME=eth0 CNI_PATH=/nowhere "$cube" cni
}
export -f ns api pod node_object pod_make
