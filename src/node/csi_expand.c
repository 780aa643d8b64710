/* SPDX-License-Identifier: Apache-2.0 */
/* The node's part of growing a volume (KEP-1790, KEP-556): when its claim says so, and what the claim says
 * afterwards. */
#include "node/csi.h"

#include "grpc.h"
#include "net/grpc.h"
#include "type/claim.h"
#include "wire/json.h"

#define PENDING "NodeResizePending"
#define IN_PROGRESS "NodeResizeInProgress"
#define INFEASIBLE "NodeResizeInfeasible"

static struct str resize_status(const struct val *pvc)
{
    return val_str(val_key(val_at(pvc, N_status, N_allocatedResourceStatuses), STR("storage")));
}

/* Is it this node's turn? */
static bool is_due(const struct val *pvc, const struct val *pv)
{
    struct quantity is =
        quantity_or_zero(val_str(val_key(val_at(pvc, N_status, N_capacity), STR("storage"))));
    struct str status = resize_status(pvc);
    if (str_is(status, PENDING) || str_is(status, IN_PROGRESS))
        return true;
    return !status.n && quantity_cmp(is, volume_size(pv)) < 0 &&
           condition_is(val_at(pvc, N_status, N_conditions), STR("FileSystemResizePending"), "True");
}

/* ---- telling the claim --------------------------------------------------------------------------------- */

static bool is_resize_condition(struct str type)
{
    return str_is(type, "FileSystemResizePending") || str_is(type, "Resizing") ||
           str_is(type, "ControllerResizeError") || str_is(type, "NodeResizeError");
}

/* A merge patch of the status; size empty: as it is; status NULL: none; problem empty: none. */
static struct str status_patch(struct arena *a, const struct val *pvc, struct str size, const char *status,
                               struct str problem)
{
    struct val *conditions = val_new(a, VAL_LIST);
    struct buf b = BUF_INIT;
    VAL_EACH (val_at(pvc, N_status, N_conditions), c)
        if (!is_resize_condition(val_getstr(c, N_type)) ||
            (!size.n && str_is(val_getstr(c, N_type), "FileSystemResizePending")))
            val_add(a, conditions, *c);
    if (problem.n)
        condition_set(a, conditions, STR("NodeResizeError"), "True", "", problem, os_wall());
    buf_puts(&b, "{\"metadata\":{\"resourceVersion\":");
    json_encode_str(&b, val_getstr(obj_meta(pvc), N_resourceVersion), 0);
    buf_puts(&b, "},\"status\":{");
    if (size.n) {
        buf_puts(&b, "\"capacity\":{\"storage\":");
        json_encode_str(&b, size, 0);
        buf_puts(&b, "},");
    }
    buf_puts(&b, "\"allocatedResourceStatuses\":");
    if (status)
        buf_printf(&b, "{\"storage\":\"%s\"}", status);
    else
        buf_puts(&b, "null");
    buf_puts(&b, ",\"conditions\":");
    json_encode(&b, NULL, conditions, 0);
    buf_puts(&b, "}}");
    struct str s = arena_str(a, buf_str(&b));
    buf_done(&b);
    return s;
}

static int tell_claim(struct volume_job *j, const struct val **pvc, struct str size, const char *status,
                      struct str problem, struct err *e)
{
    struct status s;
    status_init(&s, j->a);
    int r = client_patch(j->k->client,
                         CALL(.res = &resources[RES_PERSISTENTVOLUMECLAIMS], .ns = obj_namespace(*pvc),
                              .name = obj_name(*pvc), .subresource = "status"),
                         PATCH_MERGE, status_patch(j->a, *pvc, size, status, problem), j->a, pvc, &s);
    if (r > 0)
        return err_set(e, -EIO, "MountVolume.NodeExpandVolume update pvc status failed: " STR_FMT,
                       STR_ARG(s.message));
    return r;
}

/* ---- growing ------------------------------------------------------------------------------------------- */

static int expand_call(struct volume_job *j, const struct csi_volume *c, const struct val *pv, struct err *e)
{
    struct val *q = val_new(j->a, VAL_OBJ);
    const struct val *secrets, *answer;
    int r = csi_secrets(j, val_get(j->v->source, N_nodeExpandSecretRef), STR(""), &secrets, e);
    if (r < 0)
        return r;
    val_set_str(j->a, q, N_volume_id, c->handle);
    val_set_str(j->a, q, N_volume_path, c->target);
    val_set_int(j->a, val_sub_obj(j->a, q, N_capacity_range), N_required_bytes,
                quantity_units(volume_size(pv)));
    if (csi_can(c->capabilities, E_csi_v1_NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME)) {
        struct str dir = csi_staging_dir(j->a, j->k, c->driver, c->handle);
        val_set_str(j->a, q, N_staging_target_path,
                    j->v->block ? arena_printf(j->a, STR_FMT "/staging/" STR_FMT,
                                               STR_ARG(csi_devices_dir(j->a, j->k)), STR_ARG(j->v->spec_name))
                                : arena_printf(j->a, STR_FMT "/globalmount", STR_ARG(dir)));
    }
    val_set_ref(j->a, q, N_volume_capability, csi_capability(j->a, c, j->v, -1));
    val_set_ref(j->a, q, N_secrets, secrets);
    return csi_call(j->k, c->driver, G_csi_v1_Node_NodeExpandVolume, q, j->a, &answer, e);
}

static void tell_success(struct volume_job *j, const struct val *pvc)
{
    struct str text =
        arena_printf(j->a, "MountVolume.NodeExpandVolume succeeded for volume \"" STR_FMT "\" %s",
                     STR_ARG(j->v->spec_name), j->k->cfg.node_name);
    pod_event(j->k, j->pod, false, "FileSystemResizeSuccessful", STR_FMT, STR_ARG(text));
    event_record(j->k->events, &resources[RES_PERSISTENTVOLUMECLAIMS], pvc, false,
                 "FileSystemResizeSuccessful", STR_FMT, STR_ARG(text));
}

static int grow(struct volume_job *j, const struct csi_volume *c, const struct val *pvc, const struct val *pv,
                struct err *e)
{
    char text[QUANTITY_TEXT_MAX];
    j->stage = "MountVolume.Setup failed while expanding volume";
    j->reason = "FileSystemResizeFailed";
    int r =
        str_is(resize_status(pvc), IN_PROGRESS) ? 0 : tell_claim(j, &pvc, STR(""), IN_PROGRESS, STR(""), e);
    if (r != 0)
        return r;
    r = expand_call(j, c, pv, e);
    if (r == 0) {
        tell_success(j, pvc);
        return tell_claim(j, &pvc, str_of(quantity_text(volume_size(pv), text)), NULL, STR(""), e);
    }
    if (csi_error_is_final(r)) {
        bool never = r == GRPC_OUT_OF_RANGE || r == GRPC_INVALID_ARGUMENT || r == GRPC_NOT_FOUND;
        struct str problem = arena_printf(j->a, "failed to expand pvc with %s", e->text);
        tell_claim(j, &pvc, STR(""), never ? INFEASIBLE : IN_PROGRESS, problem, NULL);
    }
    return r == GRPC_FAILED_PRECONDITION ? 0 : r; /* not while it is in use: later */
}

/* e is for the event; the volume is usable as it is, unless nobody uses it yet. */
int csi_expand(struct volume_job *j, const struct csi_volume *c, struct err *e)
{
    const struct val *pvc = j->v->pvc, *pv = j->v->pv;
    const struct volume_world *w = &j->world->v;
    struct csi_volume at = *c;
    if (!csi_can(c->capabilities, E_csi_v1_NodeServiceCapability_RPC_EXPAND_VOLUME))
        return 0;
    if (j->pv->ready) { /* what was known then is old */
        if (w->get(w->ctx, RES_PERSISTENTVOLUMECLAIMS, obj_namespace(pvc), obj_name(pvc), &pvc, NULL) < 0 ||
            !is_due(pvc, pv) || w->get(w->ctx, RES_PERSISTENTVOLUMES, STR_NULL, obj_name(pv), &pv, NULL) < 0)
            return 0;
    }
    if (!is_due(pvc, pv))
        return 0;
    if (j->v->block)
        at.target =
            arena_printf(j->a, STR_FMT "/publish/" STR_FMT "/" STR_FMT, STR_ARG(csi_devices_dir(j->a, j->k)),
                         STR_ARG(j->v->spec_name), STR_ARG(obj_uid(j->pod)));
    return grow(j, &at, pvc, pv, e);
}
