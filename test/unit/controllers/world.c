/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdio.h>

#include "type/meta.h"
#include "wire/json.h"

enum { KINDS = 128, CUSTOMS = 4 };

struct world {
    struct arena arena; /* of the last reconcile */
    struct snapshot_slot slots[3 * KINDS + CUSTOMS];
    struct snapshot snapshot;
    struct tree *held[3 * KINDS + CUSTOMS]; /* as they were at the last reconcile: its writes point into them */
    struct writes writes;
    struct controllers_config config;
    const struct controller *controller; /* whose state it is */
    void *state;
    const void *gathered;
    struct buf text;
    int64_t revision;
    unsigned made;
};

struct wall world_now = {INT64_C(1767225600) * NSEC_PER_SEC};

struct wall world_time(const char *text)
{
    struct wall t = {0};
    ASSERT(time_parse(str_of(text), &t) == 0);
    return t;
}

struct world *world_new(void)
{
    struct world *w = NEW(struct world);
    w->snapshot.slots = w->slots;
    for (unsigned i = 1; i < n_resources && i < KINDS; i++) {
        w->slots[w->snapshot.n++] = (struct snapshot_slot){&resources[i], NULL, NULL, true, true};
        w->slots[w->snapshot.n] = (struct snapshot_slot){&resources[i], index_controller_uid, NULL, true, true};
        w->snapshot.n++;
        if (i == RES_PODS)
            w->slots[w->snapshot.n++] = (struct snapshot_slot){&resources[i], index_pod_node, NULL, true, true};
    }
    return w;
}

static void forget_state(struct world *w)
{
    if (w->controller && w->controller->state_free)
        w->controller->state_free(w->state);
    w->state = NULL;
    w->controller = NULL;
}

static void hold(struct world *w, bool on)
{
    for (size_t i = 0; i < w->snapshot.n; i++) {
        tree_unref(w->held[i]);
        w->held[i] = on ? tree_ref(w->slots[i].tree) : NULL;
    }
}

void world_free(struct world *w)
{
    forget_state(w);
    hold(w, false);
    for (size_t i = 0; i < w->snapshot.n; i++)
        tree_unref(w->slots[i].tree);
    buf_done(&w->text);
    arena_done(&w->arena);
    free(w);
}

static struct str slot_key(struct arena *a, const struct snapshot_slot *slot, const struct object *o)
{
    struct str key = obj_key(a, o->namespace_, o->name);
    if (!slot->index)
        return key;
    struct str text = slot->index(o);
    return str_empty(text) ? STR_NULL : arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(text), STR_ARG(key));
}

static void ignore_key(void *arg, struct key key) {}

static void change(struct world *w, const struct object *old, const struct object *now)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (w->controller && w->controller->changed)
        w->controller->changed(w->state, (now ? now : old)->res, old, now, ignore_key, NULL);
    for (size_t i = 0; i < w->snapshot.n; i++) {
        struct snapshot_slot *slot = &w->slots[i];
        if (slot->res != (old ? old : now)->res)
            continue;
        struct str was = old ? slot_key(&a, slot, old) : STR_NULL,
                   is = now ? slot_key(&a, slot, now) : STR_NULL;
        if (!str_empty(was) && !str_eq(was, is))
            slot->tree = tree_del(slot->tree, was);
        if (!str_empty(is))
            slot->tree = tree_put(slot->tree, is, now);
    }
}

static const struct object *put(struct world *w, const struct resource *res, struct val *v)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *own = val_copy(&a, v);
    struct val *meta = val_sub_obj(&a, own, N_metadata);
    if (str_empty(obj_uid(own)))
        val_set_str(&a, meta, N_uid, arena_printf(&a, "u-" STR_FMT, STR_ARG(obj_name(own))));
    struct object *o = object_new(res, own);
    object_stamp(o, ++w->revision);
    struct object *old CLEANUP_OBJECT = object_ref(snapshot_get(&w->snapshot, res, o->namespace_, o->name));
    change(w, old, o);
    object_unref(o);
    return o;
}

const struct object *world_add(struct world *w, uint16_t res_index, const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    return put(w, &resources[res_index], val_relaxed(&a, resources[res_index].type, text));
}

const struct object *world_put(struct world *w, const struct resource *res, const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    return put(w, res, val_relaxed(&a, res->type, text));
}

const struct resource *world_things(struct custom_type *type)
{
    static struct resource r;
    custom_type_init(type, "Thing", NULL);
    r = (struct resource){.group = "example.com", .version = "v1", .name = "things", .kind = "Thing", .type = &type->type,
                          .verbs = VERB_DELETE | VERB_DELETECOLLECTION, .index = (uint16_t)n_resources,
                          .storage = (uint16_t)n_resources, .namespaced = true, .stored = true};
    return &r;
}

struct snapshot_slot *world_custom(struct world *w, const struct resource *res)
{
    struct snapshot_slot *slot = &w->slots[w->snapshot.n++];
    ASSERT(w->snapshot.n <= ARRAY_SIZE(w->slots));
    *slot = (struct snapshot_slot){res, NULL, NULL, true, true};
    return slot;
}

const struct object *world_addf(struct world *w, uint16_t res_index, const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    return world_add(w, res_index, b.p);
}

const struct object *world_get(struct world *w, uint16_t res_index, const char *ns, const char *name)
{
    return snapshot_get(&w->snapshot, &resources[res_index], str_of(ns), str_of(name));
}

void world_remove(struct world *w, uint16_t res_index, const char *ns, const char *name)
{
    struct object *old CLEANUP_OBJECT = object_ref(world_get(w, res_index, ns, name));
    if (old)
        change(w, old, NULL);
}

const struct snapshot *world_snapshot(struct world *w)
{
    return &w->snapshot;
}

struct controllers_config *world_config(struct world *w)
{
    return &w->config;
}

/* ---- saying what was written ------------------------------------------------------------------------- */

static void say_status(struct buf *b, const struct write *w)
{
    buf_putc(b, ' ');
    json_encode(b, field_type(type_field(w->res->type, N_status, NULL)), val_get(w->body, N_status),
                JSON_NO_HTML);
}

static void say(struct buf *b, const struct write *w)
{
    static const char *const verbs[] = {"create", "update", "status",       "patch",        "patch-status",
                                        "delete", "event",  "check-absent", "check-allowed"};
    if (w->verb == WRITE_EVENT) {
        buf_printf(b, "event %s %s " STR_FMT "\n", w->warning ? "Warning" : "Normal", w->reason,
                   STR_ARG(w->message));
        return;
    }
    buf_printf(b, "%s %s " STR_FMT "%s" STR_FMT, verbs[w->verb], w->res->name, STR_ARG(w->ns),
               str_empty(w->ns) ? "" : "/", STR_ARG(w->verb == WRITE_CREATE ? obj_name(w->body) : w->name));
    if (w->subresource)
        buf_printf(b, " %s", w->subresource);
    if (w->verb == WRITE_UPDATE_STATUS)
        say_status(b, w);
    if (w->verb == WRITE_PATCH || w->verb == WRITE_PATCH_STATUS)
        buf_printf(b, " " STR_FMT, STR_ARG(w->patch));
    if (w->propagation)
        buf_printf(b, " %s", w->propagation);
    if (w->verb == WRITE_DELETE && w->grace_seconds >= 0)
        buf_printf(b, " grace %lld", (long long)w->grace_seconds);
    buf_putc(b, '\n');
}

static const char *say_all(struct world *w, int r)
{
    char buf[TIME_TEXT_MAX];
    buf_clear(&w->text);
    buf_puts(&w->text, "");
    LIST_EACH (&w->writes.list, l)
        say(&w->text, LIST_ENTRY(l, struct write, link));
    if (w->writes.again_ns)
        buf_printf(&w->text, "again %s\n", duration_format(w->writes.again_ns, buf));
    if (r)
        buf_printf(&w->text, "error %d\n", r);
    return w->text.n ? w->text.p : "";
}

static void use_state(struct world *w, const struct controller *c)
{
    if (w->controller != c) {
        forget_state(w);
        w->controller = c;
        w->state = c->state_new ? c->state_new(&w->config) : NULL;
    }
}

void world_follow(struct world *w, const struct controller *c)
{
    use_state(w, c);
}

static struct key parse_key(const char *key)
{
    struct str ns, name;
    if (str_cut(str_of(key), '/', &ns, &name))
        return (struct key){ns, name};
    return (struct key){STR_NULL, str_of(key)};
}

const char *world_reconcile(struct world *w, const struct controller *c, const char *key)
{
    arena_done(&w->arena);
    hold(w, true);
    use_state(w, c);
    w->writes = (struct writes){.arena = &w->arena, .config = &w->config, .state = w->state, .gathered = w->gathered};
    list_init(&w->writes.list);
    int r = c->reconcile(&w->snapshot, parse_key(key), world_now, &w->writes);
    return say_all(w, r);
}

const char *world_refuse(struct world *w, const struct controller *c, const char *key, size_t index, int code,
                         const char *message)
{
    const struct write *refused = world_write(w, index);
    struct status s;
    status_init(&s, &w->arena);
    status_set(&s, code, NULL, "%s", message);
    struct writes more = {.arena = &w->arena, .config = &w->config, .state = w->state};
    list_init(&more.list);
    c->refused(&w->snapshot, parse_key(key), refused, &s, world_now, &more);
    w->writes = more;
    list_init(&w->writes.list);
    for (struct list *l; (l = list_pop_front(&more.list));)
        list_push_back(&w->writes.list, l);
    return say_all(w, 0);
}

const struct write *world_find(struct world *w, enum write_verb verb)
{
    LIST_EACH (&w->writes.list, l)
        if (LIST_ENTRY(l, struct write, link)->verb == verb)
            return LIST_ENTRY(l, struct write, link);
    return NULL;
}

int64_t world_status(struct world *w, name_id name)
{
    const struct write *x = world_find(w, WRITE_UPDATE_STATUS);
    return x ? val_int(val_at(x->body, N_status, name), 0) : -1;
}

const struct val *world_keep_revision(struct world *w)
{
    const struct write *first = world_write(w, 0);
    if (!first || first->verb != WRITE_CREATE || first->res != &resources[RES_CONTROLLERREVISIONS])
        return NULL;
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, first->res->type, first->body, 0);
    world_add(w, RES_CONTROLLERREVISIONS, b.p);
    return first->body;
}

const struct write *world_write(struct world *w, size_t index)
{
    LIST_EACH (&w->writes.list, l)
        if (index-- == 0)
            return LIST_ENTRY(l, struct write, link);
    return NULL;
}

void world_gather(struct world *w, const void *gathered)
{
    w->gathered = gathered;
}

/* ---- carrying it out --------------------------------------------------------------------------------- */

static void apply(struct world *w, const struct write *x)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct object *old = snapshot_get(&w->snapshot, x->res, x->ns, x->name);
    if (x->verb == WRITE_DELETE && old) {
        struct object *gone CLEANUP_OBJECT = object_ref(old);
        change(w, gone, NULL);
        return;
    }
    if (x->verb != WRITE_CREATE && x->verb != WRITE_UPDATE && x->verb != WRITE_UPDATE_STATUS)
        return;
    struct val *v = val_copy(&a, x->body);
    struct val *meta = val_sub_obj(&a, v, N_metadata);
    char now[TIME_TEXT_MAX];
    if (x->verb == WRITE_CREATE) {
        if (str_empty(obj_name(v)))
            val_set_str(&a, meta, N_name,
                        arena_printf(&a, STR_FMT "%u", STR_ARG(val_getstr(meta, N_generateName)), ++w->made));
        val_set_str(&a, meta, N_creationTimestamp, str_of(time_format(world_now, now)));
        val_set_int(&a, meta, N_generation, 1);
        if (x->res->namespaced)
            val_set_str(&a, meta, N_namespace, x->ns);
    } else if (old && x->verb == WRITE_UPDATE && !val_equal(val_get(v, N_spec), val_get(old->val, N_spec))) {
        val_set_int(&a, meta, N_generation, val_int(val_get(old->meta, N_generation), 0) + 1);
    }
    put(w, x->res, v);
}

void world_apply(struct world *w)
{
    LIST_EACH (&w->writes.list, l)
        apply(w, LIST_ENTRY(l, struct write, link));
}

static void note_key(void *arg, struct key key)
{
    struct world *w = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text = obj_key(&a, key.ns, key.name), rest = buf_str(&w->text), word;
    while (w->text.n > 0 && str_next(&rest, ' ', &word))
        if (str_eq(word, text))
            return;
    buf_printf(&w->text, "%s" STR_FMT, w->text.n ? " " : "", STR_ARG(text));
}

const char *world_keys(struct world *w, const struct controller *c, const struct object *old,
                       const struct object *new_)
{
    buf_clear(&w->text);
    if (c->changed)
        c->changed(w->state, (new_ ? new_ : old)->res, old, new_, note_key, w);
    else
        c->keys_of(&w->snapshot, (new_ ? new_ : old)->res, old, new_, note_key, w);
    return w->text.n ? w->text.p : "";
}
