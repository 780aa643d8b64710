/* SPDX-License-Identifier: Apache-2.0 */
#include "node/objects.h"

#include "base/map.h"

struct held {
    struct objects *of;
    const struct resource *res;
    char *ns, *name;
    struct str selector;
    struct replica *replica;
    unsigned holds;
};

struct objects {
    struct client *client;
    objects_changed *changed;
    void *arg;
    struct map held; /* "resource/ns/name" */
};

struct objects *objects_new(struct client *c, objects_changed *changed, void *arg)
{
    struct objects *o = NEW(struct objects);
    o->client = c;
    o->changed = changed;
    o->arg = arg;
    return o;
}

static void held_free(void *p)
{
    struct held *h = p;
    replica_free(h->replica);
    free(h->ns);
    free(h->name);
    free((char *)h->selector.p);
    free(h);
}

void objects_free(struct objects *o)
{
    if (!o)
        return;
    map_done_with(&o->held, held_free);
    free(o);
}

static void on_change(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct held *h = arg;
    h->of->changed(h->of->arg, h->res, str_of(h->ns), str_of(h->name));
}

static struct held *find(const struct objects *o, const struct resource *res, struct str ns, struct str name)
{
    struct arena a = ARENA_INIT;
    struct held *h = map_get(&o->held, arena_printf(&a, "%u/" STR_FMT "/" STR_FMT, res->index, STR_ARG(ns), STR_ARG(name)));
    arena_done(&a);
    return h;
}

void objects_hold(struct objects *o, const struct resource *res, struct str ns, struct str name)
{
    struct held *h = find(o, res, ns, name);
    if (h) {
        h->holds++;
        return;
    }
    h = NEW(struct held);
    *h = (struct held){.of = o, .res = res, .ns = str_dup(ns), .name = str_dup(name), .holds = 1};
    struct arena a = ARENA_INIT;
    h->selector = str_of(str_dup(arena_printf(&a, "metadata.name=" STR_FMT, STR_ARG(name))));
    struct replica_kind kind = {.res = res, .field_selector = h->selector, .ns = str_of(h->ns)};
    h->replica = replica_new(o->client, &kind, 1);
    replica_on_change(h->replica, on_change, h);
    replica_start(h->replica);
    map_put(&o->held, arena_printf(&a, "%u/" STR_FMT "/" STR_FMT, res->index, STR_ARG(ns), STR_ARG(name)), h);
    arena_done(&a);
}

void objects_release(struct objects *o, const struct resource *res, struct str ns, struct str name)
{
    struct held *h = find(o, res, ns, name);
    if (!h || --h->holds > 0)
        return;
    struct arena a = ARENA_INIT;
    map_del(&o->held, arena_printf(&a, "%u/" STR_FMT "/" STR_FMT, res->index, STR_ARG(ns), STR_ARG(name)));
    arena_done(&a);
    held_free(h);
}

int objects_get(struct objects *o, const struct resource *res, struct str ns, struct str name, struct mono deadline,
                const struct object **ret)
{
    struct held *h = find(o, res, ns, name);
    if (!h)
        return -ENOENT;
    h->holds++; /* nobody may take it away while we wait */
    int r = replica_wait_synced(h->replica, deadline);
    bool last = h->holds == 1;
    if (r == 0 && !last)
        *ret = replica_get(h->replica, res, ns, name);
    objects_release(o, res, ns, name);
    return last ? -ENOENT : r;
}
