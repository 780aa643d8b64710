#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts pods on one node and measures what its agent does about it: one line of JSON. Part of bench/node."""
import argparse
import base64
import datetime
import http.client
import json
import os
import pathlib
import ssl
import statistics
import tempfile
import threading
import time

NS = "/api/v1/namespaces/default/pods"


class Api:
    """As little of a client as there can be, so that it measures the server and not itself."""

    def __init__(self, kubeconfig):
        import yaml
        c = yaml.safe_load(open(kubeconfig))
        self.host = c["clusters"][0]["cluster"]["server"].split("//")[1]
        self.tls = ssl.create_default_context(cadata=base64.b64decode(c["clusters"][0]["cluster"]["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as f:
            user = c["users"][0]["user"]
            f.write(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))
            f.flush()
            self.tls.load_cert_chain(f.name)
        self.conn = http.client.HTTPSConnection(self.host, context=self.tls)

    def call(self, method, path, body=None):
        self.conn.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        r = self.conn.getresponse()
        data = r.read()
        if r.status >= 300 and r.status != 404:
            raise SystemExit(f"{method} {path}: {r.status} {data[:300]}")
        return data

    def watch(self, path, seen):
        """Calls seen(event) in a thread of its own, until the process ends."""
        conn = http.client.HTTPSConnection(self.host, context=self.tls)
        conn.request("GET", path)
        stream = conn.getresponse()

        def run():
            while line := stream.readline():
                seen(json.loads(line))
        threading.Thread(target=run, daemon=True).start()


def rss_kib(pid):
    return next(int(l.split()[1]) for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS:"))


def cpu_seconds(pid):
    total = 0
    for t in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((t / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            pass
    return total / 1e9


class Load:
    def __init__(self, o):
        self.o, self.api = o, Api(o.kubeconfig)
        self.running, self.gone, self.cond = {}, set(), threading.Condition()
        self.api.watch(NS + "?watch=1", self.seen)

    def seen(self, event):
        now, pod = time.monotonic(), event["object"]
        with self.cond:
            name = pod["metadata"].get("name")
            if event["type"] == "DELETED":
                self.gone.add(name)
            elif pod.get("status", {}).get("phase") == "Running":
                self.running.setdefault(name, now)
            self.cond.notify_all()

    def create(self, name):
        self.api.call("POST", NS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "nodeName": self.o.node, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": self.o.image, "command": ["sleep", "100000"]}]}})

    def wait(self, what, names, seconds):
        with self.cond:
            if not self.cond.wait_for(lambda: all(n in what for n in names), seconds):
                raise SystemExit(f"after {seconds} s {sum(n in what for n in names)} of {len(names)}")

    def start(self, name):
        begin = time.monotonic()
        self.create(name)
        self.wait(self.running, [name], 60)
        return self.running[name] - begin

    def delete(self, names):
        begin = time.monotonic()
        for n in names:
            self.api.call("DELETE", f"{NS}/{n}")
        self.wait(self.gone, names, 300)
        return time.monotonic() - begin


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def measure(o):
    load = Load(o)
    load.start("warm-up")
    load.delete(["warm-up"])
    time.sleep(5)
    r = {"rss_empty_kib": rss_kib(o.pid)}
    cpu = cpu_seconds(o.pid)
    one = [load.start(f"one-{i}") for i in range(50)]
    r["start_cpu_ms"] = (cpu_seconds(o.pid) - cpu) / 50 * 1000
    r["one_p50_ms"], r["one_p99_ms"] = statistics.median(one) * 1000, quantile(one, 0.99) * 1000
    load.delete([f"one-{i}" for i in range(50)])
    time.sleep(5)
    names, begin = [f"many-{i}" for i in range(o.pods)], {}
    for n in names:
        begin[n] = time.monotonic()
        load.create(n)
    load.wait(load.running, names, 300)
    many = [load.running[n] - begin[n] for n in names]
    r["many_p50_ms"], r["many_p99_ms"] = statistics.median(many) * 1000, quantile(many, 0.99) * 1000
    time.sleep(20)
    r["rss_full_kib"] = rss_kib(o.pid)
    cpu = cpu_seconds(o.pid)
    time.sleep(30)
    r["idle_percent"] = (cpu_seconds(o.pid) - cpu) / 30 * 100
    r["delete_s"] = load.delete(names)
    r["pods"] = o.pods
    print(json.dumps({k: round(v, 3) for k, v in r.items()}))


def table(ours, theirs):
    a, b = json.load(open(ours)), json.load(open(theirs))
    n = a["pods"]
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    print(f"# Node agent, {datetime.date.today()}\n\n{os.cpu_count()} cores of {model}, Linux {os.uname().release}. One run of `bench/node`: the same")
    print("containerd and API server (Cube's); upstream's kubelet v1.37.2 after ours. Pods have one container with a local image.\n")
    print("| figure | Cube's kubelet | upstream's | ratio |\n|---|---|---|---|")
    per = lambda x: (x["rss_full_kib"] - x["rss_empty_kib"]) / n
    for name, get, unit, digits in (
            ("pod create to Running, one by one, p50", lambda x: x["one_p50_ms"], "ms", 0),
            ("the same, p99 of 50", lambda x: x["one_p99_ms"], "ms", 0),
            (f"{n} pods at once, p50", lambda x: x["many_p50_ms"], "ms", 0),
            ("the same, p99", lambda x: x["many_p99_ms"], "ms", 0),
            (f"{n} pods deleted", lambda x: x["delete_s"], "s", 1),
            ("agent's processor time a pod start", lambda x: x["start_cpu_ms"], "ms", 1),
            ("agent's memory, no pods", lambda x: x["rss_empty_kib"] / 1024, "MiB", 1),
            (f"agent's memory, {n} pods", lambda x: x["rss_full_kib"] / 1024, "MiB", 1),
            ("the difference, a pod", per, "KiB", 1),
            (f"agent's processor, idle with {n} pods", lambda x: x["idle_percent"], "% of a core", 3)):
        x, y = get(a), get(b)
        print(f"| {name} | {x:.{digits}f} {unit} | {y:.{digits}f} {unit} | {y / x:.1f} |" if x > 0 else f"| {name} | {x:.{digits}f} {unit} | {y:.{digits}f} {unit} | |")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--table", nargs=2)
    for name in ("kubeconfig", "node", "image"):
        args.add_argument("--" + name)
    args.add_argument("--pid", type=int)
    args.add_argument("--pods", type=int, default=100)
    o = args.parse_args()
    table(*o.table) if o.table else measure(o)


main()
