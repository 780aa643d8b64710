#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks two API servers the same thing, made out of valid objects by one change each, and says where the answers differ.

usage: api_diff.py --ref URL --cube URL --cert F --key F --cacert F [--kind REGEX] [--mode create,update,status,patch,meta]
                   [--limit N] [--path REGEX] [-v]
The objects are those of the corpus (test/corpus) and of api_objects.jsonl; the fields come from the reference's
/openapi/v3, so every field of every kind is set, emptied, doubled and given odd values. Creates and updates are
dry runs. What is compared: code, reason, details, fields and reasons of the causes, and the whole object when it was
accepted. Exit status is 0 when there are no differences.
"""
import argparse, copy, gzip, importlib.util, json, os, re, sys
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("replay", os.path.join(HERE, "..", "corpus", "replay.py"))
replay = importlib.util.module_from_spec(spec)
spec.loader.exec_module(replay)

NS = "api-diff"
LONG = "x" * 300
STRINGS = ["", " ", "Not_Valid!", LONG, "unknown", "valid-name", "1.2.3.4", "fd00::1", "/abs/path", "a/../b", "example.com/x", "10.0.0.0/24",
           "https://example.com/x", "80", "example.com"]
INTS = [-1, 0, 1, 2, 1001, 65536, 2147483647]
QUANTITIES = ["-1", "0", "1", "1500m", "5Gi", "abc"]
INTSTR = [-1, 0, 1, 65536, "50%", "150%", "x", "", "Not_Valid!", "0%"]
TIMES = ["2024-01-01T00:00:00Z", "x"]
MICRO = ["2024-01-01T00:00:00.000000Z", "x"]
SKIP = {"apiVersion", "kind", "metadata", "status"}


class Server:
    def __init__(self, url, a):
        self.client = replay.Client(url, a.cert, a.key, None, a.cacert, False)

    def ask(self, req, subst=None):
        return self.client.send(req, subst)

    def json(self, method, path, body=None, headers=None):
        code, _, raw = self.client.send({"method": method, "path": path, "body": body, "headers": headers})
        try:
            return code, json.loads(raw)
        except ValueError:
            return code, {}


class Schemas:
    """What /openapi/v3 says of the types of a group version."""

    def __init__(self, server):
        self.server, self.cache = server, {}

    def doc(self, gv):
        path = "api/v1" if gv == "v1" else "apis/" + gv
        if path not in self.cache:
            self.cache[path] = self.server.json("GET", "/openapi/v3/" + path)[1].get("components", {}).get("schemas", {})
        return self.cache[path]

    def root(self, gv, kind):
        group, _, version = gv.rpartition("/")
        for s in self.doc(gv).values():
            for x in s.get("x-kubernetes-group-version-kind", []):
                if (x["group"], x["version"], x["kind"]) == (group, version, kind):
                    return s
        return {}

    def deref(self, gv, s):
        name = None
        while True:
            if "$ref" in s:
                name = s["$ref"].rsplit("/", 1)[1]
                s = self.doc(gv).get(name, {})
            elif len(s.get("allOf", [])) == 1:
                s = dict(s["allOf"][0])
            else:
                return s, name


def words(description):
    """Values that a description names."""
    out = re.findall(r'`?"([A-Za-z][A-Za-z0-9-]+)"`?', description or "")
    out += re.findall(r"\b(?:one of|either|values are|is) ([A-Z][A-Za-z]+)(?:, ([A-Z][A-Za-z]+))*(?:,? (?:or|and) ([A-Z][A-Za-z]+))?", description or "")
    flat = []
    for w in out:
        flat += [w] if isinstance(w, str) else [x for x in w if x]
    return list(dict.fromkeys(flat))[:6]


class Mutator:
    def __init__(self, schemas, gv, deep):
        self.s, self.gv, self.deep, self.seen = schemas, gv, deep, set()

    def simple(self, s, name, description, present):
        t, f = s.get("type"), s.get("format")
        if name and name.endswith("resource.Quantity"):
            return QUANTITIES
        if f == "int-or-string" or (name and name.endswith("IntOrString")):
            return INTSTR
        if name and name.endswith("MicroTime"):
            return MICRO
        if name and name.endswith(".Time"):
            return TIMES
        if t == "string" and f == "byte":
            return ["", "YQ==", "not base64"]
        if t == "string":
            return STRINGS + words(description or s.get("description"))
        if t in ("integer", "number"):
            return INTS
        if t == "boolean":
            return [True, False]
        return None

    def least(self, s, depth=0):
        """A small value of the schema."""
        s, name = self.s.deref(self.gv, s)
        v = self.simple(s, name, None, False)
        if v is not None:
            if v is QUANTITIES:
                return "1"
            if v is INTSTR or v is INTS:
                return 1
            if v in (TIMES, MICRO):
                return v[0]
            if v and v[0] is True:
                return True
            if s.get("format") == "byte":
                return "YQ=="
            return "valid-name"
        if s.get("type") == "array":
            return [self.least(s.get("items", {}), depth + 1)] if depth < 6 else []
        if "additionalProperties" in s:
            return {"a": self.least(s["additionalProperties"], depth + 1)} if depth < 6 else {}
        return {k: self.least(p, depth + 1) for k, p in s.get("properties", {}).items() if k in s.get("required", [])}

    def walk(self, v, s, path, set_at, depth=0, absent=False):
        """(path, label, object) for every change of v; set_at(value) gives the whole object with that in its place."""
        description = s.get("description")
        s, name = self.s.deref(self.gv, s)
        values = self.simple(s, name, description, True)
        if values is not None:
            for x in values:
                if x != v:
                    yield path, json.dumps(x)[:30], set_at(x)
            return
        if s.get("type") == "array":
            yield path, "[]", set_at([])
            v = v if isinstance(v, list) else []
            if v:
                yield path, "twice", set_at(v + [copy.deepcopy(v[0])])
            item = self.least(s.get("items", {}))
            if v != [item]:
                yield path, "+least", set_at(v + [item])
            if isinstance(item, dict):
                yield path, "+{}", set_at(v + [{}])
            if v:
                yield from self.walk(v[0], s.get("items", {}), path + "[]", lambda x: set_at([x] + v[1:]), depth + 1, absent)
            return
        if "additionalProperties" in s:
            v = v if isinstance(v, dict) else {}
            sub = s["additionalProperties"] if isinstance(s["additionalProperties"], dict) else {}
            if v:
                yield path, "{}", set_at({})
            for key in ("Not_Valid!", "", LONG, "ok", "example.com/ok", "a/b/c", "cpu", "requests.cpu"):
                if key not in v:
                    yield path, "key " + key[:12], set_at({**v, key: self.least(sub)})
            for key in list(v)[:2]:
                yield from self.walk(v[key], sub, path + "{}", lambda x, key=key: set_at({**v, key: x}), depth + 1, absent)
            return
        if not isinstance(v, dict):
            v = {}
        if v and not (path == "" or absent):
            yield path, "{}", set_at({})
        for k, p in s.get("properties", {}).items():
            if depth == 0 and k in SKIP:
                continue
            at = "%s.%s" % (path, k)
            if k in v:
                yield at, "gone", set_at({a: b for a, b in v.items() if a != k})
                yield from self.walk(v[k], p, at, lambda x, k=k: set_at({**v, k: x}), depth + 1, absent)
                continue
            _, ref = self.s.deref(self.gv, p)
            if absent and (name, k) in self.seen or depth > self.deep:
                continue
            self.seen.add((name, k))
            least = self.least(p)
            if isinstance(least, dict):
                yield at, "+{}", set_at({**v, k: {}})
            if isinstance(least, (dict, list)) and least and least != {}:
                yield at, "+least", set_at({**v, k: least})
            yield from self.walk(least, p, at, lambda x, k=k: set_at({**v, k: x}), depth + 1, True)


META = [("name", "Not_Valid!"), ("name", "a.b"), ("name", "a_b"), ("name", "a" * 64), ("name", "a" * 254), ("name", "a:b"), ("name", "-a"), ("name", "A"), ("name", "a/b"),
        ("generateName", "Not_Valid!"), ("namespace", "other"), ("labels", {"Not Valid": "x"}), ("labels", {"a": "b c"}), ("labels", {"a": "x" * 64}), ("labels", {"": ""}),
        ("annotations", {"Not Valid": "x"}), ("annotations", {"A/b": "x"}), ("finalizers", ["x"]), ("finalizers", ["example.com/x"]), ("finalizers", ["a b"]), ("finalizers", ["orphan", "foregroundDeletion"]),
        ("ownerReferences", [{}]), ("ownerReferences", [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]),
        ("ownerReferences", [{"apiVersion": "v1", "kind": "Event", "name": "a", "uid": "b"}]), ("ownerReferences", [{"apiVersion": "v1/a/b", "kind": "X", "name": "a", "uid": "b"}]),
        ("ownerReferences", [{"apiVersion": "v1", "kind": "X", "name": "a", "uid": "b", "controller": True}, {"apiVersion": "v1", "kind": "X", "name": "c", "uid": "d", "controller": True}]),
        ("generation", -1), ("generation", 7), ("uid", "x"), ("resourceVersion", "1"), ("resourceVersion", "x"), ("creationTimestamp", "2020-01-01T00:00:00Z"), ("deletionTimestamp", "2020-01-01T00:00:00Z"),
        ("deletionGracePeriodSeconds", 5), ("selfLink", "/x"), ("managedFields", [{}]), ("managedFields", [{"manager": "x", "operation": "Foo"}])]


def load_seeds(kinds):
    """kind -> [(id, collection path, headers, object)]"""
    seeds = {}
    with gzip.open(os.path.join(HERE, "..", "corpus", "admit.jsonl.gz"), "rt") as f:
        lines = [json.loads(l) for l in f]
    own = os.path.join(HERE, "api_objects.jsonl")
    if os.path.exists(own):
        lines += [json.loads(l) for l in open(own) if l.strip() and not l.startswith("#")]
    for l in lines:
        body = l.get("body")
        if not re.match(r"create\.|own\.", l["id"]) or "-table" in l["id"] or not isinstance(body, dict) or l.get("method", "POST") != "POST":
            continue
        if l.get("expect", {}).get("code", 201) != 201 or "kind" not in body:
            continue
        if not re.fullmatch(kinds, body["kind"]):
            continue
        path = l["path"].split("?")[0].replace("/namespaces/corpus/", "/namespaces/%s/" % NS)
        body = json.loads(json.dumps(body).replace('"namespace": "corpus"', '"namespace": "%s"' % NS))
        seeds.setdefault(body["kind"], []).append((l["id"], path, l.get("headers") or {}, body))
    return seeds


class Diff:
    def __init__(self, a):
        self.a, self.ref, self.cube = a, Server(a.ref, a), Server(a.cube, a)
        self.pool = ThreadPoolExecutor(2)
        self.schemas = Schemas(self.ref)
        self.asked = self.different = 0
        self.groups = {}

    def both(self, f):
        return list(self.pool.map(f, (self.ref, self.cube)))

    def prepare(self):
        for path, body in (("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}),
                           ("/api/v1/namespaces/%s/serviceaccounts" % NS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})):
            for code, obj in self.both(lambda s: s.json("POST", path, body)):
                if code not in (201, 409):
                    sys.exit("cannot make %s: %d %s" % (path, code, obj.get("message")))

    def compare(self, group, req, subst=None):
        """Sends to both; subst: per server."""
        self.asked += 1
        subst = subst or [{}, {}]
        req = {**req, "record": ["warnings"]}
        text = json.dumps([req["path"], req.get("body")])
        answers = self.both(lambda s: replay.facts(req, *s.ask(req, subst[s is self.cube]), text))
        d = replay.diff(answers[0], answers[1])
        if answers[0]["code"] >= 400 and answers[0]["code"] == answers[1]["code"] and answers[0].get("causes") != answers[1].get("causes"):
            d = ["causes: want %s got %s" % tuple(json.dumps([c for c in x.get("causes", []) if c not in y.get("causes", []) or x["causes"].count(c) != y["causes"].count(c)])
                                                  for x, y in (answers, answers[::-1]))] + [x for x in d if "causes" not in x]
        if not d:
            return
        self.different += 1
        where, _, label = group.partition(" = ")
        mode, id, at = where.split(" ", 2)
        said = re.sub(r"\[\d+\]", "[]", "; ".join(re.sub(r"(unexpected|missing, want) .*", r"\1", x) if x.startswith((".object", ".details")) else x for x in d[:3]))[:500]
        self.groups.setdefault((mode, said), {}).setdefault(at, []).append(label)
        if self.a.v:
            print("%s: %s" % (group, "; ".join(d[:9])[:1600]))
            print("    ", req["method"], req["path"], json.dumps(req.get("body"))[:3000], flush=True)

    def mutations(self, kind, seeds):
        m = Mutator(self.schemas, seeds[0][3]["apiVersion"], self.a.deep)
        for id, path, headers, obj in seeds:
            if self.a.seed and self.a.seed not in id:
                continue
            root = self.schemas.root(obj["apiVersion"], kind)
            n = 0
            for at, label, changed in m.walk(obj, root, "", lambda x: x):
                if not re.search(self.a.path, at):
                    continue
                n += 1
                if n > self.a.limit:
                    break
                yield id, path, headers, at, label, changed

    def create(self, kind, seeds):
        for id, path, headers, at, label, obj in self.mutations(kind, seeds):
            self.compare("create %s %s = %s" % (id, at, label), {"method": "POST", "path": path + "?dryRun=All", "headers": headers, "body": obj})

    def meta(self, kind, seeds):
        id, path, headers, obj = seeds[0]
        for key, value in META:
            changed = copy.deepcopy(obj)
            changed["metadata"][key] = value
            if key == "generateName":
                changed["metadata"].pop("name", None)
            self.compare("meta %s %s = %s" % (id, key, json.dumps(value)[:60]), {"method": "POST", "path": path + "?dryRun=All", "headers": headers, "body": changed})

    def standing(self, seed):
        """Creates the object on both; its path and revisions, or None."""
        id, path, headers, obj = seed
        obj = copy.deepcopy(obj)
        obj.setdefault("metadata", {})
        if "name" not in obj["metadata"]:
            return None
        at = "%s/%s" % (path, obj["metadata"]["name"])
        self.remove(at)
        codes = self.both(lambda s: s.json("POST", path, obj, headers)[0])
        if codes != [201, 201]:
            print("%s: cannot stand: %s" % (id, codes))
            self.remove(at)
            return None
        return at, obj

    def remove(self, at):
        if at.startswith("/api/v1/namespaces/") and at.count("/") == 4:
            self.both(lambda s: s.json("DELETE", at))
            self.both(lambda s: s.json("PUT", at + "/finalize", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": at.rsplit("/", 1)[1]}, "spec": {}}))
            return
        self.both(lambda s: s.json("DELETE", at + "?gracePeriodSeconds=0&propagationPolicy=Background"))
        self.both(lambda s: s.json("PATCH", at, {"metadata": {"finalizers": None}}, {"Content-Type": "application/merge-patch+json"}))

    def update(self, kind, seeds):
        for seed in seeds:
            if self.a.seed and self.a.seed not in seed[0]:
                continue
            if "PUT" in self.a.skip:
                break
            stood = self.standing(seed)
            if not stood:
                continue
            at, obj = stood
            got = self.both(lambda s: s.json("GET", at)[1])
            # what stands, as the reference has it, is what is changed: defaults are there then
            full = {k: v for k, v in got[0].items() if k != "status"}
            subst = [{"rv": g["metadata"]["resourceVersion"], "uid": g["metadata"]["uid"]} for g in got]
            full["metadata"] = {k: v for k, v in full["metadata"].items() if k in ("name", "namespace", "labels", "annotations", "finalizers")}
            full["metadata"]["resourceVersion"] = "${rv}"
            for x in self.mutations(kind, [(seed[0], seed[1], seed[2], full)]):
                self.compare("update %s %s = %s" % (x[0], x[3], x[4]), {"method": "PUT", "path": at + "?dryRun=All", "headers": seed[2], "body": x[5]}, subst)
            for key, value in META:
                changed = copy.deepcopy(full)
                changed["metadata"][key] = value
                self.compare("update-meta %s %s = %s" % (seed[0], key, json.dumps(value)[:60]), {"method": "PUT", "path": at + "?dryRun=All", "headers": seed[2], "body": changed}, subst)
            self.remove(at)

    def status(self, kind, seeds):
        SKIP.discard("status")
        for seed in seeds[-1:]:
            root = self.schemas.root(seed[3]["apiVersion"], kind)
            if "status" not in root.get("properties", {}):
                continue
            stood = self.standing(seed)
            if not stood:
                continue
            at, obj = stood
            if self.ref.json("GET", at + "/status")[0] != 200:
                self.remove(at)
                continue
            got = self.both(lambda s: s.json("GET", at)[1])
            subst = [{"rv": g["metadata"]["resourceVersion"], "uid": g["metadata"]["uid"]} for g in got]
            full = got[0]
            full["metadata"] = {"name": full["metadata"]["name"], "resourceVersion": "${rv}"}
            m = Mutator(self.schemas, seed[3]["apiVersion"], self.a.deep)
            for p, label, changed in m.walk(full.get("status", {}), root["properties"]["status"], ".status", lambda x: {**full, "status": x}, 1):
                if re.search(self.a.path, p):
                    self.compare("status %s %s = %s" % (seed[0], p, label), {"method": "PUT", "path": at + "/status?dryRun=All", "body": changed}, subst)
            self.remove(at)

    def run(self):
        self.prepare()
        for kind, seeds in sorted(load_seeds(self.a.kind).items()):
            before = self.asked, self.different
            for mode in self.a.mode.split(","):
                getattr(self, mode)(kind, seeds)
            for (mode, said), places in self.groups.items():
                print("%s %s" % (mode, said))
                for at, labels in list(places.items())[:self.a.show]:
                    print("        %s = %s" % (at, ", ".join(dict.fromkeys(labels))[:160]))
                if len(places) > self.a.show:
                    print("        ... %d more places" % (len(places) - self.a.show))
            self.groups = {}
            print("-- %s: %d asked, %d different" % (kind, self.asked - before[0], self.different - before[1]), flush=True)
        print("total: %d asked, %d different" % (self.asked, self.different))
        return 1 if self.different else 0


def main():
    ap = argparse.ArgumentParser()
    for x in ("ref", "cube", "cert", "key", "cacert"):
        ap.add_argument("--" + x, required=True)
    ap.add_argument("--kind", default=".*"), ap.add_argument("--mode", default="create"), ap.add_argument("--path", default="")
    ap.add_argument("--seed", default=""), ap.add_argument("--skip", default="")
    ap.add_argument("--limit", type=int, default=100000), ap.add_argument("--deep", type=int, default=12)
    ap.add_argument("--show", type=int, default=4)
    ap.add_argument("-v", action="store_true")
    return Diff(ap.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
