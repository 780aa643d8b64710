/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authorizer.group('apps').resource('deployments').namespace('x').check('get').allowed(): a request that is built step
 * by step, each step a value of its own, and asked of whom the user of this folder brings (struct cel_authorizer).
 */
#include "cel/cel-internal.h"

#define FN(name) static struct cel_val name(struct cel_run *r, const struct cel_val *v, unsigned n)

#define OPAQUE_TYPE(id, text)                                                                                \
    static const struct cel_type id = {.kind = CEL_OPAQUE, .name = {text, sizeof(text) - 1}}
OPAQUE_TYPE(path_check, "kubernetes.authorization.PathCheck");
OPAQUE_TYPE(group_check, "kubernetes.authorization.GroupCheck");
OPAQUE_TYPE(decision, "kubernetes.authorization.Decision");

struct check_val { /* the authorizer itself and all checks */
    struct cel_opaque o;
    const struct cel_authorizer *z;
    struct cel_authz_request q;
};

struct decision_val {
    struct cel_opaque o;
    struct cel_authz_decision d;
};

static const struct check_val *check_in(struct cel_val v)
{
    return CEL_OPAQUE_AS(v, struct check_val);
}

static const struct cel_authz_decision *decision_in(struct cel_val v)
{
    return &CEL_OPAQUE_AS(v, struct decision_val)->d;
}

static struct check_val *new_check(struct arena *a, const struct cel_type *t, const struct cel_authorizer *z,
                                   const struct cel_authz_request *q)
{
    struct check_val *c = ARENA_NEW(a, struct check_val);
    c->o = (struct cel_opaque){.type = t, .size = 1};
    c->z = z;
    if (q)
        c->q = *q;
    return c;
}

struct cel_val cel_of_authorizer(struct arena *a, const struct cel_authorizer *z)
{
    return cel_of_opaque(&new_check(a, &cel_authorizer, z, NULL)->o);
}

struct cel_val cel_of_resource_check(struct arena *a, const struct cel_authorizer *z, const struct cel_authz_request *q)
{
    return cel_of_opaque(&new_check(a, &cel_resource_check, z, q)->o);
}

/* The next step: a copy that is of type t. */
static struct check_val *step(struct cel_run *r, struct cel_val v, const struct cel_type *t)
{
    return new_check(r->arena, t, check_in(v)->z, &check_in(v)->q);
}

#define STEP(fn, type, member)                                                                               \
    FN(fn)                                                                                                   \
    {                                                                                                        \
        struct check_val *c = step(r, v[0], &type);                                                          \
        c->q.member = cel_str(v[1]);                                                                         \
        return cel_of_opaque(&c->o);                                                                         \
    }
STEP(group, group_check, group)
STEP(resource, cel_resource_check, resource)
STEP(subresource, cel_resource_check, subresource)
STEP(namespace, cel_resource_check, namespace)
STEP(name, cel_resource_check, name)

FN(path)
{
    struct str p = cel_str(v[1]);
    while (str_ends(p, STR("/")))
        p.n--;
    while (str_starts(p, STR("/")))
        p = str_from(p, 1);
    if (!p.n)
        return cel_fail(r->arena, "path must not be empty");
    struct check_val *c = step(r, v[0], &path_check);
    c->q.path = cel_str(v[1]);
    return cel_of_opaque(&c->o);
}

FN(service_account)
{
    struct check_val *c = step(r, v[0], &cel_authorizer);
    if (!v[1].n || !v[2].n)
        return cel_fail(r->arena, "Invalid service account namespace or name");
    c->q.sa_namespace = cel_str(v[1]);
    c->q.sa_name = cel_str(v[2]);
    return cel_of_opaque(&c->o);
}

FN(field_selector)
{
    struct check_val *c = step(r, v[0], &cel_resource_check);
    c->q.field_selector = cel_str(v[1]);
    c->q.has_field_selector = true;
    return cel_of_opaque(&c->o);
}

FN(label_selector)
{
    struct check_val *c = step(r, v[0], &cel_resource_check);
    c->q.label_selector = cel_str(v[1]);
    c->q.has_label_selector = true;
    return cel_of_opaque(&c->o);
}

FN(check)
{
    struct cel_authz_request q = check_in(v[0])->q;
    const struct cel_authorizer *z = check_in(v[0])->z;
    struct decision_val *d = ARENA_NEW(r->arena, struct decision_val);
    q.verb = cel_str(v[1]);
    d->o = (struct cel_opaque){.type = &decision, .size = 1};
    d->d = z->check(z->user, &q, r->arena);
    return cel_of_opaque(&d->o);
}

FN(errored)
{
    return cel_of_bool(decision_in(v[0])->error.n > 0);
}

FN(error)
{
    return cel_of_str(decision_in(v[0])->error);
}

FN(allowed)
{
    return cel_of_bool(decision_in(v[0])->allowed);
}

FN(reason)
{
    return cel_of_str(decision_in(v[0])->reason);
}

#define A "kubernetes.authorization.Authorizer"
#define G "kubernetes.authorization.GroupCheck"
#define R "kubernetes.authorization.ResourceCheck"
#define P "kubernetes.authorization.PathCheck"
#define D "kubernetes.authorization.Decision"
#define LIB CEL_LIB_AUTHORIZER

const struct cel_fn cel_fns_authz[] = {
    {"path", "authorizer_path", A ".(string) " P, path, COST_ONE, LIB, 27},
    {"group", "authorizer_group", A ".(string) " G, group, COST_ONE, LIB, 27},
    {"serviceAccount", "authorizer_serviceaccount", A ".(string, string) " A, service_account, COST_ONE, LIB, 27},
    {"resource", "groupcheck_resource", G ".(string) " R, resource, COST_ONE, LIB, 27},
    {"subresource", "resourcecheck_subresource", R ".(string) " R, subresource, COST_ONE, LIB, 27},
    {"namespace", "resourcecheck_namespace", R ".(string) " R, namespace, COST_ONE, LIB, 27},
    {"name", "resourcecheck_name", R ".(string) " R, name, COST_ONE, LIB, 27},
    {"fieldSelector", "authorizer_fieldselector", R ".(string) " R, field_selector, COST_SELECTOR, LIB, 31},
    {"labelSelector", "authorizer_labelselector", R ".(string) " R, label_selector, COST_SELECTOR, LIB, 31},
    {"check", "pathcheck_check", P ".(string) " D, check, COST_CHECK, LIB, 27},
    {"check", "resourcecheck_check", R ".(string) " D, check, COST_CHECK, LIB, 27},
    {"errored", "decision_errored", D ".() bool", errored, COST_ONE, LIB, 27},
    {"error", "decision_error", D ".() string", error, COST_ONE, LIB, 27},
    {"allowed", "decision_allowed", D ".() bool", allowed, COST_ONE, LIB, 27},
    {"reason", "decision_reason", D ".() string", reason, COST_ONE, LIB, 27},
};
const size_t n_cel_fns_authz = ARRAY_SIZE(cel_fns_authz);
