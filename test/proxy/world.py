# SPDX-License-Identifier: Apache-2.0
"""A small world for service proxies: a node, two pods on it, one far away and a client outside, each a network namespace;
an API server in the node's, to which objects are written directly. Used by test/script/62-proxy-modes and bench/net."""

import ctypes
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

SLOW = float(os.environ.get("CUBE_TEST_SLOW", "1"))  # how much longer to wait: emulated processors
CLONE_NEWNET = 0x40000000
IPPROTO_SCTP = 132
libc = ctypes.CDLL(None, use_errno=True)


def sh(*argv, check=True, **more):
    r = subprocess.run(argv, capture_output=True, text=True, **more)
    if check and r.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {r.stderr.strip() or r.stdout.strip()}")
    return r.stdout


def eventually(seconds, fn):
    """Until fn() is true; its last value."""
    end = time.monotonic() + seconds * SLOW
    while True:
        v = fn()
        if v or time.monotonic() > end:
            return v
        time.sleep(0.1)


class World:
    def __init__(self, cube, prefix, state, port=18443, service_cidrs="10.96.0.0/16,fd96::/112"):
        self.cube, self.prefix, self.state, self.port, self.service_cidrs = cube, prefix, state, port, service_cidrs
        self.procs, self.logs = {}, {}
        try:
            socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_SCTP).close()
            self.has_sctp = True
        except OSError:
            self.has_sctp = False

    # ---- namespaces

    def ns(self, name):
        return f"{self.prefix}-{name}"

    def clear(self):
        for line in sh("ip", "netns", "list", check=False).splitlines():
            name = line.split()[0]
            if name.startswith(self.prefix + "-"):
                sh("ip", "netns", "del", name, check=False)

    def exec(self, ns, *argv, check=True, **more):
        return sh("ip", "netns", "exec", self.ns(ns), *argv, check=check, **more)

    def sysctl(self, ns, name, value):
        self.exec(ns, "sh", "-c", f"echo {value} >/proc/sys/net/{name}")

    def link(self, name, node_if, four, six, bridge=None):
        """A veth from the node to a namespace of that name, which gets address .n of the networks."""
        sh("ip", "netns", "add", self.ns(name))
        sh("ip", "link", "add", node_if, "netns", self.ns("node"), "type", "veth", "peer", "name", "eth0", "netns", self.ns(name))
        if bridge:
            self.exec("node", "ip", "link", "set", node_if, "master", bridge)
            self.exec("node", "bridge", "link", "set", "dev", node_if, "hairpin", "on")
        else:
            self.exec("node", "ip", "addr", "add", four[0] + "/24", "dev", node_if)
            self.exec("node", "ip", "-6", "addr", "add", six[0] + "/64", "dev", node_if, "nodad")
        self.exec("node", "ip", "link", "set", node_if, "up")
        self.exec(name, "ip", "link", "set", "lo", "up")
        self.exec(name, "ip", "addr", "add", four[1] + "/24", "dev", "eth0")
        self.exec(name, "ip", "-6", "addr", "add", six[1] + "/64", "dev", "eth0", "nodad")
        self.exec(name, "ip", "link", "set", "eth0", "up")
        self.exec(name, "ip", "route", "add", "default", "via", four[0])
        self.exec(name, "ip", "-6", "route", "add", "default", "via", six[0])

    def make_node(self, bridge, *addresses):
        self.clear()
        os.makedirs(self.state, exist_ok=True)
        sh("ip", "netns", "add", self.ns("node"))
        self.exec("node", "ip", "link", "set", "lo", "up")
        self.exec("node", "ip", "link", "add", bridge, "type", "bridge")
        for a in addresses:
            self.exec("node", "ip", "addr", "add", a, "dev", bridge, *(["nodad"] if ":" in a else []))
        self.exec("node", "ip", "link", "set", bridge, "up")

    def make(self):
        self.make_node("br0", "10.78.0.1/24", "fd78::1/64")
        self.sysctl("node", "ipv4/ip_forward", 1)
        self.sysctl("node", "ipv6/conf/all/forwarding", 1)
        self.sysctl("node", "ipv6/icmp/ratelimit", 0)  # a refusal each time, not once a second
        self.sysctl("node", "ipv4/icmp_ratelimit", 0)
        self.link("a", "pa", ("10.78.0.1", "10.78.0.11"), ("fd78::1", "fd78::11"), "br0")
        self.link("b", "pb", ("10.78.0.1", "10.78.0.12"), ("fd78::1", "fd78::12"), "br0")
        self.link("far", "pf", ("10.79.0.1", "10.79.0.13"), ("fd78:9::1", "fd78:9::13"))
        self.link("client", "pc", ("10.77.0.1", "10.77.0.2"), ("fd77::1", "fd77::2"))
        self.link("world", "pw", ("10.76.0.1", "10.76.0.2"), ("fd76::1", "fd76::2"))
        self.exec("node", "ip", "route", "add", "default", "via", "10.76.0.2", "src", "10.77.0.1")
        self.exec("node", "ip", "-6", "route", "add", "default", "via", "fd76::2", "src", "fd77::1")

    def within(self, ns, fn):
        """fn() on a thread of that namespace."""
        out = {}

        def body():
            with open(f"/run/netns/{self.ns(ns)}") as f:
                if libc.setns(f.fileno(), CLONE_NEWNET):
                    out["error"] = OSError(ctypes.get_errno(), "setns")
                    return
            try:
                out["value"] = fn()
            except Exception as e:  # handed on
                out["error"] = e

        t = threading.Thread(target=body)
        t.start()
        t.join()
        if "error" in out:
            raise out["error"]
        return out["value"]

    # ---- servers that say who they are and whom they see

    def serve(self, ns, port=8080):
        def open_sockets():
            made = []
            for kind, protocol in ((socket.SOCK_DGRAM, 0), (socket.SOCK_STREAM, 0), (socket.SOCK_STREAM, IPPROTO_SCTP)):
                if protocol == IPPROTO_SCTP and not self.has_sctp:
                    continue
                s = socket.socket(socket.AF_INET6, kind, protocol)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                s.bind(("::", port))
                if kind == socket.SOCK_STREAM:
                    s.listen(512)
                made.append(s)
            return made

        packets, *streaming = self.within(ns, open_sockets)

        def text(peer):
            return f"{ns} {peer[0].removeprefix('::ffff:')}".encode()

        def streams(stream):
            while True:
                c, peer = stream.accept()
                try:
                    c.sendall(text(peer))
                except OSError:
                    pass
                c.close()

        def datagrams():
            while True:
                try:
                    _, peer = packets.recvfrom(2048)
                    packets.sendto(text(peer), peer)
                except OSError:
                    pass

        for s in streaming:
            threading.Thread(target=streams, args=(s,), daemon=True).start()
        threading.Thread(target=datagrams, daemon=True).start()

    def ask(self, ns, ip, port, timeout=1.0, udp=False, sctp=False):
        """What a server says to one connection from ns: "a 10.77.0.2", or how it failed."""
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET

        def call():
            with socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM, IPPROTO_SCTP if sctp else 0) as s:
                s.settimeout(timeout * SLOW)
                try:
                    s.connect((ip, port))
                    if udp:
                        s.send(b"?")
                    return s.recv(100).decode() or "closed"
                except ConnectionRefusedError:
                    return "refused"
                except (TimeoutError, socket.timeout):
                    return "timeout"
                except OSError as e:
                    return f"error {e.errno}"

        return self.within(ns, call)

    # ---- programs

    def start(self, name, *argv, ns="node", env=None):
        log = open(f"{self.state}/{name}.log", "a")
        p = subprocess.Popen(["ip", "netns", "exec", self.ns(ns), *argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                             env={**os.environ, **(env or {})})
        self.procs[name] = p
        return p

    def stop(self, name, sig=signal.SIGTERM):
        p = self.procs.pop(name, None)
        if p and p.poll() is None:
            p.send_signal(sig)
            p.wait()

    def end(self):
        for name in list(self.procs):
            self.stop(name)
        self.clear()

    def start_api(self, bind="127.0.0.1", deny_external_ips=False):
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
           "/CN=kube-apiserver", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{self.state}/key.pem", "-out",
           f"{self.state}/cert.pem")
        self.start("api", self.cube, "apiserver", "--bind-address", bind, "--secure-port", str(self.port), "--storage-memory",
                   "--data-dir", f"{self.state}/data", "--anonymous-auth", "--authorization-mode", "AlwaysAllow",
                   "--advertise-address", "10.77.0.1", "--service-cluster-ip-range", self.service_cidrs,
                   *([] if deny_external_ips else ["--disable-admission-plugins", "DenyServiceExternalIPs"]),
                   "--tls-cert-file", f"{self.state}/cert.pem", "--tls-private-key-file", f"{self.state}/key.pem",
                   "--service-account-signing-key-file", f"{self.state}/key.pem", "--service-account-key-file", f"{self.state}/key.pem",
                   "--service-account-issuer", "https://kubernetes.default.svc")
        self.kubeconfig("kubeconfig", "127.0.0.1")

        def ready():
            try:
                return self.call("GET", "/readyz")[0] == 200
            except OSError:
                return False

        if not eventually(20, ready):
            raise RuntimeError("the API server is not ready: " + open(f"{self.state}/api.log").read()[-2000:])

    def kubeconfig(self, name, host):
        path = f"{self.state}/{name}"
        with open(path, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "x",
                       "clusters": [{"name": "x", "cluster": {"server": f"https://{host}:{self.port}", "insecure-skip-tls-verify": True}}],
                       "users": [{"name": "x", "user": {}}],
                       "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]}, f)
        return path

    def connection(self):
        ctx = ssl._create_unverified_context()

        def connect():
            c = http.client.HTTPSConnection("127.0.0.1", self.port, context=ctx, timeout=60)
            c.connect()
            return c

        return self.within("node", connect)

    def call(self, method, path, body=None, kind="application/json"):
        for attempt in range(2):
            fresh = getattr(self, "conn", None) is None
            if fresh:
                self.conn = self.connection()
            try:
                self.conn.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": kind})
                r = self.conn.getresponse()
                return r.status, r.read().decode()
            except (OSError, http.client.HTTPException):  # a connection that was idle for long is closed
                self.conn = None
                if fresh or attempt:
                    raise
        raise AssertionError("not reached")

    def put(self, path, obj):
        """Makes or replaces an object of a collection."""
        name = obj["metadata"]["name"]
        status, text = self.call("POST", path, obj)
        if status == 409:
            status, text = self.call("PATCH", f"{path}/{name}", obj, "application/merge-patch+json")
        if status >= 300:
            raise RuntimeError(f"{path}/{name}: {status} {text}")
        return json.loads(text)

    def delete(self, path):
        status, text = self.call("DELETE", path)
        if status >= 300 and status != 404:
            raise RuntimeError(f"{path}: {status} {text}")

    # ---- objects

    SERVICES = "/api/v1/namespaces/default/services"
    SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"

    def node(self, zone="z1", **more):
        self.put("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "here", "labels": {"topology.kubernetes.io/zone": zone}, **more}})
        status = {"status": {"addresses": [{"type": "InternalIP", "address": "10.77.0.1"}, {"type": "InternalIP", "address": "fd77::1"}]}}
        code, text = self.call("PATCH", "/api/v1/nodes/here/status", status, "application/merge-patch+json")
        assert code == 200, text

    def service(self, name, ports=None, status=None, labels=None, **spec):
        ports = ports or [{"name": "web", "port": 80, "protocol": "TCP", "targetPort": 8080}]
        o = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
             "spec": {"ports": ports, **spec}}
        o = self.put(self.SERVICES, o)
        if status:
            code, text = self.call("PATCH", f"{self.SERVICES}/{name}/status", {"status": status}, "application/merge-patch+json")
            assert code == 200, text
        return o["spec"]

    IPS = {"IPv4": {"a": "10.78.0.11", "b": "10.78.0.12", "far": "10.79.0.13"},
           "IPv6": {"a": "fd78::11", "b": "fd78::12", "far": "fd78:9::13"}}

    def endpoints(self, service, *who, family="IPv4", port=8080, protocol="TCP", port_name="web", **conditions):
        """who: names of pods, or whole endpoints."""
        eps = []
        for w in who:
            if isinstance(w, dict):
                eps.append({"addresses": [self.IPS[family][w.pop("pod")]], "conditions": {"ready": True}, "nodeName": "there", **w})
                continue
            eps.append({"addresses": [self.IPS[family][w]], "nodeName": "there" if w == "far" else "here",
                        "conditions": {"ready": True, **conditions}})
        self.slice(f"{service}-{family.lower()}-{protocol.lower()}", service, eps, family, port, protocol, port_name)

    def slice(self, name, service, endpoints, family="IPv4", port=8080, protocol="TCP", port_name="web"):
        self.put(self.SLICES, {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
                               "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
                               "ports": [{"name": port_name, "port": port, "protocol": protocol}], "endpoints": endpoints})

    def remove(self, service):
        self.delete(f"{self.SERVICES}/{service}")
        for s in json.loads(self.call("GET", f"{self.SLICES}?labelSelector=kubernetes.io/service-name%3D{service}")[1])["items"]:
            self.delete(f"{self.SLICES}/{s['metadata']['name']}")

    # ---- the proxy

    def proxy(self, mode, *more):
        self.start("proxy", self.cube, "proxy", "--kubeconfig", f"{self.state}/kubeconfig", "--hostname-override", "here",
                   "--cluster-cidr", "10.78.0.0/15,fd78::/16", "--proxy-mode", mode, "--iptables-sync-period", "3s", "--ipvs-sync-period", "3s",
                   "--healthz-bind-address", "127.0.0.1:10256", "--metrics-bind-address", "127.0.0.1:10249", "--conntrack-max-per-core", "0", *more)

    def get(self, url_port, path, ns="node", ip="127.0.0.1"):
        def call():
            c = http.client.HTTPConnection(ip, url_port, timeout=3)
            try:
                c.request("GET", path)
                r = c.getresponse()
                return r.status, r.read().decode(), dict(r.getheaders())
            except OSError as e:
                return 0, str(e), {}

        return self.within(ns, call)

    def has_written(self):
        """Has this proxy written all its rules?"""
        return bool(re.search(r'^kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"} [1-9]', self.get(10249, "/metrics")[1], re.M))

    def rules(self, mode, six=False):
        """The proxy's rules as the kernel has them, without counters, handles and order of chains."""
        if mode == "nftables":
            text = self.exec("node", "nft", "-y", "list", "table", "ip6" if six else "ip", "cube-proxy", check=False)
            words = re.split(r"[\s,]+", text)
            return sorted(words)
        if mode == "ipvs":
            lines = self.exec("node", "ipset", "save", check=False).splitlines() + self.exec("node", "cat", "/proc/net/ip_vs").splitlines()[3:]
            lines = [re.sub(r"\s+\d+\s+\d+\s*$", "", l) for l in lines if not l.startswith("create")]
            lines = [l for l in lines if not re.search(r"Masq\s+0$", l)]  # those that leave when their connections end
            return sorted(lines + [l for l in self.exec("node", "iptables-save", check=False).splitlines() if l.startswith("-A KUBE-")])
        p = "ip6tables-save" if six else "iptables-save"
        lines = self.exec("node", p, check=False).splitlines()
        return sorted(re.sub(r"\[\d+:\d+\]", "", l) for l in lines if "KUBE-" in l)
