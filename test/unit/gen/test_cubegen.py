#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of gen/: what api/ has to hold, and what a broken file is answered with.

    test_cubegen.py SOURCE_ROOT
"""

import os
import sys
import unittest

ROOT = os.path.abspath(sys.argv.pop(1))
sys.path.insert(0, os.path.join(ROOT, "gen"))
sys.dont_write_bytecode = True

import apifile  # noqa: E402
import cubegen  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
VERB_CODES = dict(zip(("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"),
                      "glwcupdx"))
HEAD = "package p.v1\ngroup p version v1\nopenapi io.p\n"


def model(text, others=()):
    api = apifile.Api()
    for i, other in enumerate(others):
        api.read("other%d.api" % i, other)
    api.read("p.api", text)
    api.resolve()
    if not api.errors:
        try:
            cubegen.generate(api)
        except apifile.ApiError:
            pass
    return api


def facts(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        return [line.rstrip("\n") for line in f if not line.startswith("#")]


class Served(unittest.TestCase):
    """Kubernetes v1.37's discovery and tables, as recorded from a running server."""

    @classmethod
    def setUpClass(cls):
        cls.api = cubegen.load(os.path.join(ROOT, "api"))
        cls.kinds = {(t.package.group, t.package.version, t.plural): t for t in cls.api.types() if t.plural}

    def subresources(self, t):
        rows = [(s.name, s.target, s.verbs) for s in t.subs]
        if "status" in t.attrs:
            rows.append(("status", t, ["get", "update", "patch"]))
        if "scale" in t.attrs:
            rows.append(("scale", self.api.find(t.package, "autoscaling.v1.Scale"), ["get", "update", "patch"]))
        return ";".join("%s=%s/%s/%s:%s" % (n, x.package.group, x.package.version, x.name,
                                            "".join(c for v, c in VERB_CODES.items() if v in verbs))
                        for n, x, verbs in sorted(rows, key=lambda r: r[0])) or "-"

    def row(self, t):
        a = t.attrs
        return " ".join([t.package.group or "-", t.package.version, t.plural, t.name,
                         "Namespaced" if "namespaced" in a else "Cluster",
                         "".join(c for v, c in VERB_CODES.items() if v in a["verbs"]),
                         a.get("short", "-"), a.get("in", "-"), self.subresources(t)])

    def test_sound(self):
        self.assertEqual(self.api.errors, [])

    def test_every_served_resource(self):
        self.assertEqual(sorted(self.row(t) for t in self.kinds.values()), sorted(facts("served.txt")))

    def test_columns(self):
        for line in facts("columns.txt"):
            group, version, resource, columns = line.split(" ", 3)
            t = self.kinds[("" if group == "-" else group, version, resource)]
            have = "|".join("%s:%s:%s:%d" % (c.name, c.type, c.format, c.wide) for c in t.columns)
            if resource == "ipaddresses":  # upstream has a cell more than headings; the server leaves the heading out
                columns += "|Age:string::0"
            self.assertEqual(have, columns, t.full)

    def test_column_paths_exist(self):
        for t in self.kinds.values():
            for c in t.columns:
                for part in (c.path or "").split("{")[1:]:
                    self.check_path(t, part.split("}")[0].split("|")[0].split(":")[0])

    def check_path(self, t, path):
        at = t
        for i, name in enumerate(path.split(".")):
            fields = {f.name: f for f in self.api.flat(at)}
            self.assertIn(name, fields, "%s: column path %s" % (t.full, path))
            if fields[name].card == "{}":
                break
            at = fields[name].target

    def test_files_are_lined_up(self):
        for path in cubegen.api_paths(os.path.join(ROOT, "api")):
            with open(path, encoding="utf-8") as f:
                text = f.read()
            self.assertEqual(apifile.format_text(text), text, "run gen/cubegen.py --format " + path)

    def test_resources_are_documented(self):
        for p in self.api.packages.values():
            if any(isinstance(t, apifile.Type) and t.plural for t in p.items.values()):
                self.assertFalse(p.nodocs, p.path)

    def test_same_output_twice(self):
        self.assertEqual(cubegen.generate(self.api), cubegen.generate(cubegen.load(os.path.join(ROOT, "api"))))


class Broken(unittest.TestCase):
    def refused(self, text, *wanted, others=()):
        errors = model(text, others).errors
        for w in wanted:
            self.assertTrue(any(w in e for e in errors), "%r not in %r" % (w, errors))
        for e in errors:
            self.assertRegex(e, r"^\w+\.api:\d+: ")

    def test_good(self):
        self.assertEqual(model(HEAD + "type A  An A.\n  x int32? 1 default 3 min 0  An x.\n").errors, [])

    def test_duplicate_number(self):
        self.refused(HEAD + "type A  An A.\n x int32 1 An x.\n y int32 1 A y.\n",
                     "p.api:6: protobuf number 1 is that of `x` in line 5")

    def test_duplicate_field(self):
        self.refused(HEAD + "type A  An A.\n x int32 1 An x.\n x int32 2 An x.\n", "p.api:6: field `x` is already")

    def test_duplicate_through_inline(self):
        self.refused(HEAD + "type A  An A.\n x int32 1 An x.\n inline B 2\ntype B A B.\n x int32 1 An x.\n",
                     "p.api:4: A: field `x` comes in twice")

    def test_duplicate_type(self):
        self.refused(HEAD + "type A  An A.\ntype A  An A.\n", "p.api:5: `A` is already there in line 4")

    def test_unknown_type(self):
        self.refused(HEAD + "type A  An A.\n x Nope 1 An x.\n", "p.api:5: unknown type `Nope`")

    def test_ambiguous_type(self):
        b = "package %s\ntype B A B.\n"
        self.refused("package p.v1\nimport q r\ntype A  An A.\n x B 1 An x.\n", "p.api:4: `B` is ambiguous: q.B, r.B",
                     others=[b % "q", b % "r"])

    def test_unknown_attribute(self):
        self.refused(HEAD + "type A  An A.\n x int32 1 requird An x.\n", "p.api:5: unknown attribute `requird`")

    def test_attribute_without_value(self):
        self.refused(HEAD + "type A  An A.\n x int32 1 default\n", "p.api:5: attribute `default` needs a value")

    def test_bad_default(self):
        self.refused(HEAD + "type A  An A.\n x int32 1 default soon An x.\n y bool 2 default 1 A y.\n",
                     "p.api:5: default `soon` is no JSON", "p.api:6: default `1` does not fit bool")

    def test_default_outside_of_enum(self):
        self.refused(HEAD + "type A  An A.\n x string 1 default C enum A|B An x.\n", "p.api:5: default `C` is not in")

    def test_bounds_of_text(self):
        self.refused(HEAD + "type A  An A.\n x string 1 min 1 An x.\n", "p.api:5: `min` and `max` are for numbers")

    def test_unknown_format(self):
        self.refused(HEAD + "type A  An A.\n x string 1 format ipv5 An x.\n", "p.api:5: format `ipv5`; known: dns-label")

    def test_named_values(self):
        self.refused(HEAD + "type A  An A.\n x string 1 enum @S An x.\n", "p.api:5: no line `values S ...` above")
        self.assertEqual(model(HEAD + "values S A|B\ntype A  An A.\n x string 1 enum @S An x.\n").errors, [])

    def test_missing_docs(self):
        self.refused(HEAD + "type A\n x int32 1\n", "p.api:4: type A has no doc", "p.api:5: field A.x has no doc")

    def test_missing_docs_permitted(self):
        self.assertEqual(model("package p\nnodocs\ntype A\n x int32 1\n").errors, [])

    def test_list_key_is_no_field(self):
        self.refused(HEAD + "type A An A.\n x []B 1 keys k An x.\ntype B A B.\n n string 1 An n.\n",
                     "p.api:5: key `k` is no field of B")

    def test_kind_without_scope(self):
        self.refused(HEAD + "kind A as short b An A.\n", "p.api:4: kind A must be either `namespaced` or `cluster`")

    def test_unknown_verb(self):
        self.refused(HEAD + "kind A as cluster verbs get,fly An A.\n", "p.api:4: unknown verb `fly`")

    def test_bad_column(self):
        self.refused(HEAD + "kind A as cluster verbs get An A.\n column X text {a} An x.\n", "p.api:5: column type `text`")

    def test_unknown_statement(self):
        self.refused(HEAD + "tpye A An A.\n", "p.api:4: unknown statement `tpye`")

    def test_field_outside_of_block(self):
        self.refused("package p\n x int32 1 An x.\n", "p.api:2: indented line outside of a block")

    def test_first_statement(self):
        self.refused("type A An A.\n", "p.api:1: the first statement must be `package`")

    def test_second_package_of_that_name(self):
        self.refused("package q\n", "p.api:1: package `q` is already there: other0.api", others=["package q\n"])

    def test_proto3_marks(self):
        self.refused("package p\nproto3\nnodocs\ntype A\n x int32? 1\n y int32\n", "p.api:5: field of a proto3",
                     "p.api:6: field of a proto3")

    def test_clash_of_resources(self):
        kind = "package %s\ngroup g version v1\nkind A as cluster verbs create  An A.\n"
        self.refused(kind % "p", "RES_AS_V1 is already that of", others=[kind % "q", kind % "r"])

    def test_clash_of_names(self):
        self.refused(HEAD + "type A An A.\n a-b int32 1 An x.\n a_b int32 2 A y.\n",
                     "p.api:6: names `a-b` and `a_b` make the same C name N_a_b")


class Emitted(unittest.TestCase):
    def types_c(self, text, others=()):
        api = apifile.Api()
        for i, other in enumerate(others):
            api.read("other%d.api" % i, other)
        api.read("p.api", text)
        api.resolve()
        self.assertEqual(api.errors, [])
        return cubegen.generate(api)["types.c"]

    def test_flags(self):
        c = self.types_c(HEAD + "leaf Q quantity A q.\ntype A An A.\n a int32 1 A.\n b int32! 2 B.\n c int32?! 3 C.\n"
                         " d Q 4 D.\n e Q? 5 E.\n f Q 6 omitzero F.\n g string! 7 optional G.\n h string 8 required H.\n")
        for want in ("{N_a, 1, K_INT32, CARD_ONE, FIELD_OMITEMPTY, 0, 0,", "{N_b, 2, K_INT32, CARD_ONE, FIELD_REQUIRED, 0",
                     "{N_c, 3, K_INT32, CARD_ONE, FIELD_PTR | FIELD_REQUIRED, 0", "{N_d, 4, K_QUANTITY, CARD_ONE, 0, 0",
                     "{N_e, 5, K_QUANTITY, CARD_ONE, FIELD_PTR | FIELD_OMITEMPTY, 0",
                     "{N_f, 6, K_QUANTITY, CARD_ONE, FIELD_OMITEMPTY, 0", "{N_g, 7, K_STRING, CARD_ONE, 0, 0",
                     "{N_h, 8, K_STRING, CARD_ONE, FIELD_OMITEMPTY | FIELD_REQUIRED, 0"):
            self.assertIn(want, c)

    def test_inline(self):
        c = self.types_c(HEAD + "type A An A.\n x int32 1 An x.\n inline B 2\ntype B A B.\n y int32 1 A y.\n")
        self.assertIn("{N_y, 0, K_INT32, CARD_ONE, FIELD_OMITEMPTY | FIELD_NOPROTO", c)
        self.assertIn("{0, 2, K_MESSAGE, CARD_ONE, FIELD_INLINE, 2, 0, NULL}", c)

    def test_shared_extras(self):
        c = self.types_c(HEAD + "type A An A.\n x int32 1 min 1 An x.\n y int32 2 min 1 A y.\n")
        self.assertEqual(c.count(".min = 1"), 1)

    def test_quoting(self):
        c = self.types_c(HEAD + 'type A An A.\n x string 1 default "a \\"b\\" \\\\" Öl, "quoted" \\ text??=.\n')
        self.assertIn(r'.default_json = "\"a \\\"b\\\" \\\\\""', c)
        self.assertIn(r'"\303\226l, \"quoted\" \\ text?\?="'.replace('="', '=."'), c)


if __name__ == "__main__":
    unittest.main(verbosity=1)
