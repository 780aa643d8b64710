/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_client.h"

#include <stdio.h>

#include "base/fiber.h"
#include "base/os.h"
#include "type/meta.h"
#include "type/patch.h"
#include "type/selector.h"
#include "type/tree.h"
#include "types.h"
#include "wire/json.h"

struct fake_client {
    struct client client;
    struct tree *trees[128]; /* by resource index */
    int64_t revision;
    uint64_t made; /* uids and generated names */
    struct list watches;
    fake_hook *hook;
    void *hook_arg;
    bool held;
    struct buf log;
};

struct queued {
    struct list link;
    struct watch_event event;
};

struct fake_watch {
    struct client_watch base;
    struct fake_client *fake;
    struct list link, events;
    struct waitq q;
    struct arena arena;
    const struct resource *res;
    struct str ns;
    struct selector labels, fields;
    int ended; /* 410 or -EPIPE */
};

/* ---- texts ------------------------------------------------------------------------------------------- */

static bool is_word(char c)
{
    return c && !strchr("{}[],:'\" \t\r\n", c);
}

static bool is_number(struct str w)
{
    size_t dots = 0, i = w.p[0] == '-';
    for (; i < w.n; i++) {
        dots += w.p[i] == '.';
        if (w.p[i] != '.' && (w.p[i] < '0' || w.p[i] > '9'))
            return false;
    }
    return dots <= 1 && w.p[w.n - 1] >= '0' && w.p[w.n - 1] <= '9';
}

static bool is_bare_value(struct str w)
{
    return is_number(w) || str_is(w, "true") || str_is(w, "false") || str_is(w, "null");
}

/* Copies a quoted text up to its end; returns what follows. */
static const char *quoted(struct buf *b, const char *p)
{
    char end = *p++;
    buf_putc(b, '"');
    for (; *p && *p != end; p++) {
        if (*p == '\\' && p[1])
            buf_putc(b, *p++);
        else if (*p == '"')
            buf_putc(b, '\\');
        buf_putc(b, *p);
    }
    buf_putc(b, '"');
    return *p ? p + 1 : p;
}

static bool trailing_comma(const char *p)
{
    size_t n = *p == ',' ? 1 + strspn(p + 1, " \t\r\n") : 0;
    return n > 0 && (p[n] == '}' || p[n] == ']');
}

static void strict_json(struct buf *b, const char *p)
{
    while (*p) {
        if (trailing_comma(p)) {
            p++;
            continue;
        }
        if (*p == '\'' || *p == '"') {
            p = quoted(b, p);
            continue;
        }
        if (!is_word(*p)) {
            buf_putc(b, *p++);
            continue;
        }
        size_t n = 0;
        while (is_word(p[n]))
            n++;
        struct str w = str_n(p, n);
        buf_puts(b, is_bare_value(w) ? "" : "\"");
        buf_putstr(b, w);
        buf_puts(b, is_bare_value(w) ? "" : "\"");
        p += n;
    }
}

struct val *val_relaxed(struct arena *a, const struct type *type, const char *text)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    strict_json(&b, text);
    struct val *v;
    struct err e = {0};
    if (json_decode(a, type, buf_str(&b), 0, NULL, &v, &e) < 0)
        panic("bad test text: %s: %.*s", e.text, STR_ARG(buf_str(&b)));
    return v;
}

struct object *object_relaxed(uint16_t res_index, const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct resource *res = &resources[res_index];
    struct val *v = val_relaxed(&a, res->type, text);
    struct object *o = object_new(res, v);
    object_stamp(o, obj_revision(v) > 0 ? obj_revision(v) : 1);
    return o;
}

/* ---- store ------------------------------------------------------------------------------------------- */

static struct str key_in(struct arena *a, struct str ns, struct str name)
{
    return obj_key(a, ns, name);
}

static const struct object *lookup(struct fake_client *f, const struct resource *res, struct str ns,
                                   struct str name)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    return tree_get(f->trees[res->index], key_in(&a, res->namespaced ? ns : STR_NULL, name));
}

static struct str field_get(void *ctx, struct str path)
{
    const struct val *v = ctx;
    struct str part;
    while (str_next(&path, '.', &part))
        v = val_get(v, name_find(part));
    if (val_is(v, VAL_BOOL))
        return v->b ? STR("true") : STR("false");
    return val_is(v, VAL_STR) ? val_str(v) : STR("");
}

static bool matches(const struct object *o, struct str ns, const struct selector *labels,
                    const struct selector *fields)
{
    return (str_empty(ns) || str_eq(o->namespace_, ns)) && selector_matches(labels, obj_labels(o->val)) &&
           selector_matches_fields(fields, field_get, (void *)(uintptr_t)o->val);
}

static void queue_event(struct fake_watch *w, enum watch_event_kind kind, const struct object *o)
{
    struct queued *q = NEW(struct queued);
    q->event = (struct watch_event){kind, object_ref(o)};
    list_push_back(&w->events, &q->link);
    waitq_wake_all(&w->q);
}

static void publish_to(struct fake_watch *w, const struct object *old, const struct object *now, bool gone)
{
    if (w->res != now->res || w->ended)
        return;
    bool was = old && matches(old, w->ns, &w->labels, &w->fields);
    bool is = !gone && matches(now, w->ns, &w->labels, &w->fields);
    if (is)
        queue_event(w, was ? WATCH_MODIFIED : WATCH_ADDED, now);
    else if (was)
        queue_event(w, WATCH_DELETED, now);
}

/* Takes the reference of o. */
static const struct object *commit(struct fake_client *f, struct object *o, bool gone)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct tree **t = &f->trees[o->res->index];
    struct str key = key_in(&a, o->namespace_, o->name);
    struct object *old CLEANUP_OBJECT = object_ref(tree_get(*t, key));
    object_stamp(o, ++f->revision);
    *t = gone ? tree_del(*t, key) : tree_put(*t, key, o);
    LIST_EACH (&f->watches, l)
        publish_to(LIST_ENTRY(l, struct fake_watch, link), old, o, gone);
    if (!gone)
        object_unref(o);
    return o; /* of a gone one the caller has the reference */
}

static struct val *own_meta(struct arena *a, struct val *v)
{
    const struct val *m = obj_meta(v);
    struct val own = m ? *val_copy_shallow(a, m) : *val_new(a, VAL_OBJ);
    return val_set(a, v, N_metadata, own);
}

static void set_default(struct arena *a, struct val *meta, name_id name, struct str s)
{
    if (str_empty(val_getstr(meta, name)))
        val_set_str(a, meta, name, s);
}

static void stamp_new(struct fake_client *f, struct arena *a, struct val *meta)
{
    char buf[TIME_TEXT_MAX];
    set_default(a, meta, N_uid, arena_printf(a, "uid-%llu", (unsigned long long)++f->made));
    set_default(a, meta, N_creationTimestamp, str_of(time_format(os_wall(), buf)));
}

const struct object *fake_put(struct fake_client *f, const struct resource *res, const struct val *v)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *own = val_copy_shallow(&a, v);
    struct val *meta = own_meta(&a, own);
    const struct object *old = lookup(f, res, obj_namespace(own), obj_name(own));
    if (old)
        set_default(&a, meta, N_uid, old->uid);
    stamp_new(f, &a, meta);
    return commit(f, object_new(res, own), false);
}

const struct object *fake_put_text(struct fake_client *f, uint16_t res_index, const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    return fake_put(f, &resources[res_index], val_relaxed(&a, resources[res_index].type, text));
}

static void drop(struct fake_client *f, const struct object *o)
{
    object_unref((struct object *)(uintptr_t)commit(f, object_new(o->res, o->val), true));
}

bool fake_remove(struct fake_client *f, uint16_t res_index, const char *ns, const char *name)
{
    const struct object *o = fake_get(f, res_index, ns, name);
    if (o)
        drop(f, o);
    return o != NULL;
}

const struct object *fake_get(struct fake_client *f, uint16_t res_index, const char *ns, const char *name)
{
    return lookup(f, &resources[res_index], str_of(ns), str_of(name));
}

size_t fake_count(struct fake_client *f, uint16_t res_index)
{
    return tree_count(f->trees[res_index]);
}

const struct object *fake_at(struct fake_client *f, uint16_t res_index, size_t i)
{
    struct tree_iter it;
    tree_seek(&it, f->trees[res_index], STR_NULL);
    for (; it.object && i > 0; i--)
        tree_next(&it);
    return it.object;
}

int64_t fake_revision(struct fake_client *f)
{
    return f->revision;
}

/* ---- calls ------------------------------------------------------------------------------------------- */

static bool has_status(const struct resource *r)
{
    return resource_subresource(r, STR("status")) != NULL;
}

static int do_create(struct fake_client *f, const struct call *c, const struct val *body,
                     const struct object **ret, struct status *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = val_copy_shallow(&a, body);
    struct val *meta = own_meta(&a, v);
    if (c->res->namespaced)
        set_default(&a, meta, N_namespace, c->ns);
    if (str_empty(val_getstr(meta, N_name)))
        val_set_str(&a, meta, N_name,
                    arena_printf(&a, STR_FMT "%05llu", STR_ARG(val_getstr(meta, N_generateName)),
                                 (unsigned long long)++f->made));
    if (lookup(f, c->res, val_getstr(meta, N_namespace), val_getstr(meta, N_name)))
        return status_already_exists(s, c->res, val_getstr(meta, N_name));
    val_del(meta, N_uid);
    val_set_int(&a, meta, N_generation, 1);
    stamp_new(f, &a, meta);
    if (has_status(c->res) && c->res->index != RES_PODS)
        val_del(v, N_status);
    *ret = commit(f, object_new(c->res, v), false);
    return 0;
}

/* What the server keeps of the old object, and what of a status or a spec write it takes. */
static struct val *merge_update(struct arena *a, const struct call *c, const struct val *body,
                                const struct object *old)
{
    struct val *v;
    bool status = c->subresource && strcmp(c->subresource, "status") == 0;
    if (status) {
        v = val_copy_shallow(a, old->val);
        val_set_ref(a, v, N_status, val_get(body, N_status));
        struct val *meta = own_meta(a, v);
        if (val_get(obj_meta(body), N_annotations)) /* upstream's status strategies let them through */
            val_set_ref(a, meta, N_annotations, val_get(obj_meta(body), N_annotations));
        return v;
    }
    v = val_copy_shallow(a, body);
    struct val *meta = own_meta(a, v);
    static const name_id kept[] = {N_uid,
                                   N_creationTimestamp,
                                   N_deletionTimestamp,
                                   N_deletionGracePeriodSeconds,
                                   N_generation,
                                   N_namespace,
                                   N_name,
                                   N_resourceVersion};
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        val_set_ref(a, meta, kept[i], val_get(old->meta, kept[i]));
    if (has_status(c->res))
        val_set_ref(a, v, N_status, val_get(old->val, N_status));
    if (!val_equal(val_get(v, N_spec), val_get(old->val, N_spec)))
        val_set_int(a, meta, N_generation, val_int(val_get(old->meta, N_generation), 0) + 1);
    return v;
}

static bool may_go(const struct val *v)
{
    return obj_deleting(v) && val_len(val_get(obj_meta(v), N_finalizers)) == 0 &&
           val_int(val_get(obj_meta(v), N_deletionGracePeriodSeconds), 0) == 0 &&
           val_len(val_at(v, N_spec, N_finalizers)) == 0;
}

static int do_update(struct fake_client *f, const struct call *c, const struct val *body, struct arena *ra,
                     const struct val **ret_val, const struct object **ret, struct status *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str ns = str_empty(c->ns) ? obj_namespace(body) : c->ns;
    struct str name = str_empty(c->name) ? obj_name(body) : c->name;
    const struct object *old = lookup(f, c->res, ns, name);
    if (!old)
        return status_not_found(s, c->res, name);
    int64_t rv = obj_revision(body);
    if ((rv && rv != old->revision) || (!str_empty(obj_uid(body)) && !str_eq(obj_uid(body), old->uid)))
        return status_conflict(s, c->res, name,
                               "the object has been modified; please apply your changes to the latest "
                               "version and try again");
    struct val *v = merge_update(&a, c, body, old);
    if (val_equal(v, old->val)) {
        *ret = old;
        return 0;
    }
    if (may_go(v)) {
        struct object *gone CLEANUP_OBJECT =
            (struct object *)(uintptr_t)commit(f, object_new(c->res, v), true);
        if (ret_val)
            *ret_val = val_copy(ra, gone->val);
        return 0;
    }
    *ret = commit(f, object_new(c->res, v), false);
    return 0;
}

static int do_patch(struct fake_client *f, const struct call *c, enum patch_kind kind, struct str patch,
                    struct arena *ra, const struct val **ret_val, const struct object **ret, struct status *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct object *old = lookup(f, c->res, c->ns, c->name);
    if (!old)
        return status_not_found(s, c->res, c->name);
    if (!str_empty(c->uid) && !str_eq(c->uid, old->uid))
        return status_conflict(s, c->res, c->name, "the UID in the precondition does not match");
    struct val *v;
    int r = kind == PATCH_JSON    ? patch_json(&a, c->res->type, old->val, patch, &v, s)
            : kind == PATCH_MERGE ? patch_merge(&a, c->res->type, old->val, patch, &v, s)
                                  : patch_strategic(&a, c->res->type, old->val, patch, &v, s);
    return r ? r : do_update(f, c, v, ra, ret_val, ret, s);
}

static bool waits_for_kubelet(const struct object *o, int64_t *grace)
{
    if (o->res->index != RES_PODS || str_empty(val_str(val_at(o->val, N_spec, N_nodeName))))
        return false;
    if (*grace < 0)
        *grace = val_int(val_at(o->val, N_spec, N_terminationGracePeriodSeconds), 30);
    return *grace > 0;
}

/* Marks an object as on its way out; with nothing to wait for it goes. */
static void begin_delete(struct fake_client *f, const struct object *o, int64_t grace,
                         const char *propagation)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = val_copy_shallow(&a, o->val);
    struct val *meta = own_meta(&a, v);
    bool waits = waits_for_kubelet(o, &grace);
    if (propagation && strcmp(propagation, "Background") != 0) {
        struct val *list = val_set(&a, meta, N_finalizers,
                                   val_get(meta, N_finalizers) ? *val_copy(&a, val_get(meta, N_finalizers))
                                                               : *val_new(&a, VAL_LIST));
        val_add_str(&a, list, propagation[0] == 'F' ? STR("foregroundDeletion") : STR("orphan"));
    }
    if (!obj_deleting(v))
        val_set_time(&a, meta, N_deletionTimestamp, os_wall());
    val_set_int(&a, meta, N_deletionGracePeriodSeconds, waits ? grace : 0);
    if (may_go(v))
        drop(f, o);
    else
        commit(f, object_new(o->res, v), false);
}

static int do_delete(struct fake_client *f, const struct call *c, struct arena *ra,
                     const struct val **ret_val, struct status *s)
{
    const struct object *o = lookup(f, c->res, c->ns, c->name);
    if (!o)
        return status_not_found(s, c->res, c->name);
    if (!str_empty(c->uid) && !str_eq(c->uid, o->uid))
        return status_conflict(s, c->res, c->name, "the UID in the precondition does not match");
    if (!str_empty(c->resource_version) &&
        !str_eq(c->resource_version, val_getstr(o->meta, N_resourceVersion)))
        return status_conflict(s, c->res, c->name, "the ResourceVersion in the precondition does not match");
    begin_delete(f, o, c->grace_seconds, c->propagation);
    const struct object *now = lookup(f, c->res, c->ns, c->name);
    if (ret_val)
        *ret_val = now ? val_copy(ra, now->val) : val_new(ra, VAL_OBJ);
    return 0;
}

struct parsed {
    struct selector labels, fields;
};

static int parse_selectors(struct arena *a, const struct call *c, struct parsed *p, struct status *s)
{
    struct err e = {0};
    if (selector_parse(a, c->label_selector, &p->labels, &e) < 0 ||
        field_selector_parse(a, c->field_selector, &p->fields, &e) < 0)
        return status_bad_request(s, "%s", e.text);
    return 0;
}

static int do_list(struct fake_client *f, const struct call *c, struct arena *a, const struct val **ret,
                   struct status *s)
{
    struct parsed p = {0};
    int r = parse_selectors(a, c, &p, s);
    if (r)
        return r;
    struct val *list = val_new(a, VAL_OBJ);
    val_set_str(a, list, N_kind, str_of(c->res->list_kind));
    struct val *meta = val_sub_obj(a, list, N_metadata);
    val_set_str(a, meta, N_resourceVersion, arena_printf(a, "%lld", (long long)f->revision));
    struct val *items = val_sub_list(a, list, N_items);
    struct tree_iter it;
    for (tree_seek(&it, f->trees[c->res->index], STR_NULL); it.object; tree_next(&it))
        if (matches(it.object, c->ns, &p.labels, &p.fields))
            val_add(a, items, *val_copy(a, it.object->val));
    if (ret)
        *ret = list;
    return 0;
}

static int do_delete_collection(struct fake_client *f, const struct call *c, struct status *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct parsed p = {0};
    int r = parse_selectors(&a, c, &p, s);
    if (r)
        return r;
    struct tree *t = tree_ref(f->trees[c->res->index]);
    struct tree_iter it;
    for (tree_seek(&it, t, STR_NULL); it.object; tree_next(&it))
        if (matches(it.object, c->ns, &p.labels, &p.fields))
            begin_delete(f, it.object, c->grace_seconds, c->propagation);
    tree_unref(t);
    return 0;
}

static int do_bind(struct fake_client *f, const struct call *c, const struct val *body,
                   const struct object **ret, struct status *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct object *o = lookup(f, c->res, c->ns, c->name);
    if (!o)
        return status_not_found(s, c->res, c->name);
    if (!str_empty(val_str(val_at(o->val, N_spec, N_nodeName))))
        return status_conflict(s, c->res, c->name, "pod is already assigned to a node");
    struct val *v = val_copy(&a, o->val);
    val_set_str(&a, val_sub_obj(&a, v, N_spec), N_nodeName, val_str(val_at(body, N_target, N_name)));
    condition_set(&a, val_sub_list(&a, val_sub_obj(&a, v, N_status), N_conditions), STR("PodScheduled"),
                  "True", "", STR_NULL, os_wall());
    *ret = commit(f, object_new(c->res, v), false);
    return 0;
}

static int do_sub_create(struct fake_client *f, const struct call *c, const struct val *body, struct arena *a,
                         const struct val **ret_val, const struct object **ret, struct status *s)
{
    if (strcmp(c->subresource, "binding") == 0)
        return do_bind(f, c, body, ret, s);
    if (strcmp(c->subresource, "eviction") == 0)
        return do_delete(f, c, a, ret_val, s);
    return status_not_found(s, c->res, c->name);
}

static const char *verb_name(uint16_t verb)
{
    switch (verb) {
    case VERB_CREATE:
        return "create";
    case VERB_UPDATE:
        return "update";
    case VERB_PATCH:
        return "patch";
    case VERB_DELETE:
        return "delete";
    case VERB_DELETECOLLECTION:
        return "deletecollection";
    default:
        return NULL;
    }
}

static void note(struct fake_client *f, uint16_t verb, const struct call *c, struct str name)
{
    if (!verb_name(verb) || c->res->index == RES_EVENTS)
        return;
    buf_printf(&f->log, "%s %s " STR_FMT "%s" STR_FMT, verb_name(verb), c->res->name, STR_ARG(c->ns),
               str_empty(c->ns) ? "" : "/", STR_ARG(name));
    buf_printf(&f->log, "%s%s\n", c->subresource ? " " : "", c->subresource ? c->subresource : "");
}

static int dispatch(struct fake_client *f, uint16_t verb, const struct call *c, const struct val *body,
                    enum patch_kind kind, struct str patch, struct arena *a, const struct val **ret_val,
                    const struct object **ret, struct status *s)
{
    switch (verb) {
    case VERB_GET:
        *ret = lookup(f, c->res, c->ns, c->name);
        return *ret ? 0 : status_not_found(s, c->res, c->name);
    case VERB_CREATE:
        return c->subresource ? do_sub_create(f, c, body, a, ret_val, ret, s) : do_create(f, c, body, ret, s);
    case VERB_UPDATE:
        return do_update(f, c, body, a, ret_val, ret, s);
    case VERB_PATCH:
        return do_patch(f, c, kind, patch, a, ret_val, ret, s);
    case VERB_DELETE:
        return do_delete(f, c, a, ret_val, s);
    case VERB_LIST:
        return do_list(f, c, a, ret_val, s);
    case VERB_DELETECOLLECTION:
        return do_delete_collection(f, c, s);
    default:
        return status_method_not_supported(s, c->res, "that");
    }
}

static int fake_call(struct client *client, uint16_t verb, const struct call *c, const struct val *body,
                     enum patch_kind kind, struct str patch, struct arena *a, const struct val **ret,
                     struct status *s)
{
    struct fake_client *f = CONTAINER_OF(client, struct fake_client, client);
    fiber_yield(); /* a real one waits, too */
    if (fiber_cancelled())
        return -ECANCELED;
    int r = f->hook ? f->hook(f->hook_arg, verb, c, body, s) : 0;
    if (r)
        return r;
    const struct object *o = NULL;
    const struct val *v = NULL;
    r = dispatch(f, verb, c, body, kind, patch, a, &v, &o, s);
    if (r)
        return r;
    note(f, verb, c, o ? o->name : c->name);
    if (ret)
        *ret = o ? val_copy(a, o->val) : v ? v : val_new(a, VAL_OBJ);
    return 0;
}

/* ---- watches ----------------------------------------------------------------------------------------- */

static int fake_watch(struct client *client, const struct call *c, int64_t revision,
                      struct client_watch **ret, struct status *s)
{
    struct fake_client *f = CONTAINER_OF(client, struct fake_client, client);
    struct fake_watch *w = NEW(struct fake_watch);
    struct parsed p = {0};
    struct call own = *c;
    own.label_selector = arena_str(&w->arena, c->label_selector);
    own.field_selector = arena_str(&w->arena, c->field_selector);
    int r = parse_selectors(&w->arena, &own, &p, s);
    if (r == 0 && revision != 0 && revision != f->revision)
        r = status_gone(s, "too old resource version"); /* no history is kept */
    if (r) {
        arena_done(&w->arena);
        free(w);
        return r;
    }
    w->base.ops = client->ops;
    w->fake = f;
    w->res = c->res;
    w->ns = arena_str(&w->arena, c->ns);
    w->labels = p.labels;
    w->fields = p.fields;
    list_init(&w->events);
    list_push_back(&f->watches, &w->link);
    struct tree_iter it;
    for (tree_seek(&it, revision ? NULL : f->trees[c->res->index], STR_NULL); it.object; tree_next(&it))
        publish_to(w, NULL, it.object, false);
    if (revision == 0) {
        struct object *mark CLEANUP_OBJECT = watch_bookmark(c->res, f->revision);
        queue_event(w, WATCH_BOOKMARK, mark);
    }
    *ret = &w->base;
    return 0;
}

static int fake_watch_next(struct client_watch *base, struct mono deadline, struct watch_event *ret,
                           struct status *s)
{
    struct fake_watch *w = CONTAINER_OF(base, struct fake_watch, base);
    while (list_empty(&w->events) || (w->fake && w->fake->held)) {
        if (w->ended)
            return w->ended > 0 ? status_gone(s, "too old resource version") : w->ended;
        int r = waitq_wait(&w->q, deadline);
        if (r < 0)
            return r;
    }
    struct queued *q = LIST_ENTRY(list_pop_front(&w->events), struct queued, link);
    *ret = q->event;
    free(q);
    return 0;
}

static void fake_watch_close(struct client_watch *base)
{
    struct fake_watch *w = CONTAINER_OF(base, struct fake_watch, base);
    list_remove(&w->link);
    LIST_EACH_SAFE (&w->events, l) {
        struct queued *q = LIST_ENTRY(l, struct queued, link);
        object_unref(q->event.object);
        free(q);
    }
    arena_done(&w->arena);
    free(w);
}

static void fake_free(struct client *client)
{
    fake_client_free(CONTAINER_OF(client, struct fake_client, client));
}

static const struct client_ops fake_ops = {
    .call = fake_call,
    .watch = fake_watch,
    .watch_next = fake_watch_next,
    .watch_close = fake_watch_close,
    .free = fake_free,
};

/* ---- making and looking ------------------------------------------------------------------------------ */

struct fake_client *fake_client_new(void)
{
    struct fake_client *f = NEW(struct fake_client);
    f->client = (struct client){.ops = &fake_ops, .name = "fake"};
    list_init(&f->watches);
    return f;
}

void fake_break_watches(struct fake_client *f, bool expired)
{
    LIST_EACH_SAFE (&f->watches, l) {
        struct fake_watch *w = LIST_ENTRY(l, struct fake_watch, link);
        w->ended = expired ? 410 : -EPIPE;
        w->fake = NULL;
        list_remove(&w->link);
        waitq_wake_all(&w->q);
    }
}

void fake_client_free(struct fake_client *f)
{
    if (!f)
        return;
    fake_break_watches(f, false);
    for (size_t i = 0; i < ARRAY_SIZE(f->trees); i++)
        tree_unref(f->trees[i]);
    buf_done(&f->log);
    free(f);
}

struct client *fake_client_as(struct fake_client *f)
{
    return &f->client;
}

void fake_client_hook(struct fake_client *f, fake_hook *hook, void *arg)
{
    f->hook = hook;
    f->hook_arg = arg;
}

void fake_hold_watches(struct fake_client *f, bool hold)
{
    f->held = hold;
    LIST_EACH (&f->watches, l)
        waitq_wake_all(&LIST_ENTRY(l, struct fake_watch, link)->q);
}

struct str fake_log(struct fake_client *f, struct arena *a)
{
    struct str s = arena_str(a, buf_str(&f->log));
    buf_clear(&f->log);
    return s;
}
