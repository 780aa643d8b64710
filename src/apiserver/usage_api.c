/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.k8s.io: NodeMetrics and PodMetrics, of the nodes and pods that a list of these would show. */
#include "apiserver/select.h"
#include "apiserver/state.h"
#include "apiserver/usage.h"
#include "apiserver/verbs.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/quantity.h"

/* Who installs metrics-server gives v1beta1.metrics.k8s.io a service: requests then never come here (aggregate.h). */

/* ---- values ------------------------------------------------------------------------------------------ */

static void set_usage(struct arena *a, struct val *to, const struct usage *u)
{
    char text[QUANTITY_TEXT_MAX];
    struct val *map = val_sub_map(a, to, N_usage);
    struct quantity cpu = {.nano = u->cpu_nano, .format = QUANTITY_DECIMAL_SI};
    val_put_str(a, map, STR("cpu"), str_of(quantity_text(cpu, text)));
    val_put_str(a, map, STR("memory"),
                str_of(quantity_text(quantity_of(u->memory, QUANTITY_BINARY_SI), text)));
}

static struct val *start(struct request *r, const struct object *of)
{
    struct val *v = val_new(r->arena, VAL_OBJ), *meta = val_sub_obj(r->arena, v, N_metadata);
    val_set_str(r->arena, meta, N_name, of->name);
    if (of->namespace_.n)
        val_set_str(r->arena, meta, N_namespace, of->namespace_);
    val_set_time(r->arena, meta, N_creationTimestamp, r->now);
    if (obj_labels(of->val))
        val_set_ref(r->arena, meta, N_labels, obj_labels(of->val));
    return v;
}

static void set_window(struct arena *a, struct val *v, struct wall at, int64_t window)
{
    char text[TIME_TEXT_MAX];
    window -= window % NSEC_PER_MSEC;
    val_set_time(a, v, N_timestamp, at);
    val_set_str(a, v, N_window, str_of(duration_format(window, text)));
}

static struct object *finish(struct request *r, struct val *v)
{
    struct object *o = object_new(r->res, v);
    request_hold_taken(r, o);
    return o;
}

typedef const struct object *measure_fn(struct request *r, const struct object *of);

static const struct object *measure_node(struct request *r, const struct object *node)
{
    struct usage u;
    if (!usage_of(usage_find(r->server, node->name), STR(""), &u))
        return NULL;
    struct val *v = start(r, node);
    set_window(r->arena, v, u.at, u.window);
    set_usage(r->arena, v, &u);
    return finish(r, v);
}

struct pod_usage {
    struct val *v;
    struct wall at;
    int64_t window;
    bool incomplete;
};

static void add_containers(struct request *r, const struct object *pod, name_id list, struct pod_usage *p)
{
    struct arena *a = r->arena;
    const struct usage_node *node = usage_find(r->server, val_str(val_at(pod->val, N_spec, N_nodeName)));
    VAL_EACH (val_at(pod->val, N_spec, list), c) {
        struct usage u;
        struct str key = arena_printf(a, "%.*s/%.*s/%.*s", STR_ARG(pod->namespace_), STR_ARG(pod->name),
                                      STR_ARG(val_getstr(c, N_name)));
        if (!usage_of(node, key, &u)) {
            p->incomplete |= usage_known(node, key);
            continue;
        }
        struct val *one = val_add_obj(a, val_sub_list(a, p->v, N_containers));
        val_set_str(a, one, N_name, val_getstr(c, N_name));
        set_usage(a, one, &u);
        if (!p->at.ns || u.at.ns < p->at.ns) { /* what is said of the pod holds for its oldest number */
            p->at = u.at;
            p->window = u.window;
        }
    }
}

/* A pod counts only when all of its running containers do: a part of it would look like a pod that needs
 * less. */
static const struct object *measure_pod(struct request *r, const struct object *pod)
{
    struct pod_usage p = {.v = NULL};
    if (!val_str(val_at(pod->val, N_spec, N_nodeName)).n)
        return NULL;
    p.v = start(r, pod);
    add_containers(r, pod, N_initContainers, &p);
    add_containers(r, pod, N_containers, &p);
    if (!p.at.ns || p.incomplete)
        return NULL;
    set_window(r->arena, p.v, p.at, p.window);
    return finish(r, p.v);
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static int not_found(struct request *r, const char *plural)
{
    struct resource *res = ARENA_NEW(r->arena, struct resource);
    *res = *r->res;
    res->name = plural;
    struct str name = r->ns.n ? obj_key(r->arena, r->ns, r->info.name) : r->info.name;
    return status_not_found(&r->status, res, name);
}

static int get_one(struct request *r, struct cache_kind *kind, measure_fn *measure, const char *plural)
{
    const struct object *of = cache_get(kind, r->ns, r->info.name), *o = of ? measure(r, of) : NULL;
    if (!o)
        return not_found(r, plural);
    answer_object(r, 200, o);
    return 0;
}

static int list_all(struct request *r, struct cache_kind *kind, measure_fn *measure)
{
    struct selection s;
    int e = selection_parse(r, &s);
    if (e)
        return e;
    size_t n = 0, cap = 0;
    const struct object **items = NULL;
    TREE_EACH (kind->root, s.ns, it) {
        const struct object *o = selection_matches(&s, it.object) ? measure(r, it.object) : NULL;
        if (!o || (s.name.n && !str_eq(s.name, it.object->name)))
            continue;
        if (n == cap) {
            const struct object **more =
                ARENA_ARRAY(r->arena, const struct object *, cap = cap ? cap * 2 : 16);
            if (n)
                memcpy(more, items, n * sizeof(*more));
            items = more;
        }
        items[n++] = o;
    }
    r->answer = (struct answer){.kind = ANSWER_LIST, .code = 200, .items = items, .n_items = n};
    return 0;
}

static int serve(struct request *r, uint16_t of, measure_fn *measure, const char *plural)
{
    struct cache_kind *kind = state_kind(r->server, of);
    int e = cache_fresh(r->server->cache);
    if (e == 0)
        e = usage_refresh(r->server);
    if (e < 0)
        return e;
    return str_is(r->info.verb, "get") ? get_one(r, kind, measure, plural) : list_all(r, kind, measure);
}

int usage_nodes(struct request *r)
{
    return serve(r, RES_NODES, measure_node, "nodemetrics");
}

int usage_pods(struct request *r)
{
    return serve(r, RES_PODS, measure_pod, "podmetrics");
}
