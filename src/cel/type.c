/* SPDX-License-Identifier: Apache-2.0 */
#include "cel/cel-internal.h"

#define SIMPLE(id, k, text) const struct cel_type id = {.kind = k, .name = {text, sizeof(text) - 1}}
SIMPLE(cel_error_type, CEL_ERROR, "!error!");
SIMPLE(cel_dyn, CEL_DYN, "dyn");
SIMPLE(cel_null, CEL_NULL, "null_type");
SIMPLE(cel_bool, CEL_BOOL, "bool");
SIMPLE(cel_int, CEL_INT, "int");
SIMPLE(cel_uint, CEL_UINT, "uint");
SIMPLE(cel_double, CEL_DOUBLE, "double");
SIMPLE(cel_string, CEL_STRING, "string");
SIMPLE(cel_bytes, CEL_BYTES, "bytes");
SIMPLE(cel_timestamp, CEL_TIMESTAMP, "google.protobuf.Timestamp");
SIMPLE(cel_duration, CEL_DURATION, "google.protobuf.Duration");
SIMPLE(cel_type_type, CEL_TYPE, "type");
SIMPLE(cel_quantity, CEL_OPAQUE, "kubernetes.Quantity");
SIMPLE(cel_semver, CEL_OPAQUE, "kubernetes.Semver");
SIMPLE(cel_ip, CEL_OPAQUE, "net.IP");
SIMPLE(cel_cidr, CEL_OPAQUE, "net.CIDR");
SIMPLE(cel_url, CEL_OPAQUE, "kubernetes.URL");
SIMPLE(cel_format, CEL_OPAQUE, "kubernetes.NamedFormat");
SIMPLE(cel_authorizer, CEL_OPAQUE, "kubernetes.authorization.Authorizer");
SIMPLE(cel_resource_check, CEL_OPAQUE, "kubernetes.authorization.ResourceCheck");

static const struct cel_type *const dyn_params[] = {&cel_dyn, &cel_dyn};
const struct cel_type cel_list_dyn = {.kind = CEL_LIST, .n_params = 1, .name = {"list", 4}, .params = dyn_params};
static const struct cel_type escaped_dyn = {.kind = CEL_DYN, .name = {"dyn", 3}, .flags = CEL_ESCAPED};
static const struct cel_type *const escaped_params[] = {&cel_string, &escaped_dyn};
const struct cel_type cel_map_escaped = {.kind = CEL_MAP, .n_params = 2, .name = {"map", 3}, .params = escaped_params, .flags = CEL_ESCAPED};
static const struct cel_type *const escaped_item[] = {&escaped_dyn};
const struct cel_type cel_list_escaped = {.kind = CEL_LIST, .n_params = 1, .name = {"list", 4}, .params = escaped_item, .flags = CEL_ESCAPED};
const struct cel_type cel_map_dyn = {.kind = CEL_MAP, .n_params = 2, .name = {"map", 3}, .params = dyn_params};
const struct cel_type cel_optional_dyn = {.kind = CEL_OPTIONAL, .n_params = 1, .name = {"optional_type", 13},
                                          .params = dyn_params};

const struct cel_type *cel_type_new(struct arena *a, enum cel_kind kind, struct str name,
                                    const struct cel_type *const *params, unsigned n)
{
    struct cel_type *t = ARENA_NEW(a, struct cel_type);
    const struct cel_type **copy = ARENA_ARRAY(a, const struct cel_type *, n);
    if (n)
        memcpy(copy, params, n * sizeof(*copy));
    t->kind = (uint8_t)kind;
    t->name = name;
    t->n_params = (uint8_t)n;
    t->params = copy;
    return t;
}

const struct cel_type *cel_list_of(struct arena *a, const struct cel_type *item)
{
    return cel_type_new(a, CEL_LIST, STR("list"), &item, 1);
}

const struct cel_type *cel_map_of(struct arena *a, const struct cel_type *key, const struct cel_type *value)
{
    return cel_type_new(a, CEL_MAP, STR("map"), (const struct cel_type *[]){key, value}, 2);
}

const struct cel_type *cel_optional_of(struct arena *a, const struct cel_type *t)
{
    return cel_type_new(a, CEL_OPTIONAL, STR("optional_type"), &t, 1);
}

const struct cel_type *cel_object_of(struct arena *a, struct str name, const struct cel_field *fields, size_t n)
{
    struct cel_type *t = ARENA_NEW(a, struct cel_type);
    t->kind = CEL_OBJECT;
    t->name = name;
    t->fields = fields;
    t->n_fields = (uint32_t)n;
    return t;
}

const struct cel_field *cel_type_field(const struct cel_type *t, struct str name)
{
    for (uint32_t i = 0; i < t->n_fields; i++)
        if (str_eq(t->fields[i].name, name))
            return &t->fields[i];
    return NULL;
}

bool cel_type_same(const struct cel_type *a, const struct cel_type *b)
{
    if (a == b)
        return true;
    bool named = a->kind == CEL_OPAQUE || a->kind == CEL_OBJECT || a->kind == CEL_PARAM;
    if (a->kind != b->kind || a->n_params != b->n_params || (named && !str_eq(a->name, b->name)))
        return false;
    for (unsigned i = 0; i < a->n_params; i++)
        if (!cel_type_same(a->params[i], b->params[i]))
            return false;
    return true;
}

uint32_t cel_kind_mask(const struct cel_type *t)
{
    switch ((enum cel_kind)t->kind) {
    case CEL_DYN:
    case CEL_PARAM:
    case CEL_ERROR:
        return UINT32_MAX & ~(1u << CEL_ERROR);
    case CEL_WRAPPER:
        return cel_kind_mask(t->params[0]) | 1u << CEL_NULL;
    default:
        return 1u << t->kind;
    }
}

/* ---- as text ------------------------------------------------------------------------------------------------ */

static void put_type(struct buf *b, const struct cel_type *t)
{
    switch ((enum cel_kind)t->kind) {
    case CEL_NULL:
        buf_puts(b, "null");
        return;
    case CEL_TIMESTAMP:
        buf_puts(b, "timestamp");
        return;
    case CEL_DURATION:
        buf_puts(b, "duration");
        return;
    default:
        buf_putstr(b, t->name);
    }
    for (unsigned i = 0; i < t->n_params; i++) {
        buf_puts(b, i ? ", " : "(");
        put_type(b, t->params[i]);
    }
    if (t->n_params)
        buf_putc(b, ')');
}

struct str cel_type_text(struct arena *a, const struct cel_type *t)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    put_type(&b, t);
    return arena_str(a, buf_str(&b));
}

static const struct named {
    struct str name;
    const struct cel_type *type;
} simple_types[] = {
#define NAMED(text, t) {{text, sizeof(text) - 1}, t}
    NAMED("bool", &cel_bool), NAMED("int", &cel_int), NAMED("uint", &cel_uint), NAMED("double", &cel_double),
    NAMED("string", &cel_string), NAMED("bytes", &cel_bytes), NAMED("dyn", &cel_dyn), NAMED("null_type", &cel_null),
    NAMED("timestamp", &cel_timestamp), NAMED("duration", &cel_duration), NAMED("type", &cel_type_type),
    NAMED("kubernetes.Quantity", &cel_quantity), NAMED("kubernetes.Semver", &cel_semver), NAMED("net.IP", &cel_ip),
    NAMED("net.CIDR", &cel_cidr), NAMED("kubernetes.URL", &cel_url), NAMED("kubernetes.NamedFormat", &cel_format),
    NAMED("kubernetes.authorization.Authorizer", &cel_authorizer),
    NAMED("kubernetes.authorization.ResourceCheck", &cel_resource_check),
};

const struct cel_type *cel_type_parse(struct arena *a, struct str *s)
{
    size_t n = 0;
    while (n < s->n && !strchr("(), ", s->p[n]))
        n++;
    struct str name = str_n(s->p, n);
    *s = str_from(*s, n);
    for (size_t i = 0; i < ARRAY_SIZE(simple_types); i++)
        if (str_eq(name, simple_types[i].name) && !str_starts(*s, STR("(")))
            return simple_types[i].type;
    const struct cel_type *params[2];
    unsigned n_params = 0;
    while (s->n && (s->p[0] == '(' || (n_params && s->p[0] == ',')) && n_params < 2) {
        *s = str_from(*s, s->p[0] == ',' && s->n > 1 && s->p[1] == ' ' ? 2 : 1);
        params[n_params++] = cel_type_parse(a, s);
    }
    if (n_params)
        *s = str_from(*s, 1); /* ) */
    enum cel_kind kind = n == 1                        ? CEL_PARAM
                         : str_is(name, "list")        ? CEL_LIST
                         : str_is(name, "map")         ? CEL_MAP
                         : str_is(name, "optional_type") ? CEL_OPTIONAL
                         : str_is(name, "type")          ? CEL_TYPE
                                                       : CEL_OPAQUE;
    return cel_type_new(a, kind, name, params, n_params);
}

/* ---- names of Kubernetes' properties -------------------------------------------------------------------------- */

static bool is_keyword(struct str s)
{
    static const char *const words[] = {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for",
                                        "function", "if", "import", "let", "loop", "package", "namespace", "return", "var",
                                        "void", "while"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_is(s, words[i]))
            return true;
    return false;
}

static const struct {
    char c;
    const char *text;
} escapes[] = {{'.', "__dot__"}, {'-', "__dash__"}, {'/', "__slash__"}};

bool cel_escape_name(struct arena *a, struct str json, struct str *ret)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (!json.n || (json.p[0] >= '0' && json.p[0] <= '9'))
        return false;
    if (is_keyword(json)) {
        *ret = arena_printf(a, "__" STR_FMT "__", STR_ARG(json));
        return true;
    }
    for (size_t i = 0; i < json.n; i++) {
        char c = json.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        bool escaped = false;
        for (size_t k = 0; k < ARRAY_SIZE(escapes); k++)
            if (escapes[k].c == c) {
                buf_puts(&b, escapes[k].text);
                escaped = true;
            }
        if (c == '_' && i + 1 < json.n && json.p[i + 1] == '_') {
            buf_puts(&b, "__underscores__");
            i++;
        } else if (plain) {
            buf_putc(&b, c);
        } else if (!escaped) {
            return false;
        }
    }
    *ret = arena_str(a, buf_str(&b));
    return true;
}

/* What one escape at the start of s stands for; its length in *ret_n. */
static char unescape_one(struct str s, size_t *ret_n)
{
    for (size_t k = 0; k < ARRAY_SIZE(escapes); k++)
        if (str_starts(s, str_of(escapes[k].text))) {
            *ret_n = strlen(escapes[k].text);
            return escapes[k].c;
        }
    return 0;
}

struct str cel_unescape_name(struct arena *a, struct str name)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    size_t n = 0;
    if (name.n > 4 && str_starts(name, STR("__")) && str_ends(name, STR("__")) && is_keyword(str_slice(name, 2, name.n - 4)))
        return str_slice(name, 2, name.n - 4);
    for (size_t i = 0; i < name.n; i += n) {
        struct str rest = str_from(name, i);
        char c = unescape_one(rest, &n);
        if (!c && str_starts(rest, STR("__underscores__"))) {
            buf_puts(&b, "__");
            n = strlen("__underscores__");
            continue;
        }
        n = c ? n : 1;
        buf_putc(&b, c ? c : name.p[i]);
    }
    return b.n == name.n ? name : arena_str(a, buf_str(&b));
}

const struct cel_type *cel_object_declared(struct arena *a, const char *name, const struct cel_declared *d, size_t n)
{
    struct cel_field *f = ARENA_ARRAY(a, struct cel_field, n);
    for (size_t i = 0; i < n; i++)
        f[i] = (struct cel_field){.name = str_of(d[i].name), .json = str_of(d[i].name), .type = d[i].type};
    return cel_object_of(a, str_of(name), f, n);
}
