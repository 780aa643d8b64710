#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns api/**/*.api into the const tables that src/wire/schema.h and src/type/resource.h declare.

    cubegen.py API_DIR OUT_DIR [--depfile FILE]     write names, types, resources and grpc .h/.c into OUT_DIR
    cubegen.py --check API_DIR                      read only; errors as file:line: text
    cubegen.py --format FILE...                     line up the columns of api files in place
"""

import os
import sys

from apifile import Api, ApiError, Enum, Leaf, Type, format_text

NOTE = "/* Made by gen/cubegen.py from api/. Do not edit. */\n"

KINDS = {
    "bool": "K_BOOL", "int32": "K_INT32", "int64": "K_INT64", "uint32": "K_UINT32", "uint64": "K_UINT64",
    "float64": "K_FLOAT64", "string": "K_STRING", "bytes": "K_BYTES", "enum": "K_ENUM", "message": "K_MESSAGE",
    "strings": "K_STRINGS", "quantity": "K_QUANTITY", "time": "K_TIME", "microtime": "K_MICROTIME",
    "duration": "K_DURATION", "intorstring": "K_INTORSTRING", "raw": "K_RAW", "or": "K_JSON_OR", "any": "K_ANY",
}
# Go structs: encoding/json's omitempty never leaves these out unless they are pointers.
ALWAYS_WRITTEN = ("message", "quantity", "time", "microtime", "duration", "intorstring", "raw")
CARDS = {"": "CARD_ONE", "[]": "CARD_LIST", "{}": "CARD_MAP"}
# Attributes that are just a flag.
ATTR_FLAGS = {
    "immutable": "FIELD_IMMUTABLE", "deprecated": "FIELD_DEPRECATED", "nonempty": "FIELD_NONEMPTY",
    "atomic": "FIELD_ATOMIC", "granular": "FIELD_GRANULAR", "set": "FIELD_LISTSET", "keys": "FIELD_LISTMAP", "merge": "FIELD_PATCH_MERGE",
    "mergeset": "FIELD_PATCH_MERGE", "retainKeys": "FIELD_PATCH_RETAINKEYS", "oneof": "FIELD_ONEOF",
}
TYPE_FLAGS = {"atomic": "TYPE_ATOMIC", "union": "TYPE_UNION", "list": "TYPE_LIST", "or": "TYPE_OR"}
KIND_DOC = "Name of the kind; with apiVersion it says what the object is."
API_VERSION_DOC = "Group and version of the kind, such as apps/v1."
MAX_INDEX = 65535  # indices in the tables are uint16_t


def quote(text):
    """A C string literal."""
    if text is None:
        return "NULL"
    out = ""
    for c in text:
        out += {'"': '\\"', "\\": "\\\\", "\n": "\\n"}.get(c) or (c if 32 <= ord(c) < 127 else
                                                              "".join("\\%03o" % b for b in c.encode()))
    return '"%s"' % out.replace("??", "?\\?")


def ident(text):
    return "".join(c if c.isalnum() and c.isascii() else "_" for c in text)


def flags_text(flags):
    return " | ".join(flags) if flags else "0"


class Interned:
    """Arrays of C text, each kept once: add() gives the index or the name of an equal earlier one."""

    def __init__(self, first=None):
        self.index = {}
        self.rows = []
        if first is not None:
            self.add(first)

    def add(self, row):
        if row not in self.index:
            self.index[row] = len(self.rows)
            self.rows.append(row)
        return self.index[row]


class Generator:
    def __init__(self, api):
        self.api = api
        self.errors = api.errors
        self.types = sorted(api.types() + api.leaves(), key=lambda t: t.full)
        self.type_index = {t.full: i + 1 for i, t in enumerate(self.types)}
        self.lists = Interned()        # NULL-terminated lists of strings
        self.extras = Interned("{0}")  # struct field_extra rows
        self.fields = []               # struct field rows
        self.field_runs = {}           # rows of a type -> offset in self.fields
        self.collect_names()
        self.collect_resources()

    def error(self, package, line, text):
        self.api.error(package, line, text)

    # ---- names ----

    def collect_names(self):
        where = {"kind": None, "apiVersion": None}  # name -> a package and line that has it
        for t in self.types:
            for f in t.fields if isinstance(t, Type) else ():
                if f.name:
                    where.setdefault(f.name, (t.package, f.line))
        self.names = [""] + sorted(where, key=lambda n: n.encode())
        seen = {}
        for n in self.names:
            if seen.setdefault(ident(n), n) != n:
                self.error(*where[n], "names `%s` and `%s` make the same C name N_%s" % (seen[ident(n)], n, ident(n)))
        if len(self.names) > MAX_INDEX:
            self.errors.append("more than %d names" % MAX_INDEX)

    def names_h(self):
        out = [NOTE, "#pragma once\n\nenum {\n    N_none = 0,\n"]
        out += ["    N_%s = %d,\n" % (ident(n), i) for i, n in enumerate(self.names) if i]
        return "".join(out) + "};\n"

    def names_c(self):
        out = [NOTE, '#include "base/str.h"\n\n',
               "/* Sorted by text; the index is the name id; entry 0 is no name. */\n",
               "extern const struct str name_table[];\nextern const unsigned n_names;\n\n",
               "const struct str name_table[] = {\n"]
        out += ["    {%s, %d},\n" % (quote(n), len(n.encode())) for n in self.names]
        out.append("};\nconst unsigned n_names = %d;\n" % len(self.names))
        return "".join(out)

    # ---- types ----

    def types_h(self):
        out = [NOTE, "#pragma once\n\nenum {\n    T_none = 0,\n"]
        out += ["    T_%s = %d,\n" % (ident(t.full), i + 1) for i, t in enumerate(self.types)]
        return "".join(out) + "};\n"

    def list_ref(self, words):
        return "s%d" % self.lists.add(tuple(words)) if words else "NULL"

    def extra_index(self, package, f):
        a = f.attrs
        parts = []
        if "default" in a:
            parts.append(".default_json = " + quote(self.api.default_json(f)))
        if "enum" in a:
            parts.append(".enums = " + self.list_ref(a["enum"].split("|")))
        if "merge" in a:
            parts.append(".patch_key = " + quote(a["merge"]))
        if "keys" in a:
            parts.append(".list_keys = " + self.list_ref(a["keys"].split(",")))
        if "format" in a:
            parts.append(".format = " + quote(a["format"]))
        lens = [".%s = %s" % (c, a[k]) for k, c in (("minlen", "min_len"), ("maxlen", "max_len")) if k in a]
        if not parts and not lens and "min" not in a and "max" not in a:
            return 0
        parts.append(".min = " + a.get("min", "INT64_MIN"))
        parts.append(".max = " + a.get("max", "INT64_MAX"))
        return self.extras.add("{" + ", ".join(parts + lens) + "}")

    def field_flags(self, package, f, number):
        flags = [c for a, c in ATTR_FLAGS.items() if a in f.attrs]
        written = f.always or f.kind in ALWAYS_WRITTEN and not f.card and not f.ptr
        if f.ptr:
            flags.append("FIELD_PTR")
        if not written or "omitzero" in f.attrs:
            flags.append("FIELD_OMITEMPTY")
        if package.openapi and (f.always or "required" in f.attrs) and "optional" not in f.attrs:
            flags.append("FIELD_REQUIRED")
        if package.proto3:
            flags.append("FIELD_PROTO3")
        if not number:
            flags.append("FIELD_NOPROTO")
        if not f.name:
            flags.append("FIELD_INLINE")
        return flags

    def field_row(self, package, f, number):
        flags = self.field_flags(package, f, number)
        typed = f.kind in ("message", "or", "raw")
        return "{%s, %d, %s, %s, %s, %d, %d, %s}" % (
            "N_" + ident(f.name) if f.name else "0", number, KINDS[f.kind], CARDS[f.card], flags_text(flags),
            self.type_index[f.target.full] if typed else 0, self.extra_index(package, f),
            quote(f.doc) if f.doc else "NULL")

    def type_rows(self, t):
        """JSON rows and protobuf rows of a type; the latter with their numbers."""
        json_fields = [] if "or" in t.attrs else self.api.flat(t)
        seen = {}
        for f in json_fields:
            if f.name in seen:
                self.error(t.package, t.line, "%s: field `%s` comes in twice by inlined types" % (t.name, f.name))
            seen[f.name] = f
        rows = []
        if t.root:
            for name, doc in (("kind", KIND_DOC), ("apiVersion", API_VERSION_DOC)):
                rows.append("{N_%s, 0, K_STRING, CARD_ONE, FIELD_OMITEMPTY | FIELD_NOPROTO, 0, 0, %s}" %
                            (name, quote(doc)))
        own = {id(f) for f in t.fields}
        # the number of an inlined type's field holds inside of that message only
        rows += [self.field_row(t.package, f, f.number if id(f) in own else 0) for f in json_fields]
        proto = sorted((f for f in t.fields if f.number), key=lambda f: f.number)
        return rows, [self.field_row(t.package, f, f.number) for f in proto]

    def run(self, rows):
        """Offset of these rows in the one field array, shared with an earlier equal run."""
        if not rows:
            return "NULL"
        key = tuple(rows)
        if key not in self.field_runs:
            offset = len(self.fields)
            self.fields += rows
            for start in range(len(rows)):  # a tail can be shared: protobuf rows follow kind and apiVersion
                self.field_runs.setdefault(tuple(rows[start:]), offset + start)
        return "fields + %d" % self.field_runs[key]

    def type_row(self, t):
        package = t.package
        openapi = quote(package.openapi + "." + t.name if package.openapi else None)
        doc = quote(t.doc) if t.doc else "NULL"
        if isinstance(t, Leaf):
            return "{%s, %s, %s, NULL, NULL, NULL, 0, 0, %d, TYPE_LEAF}" % (quote(t.full), openapi, doc,
                                                                          self.type_index[t.full])
        rows, proto = self.type_rows(t)
        flags = [c for a, c in TYPE_FLAGS.items() if a in t.attrs]
        if t.root:
            flags.append("TYPE_ROOT")
        if package.proto3:
            flags.append("TYPE_PROTO3")
        api_version = t.attrs.get("apiversion") or (package.api_version if t.root else None)
        return "{%s, %s, %s, %s, %s, %s, %d, %d, %d, %s}" % (
            quote(t.full), openapi, doc, quote(api_version), self.run(rows), self.run(proto), len(rows), len(proto),
            self.type_index[t.full], flags_text(flags))

    def types_c(self):
        type_rows = [self.type_row(t) for t in self.types]
        if max(len(self.types), len(self.extras.rows)) > MAX_INDEX:
            self.errors.append("more than %d types or field extras" % MAX_INDEX)
        out = [NOTE, '#include "wire/schema.h"\n#include "names.h"\n#include "types.h"\n\n']
        for i, words in enumerate(self.lists.rows):
            out.append("static const char *const s%d[] = {%s, NULL};\n" % (i, ", ".join(quote(w) for w in words)))
        out.append("\nconst struct field_extra type_extras[] = {\n")
        out += ["    %s,\n" % r for r in self.extras.rows]
        out.append("};\n\nstatic const struct field fields[] = {\n")
        out += ["    %s,\n" % r for r in self.fields]
        out.append("};\n\n/* Sorted by name. */\nconst struct type types[] = {\n    {.name = \"\"},\n")
        out += ["    %s,\n" % r for r in type_rows]
        out.append("};\nconst unsigned n_types = %d;\n" % (len(self.types) + 1))
        return "".join(out)

    # ---- resources ----

    def collect_resources(self):
        kinds = [t for t in self.api.types() if t.plural]
        kinds.sort(key=lambda t: (-t.package.priority[0], t.package.group, -t.package.priority[1], t.plural))
        self.kinds = kinds
        self.res_index = {t.full: i + 1 for i, t in enumerate(kinds)}
        self.res_names = {}
        taken = {}
        for t in sorted(kinds, key=lambda t: "stored-as" in t.attrs):
            name = t.plural.upper()
            if name in taken:
                same_group = taken[name].package.group == t.package.group
                name += "_" + ident(t.package.version if same_group else t.package.group).upper()
            if name in taken:
                self.error(t.package, t.line, "RES_%s is already that of %s" % (name, taken[name].full))
            taken[name] = t
            self.res_names[t.full] = name

    def resources_h(self):
        out = [NOTE, "#pragma once\n\nenum {\n    RES_none = 0,\n"]
        out += ["    RES_%s = %d,\n" % (self.res_names[t.full], self.res_index[t.full]) for t in self.kinds]
        return "".join(out) + "};\n"

    def verbs(self, verbs):
        return flags_text(["VERB_" + v.upper() for v in verbs])

    def sub_rows(self, t):
        subs = [(s.name, s.target, s.verbs) for s in t.subs if s.target]
        if "status" in t.attrs:
            subs.append(("status", t, ["get", "patch", "update"]))
        if "scale" in t.attrs:
            scale = self.api.find(t.package, "autoscaling.v1.Scale")
            if scale is None:
                self.error(t.package, t.line, "`scale` needs the type autoscaling.v1.Scale")
            else:
                subs.append(("scale", scale, ["get", "patch", "update"]))
        subs.sort(key=lambda s: s[0])
        return ["{%s, %s, %s, %s, &types[T_%s], %s}" %
                (quote(n), quote(x.name), quote(x.package.group), quote(x.package.version), ident(x.full),
                 self.verbs(v)) for n, x, v in subs]

    def column_rows(self, t):
        return ["{%s, %s, %s, %s, %s, %d}" % (quote(c.name), quote(c.type), quote(c.format), quote(c.path),
                                            quote(c.doc), c.wide) for c in t.columns]

    def storage_index(self, t):
        ref = t.attrs.get("stored-as")
        if not ref:
            return self.res_index[t.full]
        if ref not in self.res_index:
            self.error(t.package, t.line, "`stored-as %s`: no such kind" % ref)
        return self.res_index.get(ref, 0)

    def resource_row(self, t, subs, columns):
        a = t.attrs
        listed = "list" in a["verbs"]
        cells = [
            (".group", quote(t.package.group)), (".version", quote(t.package.version)), (".name", quote(t.plural)),
            (".singular", quote(t.name.lower())), (".kind", quote(t.name)),
            (".list_kind", quote(t.name + "List") if listed else "NULL"),
            (".short_names", self.list_ref_or_empty(a.get("short"))),
            (".categories", self.list_ref_or_empty(a.get("in"))),
            (".type", "&types[T_%s]" % ident(t.full)),
            (".list_type", "&types[T_%s]" % ident(t.full + "List") if listed else "NULL"),
            (".subresources", "subs_%s" % ident(t.full) if subs else "NULL"),
            (".columns", "columns_%s" % ident(t.full) if columns else "NULL"),
            (".n_subresources", len(subs)), (".n_columns", len(columns)), (".verbs", self.verbs(a["verbs"])),
            (".index", self.res_index[t.full]), (".namespaced", "true" if "namespaced" in a else "false"),
            (".stored", "false" if "unstored" in a else "true"), (".storage", self.storage_index(t)),
        ]
        return "    {" + ",\n     ".join("%s = %s" % c for c in cells) + "},\n"

    def list_ref_or_empty(self, words):
        return "w%d" % self.words.add(tuple(words.split(",")) if words else ())

    def group_versions(self):
        seen = {}
        for t in self.kinds:
            seen.setdefault(t.package.name, t.package)
        return ["{%s, %s, %d, %d}" % (quote(p.group), quote(p.version), *p.priority) for p in seen.values()]

    def resources_c(self):
        self.words = Interned()
        arrays, rows = [], []
        for t in self.kinds:
            subs, columns = self.sub_rows(t), self.column_rows(t)
            for what, name, cells in (("subresource", "subs_", subs), ("column", "columns_", columns)):
                if cells:
                    arrays.append("static const struct %s %s%s[] = {\n    %s,\n};\n" %
                                  (what, name, ident(t.full), ",\n    ".join(cells)))
            rows.append(self.resource_row(t, subs, columns))
        versions = self.group_versions()
        out = [NOTE, '#include "type/resource.h"\n#include "resources.h"\n#include "types.h"\n\n']
        for i, words in enumerate(self.words.rows):
            out.append("static const char *const w%d[] = {%s};\n" % (i, ", ".join([quote(w) for w in words] + ["NULL"])))
        out += arrays
        out.append("\nconst struct resource resources[] = {\n    {.group = \"\"},\n" + "".join(rows))
        out.append("};\nconst unsigned n_resources = %d;\n" % (len(rows) + 1))
        out.append("\nconst struct group_version group_versions[] = {\n    %s,\n};\n" % ",\n    ".join(versions))
        out.append("const unsigned n_group_versions = %d;\n" % len(versions))
        return "".join(out)

    # ---- gRPC ----

    def grpc_methods(self):
        out = []
        for p in sorted(self.api.packages.values(), key=lambda p: p.name):
            for s in sorted(p.services, key=lambda s: s.path):
                for r in sorted(s.rpcs, key=lambda r: r.name):
                    out.append((p, s, r))
        return out

    def grpc_h(self):
        out = [NOTE, "#pragma once\n\nenum {\n    G_none = 0,\n"]
        for i, (p, s, r) in enumerate(self.grpc_methods()):
            out.append("    G_%s_%s_%s = %d,\n" % (ident(p.name), s.path.rsplit(".", 1)[1], r.name, i + 1))
        out.append("};\n")
        for p in sorted(self.api.packages.values(), key=lambda p: p.name):
            for e in p.items.values():
                if isinstance(e, Enum):
                    scope = p.name + ("." + e.name.rsplit(".", 1)[0] if "." in e.name else "")
                    out.append("\n/* %s */\nenum {\n" % e.full)
                    out += ["    E_%s_%s = %d,\n" % (ident(scope), n, v) for n, v in e.values]
                    out.append("};\n")
        return "".join(out)

    def grpc_c(self):
        out = [NOTE, '#include "wire/schema.h"\n#include "grpc.h"\n#include "types.h"\n\n',
               "const struct grpc_method grpc_methods[] = {\n    {.path = \"\"},\n"]
        methods = self.grpc_methods()
        for p, s, r in methods:
            out.append("    {%s, &types[T_%s], &types[T_%s], %s, %s},\n" % (
                quote("/%s/%s" % (s.path, r.name)), ident(r.input.full), ident(r.output.full),
                str(r.client_stream).lower(), str(r.server_stream).lower()))
        out.append("};\nconst unsigned n_grpc_methods = %d;\n" % (len(methods) + 1))
        return "".join(out)


# ---- command line ----


def api_paths(directory):
    out = []
    for root, dirs, names in os.walk(directory):
        dirs.sort()
        out += [os.path.join(root, n) for n in sorted(names) if n.endswith(".api")]
    return out


def load(directory):
    api = Api()
    for path in api_paths(directory):
        with open(path, encoding="utf-8") as f:
            api.read(path, f.read())
    api.resolve()
    return api


def fail(errors):
    for e in sorted(set(errors)):
        print(e, file=sys.stderr)
    print("cubegen: %d error(s)" % len(set(errors)), file=sys.stderr)
    return 1


def write_if_changed(path, text):
    try:
        with open(path, encoding="utf-8") as f:
            if f.read() == text:
                return
    except OSError:
        pass
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def generate(api):
    g = Generator(api)
    if api.errors:
        raise ApiError()
    return {name: getattr(g, name.replace(".", "_"))() for name in (
        "names.h", "names.c", "types.h", "types.c", "resources.h", "resources.c", "grpc.h", "grpc.c")}


def format_files(paths):
    for path in paths:
        with open(path, encoding="utf-8") as f:
            text = f.read()
        write_if_changed(path, format_text(text))
    return 0


def main(argv):
    if argv[:1] == ["--format"]:
        return format_files(argv[1:])
    check = argv[:1] == ["--check"]
    depfile = argv[argv.index("--depfile") + 1] if "--depfile" in argv else None
    if len(argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    directory = argv[1] if check else argv[0]
    api = load(directory)
    if api.errors:
        return fail(api.errors)
    try:
        files = generate(api)
    except ApiError:
        files = {}
    if api.errors:
        return fail(api.errors)
    if check:
        return 0
    for name, text in files.items():
        with open(os.path.join(argv[1], name), "w", encoding="utf-8") as f:
            f.write(text)
    if depfile:
        with open(depfile, "w", encoding="utf-8") as f:
            folders = [path for path, _, _ in os.walk(directory)]  # a file may join them
            f.write("names.h: %s\n" % " ".join(api_paths(directory) + folders))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
