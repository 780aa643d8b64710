/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The swagger document as protobuf (openapi.v2.Document of gnostic), which is how kubectl and Helm ask for it. It is made of
 * the JSON by tables of the messages: fields by their JSON names, with the detours that the message takes where JSON has a
 * map, or one of several things. What is in no table (nothing that openapi.c makes) is left out.
 */
#include "type/openapi.h"

#include "wire/json.h"

enum { DEEPEST = 64 };

enum how {
    H_TEXT,
    H_BOOL,
    H_INT,
    H_FLOAT,
    H_TEXTS,    /* a list of texts */
    H_WRAPPED,  /* a text or a list of them, in a message whose field 1 they are */
    H_ANY,      /* whatever it is, as YAML in a message's field 2 */
    H_ANYS,     /* a list of such */
    H_MESSAGE,
    H_MESSAGES, /* a list of messages */
    H_MAP,      /* a message whose field 1 are pairs of name and message */
    H_HELD,     /* a message, or a list of them, as field 1 of another */
    H_EITHER,   /* a message as field 1 of another, or a boolean as field 2 */
    H_PARAMETERS,
};

struct message;
struct entry {
    const char *key;
    unsigned number;
    enum how how;
    const struct message *of;
};
struct message {
    const struct entry *entries; /* end with key NULL */
    unsigned extensions;         /* of keys that begin with "x-"; 0: has none */
    unsigned others;             /* of all other keys, as pairs of name and message; 0: none */
    const struct message *other; /* that message; without others: what is all of it, as field 1 */
};

/* ---- the messages ------------------------------------------------------------------------------------- */

static const struct message schema, operation, path_item;

static const struct entry schema_entries[] = {
    {"$ref", 1, H_TEXT, NULL},           {"format", 2, H_TEXT, NULL},
    {"title", 3, H_TEXT, NULL},          {"description", 4, H_TEXT, NULL},
    {"default", 5, H_ANY, NULL},         {"multipleOf", 6, H_FLOAT, NULL},
    {"maximum", 7, H_FLOAT, NULL},       {"exclusiveMaximum", 8, H_BOOL, NULL},
    {"minimum", 9, H_FLOAT, NULL},       {"exclusiveMinimum", 10, H_BOOL, NULL},
    {"maxLength", 11, H_INT, NULL},      {"minLength", 12, H_INT, NULL},
    {"pattern", 13, H_TEXT, NULL},       {"maxItems", 14, H_INT, NULL},
    {"minItems", 15, H_INT, NULL},       {"uniqueItems", 16, H_BOOL, NULL},
    {"maxProperties", 17, H_INT, NULL},  {"minProperties", 18, H_INT, NULL},
    {"required", 19, H_TEXTS, NULL},     {"enum", 20, H_ANYS, NULL},
    {"additionalProperties", 21, H_EITHER, &schema},
    {"type", 22, H_WRAPPED, NULL},       {"items", 23, H_HELD, &schema},
    {"allOf", 24, H_MESSAGES, &schema},  {"properties", 25, H_MAP, &schema},
    {"discriminator", 26, H_TEXT, NULL}, {"readOnly", 27, H_BOOL, NULL},
    {"example", 30, H_ANY, NULL},        {0},
};
static const struct message schema = {schema_entries, 31, 0, NULL};

static const struct entry body_entries[] = {{"description", 1, H_TEXT, NULL}, {"name", 2, H_TEXT, NULL},
                                            {"in", 3, H_TEXT, NULL},          {"required", 4, H_BOOL, NULL},
                                            {"schema", 5, H_MESSAGE, &schema}, {0}};
static const struct message body_parameter = {body_entries, 6, 0, NULL};

static const struct entry path_entries[] = {{"required", 1, H_BOOL, NULL}, {"in", 2, H_TEXT, NULL},   {"description", 3, H_TEXT, NULL},
                                            {"name", 4, H_TEXT, NULL},     {"type", 5, H_TEXT, NULL}, {"format", 6, H_TEXT, NULL},
                                            {"default", 9, H_ANY, NULL},   {"uniqueItems", 19, H_BOOL, NULL}, {0}};
static const struct message path_parameter = {path_entries, 22, 0, NULL}; /* and that of a header */

static const struct entry query_entries[] = {{"required", 1, H_BOOL, NULL}, {"in", 2, H_TEXT, NULL},
                                             {"description", 3, H_TEXT, NULL}, {"name", 4, H_TEXT, NULL},
                                             {"type", 6, H_TEXT, NULL},     {"format", 7, H_TEXT, NULL},
                                             {"default", 10, H_ANY, NULL},  {"uniqueItems", 20, H_BOOL, NULL}, {0}};
static const struct message query_parameter = {query_entries, 23, 0, NULL}; /* and that of a form */

/* Where a parameter is: the message for it, and its number among those that are no body's (0: it is the body). */
static const struct {
    const char *in;
    unsigned number;
    const struct message *of;
} parameter_kinds[] = {{"body", 0, &body_parameter},      {"header", 1, &path_parameter}, {"formData", 2, &query_parameter},
                       {"query", 3, &query_parameter},    {"path", 4, &path_parameter}};

static const struct entry response_entries[] = {{"description", 1, H_TEXT, NULL}, {"schema", 2, H_HELD, &schema}, {0}};
static const struct message response = {response_entries, 5, 0, NULL};
static const struct entry none[] = {{0}};
static const struct message response_value = {none, 0, 0, &response}; /* a response, or (as none of ours) a reference */
static const struct message responses = {none, 2, 1, &response_value};

static const struct entry operation_entries[] = {{"tags", 1, H_TEXTS, NULL},
                                                 {"summary", 2, H_TEXT, NULL},
                                                 {"description", 3, H_TEXT, NULL},
                                                 {"operationId", 5, H_TEXT, NULL},
                                                 {"produces", 6, H_TEXTS, NULL},
                                                 {"consumes", 7, H_TEXTS, NULL},
                                                 {"parameters", 8, H_PARAMETERS, NULL},
                                                 {"responses", 9, H_MESSAGE, &responses},
                                                 {"schemes", 10, H_TEXTS, NULL},
                                                 {"deprecated", 11, H_BOOL, NULL},
                                                 {0}};
static const struct message operation = {operation_entries, 13, 0, NULL};

static const struct entry path_item_entries[] = {{"get", 2, H_MESSAGE, &operation},     {"put", 3, H_MESSAGE, &operation},
                                                 {"post", 4, H_MESSAGE, &operation},    {"delete", 5, H_MESSAGE, &operation},
                                                 {"options", 6, H_MESSAGE, &operation}, {"head", 7, H_MESSAGE, &operation},
                                                 {"patch", 8, H_MESSAGE, &operation},   {"parameters", 9, H_PARAMETERS, NULL},
                                                 {0}};
static const struct message path_item = {path_item_entries, 10, 0, NULL};
static const struct message paths = {none, 1, 2, &path_item};

static const struct entry info_entries[] = {{"title", 1, H_TEXT, NULL}, {"version", 2, H_TEXT, NULL}, {"description", 3, H_TEXT, NULL}, {0}};
static const struct message info = {info_entries, 7, 0, NULL};

static const struct entry document_entries[] = {{"swagger", 1, H_TEXT, NULL},     {"info", 2, H_MESSAGE, &info},
                                                {"host", 3, H_TEXT, NULL},        {"basePath", 4, H_TEXT, NULL},
                                                {"schemes", 5, H_TEXTS, NULL},    {"consumes", 6, H_TEXTS, NULL},
                                                {"produces", 7, H_TEXTS, NULL},   {"paths", 8, H_MESSAGE, &paths},
                                                {"definitions", 9, H_MAP, &schema}, {0}};
static const struct message document = {document_entries, 16, 0, NULL};

/* ---- writing ------------------------------------------------------------------------------------------- */

static size_t varint(uint64_t x, uint8_t ret[static 10])
{
    size_t n = 0;
    for (; x >= 0x80; x >>= 7)
        ret[n++] = (uint8_t)(x | 0x80);
    ret[n++] = (uint8_t)x;
    return n;
}

static void put_varint(struct buf *b, uint64_t x)
{
    uint8_t bytes[10];
    buf_put(b, bytes, varint(x, bytes));
}

static void put_tag(struct buf *b, unsigned number, unsigned wire)
{
    put_varint(b, number << 3 | wire);
}

static void put_text(struct buf *b, unsigned number, struct str s)
{
    put_tag(b, number, 2);
    put_varint(b, s.n);
    buf_putstr(b, s);
}

static void put_number(struct buf *b, unsigned number, uint64_t x)
{
    put_tag(b, number, 0);
    put_varint(b, x);
}

static void put_float(struct buf *b, unsigned number, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    put_tag(b, number, 1);
    for (int i = 0; i < 8; i++)
        buf_putc(b, (char)(bits >> 8 * i));
}

/* What is written between these two is a message; its length is put before it at the end. */
static size_t begin(struct buf *b, unsigned number)
{
    put_tag(b, number, 2);
    return b->n;
}

static void end(struct buf *b, size_t start)
{
    uint8_t bytes[10];
    size_t n = varint(b->n - start, bytes), length = b->n - start;
    buf_grow(b, n);
    memmove(b->p + start + n, b->p + start, length);
    memcpy(b->p + start, bytes, n);
    b->n += n;
}

static void put_any(struct buf *b, unsigned number, const struct val *v)
{
    struct buf text CLEANUP_BUF = BUF_INIT;
    json_encode(&text, NULL, v, 0); /* JSON is YAML */
    buf_putc(&text, '\n');
    size_t start = begin(b, number);
    put_text(b, 2, buf_str(&text));
    end(b, start);
}

static void put_members(struct buf *b, const struct message *m, const struct val *v, unsigned depth);

static void put_message(struct buf *b, unsigned number, const struct message *m, const struct val *v, unsigned depth)
{
    size_t start = begin(b, number);
    if (m->other && !m->others)
        put_message(b, 1, m->other, v, depth + 1);
    else
        put_members(b, m, v, depth + 1);
    end(b, start);
}

static void put_pair(struct buf *b, unsigned number, struct str name, const struct message *m, const struct val *v, unsigned depth)
{
    size_t start = begin(b, number);
    put_text(b, 1, name);
    if (m)
        put_message(b, 2, m, v, depth);
    else
        put_any(b, 2, v);
    end(b, start);
}

static void put_parameter(struct buf *b, unsigned number, const struct val *v, unsigned depth)
{
    struct str in = val_str(val_key(v, STR("in"))), ref = val_str(val_key(v, STR("$ref")));
    size_t item = begin(b, number), at;
    if (ref.n) {
        at = begin(b, 2);
        put_text(b, 1, ref);
        end(b, at);
    }
    for (size_t i = 0; i < ARRAY_SIZE(parameter_kinds) && !ref.n; i++) {
        if (!str_is(in, parameter_kinds[i].in))
            continue;
        at = begin(b, 1);
        if (!parameter_kinds[i].number) {
            put_message(b, 1, parameter_kinds[i].of, v, depth);
        } else {
            size_t inner = begin(b, 2);
            put_message(b, parameter_kinds[i].number, parameter_kinds[i].of, v, depth);
            end(b, inner);
        }
        end(b, at);
    }
    end(b, item);
}

/* The thing itself, or each of a list of them. */
static void put_each(struct buf *b, const struct entry *e, unsigned number, const struct val *v, unsigned depth)
{
    for (size_t i = 0; i < (val_is(v, VAL_LIST) ? val_len(v) : 1); i++) {
        const struct val *one = val_is(v, VAL_LIST) ? val_item(v, i) : v;
        if (e->how == H_TEXTS || e->how == H_WRAPPED)
            put_text(b, number, val_str(one));
        else if (e->how == H_ANYS)
            put_any(b, number, one);
        else if (e->how == H_PARAMETERS)
            put_parameter(b, number, one, depth);
        else
            put_message(b, number, e->of, one, depth);
    }
}

static void put_held(struct buf *b, const struct entry *e, const struct val *v, unsigned depth)
{
    size_t start = begin(b, e->number);
    if (e->how == H_EITHER && val_is(v, VAL_BOOL))
        put_number(b, 2, val_bool(v, false));
    else if (e->how == H_MAP)
        VAL_EACH_ENTRY (v, name, one)
            put_pair(b, 1, val_str(name), e->of, one, depth);
    else
        put_each(b, e, 1, v, depth);
    end(b, start);
}

static void put_entry(struct buf *b, const struct entry *e, const struct val *v, unsigned depth)
{
    switch (e->how) {
    case H_TEXT:
        put_text(b, e->number, val_str(v));
        return;
    case H_BOOL:
        put_number(b, e->number, val_bool(v, false));
        return;
    case H_INT:
        put_number(b, e->number, (uint64_t)val_int(v, 0));
        return;
    case H_FLOAT:
        put_float(b, e->number, val_float(v, 0));
        return;
    case H_ANY:
        put_any(b, e->number, v);
        return;
    case H_MESSAGE:
        put_message(b, e->number, e->of, v, depth);
        return;
    case H_TEXTS:
    case H_ANYS:
    case H_MESSAGES:
    case H_PARAMETERS:
        put_each(b, e, e->number, v, depth);
        return;
    case H_WRAPPED:
    case H_MAP:
    case H_HELD:
    case H_EITHER:
        put_held(b, e, v, depth);
    }
}

static const struct entry *find_entry(const struct message *m, struct str key)
{
    const struct entry *e = m->entries;
    while (e->key && !str_is(key, e->key))
        e++;
    return e->key ? e : NULL;
}

static void put_members(struct buf *b, const struct message *m, const struct val *v, unsigned depth)
{
    VAL_EACH_ENTRY (depth < DEEPEST ? v : NULL, k, one) {
        struct str key = val_str(k);
        const struct entry *e = find_entry(m, key);
        if (e)
            put_entry(b, e, one, depth);
        else if (m->extensions && str_starts(key, STR("x-")))
            put_pair(b, m->extensions, key, NULL, one, depth);
        else if (m->others)
            put_pair(b, m->others, key, m->other, one, depth);
    }
}

int openapi_v2_proto(struct str json, struct buf *ret, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v;
    int r = json_decode(&a, NULL, json, 0, NULL, &v, e);
    if (r == 0)
        put_members(ret, &document, v, 0);
    return r;
}
