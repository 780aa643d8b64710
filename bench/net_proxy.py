# SPDX-License-Identifier: Apache-2.0
"""The service proxy's part of bench/net: how long programming takes, one Service more, connections through a Service, processor
and memory while endpoints change; ours and upstream's kube-proxy, each in a network namespace of its own, one after the other
under one API server."""

import json
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import time

top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(top, "test", "proxy"))
from world import World, eventually  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, cube, peer, services, each, more, seconds):
        self.cube, self.peer = cube, peer
        self.services, self.each, self.more, self.seconds = services, each, more, seconds
        self.state = tempfile.mkdtemp(prefix="cube-bench-net-")
        self.w = World(cube, "cubebn", self.state, port=18543, service_cidrs="10.96.0.0/12")
        self.number = 0

    # ---- objects

    def ip(self, i):
        return f"10.{100 + i // 60000}.{i // 250 % 240 + 1}.{i % 250 + 1}"

    def add(self, i, n):
        self.w.service(f"s{i}", clusterIP=f"10.{96 + i // 60000}.{i // 250 % 240 + 1}.{i % 250 + 1}")
        self.slice(i, n)

    def slice(self, i, n, shift=0):
        eps = [{"addresses": [f"10.{110 + (i * 64 + k + shift) // 62500 % 100}.{(i * 64 + k + shift) // 250 % 250}.{(i * 64 + k + shift) % 250 + 1}"],
                "conditions": {"ready": True}, "nodeName": "there"} for k in range(n)]
        self.w.slice(f"s{i}", f"s{i}", eps)

    def remove(self, name):
        self.w.delete(f"{self.w.SERVICES}/{name}")
        self.w.delete(f"{self.w.SLICES}/{name}")

    def own(self, name, ip):
        """A Service whose endpoint is the proxy's namespace itself."""
        self.w.service(name, clusterIP=ip)
        self.w.slice(name, name, [{"addresses": [self.address], "conditions": {"ready": True}, "nodeName": "here"}])

    def load(self, first, last, n):
        for i in range(first, last):
            self.add(i, n)

    # ---- one proxy

    def start(self, who, mode):
        self.number += 1
        self.ns, net = f"p{self.number}", f"10.90.{self.number}"
        self.w.link(self.ns, f"v{self.number}", (f"{net}.1", f"{net}.2"), (f"fd90:{self.number}::1", f"fd90:{self.number}::2"))
        self.address = f"{net}.2"
        self.w.exec(self.ns, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.w.exec("node", "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")  # what asks too early hears of it at once
        kubeconfig = self.w.kubeconfig(f"kubeconfig-{self.number}", f"{net}.1")
        program = [self.cube, "proxy"] if who == "cube" else [self.peer]
        # What upstream needs to be as quick as it can: no pause between writes, requests without a limit.
        program += ["--iptables-min-sync-period", "0s"] if who == "cube" else []
        if who != "cube":
            conf = f"{self.state}/peer-{self.number}.json"
            json.dump({"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": mode, "hostnameOverride": "here",
                       "clientConnection": {"kubeconfig": kubeconfig, "qps": 500, "burst": 1000}, "clusterCIDR": "10.110.0.0/15",
                       "metricsBindAddress": "127.0.0.1:10249", "healthzBindAddress": "127.0.0.1:10256", "conntrack": {"maxPerCore": 0},
                       "nodePortAddresses": ["all"], mode: {"minSyncPeriod": "100ms", "syncPeriod": "30s"}}, open(conf, "w"))
            program += ["--config", conf]
        else:
            program += ["--kubeconfig", kubeconfig, "--hostname-override", "here", "--cluster-cidr", "10.110.0.0/15", "--proxy-mode", mode,
                        "--metrics-bind-address", "127.0.0.1:10249", "--healthz-bind-address", "127.0.0.1:10256", "--conntrack-max-per-core", "0"]
        self.begun = time.monotonic()
        self.p = self.w.start(self.ns, *program, ns=self.ns)

    def metric(self, name, more='ip_family="IPv4"'):
        status, text, _ = self.w.get(10249, "/metrics", self.ns)
        m = re.search(rf"^kubeproxy_{name}{{{more}}} (\S+)$", text, re.M) if status == 200 else None
        return float(m.group(1)) if m else 0.0

    def cpu(self):
        """Seconds of processor of the proxy and what it ran."""
        f = open(f"/proc/{self.p.pid}/stat").read().rsplit(")", 1)[1].split()
        return sum(int(x) for x in f[11:15]) / TICKS

    def rss(self, field="VmRSS"):
        return int(re.search(rf"{field}:\s+(\d+)", open(f"/proc/{self.p.pid}/status").read()).group(1)) / 1024

    def reaches(self, ip):
        return self.w.ask(self.ns, ip, 80, timeout=0.5).startswith("probe")

    def probe(self, n):
        """A new Service whose endpoint is the namespace itself: seconds from the answer to its creation until it serves."""
        ip, name = f"10.106.0.{n + 1}", f"probe{self.number}-{n}"
        self.w.service(name, clusterIP=ip)
        time.sleep(0.3)
        before = self.w.get(10249, "/metrics", self.ns)[1]
        t = time.monotonic()
        self.w.slice(name, name, [{"addresses": [self.address], "conditions": {"ready": True}, "nodeName": "here"}])
        good = eventually_fast(60, lambda: self.reaches(ip))
        took = time.monotonic() - t
        time.sleep(0.2)
        after = self.w.get(10249, "/metrics", self.ns)[1]
        self.remove(name)
        return (took if good else None), partial(after) - partial(before)

    def through(self, ip, seconds=3):
        """Connections through a Service one after the other: how long connect takes (the kernel alone answers), and how many
        with an answer there are in a second."""
        def loop():
            took, start = [], time.monotonic()
            while time.monotonic() < start + seconds:
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
                    t = time.perf_counter()
                    s.connect((ip, 80))
                    took.append(time.perf_counter() - t)
                    s.recv(16)
            return took, len(took) / (time.monotonic() - start)

        took, rate = self.w.within(self.ns, loop)
        took.sort()
        return took[len(took) // 2], took[len(took) * 99 // 100], rate

    def connections(self, r):
        # Nobody asks before the rules are there: the kernel would remember such a connection's port as one that goes nowhere.
        ip, name, before = "10.107.0.1", f"through{self.number}", self.metric("sync_proxy_rules_last_timestamp_seconds")
        self.own(name, ip)
        eventually(60, lambda: self.metric("sync_proxy_rules_last_timestamp_seconds") > before)
        wait_quiet(self, 60)
        if not eventually(60, lambda: self.reaches(ip)):
            return
        r["connect"], r["connect_99"], r["connect_rate"] = self.through(ip)
        self.remove(name)

    def serve(self):
        def open_socket():
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("0.0.0.0", 8080))
            s.listen(64)
            return s

        s = self.w.within(self.ns, open_socket)

        def body():
            while True:
                c, _ = s.accept()
                c.sendall(b"probe")
                c.close()

        threading.Thread(target=body, daemon=True).start()

    def measure(self, who, mode, wait):
        r = {"who": who, "mode": mode}
        self.start(who, mode)
        self.serve()

        def programmed():
            return self.metric("sync_proxy_rules_last_timestamp_seconds") and self.metric("sync_full_proxy_rules_duration_seconds_count")

        r["done"] = bool(eventually(wait, programmed))
        r["start"] = time.monotonic() - self.begun
        r["write"] = self.metric("sync_full_proxy_rules_duration_seconds_sum")
        r["cpu_start"], r["rss"] = self.cpu(), self.rss()
        if r["done"]:
            self.load(self.services, self.services + self.more, 1)
            time.sleep(2)
            wait_quiet(self, wait)
            took, cost = zip(*[self.probe(n) for n in range(9)])
            r["one"] = sorted(t for t in took if t is not None)[len([t for t in took if t is not None]) // 2] if any(took) else None
            r["one_write"] = sorted(cost)[len(cost) // 2]
            self.connections(r)
            self.churn(r)
        self.w.stop(self.ns)
        for i in range(self.services, self.services + self.more):
            self.remove(f"s{i}")
        return r

    def churn(self, r):
        """100 endpoints a second change."""
        cpu, t0 = self.cpu(), time.monotonic()
        k = 0
        while time.monotonic() - t0 < self.seconds:
            self.slice(k % self.services, self.each, shift=self.number * 100 + 1 + k // self.services)  # new to everybody
            k += 1
            time.sleep(max(0, t0 + k / 100 - time.monotonic()))
        span = time.monotonic() - t0
        r["churn_rate"] = k / span
        r["churn_cpu"] = (self.cpu() - cpu) / span * 100
        r["churn_rss"], r["peak"] = self.rss(), self.rss("VmHWM")


def partial(text):
    m = re.search(r'^kubeproxy_sync_proxy_rules_duration_seconds_sum{ip_family="IPv4"} (\S+)$', text, re.M)
    return float(m.group(1)) if m else 0.0


def eventually_fast(seconds, fn):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if fn():
            return True
        time.sleep(0.0005)
    return False


def wait_quiet(b, seconds):
    end = time.monotonic() + seconds
    last = -1.0
    while time.monotonic() < end:
        now = b.metric("sync_proxy_rules_last_timestamp_seconds")
        if now == last:
            return
        last = now
        time.sleep(2)


def row(name, values, fmt):
    return f"| {name} | " + " | ".join(fmt(v) if v is not None else "-" for v in values) + " |"


def table(results, b):
    head = "| | " + " | ".join(f"{r['who']} {r['mode']}" for r in results) + " |\n|---|" + "---|" * len(results)
    s, ms, us = (lambda v: f"{v:.2f} s"), (lambda v: f"{v * 1000:.1f} ms"), (lambda v: f"{v * 1e6:.0f} µs")
    pc, mb = (lambda v: f"{v:.1f} %"), (lambda v: f"{v:.0f} MiB")
    get = lambda k: [r.get(k) for r in results]  # noqa: E731
    return "\n".join([
        head,
        row(f"{b.services:,} Services, {b.services * b.each:,} endpoints: from start to rules in place", get("start"), s),
        row("of that writing the rules", get("write"), s),
        row("processor time for it", get("cpu_start"), s),
        row("memory after it", get("rss"), mb),
        row(f"one more at {b.services + b.more:,}: from creation to a connection", get("one"), ms),
        row("of that writing rules", get("one_write"), ms),
        row("first packet through a Service and its answer (connect), median", get("connect"), us),
        row("99th of a hundred", get("connect_99"), us),
        row("connections with an answer, one after the other", get("connect_rate"), lambda v: f"{v:.0f} /s"),
        row("100 endpoints/s change: processor", get("churn_cpu"), pc),
        row("memory meanwhile", get("churn_rss"), mb),
        row("most memory ever", get("peak"), mb),
    ])


def run(cube, peer, cases, services=5000, each=50, more=5000, seconds=60, wait=300):
    b = Bench(cube, peer, services, each, more, seconds)
    w = b.w
    results = []
    try:
        w.make_node("d0", "10.77.0.1/24")
        w.start_api("0.0.0.0")
        w.node()
        t = time.monotonic()
        b.load(0, services, each)
        print(f"{services} Services with {each} endpoints each made in {time.monotonic() - t:.0f} s", flush=True)
        for who, mode in cases:
            r = b.measure(who, mode, wait)
            results.append(r)
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in r.items()}, flush=True)
        return table(results, b)
    finally:
        if os.environ.get("KEEP"):
            print("state:", b.state)
        else:
            w.end()
            shutil.rmtree(b.state, ignore_errors=True)


if __name__ == "__main__":
    cube_program = os.environ.get("CUBE", os.path.join(top, "build", "cube"))
    peer_program = os.path.join(os.environ.get("CUBE_PEER", os.path.join(top, "build", "peer")), "kube-proxy")
    wanted = [(w, m) for w in ("cube", "upstream") for m in ("nftables", "iptables")]
    if not os.access(peer_program, os.X_OK):
        print(f"{peer_program} is not there: only ours (test/peer/build makes it)", file=sys.stderr)
        wanted = [c for c in wanted if c[0] == "cube"]
    only = os.environ.get("CASES")  # "cube/nftables upstream/nftables"
    if only:
        wanted = [tuple(c.split("/")) for c in only.split()]
    sizes = {k: int(os.environ[k.upper()]) for k in ("services", "each", "more", "seconds", "wait") if k.upper() in os.environ}
    print(run(cube_program, peer_program, wanted, **sizes))
