/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of this node that are PersistentVolumes: made at the first mount, removed when the volume goes
 * (docs/storage.md). */
#include "auth/crypto.h"
#include "node/volumes-internal.h"
#include "type/claim.h"
#include "wire/json.h"

/* "<folder>/<the volume's own name>" and nothing cleverer: whoever may make volumes shall have no other's data
 * removed, and nothing outside of the folder. */
bool local_path_is_own(const char *folder, struct str path, struct str volume)
{
    struct str above = str_of(folder);
    return above.n && str_starts(path, above) && path.n == above.n + 1 + volume.n && path.p[above.n] == '/' &&
           str_eq(str_from(path, above.n + 1), volume) && volume.n && str_find(volume, '/') < 0 &&
           !str_is(volume, ".") && !str_is(volume, "..");
}

bool local_path_is_ours(struct kubelet *k, const struct val *pv)
{
    return str_is(obj_annotation(pv, STR(ANN_LOCAL_PATH_NODE)), k->cfg.node_name) &&
           local_path_is_own(k->cfg.local_path_dir, val_str(val_at(pv, N_spec, N_local, N_path)),
                             obj_name(pv));
}

static void changed(void *arg, const struct resource *res, const struct object *old,
                    const struct object *new_)
{
    if (new_ && obj_deleting(new_->val))
        node_volumes_look(arg);
}

/* Only this node's: the label is what the provisioner marks them with. */
struct replica *local_path_follow(struct kubelet *k)
{
    char hex[65];
    struct str node = str_of(k->cfg.node_name);
    if (node.n > 63)
        node = str_n(sha256_hex(node, hex), 32);
    struct replica_kind kind = {.res = &resources[RES_PERSISTENTVOLUMES],
                                .label_selector =
                                    arena_printf(&k->arena, "cube.local/node=" STR_FMT, STR_ARG(node))};
    struct replica *r = replica_new(k->client, &kind, 1);
    replica_on_change(r, changed, k);
    replica_start(r);
    return r;
}

static bool is_used(struct kubelet *k, const struct val *pv)
{
    struct arena a = ARENA_INIT;
    bool used =
        volume_is_used(k, arena_printf(&a, "kubernetes.io/local-volume/" STR_FMT, STR_ARG(obj_name(pv))));
    arena_done(&a);
    return used;
}

static bool must_go(struct kubelet *k, const struct val *pv)
{
    return obj_deleting(pv) && obj_has_finalizer(pv, STR(LOCAL_PATH_FINALIZER)) &&
           str_is(obj_annotation(pv, STR(ANN_LOCAL_PATH_NODE)), k->cfg.node_name) &&
           !str_is(val_str(val_at(pv, N_status, N_phase)), "Bound") && !is_used(k, pv);
}

/* A merge patch that says which version it means: nobody else's finalizer is lost. */
static int take_finalizer(struct kubelet *k, const struct val *pv, struct arena *a)
{
    struct status s;
    struct val *list = val_new(a, VAL_LIST);
    struct buf b = BUF_INIT;
    VAL_EACH (val_get(obj_meta(pv), N_finalizers), f)
        if (!str_is(val_str(f), LOCAL_PATH_FINALIZER))
            val_add(a, list, *f);
    buf_puts(&b, "{\"metadata\":{\"resourceVersion\":");
    json_encode_str(&b, val_getstr(obj_meta(pv), N_resourceVersion), 0);
    buf_puts(&b, ",\"finalizers\":");
    json_encode(&b, NULL, list, 0);
    buf_puts(&b, "}}");
    status_init(&s, a);
    int r = client_patch(k->client, CALL(.res = &resources[RES_PERSISTENTVOLUMES], .name = obj_name(pv)),
                         PATCH_MERGE, buf_str(&b), a, NULL, &s);
    if (r > 0 && r != 404 && r != 409)
        log_warn(LOG, "cannot let go of volume " STR_FMT ": " STR_FMT, STR_ARG(obj_name(pv)),
                 STR_ARG(s.message));
    buf_done(&b);
    return r;
}

static int reclaim(struct kubelet *k, const struct val *pv)
{
    struct arena a = ARENA_INIT;
    struct err e = {{0}};
    struct str path = val_str(val_at(pv, N_spec, N_local, N_path));
    bool remove = str_is(val_str(val_at(pv, N_spec, N_persistentVolumeReclaimPolicy)), "Delete");
    int r = 0;
    if (remove && local_path_is_ours(k, pv))
        r = k->host->ops->remove_tree(k->host, path.p, &e);
    if (r < 0)
        log_warn(LOG, "volume " STR_FMT ": %s", STR_ARG(obj_name(pv)), err_text(&e, r));
    else
        r = take_finalizer(k, pv, &a);
    arena_done(&a);
    return r;
}

bool local_path_reclaim(struct kubelet *k)
{
    bool good = true;
    struct replica *r = node_local_path_volumes(k);
    struct object **gone = NULL;
    size_t n = 0;
    struct tree_iter it;
    if (!r)
        return true;
    for (tree_seek(&it, replica_tree(r, &resources[RES_PERSISTENTVOLUMES]), STR_NULL); it.object;
         tree_next(&it))
        if (must_go(k, it.object->val)) {
            gone = xrealloc(gone, (n + 1) * sizeof(*gone));
            gone[n++] = object_ref(it.object);
        }
    for (size_t i = 0; i < n; i++) {
        int done = fiber_cancelled() ? 0 : reclaim(k, gone[i]->val);
        good = good && (done == 0 || done == 404);
        object_unref(gone[i]);
    }
    free(gone);
    return good;
}
