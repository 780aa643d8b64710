/* SPDX-License-Identifier: Apache-2.0 */
/* May they: system:masters, then the authorizers in their order (authz_config.c). */
#include "apiserver/auth.h"

#include "apiserver/abac.h"
#include "apiserver/audit.h"
#include "apiserver/auth_state.h"
#include "apiserver/authz_webhook.h"
#include "base/os.h"
#include "names.h"
#include "net/url.h"
#include "wire/json.h"

/* ---- the chain ------------------------------------------------------------------------------------------ */

static enum decision by_node(struct request *r, struct authorizer *z, const struct attributes *at, struct authorization *ret)
{
    return node_authorize(r, at, &ret->reason);
}

static enum decision by_rbac(struct request *r, struct authorizer *z, const struct attributes *at, struct authorization *ret)
{
    bool allowed = rbac_allowed(r->server->rbac, at, &ret->reason) || ingress_authorize(r, at) == DECISION_ALLOW;
    return allowed ? DECISION_ALLOW : DECISION_NONE;
}

static enum decision always_allow(struct request *r, struct authorizer *z, const struct attributes *at, struct authorization *ret)
{
    return DECISION_ALLOW;
}

static enum decision always_deny(struct request *r, struct authorizer *z, const struct attributes *at, struct authorization *ret)
{
    err_set(&ret->reason, 0, "Everything is forbidden.");
    return DECISION_NONE;
}

static enum decision by_abac(struct request *r, struct authorizer *z, const struct attributes *at, struct authorization *ret)
{
    if (abac_allows(r->server->auth->authz->abac, at))
        return DECISION_ALLOW;
    err_set(&ret->reason, 0, "No policy matched.");
    return DECISION_NONE;
}

static enum decision by_webhook(struct request *r, struct authorizer *z, const struct attributes *at, struct authorization *ret)
{
    return authz_webhook_ask(z->webhook, r->arena, at, &ret->reason, &ret->fault);
}

static enum decision (*const deciders[AUTHZ_KINDS])(struct request *, struct authorizer *, const struct attributes *, struct authorization *) = {
    [AUTHZ_NODE] = by_node,      [AUTHZ_RBAC] = by_rbac, [AUTHZ_ALWAYS_ALLOW] = always_allow, [AUTHZ_ALWAYS_DENY] = always_deny,
    [AUTHZ_ABAC] = by_abac,      [AUTHZ_WEBHOOK] = by_webhook,
};

static void join(struct err *all, const struct err *one, const char *between)
{
    if (!one->text[0])
        return;
    struct err was = *all;
    err_set(all, 0, "%s%s%s", was.text, was.text[0] ? between : "", one->text);
}

void authorize_told(struct request *r, const struct attributes *at, struct authorization *ret)
{
    struct authz_chain *c = r->server->auth->authz;
    *ret = (struct authorization){.decision = DECISION_NONE};
    if (user_in_group(at->user, "system:masters")) {
        ret->decision = DECISION_ALLOW;
        return;
    }
    authz_ref(c);
    for (size_t i = 0; i < c->n && ret->decision == DECISION_NONE; i++) {
        struct authorizer *z = &c->items[i];
        struct authorization one = {.decision = DECISION_NONE};
        one.decision = deciders[z->kind](r, z, at, &one);
        z->allowed += one.decision == DECISION_ALLOW;
        z->denied += one.decision == DECISION_DENY;
        if (one.decision != DECISION_NONE) {
            *ret = one;
            break;
        }
        join(&ret->reason, &one.reason, "\n");
        join(&ret->fault, &one.fault, ", ");
    }
    authz_unref(c);
}

enum decision authorize(struct request *r, const struct attributes *at, struct err *ret_reason)
{
    struct authorization a;
    authorize_told(r, at, &a);
    if (ret_reason)
        *ret_reason = a.reason;
    return a.decision;
}

bool authz_has(const struct apiserver *s, enum authz_kind kind)
{
    return authz_chain_has(s->auth->authz, kind);
}

/* ---- rules ---------------------------------------------------------------------------------------------- */

struct val *rules_of_user(struct request *r, const struct user *u, struct str ns)
{
    return rbac_rules(r->server->rbac, r->arena, u, ns);
}

static void add_everything(struct arena *a, struct val *list)
{
    struct val *on = val_add_obj(a, list);
    val_add_str(a, val_sub_list(a, on, N_verbs), STR("*"));
    val_add_str(a, val_sub_list(a, on, N_apiGroups), STR("*"));
    val_add_str(a, val_sub_list(a, on, N_resources), STR("*"));
    struct val *paths = val_add_obj(a, list);
    val_add_str(a, val_sub_list(a, paths, N_verbs), STR("*"));
    val_add_str(a, val_sub_list(a, paths, N_nonResourceURLs), STR("*"));
}

struct val *rules_told(struct request *r, const struct user *u, struct str ns, struct err *ret_missing)
{
    const struct authz_chain *c = r->server->auth->authz;
    const struct val *granted = rules_of_user(r, u, ns);
    struct val *list = val_new(r->arena, VAL_LIST);
    for (size_t i = 0; i < c->n; i++) {
        enum authz_kind kind = c->items[i].kind;
        if (kind == AUTHZ_RBAC)
            VAL_EACH (granted, rule)
                val_add(r->arena, list, *rule);
        else if (kind == AUTHZ_ALWAYS_ALLOW)
            add_everything(r->arena, list);
        else if (kind == AUTHZ_ABAC)
            abac_rules(c->abac, r->arena, u, ns, list);
        else if (kind == AUTHZ_WEBHOOK)
            join(ret_missing, &(struct err){"webhook authorizer does not support user rule resolution"}, ", ");
        else if (kind == AUTHZ_NODE && node_of_user(u).n)
            join(ret_missing, &(struct err){"node authorizer does not support user rule resolution"}, ", ");
    }
    return list;
}

/* ---- requests ------------------------------------------------------------------------------------------- */

static struct str what_forbidden(struct request *r, const struct attributes *at)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_printf(&b, "User \"%.*s\" cannot %.*s ", STR_ARG(at->user->name), STR_ARG(at->verb));
    if (!at->resource_request) {
        buf_printf(&b, "path \"%.*s\"", STR_ARG(at->path));
    } else {
        buf_printf(&b, "resource \"%.*s%s%.*s\" in API group \"%.*s\" ", STR_ARG(at->resource),
                   at->subresource.n ? "/" : "", STR_ARG(at->subresource), STR_ARG(at->group));
        if (at->ns.n)
            buf_printf(&b, "in the namespace \"%.*s\"", STR_ARG(at->ns));
        else
            buf_puts(&b, "at the cluster scope");
    }
    return arena_str(r->arena, buf_str(&b));
}

int forbid(struct request *r, const struct attributes *at, const char *reason)
{
    struct status *s = &r->status;
    struct str what = what_forbidden(r, at);
    const char *colon = reason && *reason ? ": " : "";
    if (!reason)
        reason = "";
    if (!at->resource_request)
        return status_set(s, 403, "Forbidden", "forbidden: %.*s%s%s", STR_ARG(what), colon, reason);
    struct str dot = at->group.n ? STR(".") : STR("");
    s->group = at->group;
    s->kind = at->resource;
    s->name = at->name;
    if (at->name.n)
        return status_set(s, 403, "Forbidden", "%.*s%.*s%.*s \"%.*s\" is forbidden: %.*s%s%s",
                          STR_ARG(at->resource), STR_ARG(dot), STR_ARG(at->group), STR_ARG(at->name),
                          STR_ARG(what), colon, reason);
    return status_set(s, 403, "Forbidden", "%.*s%.*s%.*s is forbidden: %.*s%s%s", STR_ARG(at->resource),
                      STR_ARG(dot), STR_ARG(at->group), STR_ARG(what), colon, reason);
}

static const struct selector *restriction(struct request *r, struct str known, const char *key,
                                          int (*parse)(struct arena *, struct str, struct selector *, struct err *))
{
    struct selector *s = ARENA_NEW(r->arena, struct selector);
    struct str text = known; /* there already when asked from inside this process */
    if (!text.n && !query_get(r->arena, r->query, key, &text))
        return NULL;
    return parse(r->arena, text, s, NULL) == 0 && s->n ? s : NULL;
}

/* Only some look at what a list is restricted to, and only lists can be. */
static void put_restrictions(struct request *r, struct attributes *at)
{
    static const char *const verbs[] = {"list", "watch", "deletecollection"};
    bool asks = r->server->auth->authz->selectors || node_of_user(at->user).n, can = false;
    for (size_t i = 0; i < ARRAY_SIZE(verbs) && asks; i++)
        can = can || str_is(r->info.verb, verbs[i]);
    if (!can)
        return;
    at->fields = restriction(r, r->opt.field_selector, "fieldSelector", field_selector_parse);
    at->labels = restriction(r, r->opt.label_selector, "labelSelector", selector_parse);
}

static struct attributes attributes_of_request(struct request *r, struct str verb)
{
    const struct request_info *in = &r->info;
    struct attributes at = {.user = &r->user,
                            .verb = verb,
                            .resource_request = in->is_resource,
                            .ns = in->ns,
                            .group = in->group,
                            .version = in->version,
                            .resource = in->resource,
                            .subresource = in->subresource,
                            .name = in->name,
                            .path = in->path};
    put_restrictions(r, &at);
    return at;
}

struct attributes request_attributes(struct request *r)
{
    return attributes_of_request(r, r->info.verb);
}

/* Who cannot be asked has not said no: that is the server's fault. */
static int unanswered(struct request *r, const struct err *fault)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (!r->x)
        return status_internal(&r->status, "%s", fault->text);
    buf_puts(&b, "Internal Server Error: ");
    json_encode_str(&b, r->x->target, JSON_NO_HTML);
    buf_printf(&b, ": %s\n", fault->text);
    answer_text(r, 500, "text/plain; charset=utf-8", arena_str(r->arena, buf_str(&b)));
    return 500;
}

static int ask(struct request *r, struct str verb, struct authorization *told)
{
    struct mono begun = os_mono();
    struct attributes at = attributes_of_request(r, verb);
    if (r->trusted) {
        told->decision = DECISION_ALLOW;
        return 0;
    }
    authorize_told(r, &at, told);
    auth_count(&r->server->auth->authorizations[told->decision == DECISION_ALLOW ? AUTH_SUCCESS : told->fault.text[0] ? AUTH_ERROR : AUTH_FAILURE],
               os_mono().ns - begun.ns);
    if (told->decision == DECISION_ALLOW)
        return 0;
    return told->fault.text[0] ? unanswered(r, &told->fault) : forbid(r, &at, told->reason.text);
}

int require_verb(struct request *r, struct str verb)
{
    struct authorization told = {.decision = DECISION_NONE};
    return ask(r, verb, &told);
}

int request_authorize(struct request *r)
{
    struct authorization told = {.decision = DECISION_NONE};
    int e = ask(r, r->info.verb, &told);
    audit_note(r, STR("authorization.k8s.io/decision"), e ? STR("forbid") : STR("allow"));
    audit_note(r, STR("authorization.k8s.io/reason"), str_of(told.fault.text[0] ? "internal error" : told.reason.text));
    return e;
}
