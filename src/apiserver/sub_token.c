/* SPDX-License-Identifier: Apache-2.0 */
/* serviceaccounts/token: TokenRequest (KEP-1205). */
#include "apiserver/admit.h"
#include "apiserver/auth.h"
#include "apiserver/authz.h"
#include "apiserver/state.h"
#include "apiserver/uuid.h"
#include "apiserver/verbs.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"

enum { MIN_SECONDS = 600, DEFAULT_SECONDS = 3600, EXTENDED_FROM = 3607, EXTENDED_SECONDS = 365 * 24 * 3600 };
#define MAX_SECONDS (INT64_C(1) << 32)

static int check_spec(struct request *r, const struct val *spec)
{
    const struct val *seconds = val_get(spec, N_expirationSeconds);
    int64_t n = val_int(seconds, DEFAULT_SECONDS);
    if (n < MIN_SECONDS)
        cause_invalid(&r->status, STR("spec.expirationSeconds"), seconds,
                      "may not specify a duration less than 10 minutes");
    if (n > MAX_SECONDS)
        cause_invalid(&r->status, STR("spec.expirationSeconds"), seconds,
                      "may not specify a duration larger than 2^32 seconds");
    return status_invalid(&r->status, STR("authentication.k8s.io"), STR("TokenRequest"), STR(""));
}

static void put_ref(struct arena *a, struct val *claims, const char *key, struct str name, struct str uid)
{
    struct val *ref = val_put(a, claims, str_of(key), *val_new(a, VAL_MAP));
    val_put_str(a, ref, STR("name"), name);
    val_put_str(a, ref, STR("uid"), uid);
}

/* The object a token is to be bound to must be there and, for a pod, use this account. */
static int bind_to(struct request *r, struct val *claims, const struct val *ref)
{
    static const struct {
        const char *kind;
        uint16_t res;
        const char *claim;
    } kinds[] = {{"Pod", RES_PODS, "pod"}, {"Secret", RES_SECRETS, "secret"}, {"Node", RES_NODES, "node"}};
    struct str kind = val_getstr(ref, N_kind), name = val_getstr(ref, N_name), uid = val_getstr(ref, N_uid);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!str_is(kind, kinds[i].kind))
            continue;
        const struct resource *res = &resources[kinds[i].res];
        const struct object *o =
            cache_get(state_kind(r->server, res->index), res->namespaced ? r->info.ns : STR(""), name);
        if (!o)
            return status_not_found(&r->status, res, name);
        if (uid.n && !str_eq(uid, o->uid))
            return status_conflict(
                &r->status, res, name,
                arena_printf(
                    r->arena,
                    "the UID in the bound object reference "
                    "(%.*s) does not match the UID in record. The object might have been deleted and then "
                    "recreated",
                    STR_ARG(uid))
                    .p);
        if (res->index == RES_PODS &&
            !str_eq(val_str(val_at(o->val, N_spec, N_serviceAccountName)), r->info.name))
            return status_bad_request(&r->status,
                                      "cannot bind token for serviceaccount \"%.*s\" to pod running with "
                                      "different serviceaccount name.",
                                      STR_ARG(r->info.name));
        put_ref(r->arena, claims, kinds[i].claim, o->name, o->uid);
        struct str node = res->index == RES_PODS ? val_str(val_at(o->val, N_spec, N_nodeName)) : STR_NULL;
        const struct object *n = node.n ? cache_get(state_kind(r->server, RES_NODES), STR(""), node) : NULL;
        if (n)
            put_ref(r->arena, claims, "node", n->name, n->uid);
        return 0;
    }
    return status_bad_request(&r->status, "cannot bind token to object of type %.*s", STR_ARG(kind));
}

/* A kubelet may only ask for tokens bound to a pod that is its own. */
static int restrict_node(struct request *r, const struct val *ref)
{
    struct str node = node_of_user(&r->user);
    if (!node.n || !authz_has(r->server, AUTHZ_NODE))
        return 0;
    if (!str_is(val_getstr(ref, N_kind), "Pod"))
        return status_forbidden(&r->status, r->res, r->info.name, "node requested token not bound to a pod");
    const struct object *pod =
        cache_get(state_kind(r->server, RES_PODS), r->info.ns, val_getstr(ref, N_name));
    if (!pod || !str_eq(val_str(val_at(pod->val, N_spec, N_nodeName)), node))
        return status_forbidden(&r->status, r->res, r->info.name,
                                "node requested token bound to a pod scheduled on a different node");
    return 0;
}

struct lifetime {
    int64_t from, until, warn_after; /* seconds since 1970; 0: no warning */
};

/* Tokens that kubelets ask for by default live a year, with a note of when they should have been renewed. */
static struct lifetime choose_life(struct request *r, int64_t seconds, bool pod)
{
    const struct apiserver_config *c = &r->server->config;
    struct lifetime l = {.from = r->now.ns / NSEC_PER_SEC};
    if (c->sa_max_expiration && seconds > c->sa_max_expiration)
        seconds = c->sa_max_expiration;
    l.until = l.from + seconds;
    if (pod && seconds == EXTENDED_FROM && !c->sa_extend_off) {
        l.warn_after = l.until;
        l.until = l.from + EXTENDED_SECONDS;
    }
    return l;
}

static void put_audiences(struct request *r, struct val *claims, struct val *spec)
{
    struct val *list = val_put(r->arena, claims, STR("aud"), *val_new(r->arena, VAL_LIST));
    struct val *wanted = val_sub_list(r->arena, spec, N_audiences);
    const struct flag_texts *own = &r->server->sa_audiences;
    for (size_t i = 0; !wanted->n && own->items && own->items[i]; i++)
        val_add_str(r->arena, wanted, str_of(own->items[i]));
    VAL_EACH(wanted, a)
        val_add_str(r->arena, list, val_str(a));
}

static int make_claims(struct request *r, const struct object *sa, struct val *spec, struct val **ret,
                       struct lifetime *ret_life)
{
    struct arena *a = r->arena;
    struct val *c = val_new(a, VAL_MAP), *k = val_new(a, VAL_MAP);
    const struct val *ref = val_get(spec, N_boundObjectRef);
    char jti[UUID_TEXT];
    put_audiences(r, c, spec);
    struct lifetime l = choose_life(r, val_int(val_get(spec, N_expirationSeconds), DEFAULT_SECONDS),
                                    str_is(val_getstr(ref, N_kind), "Pod"));
    val_put(a, c, STR("exp"), val_of_int(l.until));
    val_put(a, c, STR("iat"), val_of_int(l.from));
    val_put_str(a, c, STR("iss"), str_of(r->server->sa_issuer));
    val_put_str(a, c, STR("jti"), str_of(uuid_new(jti)));
    val_put_str(a, k, STR("namespace"), sa->namespace_);
    put_ref(a, k, "serviceaccount", sa->name, sa->uid);
    int e = ref ? bind_to(r, k, ref) : 0;
    if (e)
        return e;
    if (l.warn_after)
        val_put(a, k, STR("warnafter"), val_of_int(l.warn_after));
    val_put(a, c, STR("kubernetes.io"), *k);
    val_put(a, c, STR("nbf"), val_of_int(l.from));
    val_put_str(a, c, STR("sub"), arena_printf(a, "system:serviceaccount:%.*s:%.*s", STR_ARG(sa->namespace_),
                                              STR_ARG(sa->name)));
    *ret = c;
    *ret_life = l;
    return 0;
}

static int sign(struct request *r, const struct val *claims, struct val *status)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct err e = {0};
    if (!r->server->sa_sign)
        return status_internal(&r->status, "no key to sign service account tokens with");
    int s = jwt_sign(r->server->sa_sign, claims, &b, &e);
    if (s < 0)
        return status_internal(&r->status, "failed to generate token: %s", err_text(&e, s));
    val_set_str(r->arena, status, N_token, buf_str(&b));
    return 0;
}

static const struct admit_body token_body = {&types[T_authentication_v1_TokenRequest], "authentication.k8s.io", "v1", "TokenRequest"};

int sub_token(struct request *r)
{
    struct val *v = NULL, *claims = NULL;
    const struct object *sa = NULL;
    struct lifetime life = {0};
    char uid[UUID_TEXT];
    int e = decode_body(r, &types[T_authentication_v1_TokenRequest], "authentication.k8s.io/v1",
                        "TokenRequest", &v);
    if (e)
        return e;
    struct val *spec = val_sub_obj(r->arena, v, N_spec);
    if (!val_get(spec, N_expirationSeconds))
        val_set_int(r->arena, spec, N_expirationSeconds, DEFAULT_SECONDS);
    if ((e = check_spec(r, spec)) || (e = find_named(r, &sa)) ||
        (e = restrict_node(r, val_get(spec, N_boundObjectRef))) || (e = admit_subresource(r, ADMIT_CREATE, &token_body, v)) ||
        (e = make_claims(r, sa, spec, &claims, &life)))
        return e;
    val_set_int(r->arena, spec, N_expirationSeconds,
                life.warn_after ? life.warn_after - life.from : life.until - life.from);
    struct val *meta = val_sub_obj(r->arena, v, N_metadata);
    val_set_str(r->arena, meta, N_name, sa->name);
    val_set_str(r->arena, meta, N_namespace, sa->namespace_);
    val_set_str(r->arena, meta, N_uid, str_of(uuid_new(uid)));
    val_set_time(r->arena, meta, N_creationTimestamp, r->now);
    struct val *status = val_sub_obj(r->arena, v, N_status);
    val_set_time(r->arena, status, N_expirationTimestamp,
                 (struct wall){SECONDS(life.warn_after ? life.warn_after : life.until)});
    if ((e = sign(r, claims, status)))
        return e;
    answer_value(r, 201, &types[T_authentication_v1_TokenRequest], v);
    return 0;
}
