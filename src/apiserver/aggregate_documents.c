/* SPDX-License-Identifier: Apache-2.0 */
/* What extension servers say of themselves, brought into the form of our own documents. Pure. */
#include <stdio.h>

#include "apiserver/aggregate.h"
#include "names.h"
#include "wire/json.h"

static int decode(struct arena *a, struct str text, struct val **ret, struct err *e)
{
    int r = json_decode(a, NULL, text, 0, NULL, ret, e);
    if (r == 0 && !val_is(*ret, VAL_MAP))
        r = err_set(e, -EINVAL, "expected an object");
    return r;
}

static struct str encode(struct arena *a, const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, NULL, v, 0);
    return arena_str(a, buf_str(&b));
}

static struct str text_at(const struct val *v, const char *key)
{
    return val_str(val_key(v, str_of(key)));
}

/* ---- discovery ------------------------------------------------------------------------------------------ */

/* Some clients expect that it is there. */
static void set_kind(struct arena *a, struct val *of, struct str group, struct str version, struct str kind)
{
    struct val v = {.kind = VAL_MAP}, *at = val_put(a, of, STR("responseKind"), v);
    val_put_str(a, at, STR("group"), group);
    val_put_str(a, at, STR("version"), version);
    val_put_str(a, at, STR("kind"), kind);
}

static void complete(struct arena *a, const struct val *list)
{
    VAL_EACH (list, item) {
        struct val *v = (struct val *)(uintptr_t)item; /* decoded by us */
        if (v->kind != VAL_MAP)
            continue;
        if (!val_key(v, STR("responseKind")))
            set_kind(a, v, STR(""), STR(""), STR(""));
        complete(a, val_key(v, STR("subresources")));
    }
}

int documents_discovery(struct arena *a, struct str text, struct str group, struct str version, struct str *ret, struct err *e)
{
    struct val *v = NULL;
    int r = decode(a, text, &v, e);
    if (r < 0)
        return r;
    VAL_EACH (val_key(v, STR("items")), item) {
        if (!str_eq(text_at(val_key(item, STR("metadata")), "name"), group))
            continue;
        VAL_EACH (val_key(item, STR("versions")), one)
            if (str_eq(text_at(one, "version"), version)) {
                const struct val *list = val_key(one, STR("resources"));
                complete(a, list);
                *ret = val_is(list, VAL_LIST) ? encode(a, list) : STR("[]");
                return 0;
            }
    }
    return 1;
}

static struct val *entry_named(struct arena *a, struct val *list, struct str name)
{
    for (size_t i = 0; i < val_len(list); i++)
        if (str_eq(text_at(&list->items[i], "resource"), name))
            return &list->items[i];
    struct val *v = val_add(a, list, (struct val){.kind = VAL_MAP});
    val_put_str(a, v, STR("resource"), name);
    return v;
}

static void copy_parts(struct arena *a, struct val *to, const struct val *from, const char *const *names)
{
    for (size_t i = 0; names[i]; i++)
        if (val_key(from, str_of(names[i])))
            val_put(a, to, str_of(names[i]), *val_key(from, str_of(names[i])));
}

static void add_resource(struct arena *a, struct val *list, const struct val *res, struct str group, struct str version)
{
    static const char *const whole[] = {"verbs", "shortNames", "categories", NULL}, *const part[] = {"verbs", NULL};
    struct str name, sub, g = text_at(res, "group"), ver = text_at(res, "version");
    bool is_sub = str_cut(text_at(res, "name"), '/', &name, &sub);
    struct val *v = entry_named(a, list, name);
    if (is_sub) {
        struct val *subs = (struct val *)(uintptr_t)val_key(v, STR("subresources"));
        if (!subs)
            subs = val_put(a, v, STR("subresources"), (struct val){.kind = VAL_LIST});
        v = val_add(a, subs, (struct val){.kind = VAL_MAP});
        val_put_str(a, v, STR("subresource"), sub);
    } else {
        val_put_str(a, v, STR("singularResource"), text_at(res, "singularName"));
    }
    if (!is_sub || !val_key(v, STR("scope")))
        val_put_str(a, v, STR("scope"), val_bool(val_key(res, STR("namespaced")), false) ? STR("Namespaced") : STR("Cluster"));
    set_kind(a, v, g.n ? g : group, ver.n ? ver : version, text_at(res, "kind"));
    copy_parts(a, v, res, is_sub ? part : whole);
}

int documents_resources(struct arena *a, struct str text, struct str group, struct str version, struct str *ret, struct err *e)
{
    struct val *v = NULL, list = {.kind = VAL_LIST};
    int r = decode(a, text, &v, e);
    if (r < 0)
        return r;
    VAL_EACH (val_key(v, STR("resources")), res)
        if (text_at(res, "name").n)
            add_resource(a, &list, res, group, version);
    complete(a, &list);
    *ret = encode(a, &list);
    return 0;
}

/* ---- OpenAPI v3 ----------------------------------------------------------------------------------------- */

int documents_v3(struct arena *a, struct str text, struct str group, struct str version, struct str *ret, struct err *e)
{
    struct val *v = NULL;
    int r = decode(a, text, &v, e);
    if (r < 0)
        return r;
    struct str path = group.n ? arena_printf(a, "apis/" STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version))
                              : arena_printf(a, "api/" STR_FMT, STR_ARG(version));
    struct str at = text_at(val_key(val_key(v, STR("paths")), path), "serverRelativeURL");
    if (!str_starts(at, STR("/openapi/v3/"))) /* of ours only: clients shall not be sent elsewhere */
        return 1;
    *ret = at;
    return 0;
}

/* ---- OpenAPI v2 ----------------------------------------------------------------------------------------- */

/* The parts of a swagger that are pointed to. */
static const char *const shared[] = {"definitions", "parameters"};

/* "#/definitions/x" to x of which part; -1 for others. */
static int referred(struct str ref, struct str *ret_name)
{
    for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
        size_t n = strlen(shared[i]);
        if (ref.n > n + 3 && str_starts(ref, STR("#/")) && memcmp(ref.p + 2, shared[i], n) == 0 && ref.p[n + 2] == '/') {
            *ret_name = str_from(ref, n + 3);
            return (int)i;
        }
    }
    return -1;
}

struct needed {
    const struct val *doc;
    struct map have;      /* "definitions/x" */
    struct arena *a;
    struct val *out;      /* the swagger in the making */
};

static void need(struct needed *n, const struct val *v);

static void need_shared(struct needed *n, int part, struct str name)
{
    struct str key = arena_printf(n->a, "%s/" STR_FMT, shared[part], STR_ARG(name));
    const struct val *v = val_key(val_key(n->doc, str_of(shared[part])), name);
    if (!v || map_has(&n->have, key))
        return;
    map_put(&n->have, key, n);
    struct val *at = (struct val *)(uintptr_t)val_key(n->out, str_of(shared[part]));
    if (!at)
        at = val_put(n->a, n->out, str_of(shared[part]), (struct val){.kind = VAL_MAP});
    val_put(n->a, at, name, *v);
}

/* Notes what it points to; what that points to is found when its turn comes. */
static void need(struct needed *n, const struct val *v)
{
    struct str name;
    VAL_EACH (v, item)
        need(n, item);
    VAL_EACH_ENTRY (v, key, value) {
        int part = str_is(val_str(key), "$ref") && val_is(value, VAL_STR) ? referred(val_str(value), &name) : -1;
        if (part >= 0)
            need_shared(n, part, name);
        else
            need(n, value);
    }
}

/* In the order in which they were found, which grows meanwhile: no stack as deep as strangers like. */
static void need_what_they_need(struct needed *n)
{
    struct str part, name;
    for (size_t i = 0; i < n->have.used; i++) {
        str_cut(n->have.entries[i].key, '/', &part, &name);
        need(n, val_key(val_key(n->doc, part), name));
    }
}

int documents_v2(struct arena *a, struct str text, struct str group, struct str version, struct str *ret, struct err *e)
{
    struct val *v = NULL, out = {.kind = VAL_MAP}, paths = {.kind = VAL_MAP};
    int r = decode(a, text, &v, e);
    if (r < 0)
        return r;
    struct str prefix = arena_printf(a, "/apis/" STR_FMT "/" STR_FMT "/", STR_ARG(group), STR_ARG(version));
    VAL_EACH_ENTRY (val_key(v, STR("paths")), path, value)
        if (str_starts(val_str(path), prefix))
            val_put(a, &paths, val_str(path), *value);
    struct needed n = {.doc = v, .a = a, .out = &out};
    need(&n, &paths);
    need_what_they_need(&n);
    map_done(&n.have);
    val_put(a, &out, STR("paths"), paths);
    *ret = encode(a, &out);
    return 0;
}

/* ---- merging -------------------------------------------------------------------------------------------- */

struct renames {
    struct map names; /* "definitions/x" to the new name */
    struct arena *a;
};

static void rename_refs(const struct renames *r, struct val *v)
{
    struct str name;
    for (size_t i = 0; val_is(v, VAL_LIST) && i < v->n; i++)
        rename_refs(r, &v->items[i]);
    for (size_t i = 0; val_is(v, VAL_MAP) && i < v->n; i++) {
        struct val *value = &v->items[2 * i + 1];
        int part = str_is(val_str(&v->items[2 * i]), "$ref") && value->kind == VAL_STR ? referred(val_str(value), &name) : -1;
        const char *now = part < 0 ? NULL : map_get(&r->names, arena_printf(r->a, "%s/" STR_FMT, shared[part], STR_ARG(name)));
        if (now)
            *value = val_of_str(arena_printf(r->a, "#/%s/%s", shared[part], now));
        else
            rename_refs(r, value);
    }
}

/* x_v2, x_v3 ... */
static const char *free_name(struct arena *a, const struct val *in, const struct val *also, struct str name)
{
    for (int i = 2;; i++) {
        struct str now = arena_printf(a, STR_FMT "_v%d", STR_ARG(name), i);
        if (!val_key(in, now) && !val_key(also, now))
            return now.p;
    }
}

static struct val *part_of(struct arena *a, struct val *doc, const char *name)
{
    struct val *v = (struct val *)(uintptr_t)val_key(doc, str_of(name));
    return v ? v : val_put(a, doc, str_of(name), (struct val){.kind = VAL_MAP});
}

static void find_renames(struct renames *r, struct val *doc, const struct val *other)
{
    for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
        const struct val *have = val_key(doc, str_of(shared[i])), *add = val_key(other, str_of(shared[i]));
        VAL_EACH_ENTRY (add, name, value) {
            const struct val *same = val_key(have, val_str(name));
            if (same && !val_equal(same, value))
                map_put(&r->names, arena_printf(r->a, "%s/" STR_FMT, shared[i], STR_ARG(val_str(name))),
                        (void *)(uintptr_t)free_name(r->a, have, add, val_str(name)));
        }
    }
}

static void merge_one(struct arena *a, struct val *doc, struct val *other)
{
    struct renames r = {.a = a};
    find_renames(&r, doc, other);
    if (r.names.n)
        rename_refs(&r, other);
    for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
        struct val *have = val_key(other, str_of(shared[i])) ? part_of(a, doc, shared[i]) : NULL;
        VAL_EACH_ENTRY (val_key(other, str_of(shared[i])), name, value) {
            const char *now = map_get(&r.names, arena_printf(a, "%s/" STR_FMT, shared[i], STR_ARG(val_str(name))));
            val_put(a, have, now ? str_of(now) : val_str(name), *value);
        }
    }
    struct val *paths = part_of(a, doc, "paths");
    VAL_EACH_ENTRY (val_key(other, STR("paths")), path, value)
        if (!val_key(paths, val_str(path)))
            val_put(a, paths, val_str(path), *value);
    map_done(&r.names);
}

int documents_merge_v2(struct arena *a, struct str own, const struct str *others, size_t n, struct buf *ret, struct err *e)
{
    struct val *doc = NULL, *other = NULL;
    int r = decode(a, own, &doc, e);
    for (size_t i = 0; i < n && r == 0; i++)
        if ((r = decode(a, others[i], &other, e)) == 0)
            merge_one(a, doc, other);
    if (r == 0)
        json_encode(ret, NULL, doc, 0);
    return r;
}
