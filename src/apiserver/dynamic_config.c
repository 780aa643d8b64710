/* SPDX-License-Identifier: Apache-2.0 */
/* The configurations of admission as they stand, compiled when one changed and the next request asks. */
#include "apiserver/dynamic.h"

#include <limits.h>

#include "apiserver/custom.h"
#include "apiserver/state.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

struct source {
    uint16_t kind, bindings; /* bindings 0: it has none */
    admit_make *make;
};

static const struct source sources[ADMIT_SOURCES] = {
    [MUTATING_HOOKS] = {RES_MUTATINGWEBHOOKCONFIGURATIONS, 0, admit_hooks_make},
    [VALIDATING_HOOKS] = {RES_VALIDATINGWEBHOOKCONFIGURATIONS, 0, admit_hooks_make},
    [MUTATING_POLICIES] = {RES_MUTATINGADMISSIONPOLICIES, RES_MUTATINGADMISSIONPOLICYBINDINGS, admit_mutation_make},
    [VALIDATING_POLICIES] = {RES_VALIDATINGADMISSIONPOLICIES, RES_VALIDATINGADMISSIONPOLICYBINDINGS, admit_policy_make},
};

struct dynamic_source {
    struct cache_hook hooks[2];
    bool changed;
    struct admit_list *list; /* NULL: there are none */
    struct map configs, bindings; /* name to struct admit_config */
};

struct dynamic_state {
    struct arena arena;
    const struct admit_types *types;
    struct dynamic_source sources[ADMIT_SOURCES];
};

const struct admit_types *dynamic_types(const struct apiserver *s)
{
    return s->dynamic->types;
}

/* ---- what was compiled ---------------------------------------------------------------------------------- */

static void config_unref(void *p)
{
    struct admit_config *c = p;
    if (!c || --c->refs)
        return;
    admit_cel_done(&c->cel);
    arena_done(&c->arena);
    object_unref(c->object);
    free(c);
}

static struct admit_config *config_new(struct apiserver *s, const struct object *o, admit_make *make)
{
    struct admit_config *c = NEW(struct admit_config);
    *c = (struct admit_config){.refs = 1, .object = object_ref(o), .arena = ARENA_INIT};
    make(s, c);
    return c;
}

/* That of the object, made anew when it is another than before; the map's. */
static struct admit_config *config_of(struct apiserver *s, struct map *m, const struct object *o, admit_make *make)
{
    struct admit_config *c = map_get(m, o->name);
    if (c && c->object == o)
        return c;
    config_unref(c);
    c = config_new(s, o, make);
    map_put(m, o->name, c);
    return c;
}

static void drop_absent(struct map *m, const struct cache_kind *k)
{
    MAP_EACH (m, e)
        if (!cache_get(k, STR(""), e->key))
            config_unref(map_del(m, e->key));
}

void admit_list_unref(struct admit_list *l)
{
    if (!l || --l->refs)
        return;
    for (size_t i = 0; i < l->n; i++) {
        config_unref(l->items[i].config);
        for (size_t j = 0; j < l->items[i].n_bindings; j++)
            config_unref(l->items[i].bindings[j]);
    }
    arena_done(&l->arena);
    free(l);
}

static struct admit_config *config_ref(struct admit_config *c)
{
    c->refs++;
    return c;
}

static void add_bindings(struct apiserver *s, struct dynamic_source *d, uint16_t kind, struct admit_list *l, struct admit_item *item)
{
    const struct tree *root = state_kind(s, kind)->root;
    item->bindings = ARENA_ARRAY(&l->arena, struct admit_config *, tree_count(root));
    TREE_EACH (root, STR(""), it)
        if (str_eq(val_str(val_at(it.object->val, N_spec, N_policyName)), item->config->object->name))
            item->bindings[item->n_bindings++] = config_ref(config_of(s, &d->bindings, it.object, admit_binding_make));
}

static struct admit_list *list_new(struct apiserver *s, struct dynamic_source *d, const struct source *from)
{
    const struct cache_kind *k = state_kind(s, from->kind);
    const struct tree *root = k->root;
    struct admit_list *l = NEW(struct admit_list);
    *l = (struct admit_list){.refs = 1, .arena = ARENA_INIT};
    l->items = ARENA_ARRAY(&l->arena, struct admit_item, tree_count(root));
    drop_absent(&d->configs, k);
    if (from->bindings)
        drop_absent(&d->bindings, state_kind(s, from->bindings));
    TREE_EACH (root, STR(""), it) {
        struct admit_item *item = &l->items[l->n];
        item->config = config_of(s, &d->configs, it.object, from->make);
        if (from->bindings)
            add_bindings(s, d, from->bindings, l, item);
        if (from->bindings && !item->n_bindings) /* in force only where it is bound */
            continue;
        config_ref(item->config);
        l->n++;
    }
    return l;
}

struct admit_list *admit_list_get(struct apiserver *s, enum admit_source source)
{
    struct dynamic_source *d = &s->dynamic->sources[source];
    if (d->changed) {
        struct admit_list *had = d->list;
        d->list = list_new(s, d, &sources[source]);
        admit_list_unref(had);
        d->changed = false;
    }
    if (!d->list || !d->list->n)
        return NULL;
    d->list->refs++;
    return d->list;
}

/* ---- life ----------------------------------------------------------------------------------------------- */

static void changed(void *arg, const struct object *old, const struct object *now)
{
    struct dynamic_source *d = arg;
    (void)old, (void)now;
    d->changed = true;
}

void dynamic_open(struct apiserver *s)
{
    struct dynamic_state *x = s->dynamic = NEW(struct dynamic_state);
    *x = (struct dynamic_state){.arena = ARENA_INIT};
    x->types = admit_types_new(&x->arena);
    for (size_t i = 0; i < ADMIT_SOURCES; i++) {
        x->sources[i].changed = true;
        cache_on_change(state_kind(s, sources[i].kind), &x->sources[i].hooks[0], changed, &x->sources[i]);
        if (sources[i].bindings)
            cache_on_change(state_kind(s, sources[i].bindings), &x->sources[i].hooks[1], changed, &x->sources[i]);
    }
}

/* Before the cache: its objects are held here. */
void dynamic_close(struct apiserver *s)
{
    struct dynamic_state *x = s->dynamic;
    if (!x)
        return;
    for (size_t i = 0; i < ADMIT_SOURCES; i++) {
        for (size_t j = 0; j < (sources[i].bindings ? 2 : 1); j++)
            cache_off_change(&x->sources[i].hooks[j]);
        admit_list_unref(x->sources[i].list);
        map_done_with(&x->sources[i].configs, config_unref);
        map_done_with(&x->sources[i].bindings, config_unref);
    }
    arena_done(&x->arena);
    free(x);
    s->dynamic = NULL;
}
