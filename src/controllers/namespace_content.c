/* SPDX-License-Identifier: Apache-2.0 */
/* What every namespace has: the ServiceAccount "default", and the cluster's CA for those who talk to the API.
 */
#include "controllers/namespace.h"

#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define SERVICE_ACCOUNT "default"
#define ROOT_CA "kube-root-ca.crt"

/* The namespace of the key, when things may still be made in it. */
static const struct object *living_namespace(const struct snapshot *world, struct key key)
{
    const struct object *ns = snapshot_get(world, &resources[RES_NAMESPACES], STR_NULL, key.name);
    bool ends =
        ns && (obj_deleting(ns->val) || str_is(val_str(val_at(ns->val, N_status, N_phase)), "Terminating"));
    return ends ? NULL : ns;
}

static struct val *named(struct arena *a, struct str ns, const char *name)
{
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata);
    val_set_str(a, meta, N_name, str_of(name));
    val_set_str(a, meta, N_namespace, ns);
    return v;
}

static void create(struct writes *w, const struct resource *res, struct str ns, const struct val *v)
{
    struct write *x = writes_add(w, WRITE_CREATE, res, ns, STR_NULL);
    x->body = v;
    x->may_fail = 409;
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, const char *name, key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    if (res == &resources[RES_NAMESPACES])
        sink(arg, (struct key){STR_NULL, o->name});
    else if (str_is(o->name, name))
        sink(arg, (struct key){STR_NULL, o->namespace_});
}

/* ---- the service account ----------------------------------------------------------------------------- */

static int sa_reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct resource *res = &resources[RES_SERVICEACCOUNTS];
    if (living_namespace(world, key) && !snapshot_get(world, res, key.name, STR(SERVICE_ACCOUNT)))
        create(w, res, key.name, named(w->arena, key.name, SERVICE_ACCOUNT));
    return 0;
}

static void sa_keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                       const struct object *new_, key_sink *sink, void *arg)
{
    if (res == &resources[RES_NAMESPACES] || !new_)
        keys_of(world, res, old, new_, SERVICE_ACCOUNT, sink, arg);
}

/* ---- the root CA ------------------------------------------------------------------------------------- */

static int ca_reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct resource *res = &resources[RES_CONFIGMAPS];
    const struct object *old = snapshot_get(world, res, key.name, STR(ROOT_CA));
    if (!living_namespace(world, key) || (old && obj_deleting(old->val)))
        return 0;
    struct val *v = old ? val_copy_shallow(w->arena, old->val) : named(w->arena, key.name, ROOT_CA);
    struct val *data = val_set(w->arena, v, N_data, *val_new(w->arena, VAL_MAP));
    val_put_str(w->arena, data, STR("ca.crt"), w->config->root_ca);
    if (!old)
        create(w, res, key.name, v);
    else if (!val_equal(val_get(old->val, N_data), data))
        writes_update(w, res, v);
    return 0;
}

static void ca_keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                       const struct object *new_, key_sink *sink, void *arg)
{
    keys_of(world, res, old, new_, ROOT_CA, sink, arg);
}

static bool ca_enabled(const struct controllers_config *config)
{
    return !str_empty(config->root_ca);
}

const struct controller serviceaccount_controller = {
    .name = "serviceaccount-controller",
    .account = "service-account-controller",
    .alias = "serviceaccount",
    .reads = (const uint16_t[]){RES_NAMESPACES, RES_SERVICEACCOUNTS, 0},
    .keys_of = sa_keys_of,
    .reconcile = sa_reconcile,
};

const struct controller root_ca_controller = {
    .name = "root-ca-certificate-publisher-controller",
    .account = "root-ca-cert-publisher",
    .alias = "root-ca-cert-publisher",
    .reads = (const uint16_t[]){RES_NAMESPACES, RES_CONFIGMAPS, 0},
    .keys_of = ca_keys_of,
    .reconcile = ca_reconcile,
    .enabled = ca_enabled,
};
