/* SPDX-License-Identifier: Apache-2.0 */
/* From a request that may be carried out to the function that does it. */
#include "apiserver/aggregate.h"
#include "apiserver/conversion.h"
#include "apiserver/custom.h"
#include "apiserver/pages.h"
#include "apiserver/usage.h"
#include "apiserver/verbs.h"
#include "resources.h"

static const struct {
    const char *verb;
    uint16_t bit;
    request_stage *fn;
} verbs[] = {
    {"get", VERB_GET, verb_get},
    {"list", VERB_LIST, verb_list},
    {"watch", VERB_WATCH, verb_watch},
    {"create", VERB_CREATE, verb_create},
    {"update", VERB_UPDATE, verb_update},
    {"patch", VERB_PATCH, verb_patch},
    {"delete", VERB_DELETE, verb_delete},
    {"deletecollection", VERB_DELETECOLLECTION, verb_deletecollection},
};

#define ANY_VERB 0xffff

/* Subresources and unstored kinds with ways of their own. res 0: of any kind. */
static const struct special {
    uint16_t res;
    const char *sub; /* NULL: the kind itself */
    uint16_t verbs;
    request_stage *fn;
} specials[] = {
    {0, "scale", VERB_GET, sub_scale_get},
    {0, "scale", VERB_UPDATE, sub_scale_update},
    {0, "scale", VERB_PATCH, sub_scale_patch},
    {RES_PODS, "binding", VERB_CREATE, sub_binding},
    {RES_BINDINGS, NULL, VERB_CREATE, sub_binding},
    {RES_PODS, "eviction", VERB_CREATE, sub_eviction},
    {RES_PODS, "log", VERB_GET, sub_log},
    {RES_PODS, "exec", ANY_VERB, sub_exec},
    {RES_PODS, "attach", ANY_VERB, sub_exec},
    {RES_PODS, "portforward", ANY_VERB, sub_portforward},
    {RES_PODS, "proxy", ANY_VERB, sub_pod_proxy},
    {RES_SERVICES, "proxy", ANY_VERB, sub_service_proxy},
    {RES_NODES, "proxy", ANY_VERB, sub_node_proxy},
    {RES_NAMESPACES, "finalize", VERB_UPDATE, sub_finalize},
    {RES_SERVICEACCOUNTS, "token", VERB_CREATE, sub_token},
    {RES_CERTIFICATESIGNINGREQUESTS, "approval", VERB_UPDATE, sub_approval_update},
    {RES_CERTIFICATESIGNINGREQUESTS, "approval", VERB_PATCH, sub_approval_patch},
    {RES_TOKENREVIEWS, NULL, VERB_CREATE, review_token},
    {RES_SUBJECTACCESSREVIEWS, NULL, VERB_CREATE, review_access},
    {RES_SELFSUBJECTACCESSREVIEWS, NULL, VERB_CREATE, review_self_access},
    {RES_LOCALSUBJECTACCESSREVIEWS, NULL, VERB_CREATE, review_local_access},
    {RES_SELFSUBJECTRULESREVIEWS, NULL, VERB_CREATE, review_self_rules},
    {RES_SELFSUBJECTREVIEWS, NULL, VERB_CREATE, review_self_subject},
    {RES_COMPONENTSTATUSES, NULL, VERB_GET | VERB_LIST, component_statuses},
    {RES_NODES_METRICS_K8S_IO, NULL, VERB_GET | VERB_LIST, usage_nodes},
    {RES_PODS_METRICS_K8S_IO, NULL, VERB_GET | VERB_LIST, usage_pods},
};

static request_stage *find_special(const struct request *r, uint16_t bit)
{
    for (size_t i = 0; i < ARRAY_SIZE(specials); i++) {
        const struct special *s = &specials[i];
        bool kind = !s->res || s->res == r->res->index;
        bool sub = s->sub ? r->sub && strcmp(s->sub, r->sub->name) == 0 : !r->sub;
        if (kind && sub && (s->verbs & bit))
            return s->fn;
    }
    return NULL;
}

static bool group_known(const struct apiserver *s, struct str group)
{
    for (size_t i = 0; i < served_count(s); i++)
        if (str_is(group, served_at(s, i)->group))
            return true;
    return false;
}

static int not_found(struct request *r)
{
    if (r->res && r->res->index >= n_resources)
        return status_not_found(&r->status, r->res, r->info.name);
    if (group_known(r->server, r->info.group))
        return status_set(&r->status, 404, "NotFound", "the server could not find the requested resource");
    answer_text(r, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
    return 0;
}

/* Collections are POSTed to and items are not; a kind without namespaces has none in its path: what is asked was
 * allowed in that namespace only (CVE-2019-11247). A namespace itself is in the namespace of its name. */
static bool path_fits(const struct request *r)
{
    bool named = r->info.name.n > 0, all = r->res->namespaced && !r->info.ns.n;
    if (!r->res->namespaced && r->info.ns.n &&
        (r->res->index != RES_NAMESPACES || !str_eq(r->info.ns, r->info.name)))
        return false;
    if (all && (named || r->sub))
        return str_is(r->info.verb, "list") || str_is(r->info.verb, "watch");
    return true;
}

static bool verb_fits(const struct request *r, uint16_t bit)
{
    bool in_path = r->info.name.n > 0;
    if (!r->x || r->sub)
        return true;
    if (bit == VERB_CREATE)
        return !in_path && (!r->res->namespaced || r->info.ns.n);
    if (bit == VERB_UPDATE || bit == VERB_PATCH)
        return in_path;
    return bit != VERB_DELETECOLLECTION || !r->res->namespaced || r->info.ns.n;
}

/* A proxy passes on every method; OPTIONS alone has no verb of its own (only who may do anything was let through). */
static bool proxies_options(const struct request *r)
{
    return r->x && r->sub && str_is(r->x->method, "OPTIONS") && strcmp(r->sub->name, "proxy") == 0;
}

int request_route(struct request *r)
{
    struct extension *x = r->extended ? aggregate_find(r->server, r->info.group, r->info.version) : NULL;
    if (x)
        return aggregate_proxy(r, x);
    if (!r->info.is_resource)
        return page_serve(r);
    if (!r->res || (r->info.subresource.n && !r->sub) || !path_fits(r))
        return not_found(r);
    if (r->x && str_is(r->x->method, "HEAD") && !request_long_running(r))
        return page_not_allowed(r);
    if (proxies_options(r)) {
        int e = options_parse(r);
        return e ? e : find_special(r, VERB_GET)(r);
    }
    uint16_t allowed = r->sub ? r->sub->verbs : r->res->verbs;
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (!str_is(r->info.verb, verbs[i].verb))
            continue;
        if (!(allowed & verbs[i].bit) || !verb_fits(r, verbs[i].bit))
            break;
        int e = options_parse(r);
        request_stage *fn = find_special(r, verbs[i].bit);
        if (!fn && !r->kind)
            break;
        e = e ? e : (fn ? fn : verbs[i].fn)(r);
        return e ? e : conversion_of_answer(r);
    }
    return page_not_allowed(r);
}
