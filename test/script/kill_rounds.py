# SPDX-License-Identifier: Apache-2.0
"""Rounds of kill -9 of the whole cube process under a load of writes, for 40-kill.

Usage: kill_rounds.py ROUNDS SEED KUBECONFIG PIDFILE GROUP COMMAND...   (COMMAND starts the cluster and waits until it serves)

Writers create, update and delete ConfigMaps and note what was acknowledged. After each restart: whatever was acknowledged is there
(or, when one more write was under way, what that wrote), what was deleted stays deleted, revisions are beyond the highest one seen,
and the pods' processes and restart counts are what they were.
"""
import base64, http.client, json, os, random, re, signal, ssl, subprocess, sys, tempfile, threading, time

rounds, seed, kubeconfig, pid_file, group, up = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5], sys.argv[6:]
NS = "/api/v1/namespaces/load"
WRITERS, NAMES = 4, 40
rand = random.Random(seed)
problems, acked = [], 0


def read_kubeconfig():
    text = open(kubeconfig).read()
    find = lambda key: base64.b64decode(re.search(key + r": *(\S+)", text).group(1))
    folder = tempfile.mkdtemp()
    for name, key in (("ca", "certificate-authority-data"), ("cert", "client-certificate-data"), ("key", "client-key-data")):
        open(f"{folder}/{name}", "wb").write(find(key))
    context = ssl.create_default_context(cafile=f"{folder}/ca")
    context.load_cert_chain(f"{folder}/cert", f"{folder}/key")
    host, port = re.search(r"server: *https://([^:\s]+):(\d+)", text).groups()
    return host, int(port), context


host, port, context = read_kubeconfig()


class Api:
    """One connection. Raises OSError or HTTPException when the answer does not come: then nobody knows what was done."""

    def __init__(self):
        self.c = None

    def call(self, method, path, body=None):
        if not self.c:
            self.c = http.client.HTTPSConnection(host, port, context=context, timeout=10)
        try:
            self.c.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
            r = self.c.getresponse()
            return r.status, json.loads(r.read())
        except (OSError, http.client.HTTPException, ValueError):
            self.c = None
            raise


class Writer(threading.Thread):
    """Owns its names: nobody else writes them. known[name] = (revision, value), or None when it is not there."""

    def __init__(self, number):
        super().__init__(daemon=True)
        self.number, self.api, self.known, self.pending, self.n = number, Api(), {}, None, 0
        self.lock, self.go, self.rand = threading.Lock(), threading.Event(), random.Random(seed * 100 + number)

    def run(self):
        while True:
            self.go.wait()
            with self.lock:
                try:
                    self.write()
                except (OSError, http.client.HTTPException, ValueError):
                    self.go.clear()  # killed: wait for the next round, self.pending says what was under way

    def write(self):
        global acked
        name, self.n = f"w{self.number}-{self.rand.randrange(NAMES)}", self.n + 1
        have, value = self.known.get(name), f"{self.number}.{self.n}." + "x" * self.rand.choice((10, 300, 3000))
        path = f"{NS}/configmaps/{name}"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": value}}
        if have and self.rand.random() < 0.2:
            self.pending = (name, None)
            code, answer = self.api.call("DELETE", path)
            new = None
        elif have:
            self.pending = (name, value)
            body["metadata"]["resourceVersion"] = have[0]
            code, answer = self.api.call("PUT", path, body)
            new = (answer.get("metadata", {}).get("resourceVersion"), value)
        else:
            self.pending = (name, value)
            code, answer = self.api.call("POST", f"{NS}/configmaps", body)
            new = (answer.get("metadata", {}).get("resourceVersion"), value)
        if code not in (200, 201):
            self.pending = None
            if code not in (429, 500, 503, 504):  # shutting down or not up yet: nothing was promised
                problems.append(f"{name}: {code} {answer.get('message')}")
            return
        if new and have and int(new[0]) <= int(have[0]):
            problems.append(f"{name}: revision {new[0]} after {have[0]}")
        self.known[name], self.pending = new, None
        acked += 1


def verify(writers, seen):
    """Everything acknowledged is in the list; seen: the highest revision known before. Returns the list's."""
    code, answer = Api().call("GET", f"{NS}/configmaps")
    there = {o["metadata"]["name"]: (o["metadata"]["resourceVersion"], o["data"]["v"]) for o in answer["items"] if "v" in o.get("data", {})}
    for w in writers:
        for name in {f"w{w.number}-{i}" for i in range(NAMES)}:
            want, have = w.known.get(name), there.get(name)
            allowed = [want[1] if want else None]
            if w.pending and w.pending[0] == name:
                allowed.append(w.pending[1])
            if (have[1] if have else None) not in allowed:
                problems.append(f"{name}: acknowledged {want and (want[0], want[1][:20])}, under way {w.pending}, there is {have and (have[0], have[1][:20])}")
            if have and want and have[1] == want[1] and have[0] != want[0]:
                problems.append(f"{name}: revision {have[0]} instead of {want[0]}")
            w.known[name] = have
        w.pending = None
    revision = int(answer["metadata"]["resourceVersion"])
    highest = max([seen] + [int(h[0]) for h in there.values()])
    if revision < highest:
        problems.append(f"the list is of revision {revision}, but {highest} was seen")
    return max(revision, highest)


def processes():
    found = []
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and group in open(f"/proc/{pid}/cgroup").read():
                found.append((int(pid), open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[19]))
        except OSError:
            pass
    return sorted(found)


def restarts():
    code, answer = Api().call("GET", "/api/v1/namespaces/default/pods")
    return sorted((o["metadata"]["name"], o["metadata"]["uid"], o["status"].get("phase"), tuple(c["restartCount"] for c in o["status"].get("containerStatuses", [])))
                  for o in answer["items"])


def kill():
    try:
        pid = int(open(pid_file).read().split()[0])
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError, IndexError):
        return
    while os.path.exists(f"/proc/{pid}") and "Z" not in open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]:
        time.sleep(0.005)


def start():
    r = subprocess.run(up, capture_output=True, text=True)
    if r.returncode:
        problems.append(f"cube up: {r.stdout[-300:]} {r.stderr[-500:]}")
    return r.returncode == 0


def main():
    code, answer = Api().call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "load"}})
    writers = [Writer(i) for i in range(WRITERS)]
    for w in writers:
        w.start()
    before, before_restarts, seen = processes(), restarts(), 0
    slowest, began = 0, time.monotonic()
    for i in range(rounds):
        for w in writers:
            w.go.set()
        time.sleep(rand.uniform(0.05, 0.8))
        kill()
        for w in writers:
            w.go.clear()
        if i % 5 == 4:  # and once more on the way up
            p = subprocess.Popen(up, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rand.uniform(0, 0.3))
            kill()
            p.wait()
        t = time.monotonic()
        if not start():
            break
        slowest = max(slowest, time.monotonic() - t)
        for w in writers:
            w.lock.acquire()  # the write under way has failed
        seen = verify(writers, seen)
        now = processes()
        if now != before:
            problems.append(f"round {i}: processes {sorted(set(now) ^ set(before))} are not those of before")
            before = now
        now_restarts = restarts()
        if now_restarts != before_restarts:
            problems.append(f"round {i}: pods {now_restarts} instead of {before_restarts}")
            before_restarts = now_restarts
        for w in writers:
            w.lock.release()
        if len(problems) > 20:
            break
    for p in problems[:30]:
        print(f"  {p}")
    print(f"{i + 1} rounds in {time.monotonic() - began:.0f} s, {acked} acknowledged writes, revision {seen}, "
          f"slowest start {slowest:.2f} s, {len(before)} processes of {len(before_restarts)} pods, {len(problems)} problems (seed {seed})")
    return 1 if problems else 0


sys.exit(main())
