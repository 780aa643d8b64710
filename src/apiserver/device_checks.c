/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/device_checks.h"

#include "apiserver/auth.h"
#include "apiserver/state.h"
#include "cel/dra.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/resourceclaim.h"
#include "type/text.h"

/* ---- admin access (KEP-5018) --------------------------------------------------------------------------------- */

static bool namespace_allows(struct request *r, struct str ns)
{
    const struct object *o = cache_get(state_kind(r->server, RES_NAMESPACES), STR_NULL, ns);
    return o && str_is(obj_label(o->val, STR(ADMIN_ACCESS_LABEL)), "true");
}

/* The first of the list that asks for it; -1: none. */
static int asks_for_admin(const struct val *list, name_id inner)
{
    int i = 0;
    VAL_EACH (list, x) {
        if (val_bool(val_get(inner ? val_get(x, inner) : x, N_adminAccess), false))
            return i;
        i++;
    }
    return -1;
}

static void check_admin(struct request *r, struct str ns, const struct val *list, name_id inner, const char *where)
{
    int i = asks_for_admin(list, inner);
    if (i >= 0 && !namespace_allows(r, ns))
        cause_forbidden(&r->status, arena_printf(r->arena, "%s[%d].adminAccess", where, i),
                        "admin access to devices requires the `" ADMIN_ACCESS_LABEL
                        ": true` label on the containing namespace");
}

/* ---- who may write what of a status ---------------------------------------------------------------------------- */

static struct str refusal(struct request *r, const struct attributes *at, const struct err *e)
{
    struct str where = at->ns.n ? arena_printf(r->arena, "in the namespace \"" STR_FMT "\"", STR_ARG(at->ns))
                                : STR("at the cluster scope");
    struct str name = at->name.n ? arena_printf(r->arena, " \"" STR_FMT "\"", STR_ARG(at->name)) : STR("");
    return arena_printf(r->arena,
                        "resourceclaims.resource.k8s.io" STR_FMT " is forbidden: User \"" STR_FMT "\" cannot " STR_FMT
                        " resource \"resourceclaims/" STR_FMT "\" in API group \"resource.k8s.io\" " STR_FMT "%s%s",
                        STR_ARG(name), STR_ARG(r->user.name), STR_ARG(at->verb), STR_ARG(at->subresource), STR_ARG(where),
                        e->text[0] ? ": " : "", e->text);
}

static struct attributes asking(struct request *r, struct str verb, const char *sub, struct str ns, struct str name)
{
    return (struct attributes){.user = &r->user, .verb = verb, .resource_request = true, .ns = ns,
                               .group = STR("resource.k8s.io"), .version = STR("v1"), .resource = STR("resourceclaims"),
                               .subresource = str_of(sub), .name = name};
}

static void check_binding(struct request *r, const struct val *now, const struct val *was)
{
    struct err e = {{0}};
    if (val_equal(val_get(now, N_allocation), val_get(was, N_allocation)) &&
        val_equal(val_get(now, N_reservedFor), val_get(was, N_reservedFor)))
        return;
    struct attributes at = asking(r, r->info.verb, "binding", STR_NULL, STR_NULL);
    if (authorize(r, &at, &e) != DECISION_ALLOW)
        cause_forbidden(&r->status, STR("status.allocation"),
                        arena_printf(r->arena,
                                     "changing status.allocation or status.reservedFor requires "
                                     "resource=\"resourceclaims/binding\", verb=\"" STR_FMT "\" permission: " STR_FMT,
                                     STR_ARG(r->info.verb), STR_ARG(refusal(r, &at, &e)))
                            .p);
}

/* The one node where the devices can be used, when it is one. */
static struct str node_of_allocation(const struct val *allocation)
{
    const struct val *terms = val_at(allocation, N_nodeSelector, N_nodeSelectorTerms), *term = val_item(terms, 0);
    const struct val *f = val_item(val_get(term, N_matchFields), 0);
    bool one = val_len(terms) == 1 && !val_len(val_get(term, N_matchExpressions)) &&
               val_len(val_get(term, N_matchFields)) == 1 && str_is(val_getstr(f, N_key), "metadata.name") &&
               str_is(val_getstr(f, N_operator), "In") && val_len(val_get(f, N_values)) == 1;
    return one ? val_str(val_item(val_get(f, N_values), 0)) : STR_NULL;
}

/* A driver's pod on that node, by its bound token. */
static bool is_account_on(const struct user *u, struct str node)
{
    struct str ns, name;
    if (!node.n || !is_service_account(u->name, &ns, &name))
        return false;
    for (size_t i = 0; i < u->n_extra; i++)
        if (str_is(u->extra[i].key, "authentication.kubernetes.io/node-name"))
            return u->extra[i].n == 1 && str_eq(u->extra[i].values[0], node);
    return false;
}

static bool has_same(const struct val *list, const struct val *device)
{
    VAL_EACH (list, d)
        if (same_allocated_device(d, device))
            return val_equal(d, device);
    return false;
}

/* Drivers whose entries were added, changed or taken away. */
static void changed_drivers(const struct val *now, const struct val *was, struct map *ret)
{
    VAL_EACH (now, d)
        if (!has_same(was, d))
            map_put(ret, val_getstr(d, N_driver), ret);
    VAL_EACH (was, d)
        if (!has_same(now, d))
            map_put(ret, val_getstr(d, N_driver), ret);
}

static void check_driver(struct request *r, struct str ns, struct str driver, bool on_node)
{
    struct str verbs[2] = {arena_printf(r->arena, "associated-node:" STR_FMT, STR_ARG(r->info.verb)),
                           arena_printf(r->arena, "arbitrary-node:" STR_FMT, STR_ARG(r->info.verb))};
    struct str first = STR_NULL;
    for (size_t i = on_node ? 0 : 1; i < 2; i++) {
        struct err e = {{0}};
        struct attributes at = asking(r, verbs[i], "driver", ns, driver);
        if (authorize(r, &at, &e) == DECISION_ALLOW)
            return;
        first = first.p ? first : refusal(r, &at, &e);
    }
    cause_forbidden(&r->status, STR("status.devices"),
                    arena_printf(r->arena,
                                 "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[" STR_FMT
                                 "%s" STR_FMT "]\" permission: " STR_FMT,
                                 STR_ARG(on_node ? verbs[0] : STR("")), on_node ? " " : "", STR_ARG(verbs[1]), STR_ARG(first))
                        .p);
}

static void check_claim_status(struct request *r, const struct val *v, const struct val *old)
{
    const struct val *now = val_get(v, N_status), *was = val_get(old, N_status);
    const struct val *allocation = val_get(now, N_allocation);
    struct map drivers = MAP_INIT;
    if (asks_for_admin(val_at(was, N_allocation, N_devices, N_results), 0) < 0)
        check_admin(r, obj_namespace(v), val_at(allocation, N_devices, N_results), 0, "status.allocation.devices.results");
    if (r->trusted)
        return;
    check_binding(r, now, was);
    if (allocation)
        changed_drivers(val_get(now, N_devices), val_get(was, N_devices), &drivers);
    MAP_EACH (&drivers, e)
        check_driver(r, obj_namespace(v), e->key, is_account_on(&r->user, node_of_allocation(allocation)));
    map_done(&drivers);
}

/* ---- selectors ------------------------------------------------------------------------------------------------- */

static void check_selectors(struct request *r, const struct val *list, const char *where)
{
    size_t i = 0;
    VAL_EACH (list, s) {
        const struct val *expression = val_at(s, N_cel, N_expression);
        struct str path = arena_printf(r->arena, "%s.selectors[%zu].cel.expression", where, i++);
        struct dra_selector *compiled = NULL;
        struct err e = {{0}};
        if (!val_get(s, N_cel))
            continue; /* told by the rules */
        if (val_str(expression).n > DRA_SELECTOR_MAX_LENGTH)
            cause_too_long(&r->status, path, DRA_SELECTOR_MAX_LENGTH);
        else if (dra_selector_compile(val_str(expression), &compiled, &e) < 0)
            cause_invalid(&r->status, path, expression, arena_str(r->arena, str_of(e.text)).p);
        else if (dra_selector_max_cost(compiled) > DRA_SELECTOR_MAX_COST)
            cause_forbidden(&r->status, path, "too complex, exceeds cost limit");
        dra_selector_unref(compiled);
    }
}

static void check_requests(struct request *r, const struct val *devices, const char *where)
{
    size_t i = 0;
    VAL_EACH (val_get(devices, N_requests), q) {
        const char *at = arena_printf(r->arena, "%s.requests[%zu]", where, i++).p;
        size_t k = 0;
        check_selectors(r, val_at(q, N_exactly, N_selectors), arena_printf(r->arena, "%s.exactly", at).p);
        VAL_EACH (val_get(q, N_firstAvailable), way)
            check_selectors(r, val_get(way, N_selectors), arena_printf(r->arena, "%s.firstAvailable[%zu]", at, k++).p);
    }
}

/* ---- all -------------------------------------------------------------------------------------------------------- */

void check_devices(struct request *r, const struct resource *res, const char *sub, const struct val *v,
                   const struct val *old)
{
    const struct val *devices = val_at(v, N_spec, N_devices), *of_template = val_at(v, N_spec, N_spec, N_devices);
    const struct val *selectors = val_at(v, N_spec, N_selectors);
    switch (res->index) {
    case RES_RESOURCECLAIMS:
        if (sub && strcmp(sub, "status") == 0) {
            check_claim_status(r, v, old);
        } else if (!old) { /* the spec never changes */
            check_admin(r, obj_namespace(v), val_get(devices, N_requests), N_exactly, "spec.devices.requests");
            check_requests(r, devices, "spec.devices");
        }
        break;
    case RES_RESOURCECLAIMTEMPLATES:
        if (!old) {
            check_admin(r, obj_namespace(v), val_get(of_template, N_requests), N_exactly, "spec.devices.requests");
            check_requests(r, of_template, "spec.spec.devices");
        }
        break;
    case RES_DEVICECLASSES:
        if (!old || !val_equal(selectors, val_at(old, N_spec, N_selectors)))
            check_selectors(r, selectors, "spec");
        break;
    }
}
