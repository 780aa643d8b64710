/* SPDX-License-Identifier: Apache-2.0 */
/* CSI volumes with a file system: attached, staged on the node, published into the Pod's folder; and back. */
#include "node/csi.h"

#include "auth/crypto.h"
#include "base/base64.h"
#include "grpc.h"
#include "wire/json.h"

#include <stdio.h>

#define PERIOD SECONDS(50) /* between looks at what is there; passes come every minute */

/* ---- attached? ----------------------------------------------------------------------------------------- */

static bool lists_name(const struct val *list, struct str name)
{
    VAL_EACH (list, v)
        if (str_eq(val_is(v, VAL_STR) ? val_str(v) : val_getstr(v, N_name), name))
            return true;
    return false;
}

/* What the attach-detach controller and the kubelet tell each other through the Node. */
static bool attached_by_node(struct volume_job *j)
{
    const struct val *status = val_get(this_node(j->k), N_status);
    if (!lists_name(val_get(status, N_volumesInUse), j->v->unique)) {
        node_touch(j->k);
        return false;
    }
    return lists_name(val_get(status, N_volumesAttached), j->v->unique);
}

static int check_attached(struct volume_job *j, struct csi_volume *c, struct err *e)
{
    const struct val *va = NULL;
    struct err why = {{0}};
    j->pv->attachable = csi_attach_required(j->k, c->driver);
    j->pv->waits_attached = j->pv->attachable;
    if (!j->pv->attachable)
        return 0;
    if (!attached_by_node(j))
        return -EAGAIN;
    j->stage = j->v->block ? "MapVolume.WaitForAttach failed" : "MountVolume.WaitForAttach failed";
    struct str name = csi_attachment_name(j->a, c->handle, c->driver, str_of(j->k->cfg.node_name));
    int r = j->world->v.get(j->world->v.ctx, RES_VOLUMEATTACHMENTS, STR_NULL, name, &va, &why);
    if (r < 0)
        return r == -ECANCELED
                   ? r
                   : err_set(e, r, "volume " STR_FMT " has GET error for volume attachment " STR_FMT ": %s",
                             STR_ARG(c->handle), STR_ARG(name), err_text(&why, r));
    if (obj_deleting(va))
        return err_set(e, -ENOENT, "volume attachment is being deleted");
    struct str problem = val_str(val_at(va, N_status, N_attachError, N_message));
    if (!val_bool(val_at(va, N_status, N_attached), false))
        return problem.n
                   ? err_set(e, -EIO, STR_FMT, STR_ARG(problem))
                   : err_set(e, -EIO, "volume " STR_FMT " is not attached for volume attachment " STR_FMT,
                             STR_ARG(c->handle), STR_ARG(name));
    c->publish_context = val_at(va, N_status, N_attachmentMetadata);
    j->pv->waits_attached = false;
    return 0;
}

/* ---- what goes into requests --------------------------------------------------------------------------- */

struct str csi_staging_dir(struct arena *a, struct kubelet *k, struct str driver, struct str handle)
{
    char hex[65];
    return arena_printf(a, "%s/plugins/kubernetes.io/csi/" STR_FMT "/%s", k->cfg.root_dir, STR_ARG(driver),
                        sha256_hex(handle, hex));
}

static int64_t access_mode(const struct csi_volume *c, const struct volume *v)
{
    static const struct {
        const char *mode;
        int64_t plain, fine; /* with SINGLE_NODE_MULTI_WRITER */
    } modes[] = {
        {"ReadWriteOnce", E_csi_v1_VolumeCapability_AccessMode_SINGLE_NODE_WRITER,
         E_csi_v1_VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
        {"ReadOnlyMany", E_csi_v1_VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY,
         E_csi_v1_VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY},
        {"ReadWriteMany", E_csi_v1_VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER,
         E_csi_v1_VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
        {"ReadWriteOncePod", E_csi_v1_VolumeCapability_AccessMode_SINGLE_NODE_WRITER,
         E_csi_v1_VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER},
    };
    struct str mode = val_str(val_item(val_at(v->pv, N_spec, N_accessModes), 0));
    bool fine = csi_can(c->capabilities, E_csi_v1_NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER);
    if (!mode.n)
        mode = STR("ReadWriteOnce");
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
        if (str_is(mode, modes[i].mode))
            return fine ? modes[i].fine : modes[i].plain;
    return E_csi_v1_VolumeCapability_AccessMode_UNKNOWN;
}

struct val *csi_capability(struct arena *a, const struct csi_volume *c, const struct volume *v, int64_t group)
{
    struct val *cap = val_new(a, VAL_OBJ), *o;
    val_set_int(a, val_sub_obj(a, cap, N_access_mode), N_mode, access_mode(c, v));
    if (v->block) {
        val_sub_obj(a, cap, N_block);
        return cap;
    }
    o = val_sub_obj(a, cap, N_mount);
    if (val_getstr(v->source, N_fsType).n)
        val_set_str(a, o, N_fs_type, val_getstr(v->source, N_fsType));
    VAL_EACH (v->pv ? val_at(v->pv, N_spec, N_mountOptions) : NULL, option)
        val_add_str(a, val_sub_list(a, o, N_mount_flags), val_str(option));
    if (group >= 0 && csi_can(c->capabilities, E_csi_v1_NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP))
        val_set_str(a, o, N_volume_mount_group, arena_printf(a, "%lld", (long long)group));
    return cap;
}

int csi_secrets(struct volume_job *j, const struct val *ref, struct str ns, const struct val **ret,
                struct err *e)
{
    const struct val *secret = NULL;
    struct err why = {{0}};
    struct str name = val_getstr(ref, N_name);
    *ret = NULL;
    if (!ref)
        return 0;
    if (val_getstr(ref, N_namespace).n)
        ns = val_getstr(ref, N_namespace);
    int r = j->world->v.get(j->world->v.ctx, RES_SECRETS, ns, name, &secret, &why);
    if (r < 0)
        return r == -ECANCELED
                   ? r
                   : err_set(e, r,
                             "fetching secret reference " STR_FMT "/" STR_FMT
                             " failed: kubernetes.io/csi: failed to find the secret " STR_FMT
                             " in the namespace " STR_FMT " with error: %s",
                             STR_ARG(ns), STR_ARG(name), STR_ARG(name), STR_ARG(ns), err_text(&why, r));
    struct val *map = val_new(j->a, VAL_MAP);
    VAL_EACH_ENTRY (val_get(secret, N_data), key, value)
        val_put_str(j->a, map, val_str(key), val_str(value));
    *ret = map;
    return 0;
}

static const struct token *find_token(const struct worker *w, struct str audience, int64_t seconds)
{
    for (size_t i = 0; i < w->n_tokens; i++)
        if (w->tokens[i].seconds == seconds && str_is(audience, w->tokens[i].audience))
            return &w->tokens[i];
    return NULL;
}

/* {"<audience>": {"token": ..., "expirationTimestamp": ...}} (KEP-2047) */
static int token_text(struct volume_job *j, const struct val *requests, struct str *ret, struct err *e)
{
    struct val *all = val_new(j->a, VAL_MAP);
    struct buf b = BUF_INIT;
    VAL_EACH (requests, q) {
        struct str audience = val_getstr(q, N_audience), text;
        int64_t seconds = val_int(val_get(q, N_expirationSeconds), 3600);
        int r = j->world->v.token(j->world->v.ctx, audience, seconds, j->a, &text, e);
        if (r < 0)
            return r;
        const struct token *t = find_token(j->w, audience, seconds);
        struct val *one = val_new(j->a, VAL_MAP);
        char when[TIME_TEXT_MAX];
        val_put_str(j->a, one, STR("expirationTimestamp"),
                    str_of(time_format((struct wall){t ? t->expires.ns : 0}, when)));
        val_put_str(j->a, one, STR("token"), text);
        val_put(j->a, all, audience, *one);
    }
    json_encode(&b, NULL, all, JSON_SORTED);
    *ret = arena_str(j->a, buf_str(&b));
    buf_done(&b);
    return 0;
}

static void add_pod_info(struct volume_job *j, const struct csi_volume *c, struct val *map)
{
    val_put_str(j->a, map, STR("csi.storage.k8s.io/pod.name"), obj_name(j->pod));
    val_put_str(j->a, map, STR("csi.storage.k8s.io/pod.namespace"), obj_namespace(j->pod));
    val_put_str(j->a, map, STR("csi.storage.k8s.io/pod.uid"), obj_uid(j->pod));
    val_put_str(j->a, map, STR("csi.storage.k8s.io/serviceAccount.name"),
                val_str(val_at(j->pod, N_spec, N_serviceAccountName)));
    val_put_str(j->a, map, STR("csi.storage.k8s.io/ephemeral"), c->inline_ ? STR("true") : STR("false"));
}

int csi_publish_attributes(struct volume_job *j, const struct csi_volume *c, struct val **ret,
                           struct val **secrets, struct err *e)
{
    struct val *map = val_copy(j->a, val_get(j->v->source, N_volumeAttributes));
    struct val *driver = val_copy(j->a, csi_driver_object(j->k, c->driver)); /* we wait below */
    const struct val *requests = val_at(driver, N_spec, N_tokenRequests);
    struct str tokens;
    if (!map)
        map = val_new(j->a, VAL_MAP);
    if (val_bool(val_at(driver, N_spec, N_podInfoOnMount), false))
        add_pod_info(j, c, map);
    int r = val_len(requests) ? token_text(j, requests, &tokens, e) : 0;
    if (r == 0 && val_len(requests)) {
        bool secret = val_bool(val_at(driver, N_spec, N_serviceAccountTokenInSecrets), false);
        if (secret && !*secrets)
            *secrets = val_new(j->a, VAL_MAP);
        val_put_str(j->a, secret ? *secrets : map, STR("csi.storage.k8s.io/serviceAccount.tokens"), tokens);
    }
    *ret = map;
    return r;
}

/* ---- vol_data.json ------------------------------------------------------------------------------------- */

int csi_save_data(struct kubelet *k, struct arena *a, const char *dir, const struct csi_data *d, bool whole,
                  struct err *e)
{
    struct val *map = val_new(a, VAL_MAP);
    struct buf b = BUF_INIT;
    struct str node = str_of(k->cfg.node_name);
    val_put_str(a, map, STR("driverName"), d->driver);
    val_put_str(a, map, STR("volumeHandle"), d->handle);
    if (whole) {
        val_put_str(a, map, STR("attachmentID"), csi_attachment_name(a, d->handle, d->driver, node));
        val_put_str(a, map, STR("nodeName"), node);
        val_put_str(a, map, STR("specVolID"), d->spec_name);
        val_put_str(a, map, STR("volumeLifecycleMode"), d->inline_ ? STR("Ephemeral") : STR("Persistent"));
    }
    json_encode(&b, NULL, map, JSON_SORTED);
    buf_putc(&b, '\n');
    int r = k->host->ops->make_dir(k->host, dir, 0750, e);
    const char *path = arena_printf(a, "%s/vol_data.json", dir).p;
    if (r == 0 && (r = os_write_file(path, buf_str(&b), 0644)) < 0) /* torn, nobody could tell whose the volume is */
        err_set(e, r, "cannot write %s: %s", path, strerror(-r));
    buf_done(&b);
    return r;
}

int csi_load_data(struct kubelet *k, struct arena *a, const char *dir, struct csi_data *ret, struct err *e)
{
    struct str text;
    struct val *map;
    int r =
        k->host->ops->read_file(k->host, a, arena_printf(a, "%s/vol_data.json", dir).p, 1 << 20, &text, e);
    if (r == 0)
        r = json_decode(a, NULL, text, 0, NULL, &map, e);
    if (r < 0)
        return r;
    *ret = (struct csi_data){
        .spec_name = val_str(val_key(map, STR("specVolID"))),
        .handle = val_str(val_key(map, STR("volumeHandle"))),
        .driver = val_str(val_key(map, STR("driverName"))),
        .inline_ = str_is(val_str(val_key(map, STR("volumeLifecycleMode"))), "Ephemeral"),
    };
    return 0;
}

int csi_remove_unmounted(struct kubelet *k, const char *path, struct err *e)
{
    if (host_mounted(k->host, path))
        return err_set(e, -EBUSY, "%s is still mounted", path);
    return host_unmount(k->host, path, false, e);
}

/* ---- staging ------------------------------------------------------------------------------------------- */

int csi_stage_call(struct volume_job *j, const struct csi_volume *c, struct err *e)
{
    struct val *q = val_new(j->a, VAL_OBJ);
    const struct val *secrets, *answer;
    int r = csi_secrets(j, val_get(j->v->source, N_nodeStageSecretRef), STR(""), &secrets, e);
    if (r < 0)
        return r;
    val_set_str(j->a, q, N_volume_id, c->handle);
    val_set_ref(j->a, q, N_publish_context, c->publish_context);
    val_set_str(j->a, q, N_staging_target_path, c->staging);
    val_set_ref(j->a, q, N_volume_capability,
                csi_capability(j->a, c, j->v, j->v->block ? -1 : pod_fs_group(j->pod)));
    val_set_ref(j->a, q, N_secrets, secrets);
    val_set_ref(j->a, q, N_volume_context, val_get(j->v->source, N_volumeAttributes));
    return csi_call(j->k, c->driver, G_csi_v1_Node_NodeStageVolume, q, j->a, &answer, e);
}

static int stage(struct volume_job *j, struct volume_use *u, struct csi_volume *c, struct err *e)
{
    struct str dir = csi_staging_dir(j->a, j->k, c->driver, c->handle);
    struct csi_data d = {.handle = c->handle, .driver = c->driver};
    c->staging = arena_printf(j->a, STR_FMT "/globalmount", STR_ARG(dir));
    if (u->staged)
        return 0;
    j->stage = "MountVolume.MountDevice failed";
    int r = j->k->host->ops->make_dir(j->k->host, c->staging.p, 0750, e);
    if (r == 0)
        r = csi_save_data(j->k, j->a, dir.p, &d, false, e);
    if (r < 0)
        return r;
    u->to_unstage = true;
    r = csi_stage_call(j, c, e);
    if (r == 0)
        u->staged = true;
    return r;
}

/* ---- publishing ---------------------------------------------------------------------------------------- */

int csi_publish(struct volume_job *j, const struct csi_volume *c, struct err *e)
{
    struct val *q = val_new(j->a, VAL_OBJ), *attributes, *secrets;
    const struct val *own, *answer;
    int r = csi_secrets(j, val_get(j->v->source, N_nodePublishSecretRef), obj_namespace(j->pod), &own, e);
    secrets = val_copy(j->a, own);
    if (r == 0)
        r = csi_publish_attributes(j, c, &attributes, &secrets, e);
    if (r < 0)
        return r;
    val_set_str(j->a, q, N_volume_id, c->handle);
    val_set_ref(j->a, q, N_publish_context, c->publish_context);
    if (c->staging.n)
        val_set_str(j->a, q, N_staging_target_path, c->staging);
    val_set_str(j->a, q, N_target_path, c->target);
    val_set_ref(j->a, q, N_volume_capability,
                csi_capability(j->a, c, j->v, j->v->block ? -1 : pod_fs_group(j->pod)));
    val_set_bool(j->a, q, N_readonly, j->v->read_only);
    val_set_ref(j->a, q, N_secrets, secrets);
    val_set_ref(j->a, q, N_volume_context, attributes);
    return csi_call(j->k, c->driver, G_csi_v1_Node_NodePublishVolume, q, j->a, &answer, e);
}

/* By the driver's fsGroupPolicy (KEP-1682): is the tree given to the Pod's group? */
static bool takes_group(const struct volume_job *j, const struct csi_volume *c)
{
    struct str policy = val_str(val_at(csi_driver_object(j->k, c->driver), N_spec, N_fsGroupPolicy));
    const struct val *modes = j->v->pv ? val_at(j->v->pv, N_spec, N_accessModes) : NULL;
    if (pod_fs_group(j->pod) < 0 || j->v->read_only || str_is(policy, "None") ||
        csi_can(c->capabilities, E_csi_v1_NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP))
        return false;
    if (str_is(policy, "File"))
        return true;
    if (!val_getstr(j->v->source, N_fsType).n)
        return false;
    VAL_EACH (modes, m)
        if (str_is(val_str(m), "ReadWriteOnce") || str_is(val_str(m), "ReadWriteOncePod"))
            return true;
    return !j->v->pv;
}

static int mount_volume(struct volume_job *j, const struct csi_volume *c, struct err *e)
{
    struct host *h = j->k->host;
    struct str dir = str_slice(c->target, 0, (size_t)str_rfind(c->target, '/'));
    struct csi_data d = {j->v->spec_name, c->handle, c->driver, c->inline_};
    j->stage = "MountVolume.SetUp failed";
    int r = csi_save_data(j->k, j->a, arena_cstr(j->a, dir), &d, true, e);
    if (r == 0)
        r = csi_publish(j, c, e);
    if (r != 0)
        return r;
    if (takes_group(j, c) && !j->pv->ready) {
        struct err why = {{0}};
        r = h->ops->own(h, c->target.p, pod_fs_group(j->pod), fs_group_always(j->pod), &why);
        if (r < 0)
            err_set(e, r, "applyFSGroup failed for vol " STR_FMT ": %s", STR_ARG(c->handle),
                    err_text(&why, r));
    }
    return r;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static int check_lifecycle(struct volume_job *j, const struct csi_volume *c, struct err *e)
{
    const struct val *driver = csi_driver_object(j->k, c->driver);
    const char *mode = c->inline_ ? "Ephemeral" : "Persistent";
    if (!driver && c->inline_)
        return err_set(
            e, -ENOTSUP,
            "kubernetes.io/csi: mounter.SetupAt failed to check volume lifecycle mode: volume mode \"%s\" "
            "not supported by driver " STR_FMT " (no CSIDriver object)",
            mode, STR_ARG(c->driver));
    const struct val *modes = val_at(driver, N_spec, N_volumeLifecycleModes);
    bool found = !driver || (!val_len(modes) && !c->inline_);
    VAL_EACH (modes, m)
        found = found || str_is(val_str(m), mode);
    return found
               ? 0
               : err_set(
                     e, -ENOTSUP,
                     "kubernetes.io/csi: mounter.SetupAt failed to check volume lifecycle mode: volume mode "
                     "\"%s\" not supported by driver " STR_FMT " (only supports %s)",
                     mode, STR_ARG(c->driver), c->inline_ ? "[\"Persistent\"]" : "[\"Ephemeral\"]");
}

static bool taken_by_other(const struct volume_job *j, const struct volume_use *u)
{
    const struct val *modes = val_at(j->v->pv, N_spec, N_accessModes);
    return val_len(modes) == 1 && str_is(val_str(val_item(modes, 0)), "ReadWriteOncePod") &&
           volume_used_by_other(u, obj_uid(j->pod));
}

static int set_up_with(struct volume_job *j, struct volume_use *u, struct csi_volume *c, struct err *e)
{
    int r = check_lifecycle(j, c, e);
    if (r == 0 && u && taken_by_other(j, u))
        return err_set(e, -EBUSY,
                       "volume uses the ReadWriteOncePod access mode and is already in use by another pod");
    if (r == 0 && u)
        r = check_attached(j, c, e);
    if (r == 0) {
        if (u)
            j->stage = j->v->block ? "MapVolume.SetUpDevice failed" : "MountVolume.MountDevice failed";
        struct err why = {{0}};
        r = csi_capabilities(j->k, c->driver, &c->capabilities, &why);
        if (r != 0)
            err_set(e, r, "kubernetes.io/csi: %s failed to get CSI client: %s",
                    u ? "attacher.MountDevice" : "mounter.SetUpAt", err_text(&why, r));
    }
    if (r != 0)
        return r;
    if (j->v->block)
        return csi_set_up_block(j, u, c, e);
    if (u && csi_can(c->capabilities, E_csi_v1_NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME))
        r = stage(j, u, c, e);
    return r == 0 ? mount_volume(j, c, e) : r;
}

/* What is there already: asked again when the driver wants that, and looked at whether it must grow. */
static int refresh(struct volume_job *j, struct volume_use *u, struct csi_volume *c, struct err *e)
{
    int r = 0;
    if (j->pv->republish && j->pv->republish_after.ns <= os_mono().ns) {
        j->pv->republish_after = mono_add(os_mono(), PERIOD);
        r = set_up_with(j, u, c, e);
    }
    if (r == 0 && j->v->pvc && !j->v->read_only && j->pv->expand_after.ns <= os_mono().ns) {
        j->pv->expand_after = mono_add(os_mono(), PERIOD);
        if (csi_capabilities(j->k, c->driver, &c->capabilities, NULL) == 0)
            r = csi_expand(j, c, e);
    }
    return r;
}

static int locked(struct volume_job *j, struct volume_use *u, struct csi_volume *c, struct err *e)
{
    if (j->pv->ready)
        return refresh(j, u, c, e);
    int r = set_up_with(j, u, c, e);
    if (r == 0) {
        j->pv->republish =
            val_bool(val_at(csi_driver_object(j->k, c->driver), N_spec, N_requiresRepublish), false);
        j->pv->expand_after = j->pv->republish_after = mono_add(os_mono(), PERIOD);
        if (j->v->pvc && !j->v->read_only)
            r = csi_expand(j, c, e);
    }
    return r;
}

int set_up_csi(struct volume_job *j, struct err *e)
{
    struct csi_volume c = {
        .k = j->k, .driver = val_getstr(j->v->source, N_driver), .inline_ = !j->v->pv, .target = j->v->path};
    c.handle = c.inline_ ? csi_inline_handle(j->a, obj_uid(j->pod), j->v->spec_name)
                         : val_getstr(j->v->source, N_volumeHandle);
    if (c.inline_) {
        int once = locked(j, NULL, &c, e);
        return once > 0 ? -EIO : once;
    }
    struct volume_use *u = volume_use_hold(j->k, j->v, obj_uid(j->pod));
    int r = fmutex_lock(&u->lock);
    if (r == 0) {
        r = locked(j, u, &c, e);
        if (r == 0)
            volume_use_done(u, obj_uid(j->pod));
        fmutex_unlock(&u->lock);
    }
    volume_use_drop(j->k, u);
    return r > 0 ? -EIO : r; /* gRPC's code is in the sentence */
}
