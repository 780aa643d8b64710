# SPDX-License-Identifier: Apache-2.0
"""Rounds of kill -9 of a kubelet while Pods with volumes run, start, stop and mount, for kill-kubelet.

Usage: kill_kubelet.py ROUNDS SEED KUBECONFIG FOLDER GROUP NETWORK COMMAND...   (COMMAND is the kubelet, run in the foreground)

Some Pods stay all the time: their processes must be the same ones at the end. Others come and go all the time, also while no
kubelet runs; no container of any Pod may have been restarted, none that ends well may be told to have failed. When all Pods are
deleted nothing is left below FOLDER/data/kubelet, in the container runtime, of cgroups below GROUP, of NETWORK's addresses, links
and network namespaces. The caller gives us /run/netns of our own.
"""
import atexit, base64, glob, http.client, json, os, random, re, signal, ssl, subprocess, sys, tempfile, threading, time

rounds, seed, kubeconfig, folder, group, network, command = (
    int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5], sys.argv[6], sys.argv[7:])
NS, IMAGE, KUBELET = "/api/v1/namespaces/default", "cube.local/hello:1", f"{folder}/data/kubelet"
AT_ONCE, CLAIMS = 12, 3
# containerd 1.6 forgets the process it has begun for a sandbox when who asked for it goes away; no kubelet can know of it.
RUNTIMES = "shims (containerd's)"
rand, problems, counts = random.Random(seed), [], {"made": 0, "deleted": 0, "ended well": 0}
STAY = "trap 'exit 0' TERM; while :; do sleep 0.2; done"


def problem(text):
    if text not in problems:
        problems.append(text)


class Api:
    def __init__(self):
        text = open(kubeconfig).read()
        find = lambda key: base64.b64decode(re.search(key + r": *(\S+)", text).group(1))
        at = tempfile.mkdtemp(dir=folder)
        for name, key in (("ca", "certificate-authority-data"), ("cert", "client-certificate-data"), ("key", "client-key-data")):
            open(f"{at}/{name}", "wb").write(find(key))
        self.context = ssl.create_default_context(cafile=f"{at}/ca")
        self.context.load_cert_chain(f"{at}/cert", f"{at}/key")
        self.host, self.port = re.search(r"server: *https://([^:\s]+):(\d+)", text).groups()
        self.c = None

    def call(self, method, path, body=None):
        self.c = self.c or http.client.HTTPSConnection(self.host, int(self.port), context=self.context, timeout=60)
        self.c.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        r = self.c.getresponse()
        return r.status, json.loads(r.read() or "{}")

    def items(self, what):
        return self.call("GET", f"{NS}/{what}")[1].get("items", [])


VOLUMES = {
    "empty": {"emptyDir": {}},
    "memory": {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    "config": {"configMap": {"name": "settings"}},
    "secret": {"secret": {"secretName": "access"}},
    "all": {"projected": {"sources": [{"configMap": {"name": "settings"}}, {"secret": {"name": "access"}},
                                      {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                                      {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]}},
    "ephemeral": {"ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}}},
}


def claim(name):
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}


def pod(name, kinds, script, policy, init=False):
    """A Pod with these volumes; a kind that is not in VOLUMES is the name of a claim. Writable ones are also used by subPath."""
    volumes, mounts = [], []
    for k in kinds:
        volumes.append({"name": k, **VOLUMES.get(k, {"persistentVolumeClaim": {"claimName": k}})})
        mounts.append({"name": k, "mountPath": f"/{k}"})
        if k == "empty":
            mounts.append({"name": k, "mountPath": "/part", "subPath": "part"})
    spec = {"restartPolicy": policy, "terminationGracePeriodSeconds": 2, "volumes": volumes,
            "containers": [{"name": "c", "image": IMAGE, "command": ["sh", "-c", script], "volumeMounts": mounts}]}
    if init:
        spec["initContainers"] = [
            {"name": "before", "image": IMAGE, "command": ["sh", "-c", "sleep 0.2"], "volumeMounts": mounts},
            {"name": "beside", "image": IMAGE, "restartPolicy": "Always", "command": ["sh", "-c", STAY], "volumeMounts": mounts}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


class Churn(threading.Thread):
    """Makes and deletes Pods until told to end."""

    def __init__(self):
        super().__init__(daemon=True)
        self.api, self.rand, self.number, self.live, self.end = Api(), random.Random(seed + 1), 0, [], threading.Event()

    def run(self):
        while not self.end.wait(self.rand.uniform(0.05, 0.5)):
            try:
                self.make() if len(self.live) < AT_ONCE and self.rand.random() < 0.6 else self.delete()
            except (OSError, http.client.HTTPException) as e:
                problem(f"the API: {e}")
                self.api.c = None

    def make(self):
        self.number += 1
        name = f"p{self.number}"
        kinds = self.rand.sample(sorted(VOLUMES), self.rand.randint(1, 4))
        if self.rand.random() < 0.4:
            kinds.append(f"claim-{self.rand.randrange(CLAIMS)}")
        ends = self.rand.random() < 0.4
        body = pod(name, kinds, f"sleep {self.rand.uniform(0, 1.5):.2f}" if ends else STAY, "Never" if ends else "Always", self.rand.random() < 0.3)
        code, answer = self.api.call("POST", f"{NS}/pods", body)
        if code != 201:
            problem(f"{name}: {code} {answer.get('message')}")
            return
        self.live.append(name)
        counts["made"] += 1

    def delete(self):
        if not self.live:
            return
        name = self.live.pop(self.rand.randrange(len(self.live)))
        self.api.call("DELETE", f"{NS}/pods/{name}?gracePeriodSeconds={self.rand.choice((0, 1, 1, 2))}")
        counts["deleted"] += 1


class Kubelet:
    def __init__(self):
        self.p = None

    def start(self):
        with open(f"{folder}/kubelet.log", "ab") as log:
            self.p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def end(self):
        if self.p and self.p.poll() is None:
            self.p.kill()

    def kill(self):
        if self.p.poll() is not None:
            problem(f"the kubelet had ended by itself: {self.p.returncode}")
        self.p.send_signal(signal.SIGKILL)
        self.p.wait()


def processes(uids=None):
    """(pid, start time, Pod) of all below GROUP, or of these Pods."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = open(f"/proc/{pid}/cgroup").read()
            if group in text:
                comm, fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)
                uid = re.search(r"pod([0-9a-f-]{36})", text.replace("_", "-"))
                # the children of a loop come and go; who made them stays
                if not comm.endswith("(sleep") and (uids is None or (uid and uid.group(1) in uids)):
                    found.append((int(pid), fields.split()[19], uid and uid.group(1)))
        except OSError:
            pass
    return sorted(found)


def residents(uids):
    """Those that stay. A shell's child is a shell, too, until it has become what it is to be: it is seen once at the most."""
    found = set(processes(uids))
    for _ in range(3):
        time.sleep(0.1)
        found &= set(processes(uids))
    return found


def changed_processes(uids, before):
    """Residents that went, or what came and stays."""
    came = None
    for _ in range(10):
        now = set(processes(uids))
        if before - now:
            return sorted(before - now)
        came = now - before if came is None else came & now
        if not came:
            return []
        time.sleep(0.1)
    return sorted(came)


def statuses(p):
    return p["status"].get("containerStatuses", []) + p["status"].get("initContainerStatuses", [])


def look(pods):
    """What must be true of every Pod at every time."""
    for p in pods:
        name, deleted = p["metadata"]["name"], "deletionTimestamp" in p["metadata"]
        for s in statuses(p):
            if s["restartCount"]:
                problem(f"{name}/{s['name']}: {s['restartCount']} restarts: {json.dumps(s.get('lastState'))}")
        if p["status"].get("phase") == "Failed" and not deleted:
            problem(f"{name}: Failed: {p['status'].get('reason')} {p['status'].get('message')} {json.dumps([s['state'] for s in statuses(p)])[:600]}")


def until(seconds, what, test):
    end = time.monotonic() + seconds
    while True:
        left = test()
        if not left:
            return True
        if time.monotonic() > end:
            problem(f"{what}: {str(left)[:1500]}")
            return False
        time.sleep(0.3)


def output(*words):
    return [x for x in subprocess.run(words, capture_output=True, text=True).stdout.splitlines() if x]


def leaks():
    """What is left, by kind."""
    ctr = ["ctr", "--address", f"{folder}/run/containerd/containerd.sock", "-n", "k8s.io"]
    kubepods = [d for d in glob.glob(f"/sys/fs/cgroup/**{group}/**/pod*", recursive=True) + glob.glob(f"/sys/fs/cgroup/*{group}/**/pod*", recursive=True)
                if os.path.isdir(d)]
    return {
        "mounts": sorted(x.split()[1] for x in open("/proc/self/mounts") if f" {KUBELET}/" in x or f" {folder}/run/containerd/" in x),
        "Pod folders": os.listdir(f"{KUBELET}/pods"),
        "log folders": os.listdir(f"{folder}/pod-logs"),
        "volumes": os.listdir(f"{KUBELET}/local-path") if os.path.exists(f"{KUBELET}/local-path") else [],
        "containers and sandboxes": output(*ctr, "containers", "ls", "-q"),
        "tasks": output(*ctr, "tasks", "ls", "-q"),
        RUNTIMES: output("pgrep", "-f", f"containerd-shim.*{folder}/"),
        "processes": processes(),
        "cgroups": sorted(set(kubepods)),
        "addresses": [f for f in glob.glob(f"{folder}/data/cni-addresses/*/*") if re.fullmatch(r"[0-9.]+", os.path.basename(f))],
        "links": output("ip", "-o", "link", "show", "master", network),
        "network namespaces": os.listdir("/run/netns"),
    }


def runtime_view():
    """What the container runtime says and what there is, for whoever must find out why something is stuck."""
    ctr = ["ctr", "--address", f"{folder}/run/containerd/containerd.sock", "-n", "k8s.io"]
    print("\n".join(["  tasks:"] + output(*ctr, "tasks", "ls") + ["  containers:"] + output(*ctr, "containers", "ls", "-q")))
    print("\n".join(["  bundles:"] + glob.glob(f"{folder}/run/containerd/**/k8s.io/*", recursive=True)))
    print("\n".join(["  shims:"] + output("pgrep", "-af", f"containerd-shim.*{folder}/")))
    print("\n".join(["  log:"] + [x[:400] for x in open(f"{folder}/data/log/containerd.log", errors="replace").read().splitlines() if "level=error" in x or "level=warn" in x][-60:]))


def main():
    api, kubelet, began = Api(), Kubelet(), time.monotonic()
    atexit.register(kubelet.end)
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(1))
    api.call("POST", f"{NS}/configmaps", {"metadata": {"name": "settings"}, "data": {"a": "1", "b": "2"}})
    api.call("POST", f"{NS}/secrets", {"metadata": {"name": "access"}, "stringData": {"password": "x"}})
    for i in range(CLAIMS + 1):
        api.call("POST", f"{NS}/persistentvolumeclaims", claim(f"claim-{i}"))
    kubelet.start()
    stay = [("stay-volumes", ["empty", "memory", "config", "all", "secret"], False), ("stay-claim", [f"claim-{CLAIMS}", "ephemeral"], False), ("stay-beside", ["empty", "all"], True)]
    for name, kinds, init in stay:
        code, answer = api.call("POST", f"{NS}/pods", pod(name, kinds, STAY, "Always", init))
        if code != 201:
            problem(f"{name}: {answer.get('message')}")
    waiting = lambda: [(p["metadata"]["name"], p["status"].get("phase"), [s["state"] for s in statuses(p)]) for p in api.items("pods") if p["status"].get("phase") != "Running"
                       or not all(s["ready"] for s in p["status"]["containerStatuses"])]
    if not until(90, "the Pods that stay run", waiting):
        kubelet.kill()
        return report(0, began, {})
    uids = {p["metadata"]["uid"] for p in api.items("pods")}
    before = residents(uids)
    churn = Churn()
    churn.start()
    done = 0
    for done in range(1, rounds + 1):
        time.sleep(rand.choice((rand.uniform(0.02, 0.4), rand.uniform(0.4, 2.5))))
        kubelet.kill()
        time.sleep(rand.choice((0, 0, rand.uniform(0.1, 1.0))))
        kubelet.start()
        look(api.items("pods"))
        changed = changed_processes(uids, before)
        if changed:
            problem(f"round {done}: processes {changed} of those that stay have changed")
            before = residents(uids)
        if len(problems) > 20:
            break
    churn.end.set()
    churn.join()
    # The last kubelet lives: everything comes to where it should be.
    until(120, "all Pods run or have ended", lambda: [(p["metadata"]["name"], p["status"].get("phase"), [s["state"] for s in statuses(p)])
          for p in api.items("pods") if "deletionTimestamp" in p["metadata"] or p["status"].get("phase") not in ("Running", "Succeeded")])
    look(api.items("pods"))
    counts["ended well"] = sum(p["status"].get("phase") == "Succeeded" for p in api.items("pods"))
    changed = changed_processes(uids, before)
    if changed:
        problem(f"processes {changed} of those that stay have changed")
    held = {k: len(v) for k, v in leaks().items()}
    api.call("DELETE", f"{NS}/pods", {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 1})
    if not until(90, "Pods that do not go", lambda: [p["metadata"]["name"] for p in api.items("pods")]):
        runtime_view()
    api.call("DELETE", f"{NS}/persistentvolumeclaims")
    until(60, "claims that do not go", lambda: [p["metadata"]["name"] for p in api.items("persistentvolumeclaims")])
    until(60, "left", lambda: {k: v for k, v in leaks().items() if v and k != RUNTIMES})
    left = {k: len(v) for k, v in leaks().items()}
    kubelet.kill()
    return report(done, began, {k: (held[k], left[k]) for k in held})


def keep_result(done, began, figures):
    """For docs/results."""
    lines = [f"# kill -9 of the kubelet, {time.strftime('%Y-%m-%d')}, {output('containerd', '--version')[0]}, {os.cpu_count()} processors", "",
             f"{done} kills in {time.monotonic() - began:.0f} s (seed {seed}); Pods made: {counts['made']}, deleted: {counts['deleted']}; problems: {len(problems)}.", "",
             "| what | with the last Pods | after all were deleted |", "|---|---|---|"]
    lines += [f"| {kind} | {held} | {left} |" for kind, (held, left) in figures.items()]
    lines += [""] + [f"- {p}" for p in problems] if problems else []
    open(os.environ["CUBE_KILL_RESULT"], "w").write("\n".join(lines) + "\n")


def report(done, began, figures):
    for p in problems[:30]:
        print(f"  {p}")
    for kind, (held, left) in figures.items():
        print(f"  {kind:25} {held:4} at the end, {left} after all Pods were deleted")
    if os.environ.get("CUBE_KILL_RESULT"):
        keep_result(done, began, figures)
    print(f"{done} kills in {time.monotonic() - began:.0f} s, " + ", ".join(f"{n} Pods {k}" for k, n in counts.items() if k != "ended well") +
          f", {len(problems)} problems (seed {seed})")
    return 1 if problems else 0


sys.exit(main())
