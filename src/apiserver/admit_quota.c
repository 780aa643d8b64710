/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ResourceQuota: what would be used after the request must fit into every quota of the namespace. The new
 * usage goes into the quota's status in the same transaction that stores the object: a burst cannot overrun
 * it, and what is not stored in the end is not charged. One request at a time does so in a namespace, so
 * nobody loses the race for the quota's revision.
 */
#include "apiserver/admit.h"
#include "apiserver/quota_lock.h"
#include "apiserver/state.h"
#include "apiserver/write.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/quota.h"

/* ---- texts ------------------------------------------------------------------------------------------- */

static struct str *sorted_names(struct arena *a, const struct val *map, size_t *ret_n)
{
    size_t n = 0;
    struct str *names = ARENA_ARRAY(a, struct str, val_len(map));
    VAL_EACH_ENTRY (map, k, v)
        if (v)
            names[n++] = val_str(k);
    str_sort(names, n);
    *ret_n = n;
    return names;
}

static struct str text(struct arena *a, struct quantity q)
{
    char t[QUANTITY_TEXT_MAX];
    return arena_str(a, str_of(quantity_text(q, t)));
}

/* ---- what must be said ------------------------------------------------------------------------------- */

/* It was a mistake (upstream says so) and cannot be taken back: compute resources under quota must be said
 * for every container, unless they are for the pod as a whole. */
static const char *const must_be_said[] = {"cpu",    "limits.cpu",   "limits.memory",
                                           "memory", "requests.cpu", "requests.memory"};

static bool says(const struct val *container, struct str name)
{
    const struct val *given = val_get(container, N_resources);
    struct str part, rest = name;
    name_id list = N_requests;
    if (str_cut(name, '.', &part, &rest))
        list = str_is(part, "limits") ? N_limits : N_requests;
    else
        rest = name;
    return val_key(val_get(given, list), rest) != NULL;
}

static struct str silent_containers(struct admission *a, struct str name)
{
    static const name_id lists[] = {N_containers, N_initContainers};
    const struct val *spec = val_get(a->v, N_spec);
    size_t n = 0, most = val_len(val_get(spec, N_containers)) + val_len(val_get(spec, N_initContainers));
    struct str *names = ARENA_ARRAY(a->r->arena, struct str, most);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH (val_get(spec, lists[i]), c)
            if (!says(c, name))
                names[n++] = val_getstr(c, N_name);
    str_sort(names, n);
    return arena_join(a->r->arena, names, n, STR(","));
}

static int check_said(struct admission *a, const struct object *quota)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (a->res->index != RES_PODS || pod_level_resources(val_get(a->v, N_spec)))
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(must_be_said); i++) {
        struct str name = str_of(must_be_said[i]);
        if (!val_key(val_at(quota->val, N_status, N_hard), name))
            continue;
        struct str who = silent_containers(a, name);
        if (who.n)
            buf_printf(&b, "%s%s for: %.*s", b.n ? "; " : "", must_be_said[i], STR_ARG(who));
    }
    if (!b.n)
        return 0;
    return admit_forbid(a, "failed quota: %.*s: must specify %.*s", STR_ARG(quota->name),
                        STR_ARG(buf_str(&b)));
}

/* ---- does it fit ------------------------------------------------------------------------------------- */

/* A quota that nobody has counted yet lets nothing in. */
static int check_known(struct admission *a, const struct object *quota)
{
    const struct val *used = val_at(quota->val, N_status, N_used);
    CLEANUP_BUF struct buf b = BUF_INIT;
    size_t n;
    bool unknown = false;
    struct str *names = sorted_names(a->r->arena, val_at(quota->val, N_status, N_hard), &n);
    for (size_t i = 0; i < n; i++)
        if (quota_counts(a->res, names[i])) {
            unknown |= !val_key(used, names[i]);
            buf_printf(&b, "%s%.*s", b.n ? "," : "", STR_ARG(names[i]));
        }
    if (!unknown)
        return 0;
    return admit_forbid(a, "status unknown for quota: %.*s, resources: %.*s", STR_ARG(quota->name),
                        STR_ARG(buf_str(&b)));
}

/* What the request adds; what it frees is for the quota controller to find. */
static struct quantity added(const struct amounts *now, const struct amounts *before, struct str name)
{
    const struct quantity *a = amounts_find(now, name), *b = before ? amounts_find(before, name) : NULL;
    struct quantity none = {0}, delta = quantity_sub(a ? *a : none, b ? *b : none);
    return delta.nano > 0 ? delta : none;
}

struct excess {
    struct buf asked, taken, limited;
};

static void note_excess(struct arena *a, struct excess *x, struct str name, struct quantity delta,
                        struct quantity had, struct quantity most)
{
    const char *comma = x->asked.n ? "," : "";
    buf_printf(&x->asked, "%s%.*s=%.*s", comma, STR_ARG(name), STR_ARG(text(a, delta)));
    buf_printf(&x->taken, "%s%.*s=%.*s", comma, STR_ARG(name), STR_ARG(text(a, had)));
    buf_printf(&x->limited, "%s%.*s=%.*s", comma, STR_ARG(name), STR_ARG(text(a, most)));
}

static int refuse(struct admission *a, const struct object *quota, struct excess *x)
{
    int e = 0;
    if (x->asked.n)
        e = admit_forbid(a, "exceeded quota: %.*s, requested: %.*s, used: %.*s, limited: %.*s",
                         STR_ARG(quota->name), STR_ARG(buf_str(&x->asked)), STR_ARG(buf_str(&x->taken)),
                         STR_ARG(buf_str(&x->limited)));
    buf_done(&x->asked);
    buf_done(&x->taken);
    buf_done(&x->limited);
    return e;
}

/* The quota with the new usage in *ret; NULL when nothing of it changes. */
static int fit(struct admission *a, const struct object *quota, const struct amounts *use,
               const struct amounts *before, struct val **ret)
{
    struct arena *mem = a->r->arena;
    const struct val *hard = val_at(quota->val, N_status, N_hard),
                     *used = val_at(quota->val, N_status, N_used);
    bool bookkeeping = a->sub && strcmp(a->sub, "status") == 0; /* what has happened already is not refused */
    struct excess x = {.asked = BUF_INIT};
    struct val *v = NULL;
    size_t n;
    struct str *names = sorted_names(mem, hard, &n);
    for (size_t i = 0; i < n; i++) {
        struct quantity delta = added(use, before, names[i]),
                        had = quantity_or_zero(val_str(val_key(used, names[i]))),
                        most = quantity_or_zero(val_str(val_key(hard, names[i]))),
                        now = quantity_add(had, delta);
        if (quantity_is_zero(delta))
            continue;
        if (quantity_cmp(now, most) > 0 && !bookkeeping)
            note_excess(mem, &x, names[i], delta, had, most);
        if (!v)
            v = val_copy(mem, quota->val);
        val_put_str(mem, val_sub_map(mem, val_sub_obj(mem, v, N_status), N_used), names[i], text(mem, now));
    }
    *ret = v;
    return refuse(a, quota, &x);
}

/* ---- all quotas of the namespace --------------------------------------------------------------------- */

static bool concerns(const struct object *quota, const struct resource *res, const struct val *v)
{
    bool any = false;
    VAL_EACH_ENTRY (val_at(quota->val, N_status, N_hard), k, limit)
        any |= limit && quota_counts(res, val_str(k));
    return any && quota_takes(quota->val, res, v);
}

static int charge(struct admission *a, const struct object *quota, const struct amounts *use,
                  const struct amounts *before)
{
    struct val *v = NULL;
    bool same = before && quota_takes(quota->val, a->res, a->old);
    int e = check_said(a, quota);
    if (!e)
        e = check_known(a, quota);
    if (!e)
        e = fit(a, quota, use, same ? before : NULL, &v);
    if (!e && v && !a->dry_run)
        storage_add_put(a->r, state_kind(a->r->server, RES_RESOURCEQUOTAS), quota, v);
    return e;
}

static bool any_quota(const struct admission *a)
{
    TREE_EACH (state_kind(a->r->server, RES_RESOURCEQUOTAS)->root, a->ns, it)
        return it.object != NULL;
    return false;
}

static int charge_all(struct admission *a)
{
    struct amounts use, before;
    struct tree *quotas = tree_ref(state_kind(a->r->server, RES_RESOURCEQUOTAS)->root);
    int e = 0;
    quota_usage(a->r->arena, a->res, a->v, a->r->now, &use);
    if (a->old)
        quota_usage(a->r->arena, a->res, a->old, a->r->now, &before);
    request_hold_tree(a->r, quotas);
    for (struct tree_iter it = tree_begin_ns(quotas, a->ns); !e && tree_in_ns(&it, a->ns); tree_next(&it))
        if (concerns(it.object, a->res, a->v))
            e = charge(a, it.object, &use, a->old ? &before : NULL);
    if (e)
        storage_drop_ops(a->r);
    return e;
}

int admit_resource_quota(struct admission *a)
{
    bool quota = a->res->index == RES_RESOURCEQUOTAS;
    bool asked = a->op == ADMIT_CREATE ? !a->sub : quota_watches_update(a->res, a->sub, a->old, a->v);
    if (quota_ignores(a->res) || !a->ns.n || (!asked && !quota) || (!quota && !any_quota(a)))
        return 0;
    int e = a->dry_run ? 0 : quota_lock_take(a->r, a->ns);
    if (e < 0 || !asked)
        return e;
    return charge_all(a);
}
