# SPDX-License-Identifier: Apache-2.0
"""Reads the files of api/ (format: api/README.md) into a model, and lines their columns up again (--format).

A broken file raises ApiError with "file:line: what is wrong"; as many as can be found are collected in one run.
"""

import json
import re
from dataclasses import dataclass, field as dc_field

SCALARS = ("bool", "int32", "int64", "uint32", "uint64", "float64", "string", "bytes", "strings",
           "any")
LEAF_KINDS = ("quantity", "time", "microtime", "duration", "intorstring", "raw")
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
STANDARD_VERBS = VERBS

# Attributes of a field: name -> number of values that follow it.
FIELD_ATTRS = {
    "required": 0, "optional": 0, "omitzero": 0, "nonempty": 0, "immutable": 0, "deprecated": 0,
    "atomic": 0, "granular": 0, "set": 0, "keys": 1, "merge": 1, "mergeset": 0, "retainKeys": 0,
    "default": 1, "enum": 1, "min": 1, "max": 1, "minlen": 1, "maxlen": 1, "format": 1, "oneof": 1,
}
TYPE_ATTRS = {"root": 0, "list": 0, "atomic": 0, "union": 0, "or": 0, "apiversion": 1}
KIND_ATTRS = {
    "namespaced": 0, "cluster": 0, "short": 1, "in": 1, "verbs": 1, "status": 0, "scale": 0, "unstored": 0,
    "stored-as": 1, "atomic": 0, "union": 0,
}
FORMATS = ("dns-label", "dns-label-1035", "dns-subdomain", "qualified-name", "label-key", "label-value", "labels",
           "env-name", "config-key", "port-name", "ip", "cidr", "cron", "path-segment", "absolute-path")
COLUMN_TYPES = ("string", "integer", "number", "boolean", "date")
STATEMENTS = ("package", "group", "openapi", "import", "proto3", "nodocs", "values", "kind", "type", "leaf", "enum",
              "service")
BLOCKS = ("kind", "type", "enum", "service")

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')


class ApiError(Exception):
    pass


@dataclass
class Field:
    name: str           # "" for an inlined struct
    type: str           # as written, without [] {} ? !
    card: str           # "", "[]" or "{}"
    ptr: bool
    always: bool
    number: int
    attrs: dict
    doc: str
    line: int
    target: object = None  # Type or Leaf or Enum, set by resolve()
    kind: str = ""         # scalar, leaf kind, "message", "or", "enum", "strings"


@dataclass
class Column:
    name: str
    type: str
    format: str
    wide: bool
    path: str
    doc: str
    line: int


@dataclass
class Sub:
    name: str
    type: str
    verbs: list
    line: int
    target: object = None


@dataclass
class Type:
    package: object
    name: str
    attrs: dict
    doc: str
    line: int
    fields: list = dc_field(default_factory=list)
    columns: list = dc_field(default_factory=list)
    subs: list = dc_field(default_factory=list)
    plural: str = ""     # of a kind
    implied: bool = False  # a list type made for a kind

    @property
    def full(self):
        return self.package.name + "." + self.name

    @property
    def root(self):
        return bool(self.plural) or "root" in self.attrs or "list" in self.attrs


@dataclass
class Leaf:
    package: object
    name: str
    kind: str
    doc: str
    line: int

    @property
    def full(self):
        return self.package.name + "." + self.name


@dataclass
class Enum:
    package: object
    name: str
    line: int
    values: list = dc_field(default_factory=list)  # (name, number)

    @property
    def full(self):
        return self.package.name + "." + self.name


@dataclass
class Rpc:
    name: str
    request: str
    response: str
    client_stream: bool
    server_stream: bool
    line: int
    input: object = None
    output: object = None


@dataclass
class Service:
    package: object
    path: str
    line: int
    rpcs: list = dc_field(default_factory=list)


@dataclass
class Package:
    path: str
    name: str = ""
    group: str = None
    version: str = None
    priority: tuple = (0, 0)
    openapi: str = ""
    imports: list = dc_field(default_factory=list)
    proto3: bool = False
    nodocs: bool = False
    items: dict = dc_field(default_factory=dict)  # name -> Type, Leaf, Enum
    values: dict = dc_field(default_factory=dict)  # name -> "A|B|C"
    services: list = dc_field(default_factory=list)

    @property
    def api_version(self):
        if self.version is None:
            return None
        return self.group + "/" + self.version if self.group else self.version


def unquote(token):
    if token.startswith('"'):
        return json.loads(token)
    return token


def is_doc(token):
    return token[0].isupper()


class Parser:
    """One file. Errors are appended to `errors`; parsing goes on with the next line."""

    def __init__(self, path, text, errors):
        self.package = Package(path)
        self.errors = errors
        self.block = None
        self.lineno = 0
        for line in text.split("\n"):
            self.lineno += 1
            self.parse_line(line)
        if not self.package.name:
            self.lineno = 1
            self.error("no `package` line")

    def error(self, message):
        self.errors.append("%s:%d: %s" % (self.package.path, self.lineno, message))

    def parse_line(self, line):
        if not line.strip() or line.lstrip().startswith("#"):
            return
        if "\t" in line:
            self.error("tab character; use blanks")
        matches = list(TOKEN.finditer(line))
        tokens = [m.group() for m in matches]
        starts = [m.start() for m in matches]
        try:
            if line[0] != " ":
                self.statement(line, tokens, starts)
            elif self.block is None:
                raise ApiError("indented line outside of a block (%s)" % ", ".join(BLOCKS))
            elif isinstance(self.block, Type):
                self.type_line(line, tokens, starts)
            elif isinstance(self.block, Enum):
                self.enum_line(tokens)
            else:
                self.rpc_line(tokens)
        except (ApiError, ValueError) as e:
            self.error(str(e))

    # ---- statements at the left margin ----

    def statement(self, line, tokens, starts):
        word = tokens[0]
        if word not in STATEMENTS:
            raise ApiError("unknown statement `%s`; known: %s" % (word, ", ".join(STATEMENTS)))
        self.block = None
        if word != "package" and not self.package.name:
            raise ApiError("the first statement must be `package`")
        getattr(self, "do_" + word)(line, tokens, starts)

    def want(self, tokens, n, form):
        if len(tokens) != n:
            raise ApiError("expected `%s`" % form)

    def do_package(self, line, tokens, starts):
        self.want(tokens, 2, "package NAME")
        if self.package.name:
            raise ApiError("second `package` line")
        self.package.name = tokens[1]

    def do_group(self, line, tokens, starts):
        if len(tokens) not in (4, 7) or tokens[2] != "version" or len(tokens) == 7 and tokens[4] != "priority":
            raise ApiError("expected `group NAME version VERSION [priority GROUP VERSION]`")
        self.package.group = unquote(tokens[1])
        self.package.version = tokens[3]
        if len(tokens) == 7:
            self.package.priority = (int(tokens[5]), int(tokens[6]))

    def do_openapi(self, line, tokens, starts):
        self.want(tokens, 2, "openapi PREFIX")
        self.package.openapi = tokens[1]

    def do_import(self, line, tokens, starts):
        self.package.imports += tokens[1:]

    def do_proto3(self, line, tokens, starts):
        self.want(tokens, 1, "proto3")
        self.package.proto3 = True

    def do_nodocs(self, line, tokens, starts):
        self.want(tokens, 1, "nodocs")
        self.package.nodocs = True

    def do_values(self, line, tokens, starts):
        self.want(tokens, 3, "values NAME A|B|C")
        if tokens[1] in self.package.values:
            raise ApiError("values `%s` are already there" % tokens[1])
        self.package.values[tokens[1]] = tokens[2]

    def add_item(self, item):
        old = self.package.items.get(item.name)
        if old:
            raise ApiError("`%s` is already there in line %d" % (item.name, old.line))
        self.package.items[item.name] = item

    def do_leaf(self, line, tokens, starts):
        if len(tokens) < 3 or tokens[2] not in LEAF_KINDS:
            raise ApiError("expected `leaf NAME KIND Doc`, KIND one of %s" % ", ".join(LEAF_KINDS))
        self.add_item(Leaf(self.package, tokens[1], tokens[2], self.doc_from(line, starts, 3), self.lineno))

    def do_enum(self, line, tokens, starts):
        self.want(tokens, 2, "enum NAME")
        self.block = Enum(self.package, tokens[1], self.lineno)
        self.add_item(self.block)

    def do_service(self, line, tokens, starts):
        self.want(tokens, 2, "service NAME")
        self.block = Service(self.package, tokens[1], self.lineno)
        self.package.services.append(self.block)

    def do_type(self, line, tokens, starts):
        if len(tokens) < 2:
            raise ApiError("expected `type NAME [attributes] Doc`")
        attrs, doc = self.attributes(line, tokens, starts, 2, TYPE_ATTRS)
        self.block = Type(self.package, tokens[1], attrs, doc, self.lineno)
        self.add_item(self.block)

    def do_kind(self, line, tokens, starts):
        if len(tokens) < 4 or is_doc(tokens[2]):
            raise ApiError("expected `kind NAME PLURAL namespaced|cluster [attributes] Doc`")
        attrs, doc = self.attributes(line, tokens, starts, 3, KIND_ATTRS)
        if ("namespaced" in attrs) == ("cluster" in attrs):
            raise ApiError("kind %s must be either `namespaced` or `cluster`" % tokens[1])
        verbs = attrs.get("verbs", ",".join(STANDARD_VERBS)).split(",")
        self.check_verbs(verbs)
        attrs["verbs"] = verbs
        if self.package.version is None:
            raise ApiError("a `kind` needs a `group` line above")
        self.block = Type(self.package, tokens[1], attrs, doc, self.lineno, plural=tokens[2])
        self.add_item(self.block)
        if "list" in verbs:
            self.add_list_type(tokens[1])

    def check_verbs(self, verbs):
        for v in verbs:
            if v not in VERBS:
                raise ApiError("unknown verb `%s`" % v)

    def add_list_type(self, kind):
        t = Type(self.package, kind + "List", {"list": True}, "A list of %s objects." % kind, self.lineno, implied=True)
        t.fields = [
            Field("metadata", "meta.v1.ListMeta", "", False, False, 1, {}, "What holds for the list as a whole.",
                  self.lineno),
            Field("items", kind, "[]", False, True, 2, {}, "The objects.", self.lineno),
        ]
        self.add_item(t)

    # ---- lines of blocks ----

    def doc_from(self, line, starts, i):
        return line[starts[i]:].strip() if i < len(starts) else ""

    def attributes(self, line, tokens, starts, i, known):
        """Attributes from token i on, until the doc, which starts with a capital letter."""
        attrs = {}
        while i < len(tokens) and not is_doc(tokens[i]):
            word = tokens[i]
            if word not in known:
                raise ApiError("unknown attribute `%s` (a doc starts with a capital letter)" % word)
            if word in attrs:
                raise ApiError("attribute `%s` twice" % word)
            if not known[word]:
                attrs[word] = True
            elif i + 1 >= len(tokens):
                raise ApiError("attribute `%s` needs a value" % word)
            else:
                i += 1
                attrs[word] = tokens[i]
            i += 1
        return attrs, self.doc_from(line, starts, i)

    def type_line(self, line, tokens, starts):
        if tokens[0] == "column" and self.block.plural:
            return self.column_line(line, tokens, starts)
        if tokens[0] == "sub" and self.block.plural:
            return self.sub_line(tokens)
        return self.field_line(line, tokens, starts)

    def field_line(self, line, tokens, starts):
        if len(tokens) < 2:
            raise ApiError("expected `NAME TYPE [NUMBER] [attributes] Doc`")
        name, spec = ("", tokens[1]) if tokens[0] == "inline" else (unquote(tokens[0]), tokens[1])
        m = re.fullmatch(r"(\[\]|\{\}|\{\}\[\])?([A-Za-z0-9_.-]+)(\??)(!?)", spec)
        if not m:
            raise ApiError("`%s` is no type" % spec)
        i, number = 2, 0
        if len(tokens) > 2 and tokens[2].isdigit():
            number, i = int(tokens[2]), 3
            if not 1 <= number <= 65535:
                raise ApiError("protobuf number %d out of range" % number)
        attrs, doc = self.attributes(line, tokens, starts, i, FIELD_ATTRS)
        if attrs.get("enum", "").startswith("@"):
            if attrs["enum"][1:] not in self.package.values:
                raise ApiError("no line `values %s ...` above" % attrs["enum"][1:])
            attrs["enum"] = self.package.values[attrs["enum"][1:]]
        f = Field(name, m[2], m[1] or "", bool(m[3]), bool(m[4]), number, attrs, doc, self.lineno)
        if self.package.proto3 and (f.ptr or f.always or not number):
            raise ApiError("field of a proto3 package needs a number and neither ? nor !")
        for old in self.block.fields:
            if name and old.name == name:
                raise ApiError("field `%s` is already there in line %d" % (name, old.line))
            if number and old.number == number:
                raise ApiError("protobuf number %d is that of `%s` in line %d" %
                               (number, old.name or old.type, old.line))
        self.block.fields.append(f)

    def column_line(self, line, tokens, starts):
        if len(tokens) < 4:
            raise ApiError("expected `column NAME TYPE[/FORMAT] [wide] EXPRESSION|- Doc`")
        base, _, fmt = tokens[2].partition("/")
        if base not in COLUMN_TYPES:
            raise ApiError("column type `%s`; known: %s" % (base, ", ".join(COLUMN_TYPES)))
        i = 4 if tokens[3] == "wide" else 3
        if i >= len(tokens) or is_doc(tokens[i]):
            raise ApiError("column needs an expression, or - when it is computed")
        path = None if tokens[i] == "-" else unquote(tokens[i])
        self.block.columns.append(Column(unquote(tokens[1]), base, fmt, i == 4, path,
                                         self.doc_from(line, starts, i + 1), self.lineno))

    def sub_line(self, tokens):
        if len(tokens) < 4:
            raise ApiError("expected `sub NAME TYPE VERB ...`")
        self.check_verbs(tokens[3:])
        self.block.subs.append(Sub(tokens[1], tokens[2], tokens[3:], self.lineno))

    def enum_line(self, tokens):
        self.want(tokens, 2, "NAME NUMBER")
        self.block.values.append((tokens[0], int(tokens[1])))

    def rpc_line(self, tokens):
        m = re.fullmatch(r"rpc (\w+) (stream )?(\S+) -> (stream )?(\S+)", " ".join(tokens))
        if not m:
            raise ApiError("expected `rpc NAME [stream] REQUEST -> [stream] RESPONSE`")
        self.block.rpcs.append(Rpc(m[1], m[3], m[5], bool(m[2]), bool(m[4]), self.lineno))


# ---- the whole model ----


class Api:
    """All packages with references resolved. `errors` is empty when the files are sound."""

    def __init__(self):
        self.packages = {}
        self.errors = []

    def read(self, path, text):
        package = Parser(path, text, self.errors).package
        if package.name in self.packages:
            self.errors.append("%s:1: package `%s` is already there: %s" %
                               (path, package.name, self.packages[package.name].path))
        elif package.name:
            self.packages[package.name] = package

    def error(self, package, line, message):
        self.errors.append("%s:%d: %s" % (package.path, line, message))

    def types(self):
        return [t for p in self.packages.values() for t in p.items.values() if isinstance(t, Type)]

    def leaves(self):
        return [t for p in self.packages.values() for t in p.items.values() if isinstance(t, Leaf)]

    def find(self, package, ref):
        """The item a name means: own package, then imports, then the full name. None: unknown, [..]: ambiguous."""
        if ref in package.items:
            return package.items[ref]
        hits = [self.packages[i].items[ref] for i in package.imports
                if i in self.packages and ref in self.packages[i].items]
        if hits:
            return hits[0] if len(hits) == 1 else hits
        parts = ref.split(".")
        for n in range(len(parts) - 1, 0, -1):
            p = self.packages.get(".".join(parts[:n]))
            if p:
                return p.items.get(".".join(parts[n:]))
        return None

    def lookup(self, package, ref, line):
        hit = self.find(package, ref)
        if hit is None:
            self.error(package, line, "unknown type `%s`" % ref)
        elif isinstance(hit, list):
            self.error(package, line, "`%s` is ambiguous: %s" % (ref, ", ".join(h.full for h in hit)))
            hit = None
        return hit

    def resolve(self):
        for p in self.packages.values():
            for i in p.imports:
                if i not in self.packages:
                    self.error(p, 1, "import of unknown package `%s`" % i)
            for t in p.items.values():
                if isinstance(t, Type):
                    self.resolve_type(p, t)
            for s in p.services:
                for r in s.rpcs:
                    r.input = self.lookup(p, r.request, r.line)
                    r.output = self.lookup(p, r.response, r.line)

    def resolve_type(self, p, t):
        if not t.doc and not p.nodocs:
            self.error(p, t.line, "type %s has no doc" % t.name)
        for f in t.fields:
            self.resolve_field(p, t, f)
        for s in t.subs:
            s.target = self.lookup(p, s.type, s.line)
        for c in t.columns:
            if not c.doc:
                self.error(p, c.line, "column %s has no doc" % c.name)
        if t.root and any(f.name in ("kind", "apiVersion") for f in t.fields):
            self.error(p, t.line, "%s has kind and apiVersion by itself" % t.name)

    def resolve_field(self, p, t, f):
        if f.type in SCALARS:
            f.kind = f.type
        else:
            f.target = self.lookup(p, f.type, f.line)
            if isinstance(f.target, Leaf):
                f.kind = f.target.kind
            elif isinstance(f.target, Enum):
                f.kind = "enum"
            elif isinstance(f.target, Type):
                f.kind = "or" if "or" in f.target.attrs else "message"
            else:
                return
        if f.card == "{}[]":
            f.kind, f.card = "strings", "{}"
            if f.type != "string":
                self.error(p, f.line, "{}[] is for strings only")
        if not f.name and (f.kind != "message" or f.card or f.ptr):
            self.error(p, f.line, "only a struct type can be inlined")
        if not f.doc and f.name and not p.nodocs and not t.implied:
            self.error(p, f.line, "field %s.%s has no doc" % (t.name, f.name))
        self.check_attrs(p, f)

    def check_attrs(self, p, f):
        a = f.attrs
        for k in ("min", "max", "minlen", "maxlen"):
            if k in a and not re.fullmatch(r"-?[0-9]+", a[k]):
                self.error(p, f.line, "`%s` needs a whole number, not `%s`" % (k, a[k]))
        if ("min" in a or "max" in a) and f.kind not in ("int32", "int64", "uint32", "uint64", "intorstring",
                                                        "float64"):
            self.error(p, f.line, "`min` and `max` are for numbers; minlen and maxlen are for strings and lists")
        if a.get("format", FORMATS[0]).rstrip("!") not in FORMATS:
            self.error(p, f.line, "format `%s`; known: %s" % (a["format"], ", ".join(FORMATS)))
        if "enum" in a and f.kind != "string":
            self.error(p, f.line, "`enum` is for strings")
        if ("set" in a or "keys" in a or "mergeset" in a) and f.card != "[]":
            self.error(p, f.line, "`set`, `keys` and `mergeset` are for lists")
        if "keys" in a and f.kind == "message" and isinstance(f.target, Type):
            have = {g.name for g in self.flat(f.target)}
            for k in a["keys"].split(","):
                if k not in have:
                    self.error(p, f.line, "key `%s` is no field of %s" % (k, f.target.name))
        if "default" in a:
            try:
                self.default_json(f)
            except ValueError as e:
                self.error(p, f.line, str(e))

    def default_json(self, f):
        """The default as JSON text; a bare word is a string."""
        text = f.attrs["default"]
        if text.startswith('"') and f.kind not in ("string", "intorstring", "duration", "quantity"):
            text = unquote(text)  # quoted JSON that holds blanks
        if f.card or f.kind in ("message", "strings", "bool", "any", "raw") or f.kind in SCALARS and f.kind != "string":
            try:
                value = json.loads(text)
            except ValueError:
                raise ValueError("default `%s` is no JSON" % text) from None
        else:
            value = int(text) if f.kind == "intorstring" and re.fullmatch(r"-?[0-9]+", text) else unquote(text)
        fits = {"bool": bool, "int32": int, "int64": int, "uint32": int, "uint64": int}.get(f.kind)
        if fits and not f.card and type(value) is not fits:
            raise ValueError("default `%s` does not fit %s" % (text, f.kind))
        if "enum" in f.attrs and not f.card and value and value not in f.attrs["enum"].split("|"):
            raise ValueError("default `%s` is not in the enum" % text)
        return json.dumps(value, separators=(",", ":"))

    def flat(self, t, depth=0):
        """JSON view: inlined structs replaced by their fields."""
        out = []
        for f in t.fields:
            if f.name:
                out.append(f)
            elif isinstance(f.target, Type) and depth < 8:
                out += self.flat(f.target, depth + 1)
            elif f.target is None and depth < 8:
                hit = self.find(t.package, f.type)
                if isinstance(hit, Type):
                    out += self.flat(hit, depth + 1)
        return out


# ---- lining columns up ----

# The widest name, type, number and attributes that still push the columns of their block.
CAPS = (34, 40, 4, 34)
COLUMN_CAPS = (40, 40, 4, 60)


def split_line(line):
    """Cells of an indented line: name, type, number (or `wide`), attributes, doc."""
    matches = list(TOKEN.finditer(line))
    tokens = [m.group() for m in matches]
    number = ""
    if tokens[0] in ("rpc", "sub"):
        return [" ".join(tokens), "", "", "", ""]
    if tokens[0] == "column":
        number = "wide" if tokens[3:4] == ["wide"] else ""
        i = 4 if number else 3
        head, spec, j = " ".join(tokens[:2]), tokens[2], i + 1
    else:
        head, spec, i = tokens[0], (tokens + [""])[1], 2
        if len(tokens) > 2 and tokens[2].isdigit():
            number, i = tokens[2], 3
        j = i
        while j < len(tokens) and not is_doc(tokens[j]):
            j += 1 + FIELD_ATTRS.get(tokens[j], 0)
    doc = line[matches[j].start():].strip() if j < len(tokens) else ""
    return [head, spec, number, " ".join(tokens[i:j]), doc]


def format_block(lines):
    """Fields and columns are lined up each for themselves; comments stay where they are."""
    rows = [None if x.lstrip().startswith("#") else split_line(x) for x in lines]
    out = []
    for row, line in zip(rows, lines):
        if row is None:
            out.append("    " + line.strip())
            continue
        is_column = row[0].startswith("column ")
        peers = [r for r in rows if r and r[0].startswith("column ") == is_column]
        caps = COLUMN_CAPS if is_column else CAPS
        widths = [max([len(r[c]) for r in peers if len(r[c]) <= caps[c]], default=0) for c in range(4)]
        text = "    "
        for c in range(4):
            if widths[c] or row[c]:
                text += (row[c].rjust(widths[c]) if c == 2 else row[c].ljust(widths[c])) + "  "
        out.append((text + row[4]).rstrip())
    return out


def format_text(text):
    """The same file with the columns of each block lined up; everything else as it was."""
    out, block = [], []
    for line in text.split("\n") + [""]:
        if line.startswith(" ") and line.strip():
            block.append(line)
            continue
        out += format_block(block)
        block = []
        out.append(line.rstrip())
    return "\n".join(out).rstrip("\n") + "\n"
