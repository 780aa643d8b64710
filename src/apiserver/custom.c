/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/custom-internal.h"

#include <stdio.h>

#include "apiserver/local.h"
#include "apiserver/state.h"
#include "apiserver/write.h"
#include "base/log.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

/* Memory that a request may still look at. */
struct retired {
    struct arena *arena;
    struct object *definition;
    struct custom_programs *programs;
    struct mono since;
    struct list link;
};

enum {
    KINDS_MAX = 20000,
    GRACE_SECONDS = 600,
    FORGET_SECONDS = 3600, /* after so long nobody has an object of a kind that went */
    ENDING_MAX = 8,        /* definitions whose objects are being deleted at once */
};

/* ---- memory that ends later ---------------------------------------------------------------------------- */

struct arena *custom_arena(void)
{
    struct arena *a = NEW(struct arena);
    *a = (struct arena)ARENA_INIT;
    return a;
}

static void arena_free(struct arena *a)
{
    if (a)
        arena_done(a);
    free(a);
}

static void programs_free(struct custom_programs *p)
{
    if (p)
        custom_programs_done(p);
    free(p);
}

static void retired_free(struct retired *r)
{
    list_remove(&r->link);
    arena_free(r->arena);
    object_unref(r->definition);
    programs_free(r->programs);
    free(r);
}

void custom_end_retired(struct apiserver *s, struct mono now)
{
    LIST_EACH_SAFE(&s->custom->retired, l) {
        struct retired *old = LIST_ENTRY(l, struct retired, link);
        if (old->since.ns + SECONDS(GRACE_SECONDS) < now.ns)
            retired_free(old);
    }
}

void custom_retire(struct custom_state *c, struct arena *a, struct object *definition, struct custom_programs *programs)
{
    if (!a && !definition && !programs)
        return;
    struct retired *r = NEW(struct retired);
    *r = (struct retired){.arena = a, .definition = definition, .programs = programs, .since = os_mono()};
    list_push_back(&c->retired, &r->link);
}

static void kind_free(struct custom_kind *k)
{
    list_remove(&k->link);
    for (size_t i = 0; i < k->n_versions; i++)
        free(k->versions[i]);
    free(k->versions);
    arena_free(k->arena);
    object_unref(k->definition);
    programs_free(k->programs);
    conversions_free(k->conversions);
    free((char *)(uintptr_t)k->name.p);
    free(k);
}

/* ---- kinds --------------------------------------------------------------------------------------------- */

/* A place for one more. Objects point to their kind as long as they live, so what went is kept; but not for ever. */
static bool make_room(struct custom_state *c)
{
    if (c->n_kinds < KINDS_MAX)
        return true;
    struct custom_kind *oldest = list_empty(&c->gone) ? NULL : LIST_ENTRY(c->gone.next, struct custom_kind, link);
    return oldest && oldest->gone.ns + SECONDS(FORGET_SECONDS) < os_mono().ns;
}

static uint16_t take_index(struct custom_state *c)
{
    if (c->n_kinds < KINDS_MAX)
        return (uint16_t)(n_resources + c->n_kinds++);
    struct custom_kind *oldest = LIST_ENTRY(c->gone.next, struct custom_kind, link);
    uint16_t index = oldest->index;
    map_del(&c->definitions, oldest->name);
    kind_free(oldest);
    return index;
}

/* NULL when there is no room. */
static struct custom_kind *kind_named(struct custom_state *c, struct str name)
{
    struct custom_kind *k = map_get(&c->definitions, name);
    if (!k && make_room(c)) {
        k = NEW(struct custom_kind);
        k->name = str_of(str_dup(name));
        k->index = take_index(c);
        map_put(&c->definitions, k->name, k);
    }
    if (k) {
        list_remove(&k->link);
        list_push_back(&c->kinds, &k->link);
    }
    return k;
}

static bool established(const struct val *crd)
{
    const struct val *c = condition_find(val_at(crd, N_status, N_conditions), STR("Established"));
    return str_is(val_getstr(c, N_status), "True");
}

/* What versions are made from. */
static bool says_the_same(const struct val *a, const struct val *b)
{
    return val_same(val_get(a, N_spec), val_get(b, N_spec)) &&
           val_same(val_at(a, N_status, N_acceptedNames), val_at(b, N_status, N_acceptedNames));
}

/* What is said of the kind from now on; what was said is kept for those who look at it just now. */
static void say_anew(struct apiserver *s, struct custom_kind *k, const struct object *crd)
{
    struct arena *had = k->arena;
    struct object *had_definition = k->definition;
    struct custom_programs *had_programs = k->programs;
    custom_unserve(s, k);
    k->arena = custom_arena();
    k->definition = crd ? object_ref(crd) : NULL;
    k->programs = crd ? NEW(struct custom_programs) : NULL;
    if (crd)
        custom_describe(k);
    else
        custom_describe_gone(k);
    conversions_free(TAKE_PTR(k->conversions)); /* of the webhook that was */
    custom_retire(s->custom, had, had_definition, had_programs);
}

static int take_up(struct apiserver *s, const struct object *crd, struct err *e)
{
    struct custom_kind *k = kind_named(s->custom, crd->name);
    if (!k)
        return err_set(e, -E2BIG, "more than %d custom kinds", KINDS_MAX);
    if (k->revision == crd->revision && k->cache)
        return 0;
    int64_t had_generation = k->generation;
    k->terminating = obj_deleting(crd->val);
    k->revision = crd->revision;
    k->generation = val_int(val_get(crd->meta, N_generation), 0);
    if (k->cache && says_the_same(crd->val, k->definition->val)) /* only conditions or metadata are others */
        return 0;
    say_anew(s, k, crd);
    bool had_cache = k->cache;
    int r = !k->cache && k->stored ? cache_add(s->cache, &k->stored->res, &k->cache, e) : 0;
    custom_serve(s, k);
    if (had_cache) {
        cache_rename(k->cache, &k->stored->res);
        if (had_generation != k->generation)
            cache_reread(k->cache);
    }
    return r;
}

static void put_down(struct apiserver *s, struct custom_kind *k)
{
    if (!k->definition)
        return;
    say_anew(s, k, NULL);
    if (k->cache)
        cache_remove(s->cache, TAKE_PTR(k->cache));
    k->revision = 0;
    k->gone = os_mono();
    list_remove(&k->link);
    list_push_back(&s->custom->gone, &k->link);
}

/* ---- names that others have ---------------------------------------------------------------------------- */

/* Calls fn for each name of `names`, with the key under which it is counted. */
typedef void each_name(struct custom_state *c, struct str key, struct str name, bool kind, void *arg);

static void count_name(struct custom_state *c, struct str group, struct str name, bool kind, each_name *fn, void *arg)
{
    char key[600];
    int n = snprintf(key, sizeof(key), STR_FMT "/%c/" STR_FMT, STR_ARG(group), kind ? 'k' : 'r', STR_ARG(name));
    if (name.n && n > 0 && (size_t)n < sizeof(key))
        fn(c, str_n(key, (size_t)n), name, kind, arg);
}

static void names_each(struct custom_state *c, const struct val *crd, const struct val *names, each_name *fn, void *arg)
{
    struct str group = val_str(val_at(crd, N_spec, N_group));
    count_name(c, group, val_getstr(names, N_plural), false, fn, arg);
    count_name(c, group, val_getstr(names, N_singular), false, fn, arg);
    VAL_EACH (val_get(names, N_shortNames), v)
        count_name(c, group, val_str(v), false, fn, arg);
    count_name(c, group, val_getstr(names, N_kind), true, fn, arg);
    count_name(c, group, val_getstr(names, N_listKind), true, fn, arg);
}

/* arg: by how much. */
static void add_taken(struct custom_state *c, struct str key, struct str name UNUSED, bool kind UNUSED, void *arg)
{
    uintptr_t n = (uintptr_t)map_get(&c->taken, key) + (uintptr_t)*(const int *)arg;
    if (n)
        map_put(&c->taken, key, (void *)n);
    else
        map_del(&c->taken, key);
}

static void count_names(struct custom_state *c, const struct object *crd, int by)
{
    if (crd)
        names_each(c, crd->val, val_at(crd->val, N_status, N_acceptedNames), add_taken, &by);
}

struct taken_names {
    struct str *resources, *kinds;
    struct custom_names out;
};

static void find_taken(struct custom_state *c, struct str key, struct str name, bool kind, void *arg)
{
    struct taken_names *t = arg;
    if (!map_get(&c->taken, key))
        return;
    if (kind)
        t->kinds[t->out.n_kinds++] = name;
    else
        t->resources[t->out.n_resources++] = name;
}

/* Those that the definition asks for and others of its group have. */
static struct custom_names taken_names(struct custom_state *c, struct arena *a, const struct object *crd)
{
    const struct val *asked = val_at(crd->val, N_spec, N_names);
    struct taken_names t = {ARENA_ARRAY(a, struct str, 2 + val_len(val_get(asked, N_shortNames))), ARENA_ARRAY(a, struct str, 2), {0}};
    count_names(c, crd, -1);
    names_each(c, crd->val, asked, find_taken, &t);
    count_names(c, crd, 1);
    t.out.resources = t.resources;
    t.out.kinds = t.kinds;
    return t.out;
}

/* ---- the end of a definition --------------------------------------------------------------------------- */

static int put_status(struct apiserver *s, const struct object *crd, const struct val *v)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status st;
    status_init(&st, &a);
    return client_update(s->self, CALL(.res = crd->res, .name = crd->name, .subresource = "status"), v, &a, NULL, &st);
}

/* All objects go; true when there are none. */
static bool end_objects(struct apiserver *s, struct custom_kind *k)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status st;
    if (!k || !k->cache)
        return true;
    status_init(&st, &a);
    client_delete_collection(s->self, CALL(.res = &k->stored->res), &a, NULL, &st);
    return cache_fresh(s->cache) == 0 && k->cache && tree_count(k->cache->root) == 0;
}

static void end_definition(struct apiserver *s, const struct object *crd)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct custom_kind *k = map_get(&s->custom->definitions, crd->name);
    struct val *v = val_copy(&a, crd->val), *meta = val_mut(v, N_metadata);
    struct status st;
    status_init(&st, &a);
    if (!obj_has_finalizer(v, STR(CRD_FINALIZER)) || !end_objects(s, k))
        return;
    struct val *list = val_new(&a, VAL_LIST);
    VAL_EACH (val_get(meta, N_finalizers), f)
        if (!str_is(val_str(f), CRD_FINALIZER))
            val_add(&a, list, *f);
    condition_set(&a, val_sub_list(&a, val_sub_obj(&a, v, N_status), N_conditions), STR("Terminating"), "False",
                  "InstanceDeletionCompleted", STR("removed all instances"), os_wall());
    val_set_ref(&a, meta, N_finalizers, list->n ? list : NULL);
    client_update(s->self, CALL(.res = crd->res, .name = crd->name), v, &a, NULL, &st);
}

struct ending {
    struct apiserver *server;
    struct object *crd;
};

static void end_in_fiber(void *arg)
{
    struct ending *e = arg;
    struct custom_state *c = e->server->custom;
    end_definition(e->server, e->crd);
    struct custom_kind *k = map_get(&c->definitions, e->crd->name);
    if (k)
        k->ending = false;
    c->ending--;
    object_unref(e->crd);
    free(e);
}

/* Many objects take a while to go: other definitions do not wait for them. Those that find no place come round again. */
static void begin_to_end(struct apiserver *s, const struct object *crd)
{
    struct custom_kind *k = map_get(&s->custom->definitions, crd->name);
    if (s->custom->ending == ENDING_MAX || (k && k->ending))
        return;
    struct ending *e = NEW(struct ending);
    *e = (struct ending){s, object_ref(crd)};
    s->custom->ending++;
    if (k)
        k->ending = true;
    group_spawn(&s->fibers, "custom-end", end_in_fiber, e);
}

/* ---- one definition ------------------------------------------------------------------------------------ */

static void take_up_or_tell(struct apiserver *s, const struct object *crd)
{
    struct err e = {0};
    if (take_up(s, crd, &e) < 0)
        log_error("apiserver", STR_FMT ": %s", STR_ARG(crd->name), e.text);
}

static void look_at(struct apiserver *s, const struct object *crd)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct custom_names taken = taken_names(s->custom, &a, crd);
    struct val *v = val_copy(&a, crd->val);
    if (obj_deleting(crd->val) || !established(crd->val))
        map_put(&s->custom->waiting, crd->name, s);
    if (!obj_deleting(v) && custom_judge(&a, v, &taken, os_wall()))
        put_status(s, crd, v); /* its event brings us here again */
    if (established(crd->val))
        take_up_or_tell(s, crd);
    if (obj_deleting(crd->val))
        begin_to_end(s, crd);
}

static void look_at_name(struct apiserver *s, struct str name)
{
    if (cache_fresh(s->cache) < 0) /* names that we just gave to another one are taken */
        return;
    struct cache_kind *k = state_kind(s, RES_CUSTOMRESOURCEDEFINITIONS);
    struct object *crd = object_ref(cache_get(k, STR(""), name));
    struct custom_kind *had = map_get(&s->custom->definitions, name);
    map_del(&s->custom->waiting, name);
    if (crd)
        look_at(s, crd);
    else if (had)
        put_down(s, had);
    object_unref(crd);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static void changed(void *arg, const struct object *old, const struct object *now)
{
    struct apiserver *s = arg;
    count_names(s->custom, old, -1);
    count_names(s->custom, now, 1);
    map_put(&s->custom->dirty, (now ? now : old)->name, s);
    waitq_wake_all(&s->custom->changed);
}

/* Definitions that wait for their objects to go, or for a name that somebody else gave back. */
static void mark_waiting(struct custom_state *c)
{
    MAP_EACH (&c->waiting, e)
        map_put(&c->dirty, e->key, c);
}

static void look_at_dirty(struct apiserver *s)
{
    while (s->custom->dirty.n && !fiber_cancelled()) {
        struct map names = s->custom->dirty;
        s->custom->dirty = MAP_INIT;
        MAP_EACH (&names, e)
            look_at_name(s, e->key);
        map_done(&names);
    }
}

static struct mono look_again(const struct custom_state *c)
{
    if (c->waiting.n)
        return mono_add(os_mono(), SECONDS(1));
    return list_empty(&c->retired) ? MONO_NEVER : mono_add(os_mono(), SECONDS(GRACE_SECONDS));
}

void custom_follow(void *arg)
{
    struct apiserver *s = arg;
    for (;;) {
        look_at_dirty(s);
        custom_end_retired(s, os_mono());
        int r = waitq_wait(&s->custom->changed, look_again(s->custom));
        if (r < 0 && r != -ETIMEDOUT)
            return;
        mark_waiting(s->custom);
    }
}

/* A kind that cannot be read keeps nobody from all the others. */
void custom_open(struct apiserver *s)
{
    struct custom_state *c = s->custom = NEW(struct custom_state);
    list_init(&c->kinds);
    list_init(&c->gone);
    list_init(&c->retired);
    s->self = local_client_new(s, "kube-apiserver", NULL, NULL);
    struct cache_kind *k = state_kind(s, RES_CUSTOMRESOURCEDEFINITIONS);
    struct tree *root = tree_ref(k->root);
    cache_on_change(k, &c->hook, changed, s);
    for (struct tree_iter it = tree_begin_ns(root, STR("")); tree_in_ns(&it, STR("")); tree_next(&it))
        count_names(c, it.object, 1);
    for (struct tree_iter it = tree_begin_ns(root, STR("")); tree_in_ns(&it, STR("")); tree_next(&it)) {
        map_put(&c->dirty, it.object->name, s);
        if (established(it.object->val))
            take_up_or_tell(s, it.object);
    }
    tree_unref(root);
}

static void kinds_free(struct list *kinds)
{
    while (!list_empty(kinds))
        kind_free(LIST_ENTRY(kinds->next, struct custom_kind, link));
}

/* After the cache: its objects point to resources. */
void custom_close(struct apiserver *s)
{
    struct custom_state *c = s->custom;
    if (!c)
        return;
    custom_served_done(c);
    while (!list_empty(&c->retired))
        retired_free(LIST_ENTRY(c->retired.next, struct retired, link));
    kinds_free(&c->kinds);
    kinds_free(&c->gone);
    map_done(&c->by_name);
    map_done(&c->by_kind);
    map_done(&c->definitions);
    map_done(&c->taken);
    map_done(&c->waiting);
    map_done(&c->dirty);
    client_free(s->self);
    free(c);
    s->custom = NULL;
}
