/* SPDX-License-Identifier: Apache-2.0 */
/* The CSI drivers that are registered with this node. */
#include "node/csi.h"

#include "grpc.h"
#include "net/grpc.h"
#include "node/plugins.h"

struct csi_driver {
    char *name;
    struct grpc_client *client;
    bool capabilities_known;
    unsigned capabilities;
    unsigned holds; /* calls in progress, and one while registered */
};

struct csi {
    struct map drivers;  /* name -> struct csi_driver */
    struct map changing; /* names that somebody registers or takes away just now */
};

static void driver_drop(struct csi_driver *d)
{
    if (--d->holds)
        return;
    grpc_client_free(d->client);
    free(d->name);
    free(d);
}

static void driver_drop_value(void *v)
{
    driver_drop(v);
}

void csi_start(struct kubelet *k)
{
    k->csi = NEW(struct csi);
}

void csi_free(struct kubelet *k)
{
    if (!k->csi)
        return;
    map_done_with(&k->csi->drivers, driver_drop_value);
    map_done(&k->csi->changing);
    free(k->csi);
    k->csi = NULL;
}

/* ---- calls --------------------------------------------------------------------------------------------- */

static int call_driver(struct csi_driver *d, unsigned method, const struct val *request, struct arena *a,
                       const struct val **ret, struct err *e)
{
    struct err why = {{0}};
    d->holds++;
    int r =
        grpc_call(d->client, &grpc_methods[method], request, mono_add(os_mono(), CSI_TIMEOUT), a, ret, &why);
    driver_drop(d);
    if (r > 0)
        err_set(e, r, "rpc error: code = %s desc = %s", grpc_code_name(r), why.text);
    else if (r < 0)
        err_set(e, r, "%s", err_text(&why, r));
    return r;
}

int csi_call(struct kubelet *k, struct str driver, unsigned method, const struct val *request,
             struct arena *a, const struct val **ret, struct err *e)
{
    struct csi_driver *d = map_get(&k->csi->drivers, driver);
    if (!d)
        return err_set(e, -ENODEV, "driver name " STR_FMT " not found in the list of registered CSI drivers",
                       STR_ARG(driver));
    return call_driver(d, method, request, a, ret, e);
}

bool csi_error_is_final(int r)
{
    switch (r) {
    case GRPC_CANCELLED:
    case GRPC_DEADLINE_EXCEEDED:
    case GRPC_UNAVAILABLE:
    case GRPC_RESOURCE_EXHAUSTED:
    case GRPC_ABORTED: /* CSI: another operation on the volume is under way */
        return false;
    }
    return r > 0;
}

static unsigned read_capabilities(const struct val *answer)
{
    unsigned all = 0;
    VAL_EACH (val_get(answer, N_capabilities), c) {
        int64_t n = val_int(val_at(c, N_rpc, N_type), 0);
        if (n > 0 && n < 32)
            all |= 1u << n;
    }
    return all;
}

int csi_capabilities(struct kubelet *k, struct str driver, unsigned *ret, struct err *e)
{
    struct csi_driver *d = map_get(&k->csi->drivers, driver);
    struct arena a = ARENA_INIT;
    const struct val *answer;
    int r = 0;
    if (!d || !d->capabilities_known) {
        r = csi_call(k, driver, G_csi_v1_Node_NodeGetCapabilities, val_new(&a, VAL_OBJ), &a, &answer, e);
        d = map_get(&k->csi->drivers, driver); /* another may have come while we waited */
        if (r == 0)
            *ret = read_capabilities(answer);
        if (r == 0 && d) {
            d->capabilities = *ret;
            d->capabilities_known = true;
        }
    } else {
        *ret = d->capabilities;
    }
    arena_done(&a);
    return r;
}

const struct val *csi_driver_object(struct kubelet *k, struct str driver)
{
    const struct object *o =
        k->world ? replica_get(k->world, &resources[RES_CSIDRIVERS], STR_NULL, driver) : NULL;
    return o ? o->val : NULL;
}

bool csi_attach_required(struct kubelet *k, struct str driver)
{
    return val_bool(val_at(csi_driver_object(k, driver), N_spec, N_attachRequired), true);
}

/* ---- coming and going ---------------------------------------------------------------------------------- */

/* "1.0.0", "v1.3": CSI v1 is what is spoken here. */
static bool speaks_v1(const struct val *versions)
{
    VAL_EACH (versions, v) {
        struct str s = val_str(v);
        if (s.n && s.p[0] == 'v')
            s = str_from(s, 1);
        if (str_starts(s, STR("1.")) || str_is(s, "1"))
            return true;
    }
    return false;
}

static int check_versions(struct str name, const struct val *versions, struct err *e)
{
    if (!val_len(versions))
        return err_set(e, -EINVAL,
                       "kubernetes.io/csi: RegisterPlugin for CSI driver \"" STR_FMT
                       "\" failed. Plugin returned an empty list for supported versions",
                       STR_ARG(name));
    if (!speaks_v1(versions))
        return err_set(e, -EINVAL,
                       "kubernetes.io/csi: RegisterPlugin for CSI driver \"" STR_FMT
                       "\" failed. None of the versions specified are supported",
                       STR_ARG(name));
    return 0;
}

static int introduce(struct kubelet *k, struct csi_driver *d, struct err *e)
{
    struct arena a = ARENA_INIT;
    const struct val *answer = NULL;
    int r = call_driver(d, G_csi_v1_Node_NodeGetInfo, val_new(&a, VAL_OBJ), &a, &answer, e);
    struct csi_node_info info = {
        .driver = str_of(d->name),
        .node_id = val_getstr(answer, N_node_id),
        .max_volumes = val_int(val_get(answer, N_max_volumes_per_node), 0),
        .topology = val_at(answer, N_accessible_topology, N_segments),
    };
    if (r == 0 && !info.node_id.n)
        r = err_set(e, -EINVAL, "error adding CSI driver node info: driverNodeID must not be empty");
    if (r == 0)
        r = csi_node_install(k, &info, e);
    arena_done(&a);
    return r;
}

static int check_name(const struct csi *csi, struct str name, struct err *e)
{
    if (!name.n || str_find(name, '/') >= 0) /* it becomes part of paths */
        return err_set(e, -EINVAL, "kubernetes.io/csi: \"" STR_FMT "\" is no name for a CSI driver", STR_ARG(name));
    if (map_has(&csi->changing, name))
        return err_set(e, -EBUSY, "kubernetes.io/csi: CSI driver \"" STR_FMT "\" is being registered or removed", STR_ARG(name));
    if (map_has(&csi->drivers, name))
        return err_set(e, -EEXIST,
                       "kubernetes.io/csi: RegisterPlugin for CSI driver \"" STR_FMT
                       "\" failed. Another driver with the same name is already registered",
                       STR_ARG(name));
    return 0;
}

static struct csi_driver *driver_new(struct str name, struct str endpoint)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct csi_driver *d = NEW(struct csi_driver);
    struct str address = str_starts(endpoint, STR("unix:")) ? endpoint : arena_printf(&a, "unix:" STR_FMT, STR_ARG(endpoint));
    *d = (struct csi_driver){.name = str_dup(name),
                             .holds = 1,
                             .client = grpc_client_new(
                                 &(const struct grpc_client_config){.address = arena_cstr(&a, address)})};
    return d;
}

/* A second plug-in of the name that came while the first is introduced would write its id over the first one's; one that
 * came while another is taken away would be taken out of the CSINode again. Both have to ask again. */
static int registered(struct kubelet *k, struct str name, struct str endpoint, const struct val *versions,
                      struct err *e)
{
    struct csi *csi = k->csi;
    int r = check_versions(name, versions, e);
    if (r == 0)
        r = check_name(csi, name, e);
    if (r < 0)
        return r;
    struct csi_driver *d = driver_new(name, endpoint);
    map_put(&csi->changing, str_of(d->name), csi);
    r = introduce(k, d, e);
    map_del(&csi->changing, str_of(d->name));
    if (r == 0) {
        map_put(&csi->drivers, str_of(d->name), d);
        node_volumes_wake(k);
    } else {
        driver_drop(d);
    }
    return r;
}

static void gone(struct kubelet *k, struct str name, struct str endpoint UNUSED)
{
    struct err e = {{0}};
    struct csi_driver *d = map_del(&k->csi->drivers, name);
    if (!d)
        return;
    map_put(&k->csi->changing, str_of(d->name), d);
    int r = csi_node_remove(k, name, &e);
    map_del(&k->csi->changing, str_of(d->name));
    if (r != 0 && r != -ECANCELED)
        log_warn(LOG, "CSI driver %s: %s", d->name, err_text(&e, r));
    driver_drop(d);
}

const struct plugin_handler csi_plugin_handler = {"CSIPlugin", registered, gone};
