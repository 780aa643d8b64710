/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Impersonate-User, -Group, -Uid, -Extra-*: acting as somebody else. The constrained modes of KEP-5284 are tried first: who
 * may impersonate, and may do that very thing while they do; then the old one, where each part is a right of its own.
 */
#include "apiserver/auth.h"
#include "apiserver/auth_state.h"
#include "net/url.h"
#include "type/meta.h"

#define EXTRA "impersonate-extra-"
#define AUTHN "authentication.k8s.io"
#define NODE_PREFIX "system:node:"
#define NODE_NAME_KEY "authentication.kubernetes.io/node-name"

enum { MANY = 4 }; /* so many values are first asked for at once */

struct impersonation {
    struct request *r;
    const char *mode; /* NULL: the old one, without any constraint */
    struct str verb;
    struct user asking; /* as the authorizers see who asks */
    struct user user;   /* who they want to be, and become */
};

/* ---- the headers ---------------------------------------------------------------------------------------- */

static void take_extra(struct request *r, const struct http_header *h, struct user *u)
{
    struct str raw = str_from(h->name, sizeof(EXTRA) - 1), key;
    user_add_extra(r->arena, u, url_decode(r->arena, raw, false, &key) == 0 ? key : raw, h->value);
}

/* 0 with the name empty: nobody is impersonated. */
static int wanted_user(struct request *r, struct user *ret)
{
    const struct http_headers *h = &r->x->headers;
    struct user u = {.name = http_header(h, "impersonate-user"), .uid = http_header(h, "impersonate-uid")};
    for (size_t i = 0; i < h->n; i++) {
        if (str_is(h->items[i].name, "impersonate-group"))
            user_add_group(r->arena, &u, h->items[i].value);
        else if (str_starts(h->items[i].name, STR(EXTRA)))
            take_extra(r, &h->items[i], &u);
    }
    *ret = u;
    if (!u.name.n && (u.uid.n || u.n_groups || u.n_extra))
        return status_bad_request(&r->status, "requested impersonation without impersonating a user name");
    return 0;
}

/* ---- one right ------------------------------------------------------------------------------------------ */

static int refuse(struct impersonation *m, const struct attributes *at, const char *why)
{
    struct attributes told = *at;
    told.user = &m->r->user;
    return forbid(m->r, &told, why);
}

static int ask(struct impersonation *m, const struct attributes *at)
{
    struct authorization told;
    authorize_told(m->r, at, &told);
    if (told.decision == DECISION_ALLOW)
        return 0;
    if (told.fault.text[0] && told.reason.text[0])
        err_wrap(&told.reason, 0, "%s", told.fault.text);
    return refuse(m, at, told.reason.text[0] ? told.reason.text : told.fault.text);
}

/* users and groups are in the core group where nothing is constrained. */
static struct attributes right_to(struct impersonation *m, const char *resource, struct str name)
{
    bool core = !m->mode && strcmp(resource, "uids") && strcmp(resource, "userextras");
    return (struct attributes){.user = &m->asking, .verb = m->verb, .resource_request = true, .group = core ? STR("") : STR(AUTHN),
                               .version = STR("v1"), .resource = str_of(resource), .name = name};
}

/* ---- the parts of a user -------------------------------------------------------------------------------- */

static bool is_node(struct str user, struct str *ret_name)
{
    if (!str_starts(user, STR(NODE_PREFIX)))
        return false;
    *ret_name = str_from(user, sizeof(NODE_PREFIX) - 1);
    return check_dns_subdomain(*ret_name) == NULL;
}

static bool is_associated(const struct impersonation *m)
{
    return m->mode && strcmp(m->mode, "associated-node") == 0;
}

static int check_name(struct impersonation *m)
{
    struct arena *a = m->r->arena;
    struct attributes at = right_to(m, "users", m->user.name);
    struct str ns, name;
    if (m->mode && is_node(m->user.name, &name)) {
        at.resource = STR("nodes");
        at.name = is_associated(m) ? STR("*") : name;
        user_add_group(a, &m->user, STR("system:nodes"));
    } else if (is_service_account(m->user.name, &ns, &name)) {
        at.resource = STR("serviceaccounts");
        at.ns = ns;
        at.name = name;
        if (!m->user.n_groups) {
            user_add_group(a, &m->user, STR("system:serviceaccounts"));
            user_add_group(a, &m->user, arena_printf(a, "system:serviceaccounts:" STR_FMT, STR_ARG(ns)));
        }
    }
    return ask(m, &at);
}

static int check_groups(struct impersonation *m, const struct user *wanted)
{
    struct attributes at = right_to(m, "groups", STR(""));
    struct request *r = m->r;
    for (size_t i = 0; m->mode && i < wanted->n_groups; i++) {
        if (!wanted->groups[i].n)
            return refuse(m, &at, "impersonating the empty string group is not allowed");
        if (str_is(wanted->groups[i], "system:masters")) {
            at.name = wanted->groups[i];
            return refuse(m, &at, "impersonating the system:masters group is not allowed");
        }
    }
    at.name = STR("*");
    if (m->mode && wanted->n_groups >= MANY && authorize(r, &at, NULL) == DECISION_ALLOW)
        return 0;
    int e = 0;
    for (size_t i = 0; i < wanted->n_groups && !e; i++) {
        at.name = wanted->groups[i];
        e = ask(m, &at);
    }
    return e;
}

static const char *extra_fault(struct arena *a, const struct user *u)
{
    for (size_t i = 0; i < u->n_extra; i++) {
        const char *fault = extra_key_fault(u->extra[i].key);
        if (!u->extra[i].key.n)
            return "impersonating the empty string key in extra is not allowed";
        if (fault)
            return arena_printf(a, "impersonating an invalid key in extra is not allowed: %s", fault).p;
        for (size_t k = 0; k < u->extra[i].n; k++)
            if (!u->extra[i].values[k].n)
                return "impersonating the empty string value in extra is not allowed";
    }
    return NULL;
}

static size_t count_extra(const struct user *u)
{
    size_t n = 0;
    for (size_t i = 0; i < u->n_extra; i++)
        n += u->extra[i].n;
    return n;
}

static int check_extra(struct impersonation *m, const struct user *wanted)
{
    struct attributes at = right_to(m, "userextras", STR("*"));
    const char *fault = m->mode ? extra_fault(m->r->arena, wanted) : NULL;
    if (fault)
        return refuse(m, &at, fault);
    at.subresource = STR("*");
    if (m->mode && count_extra(wanted) >= MANY && authorize(m->r, &at, NULL) == DECISION_ALLOW)
        return 0;
    int e = 0;
    for (size_t i = 0; i < wanted->n_extra; i++)
        for (size_t k = 0; k < wanted->extra[i].n && !e; k++) {
            at.subresource = wanted->extra[i].key;
            at.name = wanted->extra[i].values[k];
            e = ask(m, &at);
        }
    return e;
}

/* The groups everybody of that kind is in. */
static void add_own_groups(struct request *r, struct user *u)
{
    bool anonymous = str_is(u->name, "system:anonymous"), out = user_in_group(u, "system:unauthenticated");
    const char *group = anonymous ? "system:unauthenticated" : "system:authenticated";
    if (!user_in_group(u, group) && !out)
        user_add_group(r->arena, u, str_of(group));
}

static int check_parts(struct impersonation *m)
{
    struct user wanted = m->user;
    int e = check_name(m);
    if (!e && wanted.uid.n) {
        struct attributes at = right_to(m, "uids", wanted.uid);
        e = ask(m, &at);
    }
    if (!e)
        e = check_groups(m, &wanted);
    if (!e)
        e = check_extra(m, &wanted);
    if (!e)
        add_own_groups(m->r, &m->user);
    return e;
}

/* ---- modes ---------------------------------------------------------------------------------------------- */

static bool only_named(const struct user *u)
{
    return !u->uid.n && !u->n_groups && !u->n_extra;
}

/* A service account of a pod on that very node. */
static bool fits_associated(const struct user *wanted, const struct user *asking)
{
    struct str node, ns, name;
    if (!only_named(wanted) || !is_node(wanted->name, &node) || !is_service_account(asking->name, &ns, &name))
        return false;
    for (size_t i = 0; i < asking->n_extra; i++)
        if (str_is(asking->extra[i].key, NODE_NAME_KEY))
            return asking->extra[i].n == 1 && str_eq(asking->extra[i].values[0], node);
    return false;
}

static bool fits_node(const struct user *wanted, const struct user *asking)
{
    struct str node;
    return only_named(wanted) && is_node(wanted->name, &node);
}

static bool fits_account(const struct user *wanted, const struct user *asking)
{
    struct str ns, name;
    return only_named(wanted) && is_service_account(wanted->name, &ns, &name);
}

static bool fits_user(const struct user *wanted, const struct user *asking)
{
    struct str ns, name;
    return !is_node(wanted->name, &name) && !is_service_account(wanted->name, &ns, &name);
}

static const struct {
    const char *name; /* NULL: without constraint */
    bool (*fits)(const struct user *wanted, const struct user *asking);
} modes[IMPERSONATION_MODES] = {
    [IMPERSONATE_NODE] = {"associated-node", fits_associated}, [IMPERSONATE_ANY_NODE] = {"arbitrary-node", fits_node},
    [IMPERSONATE_ACCOUNT] = {"serviceaccount", fits_account},  [IMPERSONATE_USER] = {"user-info", fits_user},
    [IMPERSONATE_LEGACY] = {NULL, NULL},
};

static int compare_text(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    int c = memcmp(x->p, y->p, MIN(x->n, y->n));
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

/* Of who asks on behalf of its own node authorizers see only which extras there are: the node is the one that is meant. */
static void hide_extra(struct arena *a, struct user *u)
{
    struct str *keys = ARENA_ARRAY(a, struct str, u->n_extra);
    struct user_extra *one = ARENA_NEW(a, struct user_extra);
    for (size_t i = 0; i < u->n_extra; i++)
        keys[i] = u->extra[i].key;
    qsort(keys, u->n_extra, sizeof(*keys), compare_text);
    *one = (struct user_extra){STR("authentication.kubernetes.io/associated-node-keys"), keys, u->n_extra};
    u->extra = one;
    u->n_extra = 1;
}

/* 0: the user is who was wanted; else the refusal. */
static int try_mode(struct request *r, enum impersonation_mode i, const struct user *wanted, struct user *ret)
{
    struct impersonation m = {.r = r, .mode = modes[i].name, .verb = STR("impersonate"), .asking = r->user, .user = *wanted};
    int e = 0;
    if (i == IMPERSONATE_NODE)
        hide_extra(r->arena, &m.asking);
    if (m.mode) {
        struct attributes at = request_attributes(r);
        at.user = &m.asking;
        at.verb = arena_printf(r->arena, "impersonate-on:%s:" STR_FMT, m.mode, STR_ARG(at.verb));
        m.verb = arena_printf(r->arena, "impersonate:%s", m.mode);
        e = ask(&m, &at);
    }
    if (!e)
        e = check_parts(&m);
    if (!e)
        *ret = m.user;
    return e;
}

int request_impersonate(struct request *r)
{
    struct auth_state *a = r->server->auth;
    struct user wanted, become;
    struct status first;
    int refused = 0, e = wanted_user(r, &wanted);
    if (e || !wanted.name.n)
        return e;
    for (int i = 0; i < IMPERSONATION_MODES; i++) {
        if (modes[i].fits && !modes[i].fits(&wanted, &r->user))
            continue;
        e = try_mode(r, (enum impersonation_mode)i, &wanted, &become);
        if (e == 0) {
            a->impersonated[i]++;
            status_init(&r->status, r->arena);
            r->impersonated_by = modes[i].name;
            r->acting_for = r->user;
            r->user = become;
            return 0;
        }
        if (!refused)
            first = r->status;
        refused = refused ? refused : e;
        status_init(&r->status, r->arena);
    }
    a->not_impersonated++;
    r->status = first;
    return refused;
}
