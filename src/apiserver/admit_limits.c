/* SPDX-License-Identifier: Apache-2.0 */
/* LimitRanger: default requests and limits of containers, and bounds for containers, pods and claims. */
#include "apiserver/admit.h"
#include "type/amounts.h"
#include "apiserver/state.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

/* ---- defaults ---------------------------------------------------------------------------------------- */

/* Puts in what is missing; the names of it, sorted, go into `noted`. */
static void set_missing(struct arena *a, struct val *container, name_id which, const struct val *defaults, struct buf *noted)
{
    size_t n = 0;
    struct str *names = ARENA_ARRAY(a, struct str, val_len(defaults));
    VAL_EACH_ENTRY(defaults, k, v) {
        if (!v || val_key(val_at(container, N_resources, which), val_str(k)))
            continue;
        val_put_str(a, val_sub_map(a, val_sub_obj(a, container, N_resources), which), val_str(k), val_str(v));
        names[n++] = val_str(k);
    }
    if (n) {
        str_sort(names, n);
        buf_putstr(noted, arena_join(a, names, n, STR(", ")));
    }
}

static void default_container(struct arena *a, struct val *c, const struct val *limit, const char *what,
                              struct buf *all)
{
    CLEANUP_BUF struct buf requests = BUF_INIT;
    CLEANUP_BUF struct buf limits = BUF_INIT;
    struct str name = val_getstr(c, N_name);
    set_missing(a, c, N_limits, val_get(limit, N_default), &limits);
    set_missing(a, c, N_requests, val_get(limit, N_defaultRequest), &requests);
    if (requests.n)
        buf_printf(all, "%s%.*s request for %s %.*s", all->n ? "; " : "", STR_ARG(buf_str(&requests)), what,
                   STR_ARG(name));
    if (limits.n)
        buf_printf(all, "%s%.*s limit for %s %.*s", all->n ? "; " : "", STR_ARG(buf_str(&limits)), what,
                   STR_ARG(name));
}

/* What one LimitRange adds; the annotation tells of the last one that added anything, as upstream's does. */
static void default_pod(struct admission *a, const struct val *range)
{
    static const struct {
        name_id list;
        const char *what;
    } lists[] = {{N_containers, "container"}, {N_initContainers, "init container"}};
    CLEANUP_BUF struct buf all = BUF_INIT;
    struct arena *mem = a->r->arena;
    struct val *spec = val_sub_obj(mem, a->v, N_spec);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        struct val *list = val_mut(spec, lists[i].list);
        VAL_EACH(val_at(range, N_spec, N_limits), limit)
            for (size_t j = 0; str_is(val_getstr(limit, N_type), "Container") && j < val_len(list); j++)
                default_container(mem, &list->items[j], limit, lists[i].what, &all);
    }
    if (all.n)
        val_put_str(mem, val_sub_map(mem, val_sub_obj(mem, a->v, N_metadata), N_annotations),
                    STR("kubernetes.io/limit-ranger"),
                    arena_printf(mem, "LimitRanger plugin set: %.*s", STR_ARG(buf_str(&all))));
}

static bool new_or_resized(const struct admission *a)
{
    if (a->old && obj_deleting(a->old))
        return false;
    return (admit_is(a, RES_PODS, NULL) && a->op == ADMIT_CREATE) ||
           (admit_is(a, RES_PODS, "resize") && a->op == ADMIT_UPDATE);
}

int admit_limit_ranger(struct admission *a)
{
    if (!new_or_resized(a))
        return 0;
    TREE_EACH(state_kind(a->r->server, RES_LIMITRANGES)->root, a->ns, it)
        default_pod(a, it.object->val);
    return 0;
}

/* ---- bounds ------------------------------------------------------------------------------------------ */

/* Each sentence once, in the order of finding. */
struct faults {
    struct arena *arena;
    struct str *items;
    size_t n;
};

static void fault(struct faults *f, struct str text)
{
    struct str *more;
    for (size_t i = 0; i < f->n; i++)
        if (str_eq(f->items[i], text))
            return;
    more = ARENA_ARRAY(f->arena, struct str, f->n + 1);
    if (f->n)
        memcpy(more, f->items, f->n * sizeof(*more));
    more[f->n++] = text;
    f->items = more;
}

static struct str given(struct arena *a, const struct quantity *q)
{
    char text[QUANTITY_TEXT_MAX];
    return q ? arena_str(a, str_of(quantity_text(*q, text))) : STR("");
}

static void check_min(struct arena *a, struct faults *f, struct str type, const struct val *list,
                      const struct amounts *requests, const struct amounts *limits)
{
    VAL_EACH_ENTRY(list, k, v) {
        struct quantity least = quantity_or_zero(val_str(v));
        const struct quantity *q = amounts_find(requests, val_str(k)), *l = amounts_find(limits, val_str(k));
        if (!q)
            fault(f, arena_printf(a, "minimum %.*s usage per %.*s is %.*s.  No request is specified",
                                  STR_ARG(val_str(k)), STR_ARG(type), STR_ARG(val_str(v))));
        else if (quantity_cmp(*q, least) < 0)
            fault(f, arena_printf(a, "minimum %.*s usage per %.*s is %.*s, but request is %.*s",
                                  STR_ARG(val_str(k)), STR_ARG(type), STR_ARG(val_str(v)),
                                  STR_ARG(given(a, q))));
        else if (l && quantity_cmp(*l, least) < 0)
            fault(f, arena_printf(a, "minimum %.*s usage per %.*s is %.*s, but limit is %.*s",
                                  STR_ARG(val_str(k)), STR_ARG(type), STR_ARG(val_str(v)),
                                  STR_ARG(given(a, l))));
    }
}

/* Containers and pods must name a limit where there is a maximum, claims (which have none) a request. */
static void check_max(struct arena *a, struct faults *f, struct str type, const struct val *list,
                      const struct amounts *requests, const struct amounts *limits, bool needs_limit)
{
    VAL_EACH_ENTRY(list, k, v) {
        struct quantity most = quantity_or_zero(val_str(v));
        const struct quantity *q = amounts_find(requests, val_str(k)), *l = amounts_find(limits, val_str(k));
        if (needs_limit ? !l : !q)
            fault(f, arena_printf(a, "maximum %.*s usage per %.*s is %.*s.  No %s is specified", STR_ARG(val_str(k)),
                                  STR_ARG(type), STR_ARG(val_str(v)), needs_limit ? "limit" : "request"));
        else if (l && quantity_cmp(*l, most) > 0)
            fault(f, arena_printf(a, "maximum %.*s usage per %.*s is %.*s, but limit is %.*s",
                                  STR_ARG(val_str(k)), STR_ARG(type), STR_ARG(val_str(v)),
                                  STR_ARG(given(a, l))));
        else if (q && quantity_cmp(*q, most) > 0)
            fault(f, arena_printf(a, "maximum %.*s usage per %.*s is %.*s, but request is %.*s",
                                  STR_ARG(val_str(k)), STR_ARG(type), STR_ARG(val_str(v)),
                                  STR_ARG(given(a, q))));
    }
}

static void check_ratio(struct arena *a, struct faults *f, struct str type, const struct val *list,
                        const struct amounts *requests, const struct amounts *limits)
{
    VAL_EACH_ENTRY(list, k, v) {
        const struct quantity *q = amounts_find(requests, val_str(k)), *l = amounts_find(limits, val_str(k));
        double most = quantity_float(quantity_or_zero(val_str(v)));
        if (!q || quantity_is_zero(*q))
            fault(f, arena_printf(
                         a,
                         "%.*s max limit to request ratio per %.*s is %.*s, but no request is specified or "
                         "request is 0",
                         STR_ARG(val_str(k)), STR_ARG(type), STR_ARG(val_str(v))));
        else if (!l || quantity_is_zero(*l))
            fault(f,
                  arena_printf(
                      a,
                      "%.*s max limit to request ratio per %.*s is %.*s, but no limit is specified or limit "
                      "is 0",
                      STR_ARG(val_str(k)), STR_ARG(type), STR_ARG(val_str(v))));
        else if (quantity_float(*l) / quantity_float(*q) > most)
            fault(f, arena_printf(
                         a, "%.*s max limit to request ratio per %.*s is %.*s, but provided ratio is %f",
                         STR_ARG(val_str(k)), STR_ARG(type), STR_ARG(val_str(v)),
                         quantity_float(*l) / quantity_float(*q)));
    }
}

static void check_amounts(struct arena *a, struct faults *f, const struct val *limit,
                          const struct amounts *requests, const struct amounts *limits, bool needs_limit)
{
    struct str type = val_getstr(limit, N_type);
    check_min(a, f, type, val_get(limit, N_min), requests, limits);
    check_max(a, f, type, val_get(limit, N_max), requests, limits, needs_limit);
    check_ratio(a, f, type, val_get(limit, N_maxLimitRequestRatio), requests, limits);
}

static void check_container(struct arena *a, struct faults *f, const struct val *limit, const struct val *c)
{
    struct amounts requests = {.n = 0}, limits = {.n = 0};
    amounts_add_list(a, &requests, val_at(c, N_resources, N_requests));
    amounts_add_list(a, &limits, val_at(c, N_resources, N_limits));
    check_amounts(a, f, limit, &requests, &limits, true);
}

static void check_pod(struct arena *a, struct faults *f, const struct val *limit, const struct val *spec)
{
    struct amounts requests, limits;
    if (str_is(val_getstr(limit, N_type), "Container")) {
        VAL_EACH(val_get(spec, N_containers), c)
            check_container(a, f, limit, c);
        VAL_EACH(val_get(spec, N_initContainers), c)
            check_container(a, f, limit, c);
    } else if (str_is(val_getstr(limit, N_type), "Pod")) {
        pod_amounts(a, spec, N_requests, &requests);
        pod_amounts(a, spec, N_limits, &limits);
        check_amounts(a, f, limit, &requests, &limits, true);
    }
}

static void check_claim(struct arena *a, struct faults *f, const struct val *limit, const struct val *claim)
{
    struct amounts requests = {.n = 0}, limits = {.n = 0};
    if (!str_is(val_getstr(limit, N_type), "PersistentVolumeClaim"))
        return;
    amounts_add_list(a, &requests, val_at(claim, N_spec, N_resources, N_requests));
    check_min(a, f, STR("PersistentVolumeClaim"), val_get(limit, N_min), &requests, &limits);
    check_max(a, f, STR("PersistentVolumeClaim"), val_get(limit, N_max), &requests, &limits, false);
}

/* Of one LimitRange; the first that is not kept refuses. */
static int check_range(struct admission *a, const struct val *range, bool claim)
{
    struct faults f = {.arena = a->r->arena};
    VAL_EACH(val_at(range, N_spec, N_limits), limit) {
        if (claim)
            check_claim(a->r->arena, &f, limit, a->v);
        else
            check_pod(a->r->arena, &f, limit, val_get(a->v, N_spec));
    }
    if (!f.n)
        return 0;
    struct str all = arena_join(a->r->arena, f.items, f.n, STR(", "));
    return admit_forbid(a, "%s%.*s%s", f.n > 1 ? "[" : "", STR_ARG(all), f.n > 1 ? "]" : "");
}

int admit_limit_ranger_check(struct admission *a)
{
    bool claim = admit_is(a, RES_PERSISTENTVOLUMECLAIMS, NULL) && !(a->old && obj_deleting(a->old));
    int e = 0;
    if (!claim && !new_or_resized(a))
        return 0;
    TREE_EACH(state_kind(a->r->server, RES_LIMITRANGES)->root, a->ns, it)
        if (!e)
            e = check_range(a, it.object->val, claim);
    return e;
}
