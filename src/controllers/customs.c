/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/customs.h"

#include "base/map.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/structural.h"

enum {
    INDEX_MAX = UINT16_MAX,
    FORGET_SECONDS = 600, /* writes of what its objects owned are through by then */
};

struct custom {
    struct resource res;
    struct custom_type type;
    struct arena arena; /* its texts */
    struct str definition;
    struct mono gone; /* 0: it is there */
    bool replaced;    /* the replica does not know it any more */
    unsigned round;   /* the look that found it last */
};

struct customs {
    struct replica *replica;
    struct custom **kinds;  /* at their index less n_resources; NULL: free */
    size_t n_kinds;
    struct map definitions; /* name to those that are there */
    unsigned round;
};

#define EACH_KIND(c, k)                                                                                      \
    for (size_t k##_at = 0; k##_at < (c)->n_kinds; k##_at++)                                                 \
        for (struct custom *k = (c)->kinds[k##_at]; k; k = NULL)

struct customs *customs_new(struct replica *r)
{
    struct customs *c = NEW(struct customs);
    c->replica = r;
    return c;
}

static void custom_free(struct custom *k)
{
    arena_done(&k->arena);
    free(k);
}

void customs_free(struct customs *c)
{
    if (!c)
        return;
    EACH_KIND (c, k)
        custom_free(k);
    free(c->kinds);
    map_done(&c->definitions);
    free(c);
}

/* ---- from a definition to a resource ------------------------------------------------------------------- */

const struct val *customs_version(const struct val *crd)
{
    const struct val *first = NULL;
    const struct val *established = condition_find(val_at(crd, N_status, N_conditions), STR("Established"));
    if (!str_is(val_getstr(established, N_status), "True"))
        return NULL;
    VAL_EACH (val_at(crd, N_spec, N_versions), v) {
        if (!val_bool(val_get(v, N_served), false))
            continue;
        if (val_bool(val_get(v, N_storage), false))
            return v;
        first = first ? first : v;
    }
    return first;
}

static bool is_namespaced(const struct val *crd)
{
    return str_is(val_str(val_at(crd, N_spec, N_scope)), "Namespaced");
}

static bool is_that(const struct custom *k, const struct val *crd, const struct val *version)
{
    const struct val *names = val_at(crd, N_status, N_acceptedNames);
    return str_is(val_getstr(version, N_name), k->res.version) && str_is(val_getstr(names, N_kind), k->res.kind) &&
           is_namespaced(crd) == k->res.namespaced;
}

static struct custom *custom_new(const struct object *crd, const struct val *version, uint16_t index)
{
    struct custom *k = NEW(struct custom);
    const struct val *names = val_at(crd->val, N_status, N_acceptedNames);
    struct arena *a = &k->arena;
    k->definition = arena_str(a, crd->name);
    k->res = (struct resource){
        .group = arena_cstr(a, val_str(val_at(crd->val, N_spec, N_group))),
        .version = arena_cstr(a, val_getstr(version, N_name)),
        .name = arena_cstr(a, val_getstr(names, N_plural)),
        .singular = arena_cstr(a, val_getstr(names, N_singular)),
        .kind = arena_cstr(a, val_getstr(names, N_kind)),
        .list_kind = arena_cstr(a, val_getstr(names, N_listKind)),
        .type = &k->type.type,
        .verbs = VERB_GET | VERB_LIST | VERB_WATCH | VERB_CREATE | VERB_UPDATE | VERB_PATCH | VERB_DELETE | VERB_DELETECOLLECTION,
        .index = index,
        .storage = index,
        .namespaced = is_namespaced(crd->val),
        .stored = true,
    };
    custom_type_init(&k->type, k->res.kind, NULL);
    return k;
}

/* ---- coming and going ---------------------------------------------------------------------------------- */

/* 0: there is none left. */
static uint16_t free_index(struct customs *c)
{
    size_t i = 0;
    while (i < c->n_kinds && c->kinds[i])
        i++;
    if (n_resources + i > INDEX_MAX)
        return 0;
    if (i == c->n_kinds) {
        c->kinds = xrealloc(c->kinds, (c->n_kinds + 1) * sizeof(struct custom *));
        c->kinds[c->n_kinds++] = NULL;
    }
    return (uint16_t)(n_resources + i);
}

static void put_down(struct customs *c, struct custom *k, struct mono now)
{
    map_del(&c->definitions, k->definition);
    k->gone = now;
    replica_unfollow(c->replica, &k->res);
}

/* The objects are still there, in another version: nobody may ask for them by this one. */
static void replace(struct customs *c, struct custom *k, struct mono now)
{
    put_down(c, k, now);
    replica_forget(c->replica, &k->res);
    k->replaced = true;
}

static void forget_old(struct customs *c, struct mono now)
{
    EACH_KIND (c, k) {
        if (!k->gone.ns || k->gone.ns + SECONDS(FORGET_SECONDS) > now.ns)
            continue;
        if (!k->replaced)
            replica_forget(c->replica, &k->res);
        c->kinds[k->res.index - n_resources] = NULL;
        custom_free(k);
        break; /* out of the inner loop, which would look at it again */
    }
}

static void look_at(struct customs *c, const struct object *crd, struct mono now)
{
    const struct val *version = customs_version(crd->val);
    struct custom *k = map_get(&c->definitions, crd->name);
    if (k && version && !is_that(k, crd->val, version)) {
        replace(c, k, now);
        k = NULL;
    }
    uint16_t index = !k && version ? free_index(c) : 0;
    if (index) {
        k = custom_new(crd, version, index);
        c->kinds[index - n_resources] = k;
        map_put(&c->definitions, k->definition, k);
        replica_follow(c->replica, &k->res);
    }
    if (k && version)
        k->round = c->round;
}

void customs_look(struct customs *c, struct mono now)
{
    struct tree *root = tree_ref(replica_tree(c->replica, &resources[RES_CUSTOMRESOURCEDEFINITIONS]));
    c->round++;
    for (struct tree_iter it = tree_begin_ns(root, STR("")); tree_in_ns(&it, STR("")); tree_next(&it))
        look_at(c, it.object, now);
    EACH_KIND (c, k)
        if (!k->gone.ns && k->round != c->round)
            put_down(c, k, now);
    forget_old(c, now);
    tree_unref(root);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

const struct resource *customs_find(const struct snapshot *world, struct str group, struct str kind)
{
    const struct resource *gone = NULL;
    EACH_CUSTOM (world, slot) {
        if (!str_is(group, slot->res->group) || !str_is(kind, slot->res->kind))
            continue;
        if (slot->followed)
            return slot->res;
        gone = slot->res;
    }
    return gone;
}

const struct resource *customs_at(const struct snapshot *world, uint64_t index)
{
    EACH_CUSTOM (world, slot)
        if (slot->res->index == index)
            return slot->res;
    return NULL;
}
