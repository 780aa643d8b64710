# SPDX-License-Identifier: Apache-2.0
# What every network has to do, whoever made its parts: pods, Services, names, host ports and policies with real traffic on two
# nodes, seen from pods, from the nodes and from the hub, which is no part of the cluster. Sourced after lib.sh.
# Before: `nodes_are NODE1 NODE2` and programs on1, on2 in $T/bin that run a command on a node; at1, at2 are the nodes' addresses.

world=10.199.0.1 # the hub
export world

# nodes_are NODE1 ADDRESS1 NODE2 ADDRESS2
nodes_are() { node1=$1 at1=$2 node2=$3 at2=$4; export node1 at1 node2 at2; }

ask() { curl -sm 5 "http://$1/cgi-bin/who"; }                                # from where it runs
from_hub() { hub curl -sm 5 "http://$1/cgi-bin/who"; }
from_node() { "on$1" curl -sm 5 "http://$2/cgi-bin/who"; }
from_pod() { K exec "client$1" -- fetch "$2/cgi-bin/who"; }
client_ip() { K get pod "client$1" -o 'jsonpath={.status.podIP}'; }
# seen N COMMAND...: how many different ones answer in N tries; what else there is to say goes to $T/log/seen.
seen() {
    local n=$1 out; shift
    out=$(for _ in $(seq "$n"); do "$@" || echo "failed: $?"; done 2>&1)
    grep -v -e '^failed' -e '^nc:' -e '^command' <<<"$out" | awk 'NF {print $1}' | sort -u | wc -l
    { echo "$*"; sort <<<"$out" | uniq -c; } >>"$T/log/seen"
}
dig() { on1 kdig +noall +answer +nottl +timeout=3 +retry=1 @$DNS "$@" | sed 's/[\t ]\+/ /g' | sort; }
dig_header() { on1 kdig +noall +header +timeout=3 +retry=1 @$DNS "$@"; }
ip_of() { K get service "$1" -o 'jsonpath={.spec.clusterIP}'; }
reverse() { awk -F. '{print $4"."$3"."$2"."$1".in-addr.arpa."}' <<<"$1"; }
endpoint_count() { K get endpointslices -l "kubernetes.io/service-name=$1" -o 'jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}' | wc -w; }
lines_of() { "$@" | grep -c .; }
export -f ask from_hub from_node from_pod client_ip seen dig dig_header ip_of reverse endpoint_count lines_of
export DNS T

net_objects() {
    cat <<END
apiVersion: v1
kind: ConfigMap
metadata: {name: who}
data:
  run: |
    mkdir -p /w/cgi-bin
    printf '#!/bin/sh\nprintf "Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n"\necho \$HOSTNAME \$REMOTE_ADDR\n' >/w/cgi-bin/who
    chmod +x /w/cgi-bin/who
    exec httpd -f -p "\$1" -h /w
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]
      containers:
      - name: web
        image: $image
        command: [sh, /who/run, "8080"]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
        volumeMounts: [{name: who, mountPath: /who}]
      volumes: [{name: who, configMap: {name: who}}]
END
    service() { printf -- '---\n{apiVersion: v1, kind: Service, metadata: {name: %s}, spec: {%s}}\n' "$1" "$2"; }
    service web 'selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]'
    service sticky 'selector: {app: web}, sessionAffinity: ClientIP, ports: [{port: 80, targetPort: 8080}]'
    service open 'type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 31080}]'
    service local 'type: NodePort, externalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 31081}]'
    service headless 'clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]'
    service nobody 'type: NodePort, selector: {app: nobody}, ports: [{port: 80, nodePort: 31082}]'
    service outside 'type: ExternalName, externalName: example.org'
    service by-hand 'ports: [{name: http, port: 80, targetPort: 8099}]'
    service self 'selector: {app: client1}, ports: [{port: 80, targetPort: 8080}]'
    service host 'selector: {app: host}, ports: [{port: 80, targetPort: 18088}]'
    service sub 'clusterIP: None, selector: {app: port}, ports: [{name: u, port: 8080}]'
    service echo 'selector: {app: port}, ports: [{name: u, protocol: UDP, port: 5300}, {name: t, port: 5300, targetPort: 8080}]'
    printf -- '---\n{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: by-hand-1, labels: {kubernetes.io/service-name: by-hand}}, addressType: IPv4, ports: [{name: http, port: 8099}], endpoints: [{addresses: ["%s"]}]}\n' $world
    pod() { # name, node, more of the spec, port, more of the container
        printf -- '---\n{apiVersion: v1, kind: Pod, metadata: {name: %s, labels: {app: %s}}, spec: {nodeName: %s, terminationGracePeriodSeconds: 0, %svolumes: [{name: who, configMap: {name: who}}], containers: [{name: c, image: "%s", command: [sh, /who/run, "%s"], volumeMounts: [{name: who, mountPath: /who}]%s}]}}\n' "$1" "$1" "$2" "$3" "$image" "$4" "${5:-}"
    }
    pod client1 "$node1" '' 8080
    pod client2 "$node2" '' 8080
    pod host "$node2" 'hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet, ' 18088
    pod port "$node2" 'hostname: named, subdomain: sub, ' 8080 ', ports: [{containerPort: 8080, hostPort: 18087}]'
}

# A datagram's echo with its sender in a pod's network, and the question.
cat_udp_programs() {
    cat >"$T/udp.py" <<'END'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 5300))
while True:
    text, who = s.recvfrom(2000)
    s.sendto(b"echo " + text, who)
END
    cat >"$T/ask.py" <<'END'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
s.sendto(b"hello", (sys.argv[1], 5300))
print(s.recv(2000).decode())
END
}
container_pid() { first_process "$(K get pod "$1" -o 'jsonpath={.status.containerStatuses[0].containerID}')"; }
in_pod() { local pid; pid=$(container_pid "$1"); shift; nsenter -t "$pid" -n -- "$@"; }
export -f container_pid in_pod

# net_up: the objects are there and every pod runs.
net_up() {
    cat_udp_programs
    net_objects >"$T/net.yaml"
    check "$1: apply" 'pod/port created' K apply -f "$T/net.yaml"
    check "$1: roll-out" 'successfully rolled out' K rollout status deployment/web --timeout=120s
    check "$1: pods" 'condition met' K wait pod/client1 pod/client2 pod/host pod/port --for=condition=Ready --timeout=60s
    hub python3 -m http.server 8099 --bind $world --directory "$T/world" >/dev/null 2>&1 & serves $!
    mkdir -p "$T/world/cgi-bin"; echo world >"$T/world/cgi-bin/who"
}
net_pods() { K get pods -o wide; K get endpointslices; on1 ip route; on2 ip route; }

# net_down: all of it goes, and the names and rules with it.
net_down() {
    local p ip; ip=$(ip_of self)
    for p in "${servers[@]:-}"; do [ -z "$p" ] || kill "$p" 2>/dev/null; done
    servers=()
    K delete -f "$T/net.yaml" --timeout=60s >/dev/null 2>&1 && ok || bad "$1: all is deleted" "$(K get all)"
    check_fails "$1: a deleted Service answers no more" '7|28|124' '' from_node 1 "$ip"
}
servers=()
serves() { servers+=("$1"); pid_add "$1"; }

# net_checks NAME: everything. Objects are as they were afterwards.
net_checks() {
    local n=$1 web c1 c2
    until_is 30 "$n: endpoints" 4 endpoint_count web || net_pods
    web=$(ip_of web) c1=$(client_ip 1) c2=$(client_ip 2)
    eventually 20 from_pod 1 "$web"; eventually 20 from_pod 2 "$web"; eventually 20 from_pod 1 web.default
    is "$n: a ClusterIP leads to all, from a pod" 4 seen 40 from_pod 1 "$web"
    is "$n: from a pod of the other node" 4 seen 40 from_pod 2 "$web"
    is "$n: from a node" 4 seen 40 from_node 1 "$web"
    check "$n: pods see each other as they are, across nodes" "client2 \[?(::ffff:)?$c1" from_pod 1 "$c2:8080"
    check "$n: and back" "client1 \[?(::ffff:)?$c2" from_pod 2 "$c1:8080"
    check "$n: through a Service, too" "client1 \[?(::ffff:)?$c2" from_pod 2 self
    check "$n: a pod reaches itself through its Service" '^client1 ' from_pod 1 self
    is "$n: session affinity" 1 seen 15 from_pod 2 "$(ip_of sticky)"
    check "$n: an endpoint in a node's own network" '.' from_pod 1 host
    check "$n: the API server by its ClusterIP, from a pod" '^(200|401|403)' in_pod client2 curl -skm 5 -o /dev/null -w '%{http_code}' "https://$SERVICE1/version"
    is "$n: NodePort, from outside" 4 seen 40 from_hub "$at1:31080"
    is "$n: on the other node" 4 seen 40 from_hub "$at2:31080"
    check "$n: from a pod" 'web-' from_pod 1 "$at2:31080"
    check "$n: from a node" 'web-' from_node 1 "$at1:31080"
    check "$n: externalTrafficPolicy Local keeps the client's address" "web-\S+ \[?(::ffff:)?$world" from_hub "$at2:31081"
    is "$n: and leads to the node's own" 2 seen 30 from_hub "$at2:31081"
    check_fails "$n: without endpoints refused" 7 '' from_hub "$at1:31082"
    check_fails "$n: the ClusterIP, too" 7 '' from_node 1 "$(ip_of nobody)"
    check "$n: a Service without selector" '^world' from_pod 2 by-hand
    check "$n: host port, from outside" '^named ' from_hub "$at2:18087"
    check "$n: from a pod of the other node" '^named ' from_pod 1 "$at2:18087"
    check "$n: from its own node" '^named ' from_node 2 "$at2:18087"
    net_names "$n"
    net_udp "$n"
    net_policy "$n"
    net_changes "$n"
}

net_names() {
    local n=$1 web; web=$(ip_of web)
    is "$n: A" "web.default.svc.cluster.local. IN A $web" dig web.default.svc.cluster.local A
    is "$n: A over TCP" "web.default.svc.cluster.local. IN A $web" dig +tcp web.default.svc.cluster.local A
    is "$n: SRV" "_http._tcp.web.default.svc.cluster.local. IN SRV 0 100 80 web.default.svc.cluster.local." dig _http._tcp.web.default.svc.cluster.local SRV
    is "$n: PTR" "$(reverse "$web") IN PTR web.default.svc.cluster.local." dig -x "$web"
    is "$n: ExternalName" "outside.default.svc.cluster.local. IN CNAME example.org." dig outside.default.svc.cluster.local CNAME
    is "$n: headless, one a pod" 4 lines_of dig headless.default.svc.cluster.local A
    is "$n: a pod with host name and subdomain" "named.sub.default.svc.cluster.local. IN A $(K get pod port -o 'jsonpath={.status.podIP}')" dig named.sub.default.svc.cluster.local A
    check "$n: no such name" NXDOMAIN dig_header absent.default.svc.cluster.local A
    check "$n: the name without AAAA" NOERROR dig_header web.default.svc.cluster.local AAAA
    check "$n: search path in a pod" 'web-' from_pod 1 web
    check "$n: on the other node" 'web-' from_pod 2 web.default.svc
    check "$n: in a pod with the node's network" 'web-' K exec host -- fetch web/cgi-bin/who
}

net_udp() {
    local n=$1
    local pid; pid=$(container_pid port)
    nsenter -t "$pid" -n -- python3 "$T/udp.py" >/dev/null 2>&1 & serves $! # the one of before is there still, unless its pod is new
    eventually 10 in_pod client1 python3 "$T/ask.py" "$(ip_of echo)"
    check "$n: a UDP Service, from a pod" 'echo hello' in_pod client1 python3 "$T/ask.py" "$(ip_of echo)"
    check "$n: from a node" 'echo hello' on1 python3 "$T/ask.py" "$(ip_of echo)"
    check "$n: the same port of TCP" '^named ' from_pod 1 echo:5300
}

# Who may, through a Service and straight; and back.
net_policy() {
    local n=$1 c1; c1=$(client_ip 1)
    K apply -f - >/dev/null <<'END'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only}
spec: {podSelector: {matchLabels: {app: client1}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
END
    refused() { ! from_pod 2 self 2>/dev/null; }; refused_straight() { ! from_pod 2 "$1:8080" 2>/dev/null; }
    eventually 15 refused && ok || bad "$n: a policy shuts others out"
    refused_straight "$c1" && ok || bad "$n: straight, too"
    check "$n: and lets in whom it names" '^client1 ' sh -c 'K exec deployment/web -- fetch self/cgi-bin/who'
    K delete networkpolicy only >/dev/null
    eventually 15 from_pod 2 self && ok || bad "$n: open again without it"
}

net_changes() {
    local n=$1 web first; web=$(ip_of web)
    K scale deployment web --replicas=1 >/dev/null
    until_is 30 "$n: endpoints follow the pods" 1 endpoint_count web
    one() { [ "$(seen 12 from_node 1 "$web")" = 1 ]; }
    eventually 10 one && ok || bad "$n: and the rules follow them"
    is "$n: nobody fails" 12 lines_of sh -c "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do on1 curl -sfm 5 http://$web/cgi-bin/who; done"
    first=$(K get pods -l app=web -o name)
    K label "$first" app=other --overwrite >/dev/null
    another() { local a; a=$(from_node 1 "$web") && [ -n "$a" ] && [ "${a%% *}" != "${first#pod/}" ]; }
    eventually 60 another && ok || bad "$n: a pod whose label goes is no endpoint"
    K delete "$first" --now >/dev/null
    K patch service web --type=json -p '[{"op":"replace","path":"/spec/ports/0/port","value":8000}]' >/dev/null
    eventually 15 from_node 1 "$web:8000" && ok || bad "$n: another port"
    gone_port() { ! from_node 1 "$web"; }
    eventually 15 gone_port && ok || bad "$n: the old one is gone"
    K patch service web --type=json -p '[{"op":"replace","path":"/spec/ports/0/port","value":80}]' >/dev/null
    K scale deployment web --replicas=4 >/dev/null
    check "$n: back to four" 'successfully rolled out' K rollout status deployment/web --timeout=90s
}
