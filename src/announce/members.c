/* SPDX-License-Identifier: Apache-2.0 */
#include "announce/members.h"

#include "client/leader.h"
#include "names.h"
#include "type/meta.h"

#include <limits.h>

#define NETWORKS "cube.local/networks"

struct member_state {
    struct arena arena; /* of the networks */
    struct str text;    /* of the annotation */
    struct prefixes networks;
    struct str renewed;
    int64_t life_ns;
    struct mono expires;
    bool holds;   /* it has not given it up */
    bool present;
};

static void state_free(void *v)
{
    struct member_state *s = v;
    arena_done(&s->arena);
    free((char *)(uintptr_t)s->renewed.p);
    free(s);
}

void members_done(struct members *m)
{
    map_done_with(&m->all, state_free);
}

static bool take_networks(struct member_state *s, struct str text)
{
    struct arena a = ARENA_INIT;
    struct prefixes networks = {0};
    if (str_eq(text, s->text))
        return false;
    struct str copy = arena_str(&a, text);
    if (prefixes_parse(&a, arena_cstr(&a, copy), &networks, NULL) < 0)
        networks = (struct prefixes){0};
    arena_done(&s->arena);
    s->arena = a;
    s->text = copy;
    s->networks = networks;
    return true;
}

static bool take_life(struct member_state *s, const struct val *lease, struct mono now)
{
    const struct val *spec = val_get(lease, N_spec);
    struct str renewed = val_getstr(spec, N_renewTime);
    bool was = s->present;
    if (str_eq(renewed, s->renewed))
        return false;
    free((char *)(uintptr_t)s->renewed.p);
    s->renewed = str_n(str_dup(renewed), renewed.n);
    s->life_ns = SECONDS(MIN(MAX(val_int(val_get(spec, N_leaseDurationSeconds), 0), (int64_t)1), (int64_t)3600));
    s->holds = val_getstr(spec, N_holderIdentity).n > 0;
    s->present = s->holds;
    s->expires = mono_add(now, s->life_ns);
    return was != s->present;
}

static void revive(struct members *m, struct mono now)
{
    MAP_EACH (&m->all, e) {
        struct member_state *s = e->value;
        s->present = s->holds;
        s->expires = mono_add(now, s->life_ns);
    }
}

bool members_self_present(const struct members *m)
{
    const struct member_state *s = map_get(&m->all, m->self);
    return s && s->present;
}

bool members_change(struct members *m, const struct object *old, const struct object *new_, struct mono now)
{
    struct str name = new_ ? new_->name : old->name;
    struct member_state *s = map_get(&m->all, name);
    if (!new_) {
        bool was = s && s->present;
        if (s)
            state_free(map_del(&m->all, name));
        return was;
    }
    if (!s) {
        s = NEW(struct member_state);
        map_put(&m->all, name, s);
    }
    bool networks = take_networks(s, obj_annotation(new_->val, STR(NETWORKS))), life = take_life(s, new_->val, now);
    if (life && s->present && str_eq(name, m->self))
        revive(m, now);
    return life || (networks && s->present);
}

bool members_expire(struct members *m, struct mono now, struct mono *ret_next)
{
    bool any = false;
    *ret_next = MONO_NEVER;
    MAP_EACH (&m->all, e) {
        struct member_state *s = e->value;
        if (s->present && s->expires.ns <= now.ns) {
            s->present = false;
            any = true;
        }
        if (s->present)
            ret_next->ns = MIN(ret_next->ns, s->expires.ns);
    }
    return any;
}

struct member *members_list(const struct members *m, bool silent, struct arena *a, size_t *ret_n)
{
    struct member *list = ARENA_ARRAY(a, struct member, m->all.n + 1);
    *ret_n = 0;
    MAP_EACH (&m->all, e) {
        const struct member_state *s = e->value;
        if (s->present || (silent && s->holds))
            list[(*ret_n)++] = (struct member){e->key, s->networks};
    }
    return list;
}

/* ---- one's own ------------------------------------------------------------------------------------------------- */

static void set_owner(struct arena *a, struct val *meta, const struct val *node)
{
    struct val ref = obj_owner_ref(a, "v1", "Node", node);
    struct val *list = val_new(a, VAL_LIST);
    val_del(&ref, N_controller);
    val_del(&ref, N_blockOwnerDeletion);
    val_add(a, list, ref);
    val_set_ref(a, meta, N_ownerReferences, list);
}

struct val *member_lease(struct arena *a, const struct val *lease, const struct val *node, struct str name,
                         const struct prefixes *networks, int64_t duration_ns, struct wall now)
{
    struct leader_config c = {.ns = ANNOUNCE_NAMESPACE, .name = arena_cstr(a, name), .lease_ns = duration_ns};
    struct val *v = leader_claim(a, lease ? LEADER_RENEW : LEADER_CREATE, lease, &c, name, now);
    struct val *meta = val_sub_obj(a, v, N_metadata);
    struct buf b CLEANUP_BUF = BUF_INIT;
    char text[IP_TEXT_MAX];
    for (size_t i = 0; i < networks->n; i++)
        buf_printf(&b, "%s%s", i ? "," : "", prefix_format(&networks->list[i], text));
    val_put_str(a, val_sub_map(a, meta, N_annotations), STR(NETWORKS), arena_str(a, buf_str(&b)));
    if (node)
        set_owner(a, meta, node);
    return v;
}
