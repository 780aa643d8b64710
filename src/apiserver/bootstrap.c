/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/bootstrap.h"

#include <stdio.h>

#include "apiserver/encryption.h"
#include "apiserver/request.h"
#include "apiserver/service.h"
#include "apiserver/state.h"
#include "apiserver/uuid.h"
#include "apiserver/write.h"
#include "auth/rbac.h"
#include "base/os.h"
#include "names.h"
#include "net/resolve.h"
#include "resources.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "wire/json.h"

enum { FILE_MAX = 1 << 20 };

/* ---- one object -------------------------------------------------------------------------------------- */

static void add_put(struct request *r, const struct resource *res, struct val *v, int64_t expect)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct object *o = object_new(res, v);
    object_store_bytes(res, o->val, &b);
    storage_add_op(r, (struct store_op){.kind = STORE_PUT,
                                        .key = cache_key(r->arena, state_kind(r->server, res->index),
                                                         o->namespace_, o->name),
                                        .value = arena_str(r->arena, buf_str(&b)),
                                        .expect = expect,
                                        .cookie = o,
                                        .committing = cache_committing});
}

static void fill(struct request *r, const struct resource *res, struct val *v)
{
    char text[128];
    val_set_str(r->arena, v, N_kind, str_of(res->kind));
    val_set_str(r->arena, v, N_apiVersion, str_of(resource_api_version(res, text, sizeof(text))));
    struct val *meta = val_sub_obj(r->arena, v, N_metadata); /* last: v moves its fields when it grows */
    val_set_str(r->arena, meta, N_uid, str_of(uuid_new(text)));
    val_set_time(r->arena, meta, N_creationTimestamp, r->now);
}

static void create(struct request *r, const struct resource *res, struct val *v)
{
    const struct val *status = val_get(v, N_status);
    fill(r, res, v);
    defaults_apply(r->arena, res->type, v);
    prepare_create(r->arena, res, v);
    if (status)
        val_set_ref(r->arena, v, N_status, status);
    add_put(r, res, v, STORE_ABSENT);
}

static const struct object *present(struct request *r, const struct resource *res, const struct val *v)
{
    return cache_get(state_kind(r->server, res->index), obj_namespace(v), obj_name(v));
}

/* ---- roles and bindings that were cut back ----------------------------------------------------------- */

static bool has_subject(const struct val *list, const struct val *s)
{
    VAL_EACH(list, i)
        if (val_equal(i, s))
            return true;
    return false;
}

/* The present object with what it lacks, or NULL. */
static struct val *reconciled(struct request *r, const struct object *now, const struct val *want)
{
    struct val *missing = NULL, *v = val_copy(r->arena, now->val);
    bool role = val_get(want, N_rules) != NULL;
    if (!str_is(obj_annotation(now->val, STR("rbac.authorization.kubernetes.io/autoupdate")), "true"))
        return NULL;
    if (role) {
        if (val_get(want, N_aggregationRule) ||
            rbac_rules_cover(r->arena, val_get(now->val, N_rules), val_get(want, N_rules), &missing))
            return NULL;
        VAL_EACH(missing, rule)
            val_add(r->arena, val_sub_list(r->arena, v, N_rules), *val_copy(r->arena, rule));
        return v;
    }
    bool changed = false;
    VAL_EACH(val_get(want, N_subjects), s)
        if (!has_subject(val_get(now->val, N_subjects), s)) {
            val_add(r->arena, val_sub_list(r->arena, v, N_subjects), *val_copy(r->arena, s));
            changed = true;
        }
    return changed ? v : NULL;
}

static bool is_rbac(const struct resource *res)
{
    return strcmp(res->group, "rbac.authorization.k8s.io") == 0;
}

static int add_text(struct request *r, const char *text, struct err *e)
{
    struct str version, kind, group = STR(""), v = STR_NULL;
    struct val *obj = NULL;
    int d = json_type_meta(r->arena, str_of(text), &version, &kind, e);
    if (d < 0)
        return d;
    if (!str_cut(version, '/', &group, &v)) {
        v = version;
        group = STR("");
    }
    const struct resource *res = resource_find_kind(group, v, kind);
    if (!res || json_decode(r->arena, res->type, str_of(text), 0, NULL, &obj, e) < 0)
        return err_set(e, -EINVAL, "bootstrap object %.*s %.*s cannot be used", STR_ARG(version),
                       STR_ARG(kind));
    const struct object *now = present(r, res, obj);
    if (!now) {
        create(r, res, obj);
    } else if (is_rbac(res)) {
        struct val *better = reconciled(r, now, obj);
        if (better)
            add_put(r, res, better, now->revision);
    }
    return 0;
}

/* ---- the server's own -------------------------------------------------------------------------------- */

static struct val *named(struct request *r, struct str ns, struct str name)
{
    struct val *v = val_new(r->arena, VAL_OBJ), *meta = val_sub_obj(r->arena, v, N_metadata);
    val_set_str(r->arena, meta, N_name, name);
    if (ns.n)
        val_set_str(r->arena, meta, N_namespace, ns);
    return v;
}

static void add_if_absent(struct request *r, uint16_t res, struct val *v)
{
    if (!present(r, &resources[res], v))
        create(r, &resources[res], v);
}

static void add_service_cidr(struct request *r)
{
    const char *cidr = r->server->config.service_cidr ? r->server->config.service_cidr : "10.96.0.0/12";
    struct val *v = named(r, STR(""), STR("kubernetes"));
    struct str rest = str_of(cidr), one;
    while (str_next(&rest, ',', &one))
        val_add_str(r->arena, val_sub_list(r->arena, val_sub_obj(r->arena, v, N_spec), N_cidrs),
                    str_trim(one));
    val_add_str(r->arena, val_sub_list(r->arena, val_sub_obj(r->arena, v, N_metadata), N_finalizers),
                STR("networking.k8s.io/service-cidr-finalizer"));
    condition_set(r->arena, val_sub_list(r->arena, val_sub_obj(r->arena, v, N_status), N_conditions),
                  STR("Ready"), "True", "", STR("Kubernetes Service CIDR is ready"), r->now);
    add_if_absent(r, RES_SERVICECIDRS, v);
}

static void add_api_services(struct request *r)
{
    for (unsigned i = 0; i < n_group_versions; i++) {
        const struct group_version *g = &group_versions[i];
        struct val *v = named(r, STR(""), arena_printf(r->arena, "%s.%s", g->version, g->group));
        struct val *spec = val_sub_obj(r->arena, v, N_spec);
        val_put_str(r->arena, val_sub_map(r->arena, val_sub_obj(r->arena, v, N_metadata), N_labels),
                    STR("kube-aggregator.kubernetes.io/automanaged"), STR("onstart"));
        if (g->group[0])
            val_set_str(r->arena, spec, N_group, str_of(g->group));
        val_set_str(r->arena, spec, N_version, str_of(g->version));
        val_set_int(r->arena, spec, N_groupPriorityMinimum, g->group_priority);
        val_set_int(r->arena, spec, N_versionPriority, g->version_priority);
        condition_set(r->arena, val_sub_list(r->arena, val_sub_obj(r->arena, v, N_status), N_conditions),
                      STR("Available"), "True", "Local", STR("Local APIServices are always available"),
                      r->now);
        add_if_absent(r, RES_APISERVICES, v);
    }
}

/* What extension servers need to know to trust this one (kube-system/extension-apiserver-authentication). */
static void add_authentication_info(struct request *r)
{
    const struct apiserver_config *c = &r->server->config;
    struct val *v = named(r, STR("kube-system"), STR("extension-apiserver-authentication"));
    struct val *data = val_sub_map(r->arena, v, N_data);
    struct str pem;
    if (c->client_ca && os_read_file(r->arena, c->client_ca, FILE_MAX, &pem) == 0)
        val_put_str(r->arena, data, STR("client-ca-file"), pem);
    if (c->front_proxy_ca && os_read_file(r->arena, c->front_proxy_ca, FILE_MAX, &pem) == 0) {
        const char *names = c->front_proxy_names ? c->front_proxy_names : "";
        val_put_str(r->arena, data, STR("requestheader-client-ca-file"), pem);
        val_put_str(r->arena, data, STR("requestheader-allowed-names"),
                    *names ? arena_printf(r->arena, "[\"%s\"]", names) : STR("[]"));
        val_put_str(r->arena, data, STR("requestheader-extra-headers-prefix"), STR("[\"X-Remote-Extra-\"]"));
        val_put_str(r->arena, data, STR("requestheader-group-headers"), STR("[\"X-Remote-Group\"]"));
        val_put_str(r->arena, data, STR("requestheader-uid-headers"), STR("[\"X-Remote-Uid\"]"));
        val_put_str(r->arena, data, STR("requestheader-username-headers"), STR("[\"X-Remote-User\"]"));
    }
    const struct object *now = present(r, &resources[RES_CONFIGMAPS], v);
    if (!now) {
        create(r, &resources[RES_CONFIGMAPS], v);
    } else if (!val_equal(val_get(now->val, N_data), data)) {
        struct val *better = val_copy(r->arena, now->val);
        val_set_ref(r->arena, better, N_data, data);
        add_put(r, &resources[RES_CONFIGMAPS], better, now->revision);
    }
}

static int add_kubernetes_service(struct request *r, int port, struct err *e)
{
    struct arena *a = r->arena;
    struct service_claim claim = {.n = 0};
    struct val *v = named(r, STR("default"), STR("kubernetes"));
    struct val *labels = val_sub_map(a, val_sub_obj(a, v, N_metadata), N_labels);
    val_put_str(a, labels, STR("component"), STR("apiserver"));
    val_put_str(a, labels, STR("provider"), STR("kubernetes"));
    struct val *spec = val_sub_obj(a, v, N_spec), *p = val_add_obj(a, val_sub_list(a, spec, N_ports));
    val_set_str(a, p, N_name, STR("https"));
    val_set_str(a, p, N_protocol, STR("TCP"));
    val_set_int(a, p, N_port, 443);
    val_set_int(a, p, N_targetPort, port ? port : 6443);
    val_set_str(a, spec, N_clusterIP, service_first_ip(r->server, a));
    if (present(r, &resources[RES_SERVICES], v))
        return 0;
    defaults_apply(a, resources[RES_SERVICES].type, v);
    service_prepare(r, v, NULL);
    r->kind = state_kind(r->server, RES_SERVICES);
    if (service_claim(r, v, NULL, &claim))
        return err_set(e, -EINVAL, "the kubernetes Service: %.*s", STR_ARG(r->status.message));
    create(r, &resources[RES_SERVICES], v);
    return 0;
}

/* ---- endpoints of the server ------------------------------------------------------------------------- */

static void put_port(struct request *r, struct val *list, int port)
{
    struct val *p = val_add_obj(r->arena, list);
    val_set_str(r->arena, p, N_name, STR("https"));
    val_set_str(r->arena, p, N_protocol, STR("TCP"));
    val_set_int(r->arena, p, N_port, port);
}

static void create_or_set(struct request *r, uint16_t res, struct val *v, name_id part, name_id part2)
{
    const struct object *now = present(r, &resources[res], v);
    if (!now) {
        create(r, &resources[res], v);
        return;
    }
    bool same = val_equal(val_get(now->val, part), val_get(v, part)) &&
                (!part2 || val_equal(val_get(now->val, part2), val_get(v, part2)));
    if (same)
        return;
    struct val *better = val_copy(r->arena, now->val);
    val_set_ref(r->arena, better, part, val_get(v, part));
    if (part2)
        val_set_ref(r->arena, better, part2, val_get(v, part2));
    add_put(r, &resources[res], better, now->revision);
}

static void add_endpoints(struct request *r, const char *address, int port)
{
    struct arena *a = r->arena;
    struct val *v = named(r, STR("default"), STR("kubernetes"));
    val_put_str(a, val_sub_map(a, val_sub_obj(a, v, N_metadata), N_labels),
                STR("endpointslice.kubernetes.io/skip-mirror"), STR("true"));
    struct val *s = val_add_obj(a, val_sub_list(a, v, N_subsets));
    val_set_str(a, val_add_obj(a, val_sub_list(a, s, N_addresses)), N_ip, str_of(address));
    put_port(r, val_sub_list(a, s, N_ports), port);
    create_or_set(r, RES_ENDPOINTS, v, N_subsets, 0);

    v = named(r, STR("default"), STR("kubernetes"));
    val_put_str(a, val_sub_map(a, val_sub_obj(a, v, N_metadata), N_labels), STR("kubernetes.io/service-name"),
                STR("kubernetes"));
    val_set_str(a, v, N_addressType, strchr(address, ':') ? STR("IPv6") : STR("IPv4"));
    struct val *ep = val_add_obj(a, val_sub_list(a, v, N_endpoints));
    val_add_str(a, val_sub_list(a, ep, N_addresses), str_of(address));
    val_set_bool(a, val_sub_obj(a, ep, N_conditions), N_ready, true);
    put_port(r, val_sub_list(a, v, N_ports), port);
    create_or_set(r, RES_ENDPOINTSLICES, v, N_endpoints, N_ports);
}

int bootstrap_port(const struct apiserver *s)
{
    char text[128];
    if (s->config.advertise_port)
        return s->config.advertise_port;
    if (apiserver_address(s, text, sizeof(text)) < 0)
        return 0;
    const char *colon = strrchr(text, ':');
    return colon ? atoi(colon + 1) : 0;
}

/* ---- all of it --------------------------------------------------------------------------------------- */

static int gather(struct request *r, struct err *e)
{
    int port = bootstrap_port(r->server);
    for (size_t i = 0; bootstrap_objects[i]; i++) {
        int t = add_text(r, bootstrap_objects[i], e);
        if (t < 0)
            return t;
    }
    add_service_cidr(r);
    add_api_services(r);
    add_authentication_info(r);
    int s = add_kubernetes_service(r, port, e);
    if (s < 0)
        return s;
    if (r->server->config.advertise && port)
        add_endpoints(r, r->server->config.advertise, port);
    return 0;
}

static int run_once(struct apiserver *s, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct request r;
    request_init(&r, s, &a, NULL);
    r.trusted = true;
    int x = gather(&r, e);
    if (x == 0)
        x = encryption_seal(s, &a, r.extra_ops, r.n_extra_ops, e);
    size_t most = store_ops_max(s->store);
    for (size_t at = 0; x == 0 && at < r.n_extra_ops; at += most)
        x = store_txn(s->store, r.extra_ops + at, MIN(most, r.n_extra_ops - at), NULL, NULL);
    if (x == STORE_FULL)
        x = err_set(e, -ENOSPC, "the store is full");
    storage_drop_ops(&r);
    if (x == 0)
        x = cache_fresh(s->cache);
    request_done(&r);
    return x;
}

int bootstrap_run(struct apiserver *s, struct err *e)
{
    for (int i = 0; i < 5; i++) {
        int x = run_once(s, e);
        if (x != STORE_CONFLICT)
            return x < 0 ? err_wrap(e, x, "bootstrap objects") : 0;
        if ((x = cache_fresh(s->cache)) < 0)
            return x;
    }
    return err_set(e, -EBUSY, "bootstrap objects: somebody else keeps changing them");
}
