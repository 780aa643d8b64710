/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/yaml.h"

#include "wire/leaf.h"
#include "wire/value-internal.h"
#include "wire/yaml-internal.h"

#include "base/map.h"

#include <math.h>
#include <yaml.h>

/*
 * Events of libyaml become values by way of two stacks, as in json_decode.c. An alias is the anchored value
 * again, shared; how often that may multiply a document is counted as go-yaml does.
 */

struct anchor {
    struct val v;
    uint64_t nodes; /* within, aliases followed */
    bool complete;
};

struct frame {
    uint8_t kind;          /* VAL_LIST or VAL_MAP */
    bool at_key;           /* MAP: the next node is a key */
    bool merging;          /* MAP: the next node is merged in */
    uint32_t base;         /* first slot */
    struct anchor *anchor; /* that this is, or NULL */
    uint64_t before;       /* nodes counted when it began */
    struct map seen;       /* MAP, with a report: its keys */
};

struct yaml_stream {
    yaml_parser_t parser;
    bool ended;
};

struct decoder {
    struct yaml_stream *s;
    struct arena *a;
    struct err *e;
    struct buf twice; /* what there is to say about duplicate keys */
    bool strict;
    struct map anchors; /* of the document, to struct anchor in the arena */
    uint64_t nodes, alias_nodes;
    struct val *slots;
    uint32_t n_slots, cap_slots;
    unsigned depth;
    struct frame frames[WIRE_MAX_DEPTH];
};

/* ---- errors --------------------------------------------------------------------------------------- */

static int parser_error(struct yaml_stream *s, struct err *e)
{
    const yaml_parser_t *p = &s->parser;
    size_t line = p->problem_mark.line + (p->problem_mark.line && p->error == YAML_SCANNER_ERROR);
    const char *problem = p->problem ? p->problem : "unknown problem parsing YAML content";
    s->ended = true;
    if (!line)
        line = p->context_mark.line;
    return line ? err_set(e, -EINVAL, "yaml: line %zu: %s", line, problem)
                : err_set(e, -EINVAL, "yaml: %s", problem);
}

static int next_event(struct yaml_stream *s, yaml_event_t *ret, struct err *e)
{
    return yaml_parser_parse(&s->parser, ret) ? 0 : parser_error(s, e);
}

/* ---- slots ---------------------------------------------------------------------------------------- */

static void push(struct decoder *d, struct val v)
{
    if (d->n_slots == d->cap_slots) {
        d->cap_slots *= 2;
        d->slots = xrealloc(d->slots, d->cap_slots * sizeof(*d->slots));
    }
    d->slots[d->n_slots++] = v;
}

static struct str float_key(struct arena *a, double f)
{
    char text[FLOAT_TEXT_MAX];
    if (f - f != 0)
        return isnan(f) ? STR(".nan") : f > 0 ? STR(".inf") : STR("-.inf");
    return arena_str(a, float_text(f, -4, 6, true, text));
}

/* A scalar as a key of a JSON object. */
static int key_text(struct decoder *d, const struct val *v, struct str *ret)
{
    switch ((enum val_kind)v->kind) {
    case VAL_STR:
        *ret = val_text(v);
        return 0;
    case VAL_BOOL:
        *ret = v->b ? STR("true") : STR("false");
        return 0;
    case VAL_INT:
        *ret = arena_printf(d->a, "%lld", (long long)v->i);
        return 0;
    case VAL_FLOAT:
        *ret = float_key(d->a, v->f);
        return 0;
    case VAL_LIST:
    case VAL_MAP:
        return err_set(d->e, -EINVAL, "yaml: invalid map key");
    default:
        return err_set(d->e, -EINVAL, "unsupported map key of type: null");
    }
}

static void note_key(struct decoder *d, struct frame *f, struct str key, size_t line)
{
    if (!d->strict || !map_put(&f->seen, key, d))
        return;
    if (!d->twice.n)
        buf_puts(&d->twice, "yaml: unmarshal errors:");
    buf_printf(&d->twice, "\n  line %zu: key ", line + 1);
    json_encode_str(&d->twice, key, JSON_NO_HTML);
    buf_puts(&d->twice, " already set in map");
}

static int merge_failed(struct decoder *d)
{
    return err_set(d->e, -EINVAL, "yaml: map merge requires map or sequence of maps as the value");
}

static int merge_map(struct decoder *d, const struct val *v, size_t line)
{
    if (v->kind != VAL_MAP)
        return merge_failed(d);
    for (size_t i = 0; i < v->n; i++) {
        note_key(d, &d->frames[d->depth - 1], val_text(&v->items[2 * i]), line);
        push(d, v->items[2 * i]);
        push(d, v->items[2 * i + 1]);
    }
    return 0;
}

/* The value of a "<<" key: its pairs stand where it stood. Of a list the first map counts most, so it comes
 * last. */
static int merge(struct decoder *d, const struct val *v, size_t line)
{
    if (v->kind != VAL_LIST)
        return merge_map(d, v, line);
    for (size_t i = v->n; i-- > 0;) {
        int r = merge_map(d, &v->items[i], line);
        if (r < 0)
            return r;
    }
    return 0;
}

/* A node is done: a key, a value or an item of the open container, or the root. */
static int done(struct decoder *d, struct val v, size_t line)
{
    struct frame *f = d->depth ? &d->frames[d->depth - 1] : NULL;
    struct str key = STR("");
    int r;
    if (!f || f->kind == VAL_LIST) {
        push(d, v);
        return 0;
    }
    if (f->merging) {
        f->merging = false;
        f->at_key = true;
        return merge(d, &v, line);
    }
    if (f->at_key) {
        r = key_text(d, &v, &key);
        if (r < 0)
            return r;
        v = val_of_str(key);
    } else {
        note_key(d, f, val_text(&d->slots[d->n_slots - 1]), line);
    }
    f->at_key = !f->at_key;
    push(d, v);
    return 0;
}

/* ---- anchors -------------------------------------------------------------------------------------- */

static struct anchor *new_anchor(struct decoder *d, const yaml_char_t *name)
{
    if (!name)
        return NULL;
    struct anchor *a = ARENA_NEW(d->a, struct anchor);
    map_put(&d->anchors, str_of((const char *)name), a);
    return a;
}

/* go-yaml's limit: nearly all of a small document may come from aliases, a tenth of a large one. */
static bool too_many_aliases(const struct decoder *d)
{
    const double low = 400000, high = 4000000;
    double n = (double)d->nodes;
    double allowed = n <= low ? 0.99 : n >= high ? 0.10 : 0.99 - 0.89 * ((n - low) / (high - low));
    return d->alias_nodes > 100 && d->nodes > 1000 && (double)d->alias_nodes / n > allowed;
}

static int alias_event(struct decoder *d, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    struct anchor *a = map_get(&d->anchors, str_of(name));
    if (!a)
        return err_set(d->e, -EINVAL, "yaml: unknown anchor '%s' referenced", name);
    if (!a->complete)
        return err_set(d->e, -EINVAL, "yaml: anchor '%s' value contains itself", name);
    d->alias_nodes += a->nodes;
    d->nodes += a->nodes;
    if (too_many_aliases(d))
        return err_set(d->e, -EINVAL, "yaml: document contains excessive aliasing");
    return done(d, a->v, event->start_mark.line);
}

/* ---- scalars -------------------------------------------------------------------------------------- */

static const char tag_prefix[] = "tag:yaml.org,2002:";

static bool tag_is(const char *tag, const char *name)
{
    return tag && strncmp(tag, tag_prefix, strlen(tag_prefix)) == 0 &&
           strcmp(tag + strlen(tag_prefix), name) == 0;
}

static const char *const kind_names[] = {
    [YAML_STR] = "str", [YAML_NULL] = "null",   [YAML_BOOL] = "bool",
    [YAML_INT] = "int", [YAML_FLOAT] = "float", [YAML_TIME] = "timestamp",
};

/* Whole floats are integers in JSON, as Go writes them. */
static int finish_number(struct decoder *d, struct val *v)
{
    if (v->kind != VAL_FLOAT)
        return 0;
    struct frame *f = d->depth ? &d->frames[d->depth - 1] : NULL;
    if (f && f->kind == VAL_MAP && f->at_key)
        return 0;
    if (v->f - v->f != 0)
        return err_set(d->e, -EINVAL, "json: unsupported value: %s",
                       isnan(v->f) ? "NaN"
                       : v->f > 0  ? "+Inf"
                                   : "-Inf");
    if (v->f == trunc(v->f) && fabs(v->f) < 9223372036854775808.0)
        *v = val_of_int((int64_t)v->f);
    return 0;
}

static int tagged_scalar(struct decoder *d, const char *tag, struct str text, struct val *ret)
{
    enum yaml_scalar what = yaml_resolve(text, ret);
    bool known = false;
    for (size_t i = 0; i < ARRAY_SIZE(kind_names); i++)
        known |= tag_is(tag, kind_names[i]);
    if (!known || tag_is(tag, "str")) {
        *ret = val_of_str(text);
        return 0;
    }
    if (tag_is(tag, kind_names[what])) {
        if (what == YAML_TIME)
            *ret = val_of_str(text);
        return 0;
    }
    if (tag_is(tag, "float") && what == YAML_INT)
        return 0;
    return err_set(d->e, -EINVAL, "yaml: cannot decode !!%s `" STR_FMT "` as a !!%s", kind_names[what],
                   STR_ARG(text), tag + strlen(tag_prefix));
}

static int scalar_of(struct decoder *d, const yaml_event_t *event, struct val *ret)
{
    const char *tag = (const char *)event->data.scalar.tag;
    struct str text =
        arena_str(d->a, str_n((const char *)event->data.scalar.value, event->data.scalar.length));
    struct str bytes;
    *ret = val_of_str(text);
    if (tag_is(tag, "binary")) {
        if (base64_decode(d->a, text, &bytes) < 0)
            return err_set(d->e, -EINVAL, "yaml: !!binary value contains invalid base64 data");
        *ret = val_of_str(utf8_repair(d->a, bytes));
        return 0;
    }
    if (tag && *tag)
        return tagged_scalar(d, tag, text, ret);
    if (!event->data.scalar.plain_implicit)
        return 0;
    struct val v;
    enum yaml_scalar what = yaml_resolve(text, &v);
    if (what != YAML_STR && what != YAML_TIME)
        *ret = v;
    return 0;
}

static bool is_merge(const struct decoder *d, const yaml_event_t *event)
{
    const struct frame *f = d->depth ? &d->frames[d->depth - 1] : NULL;
    return f && f->kind == VAL_MAP && f->at_key && event->data.scalar.length == 2 &&
           memcmp(event->data.scalar.value, "<<", 2) == 0 &&
           (event->data.scalar.plain_implicit || tag_is((const char *)event->data.scalar.tag, "merge"));
}

static int scalar_event(struct decoder *d, const yaml_event_t *event)
{
    struct val v;
    if (is_merge(d, event)) {
        d->frames[d->depth - 1].merging = true;
        d->frames[d->depth - 1].at_key = false;
        return 0;
    }
    int r = scalar_of(d, event, &v);
    if (r == 0)
        r = finish_number(d, &v);
    if (r < 0)
        return r;
    struct anchor *a = new_anchor(d, event->data.scalar.anchor);
    if (a)
        *a = (struct anchor){v, 1, true};
    return done(d, v, event->start_mark.line);
}

/* ---- containers ----------------------------------------------------------------------------------- */

static int open_container(struct decoder *d, uint8_t kind, const yaml_char_t *anchor)
{
    if (d->depth == WIRE_MAX_DEPTH)
        return err_set(d->e, -EINVAL, "yaml: exceeded max depth of %d", WIRE_MAX_DEPTH);
    d->frames[d->depth++] = (struct frame){.kind = kind,
                                           .at_key = true,
                                           .base = d->n_slots,
                                           .anchor = new_anchor(d, anchor),
                                           .before = d->nodes - 1};
    return 0;
}

static int close_container(struct decoder *d, size_t line)
{
    struct frame *f = &d->frames[--d->depth];
    struct val *slots = &d->slots[f->base];
    uint32_t n = d->n_slots - f->base;
    struct val v = {.kind = f->kind, .n = n};
    map_done(&f->seen);
    if (f->kind == VAL_MAP) {
        v.n = val_sort_pairs(slots, n / 2, NULL, NULL);
        v.flags = VAL_ORDERED;
    }
    n = v.n * val_stride(&v);
    if (n) {
        v.items = ARENA_ARRAY(d->a, struct val, n);
        memcpy(v.items, slots, n * sizeof(*slots));
    }
    d->n_slots = f->base;
    if (f->anchor)
        *f->anchor = (struct anchor){v, d->nodes - f->before, true};
    return done(d, v, line);
}

/* ---- documents ------------------------------------------------------------------------------------ */

/* ret_done: the document ends. */
static int take_event(struct decoder *d, const yaml_event_t *event, bool *ret_done)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        d->nodes++;
        return alias_event(d, event);
    case YAML_SCALAR_EVENT:
        d->nodes++;
        return scalar_event(d, event);
    case YAML_SEQUENCE_START_EVENT:
        d->nodes++;
        return open_container(d, VAL_LIST, event->data.sequence_start.anchor);
    case YAML_MAPPING_START_EVENT:
        d->nodes++;
        return open_container(d, VAL_MAP, event->data.mapping_start.anchor);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return close_container(d, event->start_mark.line);
    case YAML_DOCUMENT_END_EVENT:
        *ret_done = true;
        return 0;
    default:
        return 0;
    }
}

static int read_document(struct decoder *d)
{
    bool end = false;
    int r = 0;
    while (r == 0 && !end) {
        yaml_event_t event;
        r = next_event(d->s, &event, d->e);
        if (r < 0)
            return r;
        r = take_event(d, &event, &end);
        yaml_event_delete(&event);
    }
    return r;
}

static void report_twice(struct arena *a, struct json_report *report, struct str text)
{
    if (!report || !text.n || report->n == JSON_REPORT_MAX)
        return;
    if (!report->problems)
        report->problems = ARENA_ARRAY(a, struct str, JSON_REPORT_MAX);
    report->problems[report->n++] = arena_str(a, text);
}

static int document(struct yaml_stream *s, struct arena *a, struct json_report *report, struct val **ret,
                    struct err *e)
{
    struct decoder *d = xmalloc(sizeof(*d));
    memset(d, 0, offsetof(struct decoder, frames));
    d->s = s;
    d->a = a;
    d->e = e;
    d->strict = report != NULL;
    d->cap_slots = 64;
    d->slots = xmalloc(d->cap_slots * sizeof(*d->slots));
    int r = read_document(d);
    if (r == 0) {
        *ret = ARENA_NEW(a, struct val);
        if (d->n_slots)
            **ret = d->slots[0];
        report_twice(a, report, buf_str(&d->twice));
    } else {
        s->ended = true;
    }
    while (d->depth)
        map_done(&d->frames[--d->depth].seen);
    map_done(&d->anchors);
    buf_done(&d->twice);
    free(d->slots);
    free(d);
    return r;
}

/* ---- streams -------------------------------------------------------------------------------------- */

struct yaml_stream *yaml_open(struct str text)
{
    struct yaml_stream *s = NEW(struct yaml_stream);
    ASSERT(yaml_parser_initialize(&s->parser)); /* fails only for want of memory */
    yaml_parser_set_input_string(&s->parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    return s;
}

struct yaml_stream *yaml_close(struct yaml_stream *s)
{
    if (s)
        yaml_parser_delete(&s->parser);
    free(s);
    return NULL;
}

int yaml_next(struct yaml_stream *s, struct arena *a, struct json_report *report, struct val **ret,
              struct err *e)
{
    while (!s->ended) {
        yaml_event_t event;
        int r = next_event(s, &event, e);
        if (r < 0)
            return r;
        yaml_event_type_t type = event.type;
        yaml_event_delete(&event);
        if (type == YAML_DOCUMENT_START_EVENT)
            return document(s, a, report, ret, e);
        s->ended = type == YAML_STREAM_END_EVENT || type == YAML_NO_EVENT;
    }
    return YAML_END;
}

int yaml_decode(struct arena *a, struct str text, struct json_report *report, struct val **ret, struct err *e)
{
    struct yaml_stream *s = yaml_open(text);
    int r = yaml_next(s, a, report, ret, e);
    yaml_close(s);
    if (r == YAML_END)
        *ret = val_new(a, VAL_NULL);
    return MIN(r, 0);
}

int yaml_to_json(struct arena *a, struct str text, struct json_report *report, struct str *ret, struct err *e)
{
    struct val *v;
    int r = yaml_decode(a, text, report, &v, e);
    if (r < 0)
        return r;
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, NULL, v, 0);
    *ret = arena_str(a, buf_str(&b));
    return 0;
}

bool yaml_is_json(struct str text)
{
    size_t i = 0;
    while (i < text.n && strchr(" \t\r\n", text.p[i]) && text.p[i])
        i++;
    return i < text.n && text.p[i] == '{';
}
