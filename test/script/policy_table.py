#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Network policies as a truth table: what a small model of its own expects for every (from, to, port) against what a
connection finds, under one set of policies after another. Servers and clients run in the network namespaces of real pods.

policy_table.py OUTSIDE_NETNS OUTSIDE_IP...   (kubectl in PATH; pods made by itself; an address of each family that pods have)

SCTP is spoken by raw sockets, since many kernels have none: the first packet of a handshake and its answer.
"""
import copy
import ctypes
import ipaddress
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
TCP_PORTS, UDP_PORTS, SCTP_PORTS = [80, 81, 8080, 9005], [5300], [7777, 7778]
WAIT, PATIENCE = 0.7, 25


def kubectl(*args, stdin=None):
    p = subprocess.run(["kubectl", *args], input=stdin, capture_output=True, text=True, timeout=120)
    if p.returncode:
        raise SystemExit(f"kubectl {' '.join(args)}: {p.stderr}")
    return p.stdout


def apply(*objects):
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


# ---- the world ---------------------------------------------------------------------------------------------------

NAMESPACES = {"x": {"team": "x"}, "y": {"team": "y"}, "z": {"team": "z", "kind": "quiet"}}
# name: namespace, labels, node number, the port called "web"
PODS = {
    "xa": ("x", {"app": "a"}, 0, 8080), "xb": ("x", {"app": "b"}, 1, 8080), "xc": ("x", {"app": "c", "tier": "back"}, 0, 81),
    "ya": ("y", {"app": "a"}, 1, 8080), "yb": ("y", {"app": "b", "tier": "back"}, 0, 81),
    "za": ("z", {"app": "a"}, 0, 8080), "zb": ("z", {"app": "b"}, 1, 80),
}


class World:
    def __init__(self, netns, outside):
        self.outside_netns, self.outside = netns, outside
        self.outside_range = str(ipaddress.ip_network(outside[0] + "/24", strict=False))
        self.namespaces = {n: dict(labels, **{"kubernetes.io/metadata.name": n}) for n, labels in NAMESPACES.items()}
        self.pods = {n: {"ns": p[0], "labels": dict(p[1], pod=n), "web": p[3]} for n, p in PODS.items()}
        self.policies = {}

    def create(self):
        nodes = kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()
        apply(*[{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n, "labels": NAMESPACES[n]}} for n in NAMESPACES])
        for n in NAMESPACES:
            deadline = time.time() + 30
            while subprocess.run(["kubectl", "-n", n, "get", "serviceaccount", "default"], capture_output=True).returncode:
                if time.time() > deadline:
                    raise SystemExit(f"no service account in {n}")
                time.sleep(0.2)
        for name, (ns, labels, node, web) in PODS.items():
            apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns, "labels": dict(labels, pod=name)},
                   "spec": {"nodeName": nodes[node], "terminationGracePeriodSeconds": 0, "containers": [
                       {"name": "c", "image": "cube.local/hello:1", "command": ["sleep", "99999"],
                        "env": [{"name": "POLICY_TABLE", "value": name}],
                        "ports": [{"name": "web", "containerPort": web}, {"name": "dns", "containerPort": 5300, "protocol": "UDP"}]}]}},
                  {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": ns},
                   "spec": {"selector": {"pod": name}, "ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 8000, "targetPort": 80}]}})
        kubectl("wait", "--for=condition=Ready", "pod", "--all", "-A", "--timeout=60s")
        for name, p in self.pods.items():
            p["ips"] = kubectl("-n", p["ns"], "get", "pod", name, "-o", "jsonpath={.status.podIPs[*].ip}").split()
            p["services"] = kubectl("-n", p["ns"], "get", "service", name, "-o", "jsonpath={.spec.clusterIPs[*]}").split()
            if len(p["ips"]) != len(self.outside) or len(p["services"]) != len(self.outside):
                raise SystemExit(f"{name} has {p['ips']}, {p['services']}: not one of each family")
            p["netns"] = f"/proc/{self.pid_of(name)}/ns/net"

    @staticmethod
    def pid_of(name):
        want = f"POLICY_TABLE={name}".encode()
        for pid in os.listdir("/proc"):
            try:
                if pid.isdigit() and want in open(f"/proc/{pid}/environ", "rb").read().split(b"\0"):
                    return pid
            except OSError:
                pass
        raise SystemExit(f"no process of {name}")


# ---- the model: NetworkPolicy as its API reference tells it -------------------------------------------------------

def matches(selector, labels):
    for k, v in (selector.get("matchLabels") or {}).items():
        if labels.get(k) != v:
            return False
    for e in selector.get("matchExpressions") or []:
        has, values = e["key"] in labels, e.get("values") or []
        good = {"In": has and labels.get(e["key"]) in values, "NotIn": not has or labels[e["key"]] not in values,
                "Exists": has, "DoesNotExist": not has}[e["operator"]]
        if not good:
            return False
    return True


def peer_matches(world, policy_ns, peer, ip):
    if "ipBlock" in peer:
        a = ipaddress.ip_address(ip)
        return a in ipaddress.ip_network(peer["ipBlock"]["cidr"]) and not any(
            a in ipaddress.ip_network(e) for e in peer["ipBlock"].get("except") or [])
    pod = next((p for p in world.pods.values() if ip in p["ips"]), None)
    if not pod or not matches(peer.get("podSelector", {}), pod["labels"]):
        return False
    if "namespaceSelector" in peer:
        return matches(peer["namespaceSelector"], world.namespaces[pod["ns"]])
    return pod["ns"] == policy_ns


def port_matches(world, port, to_ip, proto, number):
    if port.get("protocol", "TCP") != proto:
        return False
    want = port.get("port")
    if want is None:
        return True
    if isinstance(want, str):
        pod = next((p for p in world.pods.values() if to_ip in p["ips"]), None)
        return bool(pod) and {"web": (pod["web"], "TCP"), "dns": (5300, "UDP")}.get(want) == (number, proto)
    return want <= number <= port.get("endPort", want)


def direction_allows(world, pod, direction, other_ip, to_ip, proto, number):
    isolated = False
    for (ns, _), spec in world.policies.items():
        types = spec.get("policyTypes") or ["Ingress"] + (["Egress"] if spec.get("egress") else [])
        if ns != pod["ns"] or not matches(spec.get("podSelector", {}), pod["labels"]) or direction not in types:
            continue
        isolated = True
        for rule in spec.get(direction.lower()) or []:
            peers, ports = rule.get("from") or rule.get("to"), rule.get("ports")
            if (not peers or any(peer_matches(world, ns, p, other_ip) for p in peers)) and (
                    not ports or any(port_matches(world, p, to_ip, proto, number) for p in ports)):
                return True
    return not isolated


def allowed(world, source, target, proto, number, family):
    if source == target:
        return True
    from_pod, to_pod = world.pods.get(source), world.pods.get(target)
    from_ip = from_pod["ips"][family] if from_pod else world.outside[family]
    to_ip = to_pod["ips"][family] if to_pod else world.outside[family]
    return (not from_pod or direction_allows(world, from_pod, "Egress", to_ip, to_ip, proto, number)) and (
        not to_pod or direction_allows(world, to_pod, "Ingress", from_ip, to_ip, proto, number))


# ---- traffic -----------------------------------------------------------------------------------------------------

def enter(path):
    fd = os.open(path, os.O_RDONLY)
    if LIBC.setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), f"setns {path}")
    os.close(fd)


def crc32c(data):
    c = 0xffffffff
    for byte in data:
        c ^= byte
        for _ in range(8):
            c = c >> 1 ^ (0x82f63b78 if c & 1 else 0)
    return c ^ 0xffffffff


def sctp_packet(source, target, tag, kind):
    """RFC 9260: INIT (1; its tag is 0) or INIT ACK (2), of the least length."""
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20, 0x1234, 65536, 1, 1, 7)
    head = struct.pack("!HHI", source, target, tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def sctp_socket(family):
    s = socket.socket(family, socket.SOCK_RAW, 132)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return s


def sctp_receive(s):
    """(who, source port, target port, kind of the first chunk)"""
    data, who = s.recvfrom(2000)
    if s.family == socket.AF_INET:
        data = data[(data[0] & 15) * 4:]
    return (who[0], *struct.unpack("!HH", data[:4]), data[12]) if len(data) >= 32 else (who[0], 0, 0, 0)


def answer(s):
    if s.type == socket.SOCK_STREAM:
        s.accept()[0].close()
    elif s.type == socket.SOCK_DGRAM:
        s.sendto(b"yes", s.recvfrom(100)[1])
    else:
        who, source, target, kind = sctp_receive(s)
        if target in SCTP_PORTS and kind == 1:
            s.sendto(sctp_packet(target, source, 0x1234, 2), (who, 0))


def serve(path):
    pid = os.fork()
    if pid:
        return pid
    LIBC.prctl(1, signal.SIGKILL)
    enter(path)
    poll, by_fd = select.poll(), {}
    for family in (socket.AF_INET, socket.AF_INET6):
        listening = [sctp_socket(family)]
        for kind, ports in ((socket.SOCK_STREAM, TCP_PORTS), (socket.SOCK_DGRAM, UDP_PORTS)):
            for port in ports:
                s = socket.socket(family, kind)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                s.bind(("", port))
                if kind == socket.SOCK_STREAM:
                    s.listen(128)
                listening.append(s)
        for s in listening:
            by_fd[s.fileno()] = s
            poll.register(s, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            answer(by_fd[fd])


def family_of(ip):
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


class SctpProbes:
    """One raw socket a family for all targets; each target has a port of its own on our side."""

    def __init__(self, poll, targets, answers):
        self.answers, self.by_port, self.by_fd, open_ = answers, {}, {}, {}
        for i, (ip, port, proto) in enumerate(targets):
            if proto != "SCTP":
                continue
            family = family_of(ip)
            if family not in open_:
                s = open_[family] = sctp_socket(family)
                self.by_fd[s.fileno()] = s
                poll.register(s, select.POLLIN)
            ours = 20000 + (os.getpid() * 131 + i) % 40000
            self.by_port[ours] = (i, port)
            try:
                open_[family].sendto(sctp_packet(ours, port, 0, 1), (ip, 0))
            except OSError:
                pass  # as shut as can be

    def take(self, fd):
        _, source, target, kind = sctp_receive(self.by_fd[fd])
        i, port = self.by_port.get(target, (None, None))
        if i is not None and port == source and kind == 2:
            self.answers[i] = True
            del self.by_port[target]


def probe(path, targets):
    """Which of targets ((ip, port, proto) list) answer: asked all at once."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        enter(path)
        poll, open_ = select.poll(), {}
        answers = [False] * len(targets)
        sctp = SctpProbes(poll, targets, answers)
        for i, (ip, port, proto) in enumerate(targets):
            if proto == "SCTP":
                continue
            s = socket.socket(family_of(ip), socket.SOCK_STREAM if proto == "TCP" else socket.SOCK_DGRAM)
            s.setblocking(False)
            s.connect_ex((ip, port))
            if proto == "UDP":
                try:
                    s.send(b"?")
                except OSError:
                    pass
            open_[s.fileno()] = (i, s)
            poll.register(s, select.POLLOUT if proto == "TCP" else select.POLLIN)
        end = time.time() + WAIT
        while (open_ or sctp.by_port) and time.time() < end:
            for fd, _ in poll.poll(max(1, int((end - time.time()) * 1000))):
                if fd in sctp.by_fd:
                    sctp.take(fd)
                    continue
                i, s = open_.pop(fd)
                poll.unregister(fd)
                answers[i] = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                if answers[i] and targets[i][2] == "UDP":
                    try:
                        answers[i] = s.recv(10) == b"yes"
                    except OSError:
                        answers[i] = False
                s.close()
        os.write(w, bytes(answers))
        os._exit(0)
    os.close(w)
    return pid, r


def rows_of(world, source, target, family):
    rows, ip = [], world.pods[target]["ips"][family] if target in world.pods else world.outside[family]
    for proto, ports in (("TCP", TCP_PORTS), ("UDP", UDP_PORTS), ("SCTP", SCTP_PORTS)):
        if proto == "SCTP" and source == target:
            continue  # a raw socket hears itself
        for port in ports:
            rows.append((source, target, (ip, port, proto), allowed(world, source, target, proto, port, family)))
    if target in world.pods and source in world.pods:  # by its Service: policies are about what stands behind
        rows.append((source, target, (world.pods[target]["services"][family], 8000, "TCP"),
                     allowed(world, source, target, "TCP", 80, family)))
    return rows


def table(world):
    """All triples: (source, target, what is asked, expected)."""
    rows = []
    places = [*world.pods, "outside"]
    for source in places:
        for target in places:
            if source == target == "outside":
                continue
            for family in range(len(world.outside)):
                rows += rows_of(world, source, target, family)
    return rows


def observe(world, rows):
    running = []
    for source in {r[0] for r in rows}:
        mine = [i for i, r in enumerate(rows) if r[0] == source]
        path = world.pods[source]["netns"] if source in world.pods else world.outside_netns
        running.append((mine, *probe(path, [rows[i][2] for i in mine])))
    seen = [False] * len(rows)
    for mine, pid, r in running:
        got = b""
        while chunk := os.read(r, 65536):
            got += chunk
        os.close(r)
        os.waitpid(pid, 0)
        if len(got) != len(mine):
            raise SystemExit("a prober died")
        for i, g in zip(mine, got):
            seen[i] = bool(g)
    return seen


class Judge:
    def __init__(self, world):
        self.world, self.rows, self.wrong, self.blocked = world, 0, 0, 0

    def check(self, name, some_blocked=True):
        rows = table(self.world)
        start, end = time.time(), time.time() + PATIENCE
        while True:
            seen = observe(self.world, rows)
            bad = [(r, s) for r, s in zip(rows, seen) if r[3] != s]
            if not bad or time.time() > end:
                break
            time.sleep(0.1)
        blocked = sum(not r[3] for r in rows)
        print(f"{name}: {len(rows)} pairs, {blocked} blocked, {len(bad)} wrong, {time.time() - start:.1f} s", flush=True)
        for (source, target, what, want), _ in bad[:12]:
            print(f"    {source} -> {target} {what}: should be {'open' if want else 'shut'}")
        if some_blocked == (blocked == 0):
            print("    the table says nothing")
            bad.append(None)
        self.rows += len(rows)
        self.wrong += len(bad)
        self.blocked += blocked

    def policy(self, ns, name, spec):
        if spec is None:
            kubectl("-n", ns, "delete", "networkpolicy", name)
            del self.world.policies[ns, name]
            return
        apply({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": ns}, "spec": spec})
        self.world.policies[ns, name] = copy.deepcopy(spec)

    def clear(self):
        for ns, name in list(self.world.policies):
            self.policy(ns, name, None)


# ---- the policies ------------------------------------------------------------------------------------------------

ALL, A, B = {}, {"matchLabels": {"app": "a"}}, {"matchLabels": {"app": "b"}}
BACK = {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["back", "middle"]}]}


def block(cidr, *but):
    return {"ipBlock": {"cidr": cidr, **({"except": list(but)} if but else {})}}


def run(world, j):
    ip = {n: p["ips"][0] for n, p in world.pods.items()}
    outside, outside6 = world.outside[0], world.outside[1] if len(world.outside) > 1 else None
    j.check("no policy", some_blocked=False)
    j.policy("x", "deny", {"podSelector": ALL})
    j.check("nobody may send to x")
    j.policy("x", "friends", {"podSelector": A, "ingress": [{"from": [{"podSelector": B}, {"namespaceSelector": {"matchLabels": {"team": "y"}}}]}]})
    j.check("but b, and all of y, to a")
    j.policy("x", "both", {"podSelector": BACK, "ingress": [{"from": [
        {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["z"]}]}, "podSelector": BACK}],
        "ports": [{"port": 80}]}]})
    j.check("a namespace and a pod together")
    j.policy("x", "deny", None)
    j.check("the denial goes")
    j.clear()
    j.policy("y", "out", {"podSelector": ALL, "policyTypes": ["Egress"]})
    j.check("y may send nothing")
    j.policy("y", "out", {"podSelector": ALL, "policyTypes": ["Egress"], "egress": [
        {"to": [{"namespaceSelector": ALL, "podSelector": A}], "ports": [{"port": "web"}, {"port": "dns", "protocol": "UDP"}]}]})
    j.check("but to ports by their names")
    j.policy("y", "out", {"podSelector": B, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 80, "endPort": 8080}]}]})
    j.check("the policy is edited: a range, for some pods")
    j.policy("z", "in", {"podSelector": ALL, "ingress": [{"ports": [{"port": 8000, "endPort": 9100}, {"port": 5300, "protocol": "UDP"},
        {"port": 7778, "protocol": "SCTP"}]}, {"from": [{"podSelector": ALL}]}]})
    j.check("another direction, another namespace")
    j.clear()
    half = str(ipaddress.ip_network(ip["xa"] + "/24", strict=False))
    j.policy("z", "blocks", {"podSelector": ALL, "policyTypes": ["Ingress", "Egress"],
                             "ingress": [{"from": [block(half, ip["xa"] + "/32"), block(outside + "/32")]}],
                             "egress": [{"to": [block("0.0.0.0/0", half, outside + "/32")]}, {"to": [block(world.outside_range)], "ports": [{"port": 80}]}]})
    j.check("ranges with exceptions, the outside, too")
    j.policy("x", "out", {"podSelector": A, "egress": [{"to": [block(world.outside_range)]}], "policyTypes": ["Egress"]})
    j.check("x may only send outside")
    j.clear()
    if outside6:
        half6 = str(ipaddress.ip_network(world.pods["xa"]["ips"][1] + "/64", strict=False))
        j.policy("z", "blocks", {"podSelector": ALL, "policyTypes": ["Ingress", "Egress"],
                                 "ingress": [{"from": [block(half6, world.pods["xa"]["ips"][1] + "/128"), block(outside6 + "/128")]}],
                                 "egress": [{"to": [block("::/0", half6, outside6 + "/128")]}, {"to": [block("0.0.0.0/0")], "ports": [{"protocol": "SCTP"}]}]})
        j.check("ranges of IPv6, with exceptions; SCTP by IPv4 only")
        j.policy("x", "web", {"podSelector": ALL, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": A}], "ports": [{"port": "web"}, {"port": 7777, "endPort": 7778, "protocol": "SCTP"}]}]})
        j.check("a port by its name in both families, a range of SCTP's")
        j.clear()
    j.policy("x", "quiet", {"podSelector": ALL, "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"kind": "quiet"}}}]}]})
    j.check("a namespace by its label")
    kubectl("label", "namespace", "y", "kind=quiet")
    world.namespaces["y"]["kind"] = "quiet"
    kubectl("label", "namespace", "z", "kind-")
    del world.namespaces["z"]["kind"]
    j.check("namespaces change labels")
    j.policy("y", "mine", {"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Ingress", "Egress"], "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "new"}}}]}]})
    j.check("a selects, nobody is selected")
    kubectl("-n", "y", "label", "pod", "yb", "app=new", "--overwrite")
    world.pods["yb"]["labels"]["app"] = "new"
    j.check("a pod becomes a peer")
    kubectl("-n", "x", "label", "pod", "xa", "app=z", "--overwrite")
    kubectl("-n", "y", "label", "pod", "ya", "app=free", "--overwrite")
    world.pods["xa"]["labels"]["app"], world.pods["ya"]["labels"]["app"] = "z", "free"
    j.check("a pod is under no policy any more")


def main():
    world = World(sys.argv[1], sys.argv[2:])
    world.create()
    servers = [serve(p["netns"]) for p in world.pods.values()] + [serve(world.outside_netns)]
    time.sleep(0.5)
    j = Judge(world)
    try:
        run(world, j)
        # The end is left standing for the script: what it does to the nodes must not change the table.
        while (line := sys.stdin.readline().strip()) and line != "end":
            j.check(line)
            print(f"total: {j.rows} pairs, {j.wrong} wrong", flush=True)
    finally:
        for pid in servers:
            os.kill(pid, signal.SIGKILL)
    print(f"total: {j.rows} pairs, {j.blocked} blocked, {j.wrong} wrong")
    return 1 if j.wrong or j.rows < 200 or j.blocked < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
