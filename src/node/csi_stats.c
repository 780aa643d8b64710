/* SPDX-License-Identifier: Apache-2.0 */
/* What drivers say of their volumes: how full, how well. */
#include "node/csi.h"

#include "grpc.h"

static void read_usage(const struct val *usage, struct host_space *s)
{
    VAL_EACH (usage, u) {
        int64_t available = val_int(val_get(u, N_available), 0), total = val_int(val_get(u, N_total), 0);
        int64_t used = val_int(val_get(u, N_used), 0);
        switch (val_int(val_get(u, N_unit), 0)) {
        case E_csi_v1_VolumeUsage_BYTES:
            s->available = available;
            s->capacity = total;
            s->used = used;
            break;
        case E_csi_v1_VolumeUsage_INODES:
            s->inodes_free = available;
            s->inodes = total;
            s->inodes_used = used;
            break;
        }
    }
}

static struct val *about(struct arena *a, const struct volume *v, name_id path)
{
    struct val *q = val_new(a, VAL_OBJ);
    val_set_str(a, q, N_volume_id, val_getstr(v->source, N_volumeHandle));
    val_set_str(a, q, path, v->path);
    return q;
}

void csi_volume_stats(struct kubelet *k, const struct volume *v, struct volume_stats *ret)
{
    struct arena a = ARENA_INIT;
    struct str driver = val_getstr(v->source, N_driver);
    const struct val *answer;
    unsigned capabilities = 0;
    if (v->pv && csi_capabilities(k, driver, &capabilities, NULL) == 0) {
        if (csi_can(capabilities, E_csi_v1_NodeServiceCapability_RPC_GET_VOLUME_STATS) &&
            csi_call(k, driver, G_csi_v1_Node_NodeGetVolumeStats, about(&a, v, N_volume_path), &a, &answer,
                     NULL) == 0)
            read_usage(val_get(answer, N_usage), &ret->space);
        if (csi_can(capabilities, E_csi_v1_NodeServiceCapability_RPC_GET_VOLUME_HEALTH) &&
            csi_call(k, driver, G_csi_v1_Node_NodeGetVolumeHealth, about(&a, v, N_volume_publish_path), &a,
                     &answer, NULL) == 0)
            ret->abnormal = val_len(val_at(answer, N_volume_health, N_health_statuses)) > 0;
    }
    arena_done(&a);
}
