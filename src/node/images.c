/* SPDX-License-Identifier: Apache-2.0 */
/* Pulling images: policies, secrets, back-off, and not too many at once. */
#include "net/grpc.h"
#include "node/imageref.h"
#include "node/kubelet-internal.h"

#include <stdio.h>

/* What is remembered of pulls of one image for one Pod. */
struct pull {
    struct backoff backoff;
    struct wall failed;
    char *message; /* of the last failure */
};

struct pulling {
    struct worker *w;
    struct kubelet *k;
    struct world *world;
    struct arena *arena;
    struct str container, image; /* as the spec has it */
    struct str tagged;
    const struct val *sandbox_config;
    const char **ret_reason;
    struct str *ret_message;
    struct wall *ret_retry;
};

static int refuse(struct pulling *p, const char *reason, struct str message, int64_t retry)
{
    *p->ret_reason = reason;
    *p->ret_message = message;
    p->ret_retry->ns = os_wall().ns + retry;
    return -1;
}

static void read_info(struct arena *a, const struct val *image, struct image_info *ret)
{
    const struct val *uid = val_get(image, N_uid);
    *ret = (struct image_info){
        .ref = arena_str(a, val_getstr(image, N_id)),
        .has_uid = uid || !val_getstr(image, N_username).n, /* neither: root */
        .uid = val_int(val_get(uid, N_value), 0),
        .user = arena_str(a, val_getstr(image, N_username)),
    };
}

/* ---- credentials ------------------------------------------------------------------------------------------ */

/* AuthConfigs from the Pod's imagePullSecrets that fit the image. Missing secrets are no error: the pull may work. */
static const struct val *credentials(struct pulling *p)
{
    const struct val *pod = p->world->pod->val;
    const struct env_world *env = &p->world->v.env;
    struct val *list = val_new(p->arena, VAL_LIST);
    VAL_EACH (val_at(pod, N_spec, N_imagePullSecrets), ref) {
        const struct val *secret = NULL;
        struct str name = val_getstr(ref, N_name);
        if (!name.n || env->secret(env->ctx, obj_namespace(pod), name, &secret, NULL) < 0)
            continue;
        const struct val *data = val_get(secret, N_data);
        struct str config = val_str(val_key(data, STR(".dockerconfigjson")));
        bool legacy = !config.n;
        if (legacy)
            config = val_str(val_key(data, STR(".dockercfg")));
        if (config.n)
            image_credentials(p->arena, config, legacy, p->image, list, NULL);
        else
            pod_event(p->k, pod, true, "FailedToRetrieveImagePullSecret",
                      "Unable to retrieve some image pull secrets (" STR_FMT
                      "); attempting to pull the image may not succeed.",
                      STR_ARG(name));
    }
    return list;
}

/* ---- pulling ---------------------------------------------------------------------------------------------- */

static void pull_free(void *v)
{
    struct pull *p = v;
    free(p->message);
    free(p);
}

static struct str pull_key(struct pulling *p)
{
    return arena_printf(p->arena, "%s_" STR_FMT, p->w->uid, STR_ARG(p->image));
}

static struct pull *remembered(struct pulling *p)
{
    struct str key = pull_key(p);
    struct pull *m = map_get(&p->k->pulls, key);
    if (!m) {
        if (p->k->pulls.n > 1000) /* failures of Pods long gone */
            map_done_with(&p->k->pulls, pull_free);
        m = NEW(struct pull);
        map_put(&p->k->pulls, key, m);
    }
    return m;
}

static int try_all(struct pulling *p, struct err *e)
{
    const struct val *auths = credentials(p);
    struct str ref;
    int rc = -ENOENT;
    if (!val_len(auths))
        return runtime_pull(p->k->rt, p->tagged, NULL, p->sandbox_config, p->arena, &ref, e);
    VAL_EACH (auths, auth)
        if (rc != 0 && rc != -ECANCELED)
            rc = runtime_pull(p->k->rt, p->tagged, auth, p->sandbox_config, p->arena, &ref, e);
    return rc;
}

/* One of the few places to pull at; shared by all Pods. */
static int take_slot(struct kubelet *k)
{
    unsigned most = k->cfg.serial_pulls ? 1 : (unsigned)k->cfg.max_parallel_pulls;
    while (k->pulling >= most)
        if (waitq_wait(&k->pull_slot, MONO_NEVER) < 0)
            return -ECANCELED;
    k->pulling++;
    return 0;
}

static void give_slot(struct kubelet *k)
{
    k->pulling--;
    waitq_wake_one(&k->pull_slot);
}

static int pull_failed(struct pulling *p, struct err *e, int rc)
{
    struct pull *m = remembered(p);
    struct wall now = os_wall();
    const char *text = err_text(e, rc);
    container_event(p->k, p->world->pod->val, p->container, true, "Failed", "Failed to pull image \"" STR_FMT "\": %s",
                    STR_ARG(p->image), text);
    backoff_next(&m->backoff, BACKOFF_FIRST, BACKOFF_MOST, m->failed, now);
    m->failed = now;
    struct str message = arena_str(p->arena, str_of(text));
    free(m->message);
    m->message = str_dup(arena_printf(p->arena, "ErrImagePull: %s", text));
    return refuse(p, "ErrImagePull", message, m->backoff.interval / 8); /* soon look again: to say that it backs off */
}

static void told_pulled(struct pulling *p, int64_t waited, int64_t took, const struct val *image)
{
    char a[TIME_TEXT_MAX], b[TIME_TEXT_MAX];
    container_event(p->k, p->world->pod->val, p->container, false, "Pulled",
                    "Successfully pulled image \"" STR_FMT "\" in %s (%s including waiting). Image size: %lld bytes.",
                    STR_ARG(p->image), duration_format(took / NSEC_PER_MSEC * NSEC_PER_MSEC, a),
                    duration_format(waited / NSEC_PER_MSEC * NSEC_PER_MSEC, b),
                    (long long)val_int(val_get(image, N_size), 0));
}

static int pull(struct pulling *p, struct image_info *ret)
{
    struct pull *m = map_get(&p->k->pulls, pull_key(p));
    struct mono asked = os_mono(), began;
    struct err e = {{0}};
    const struct val *image = NULL;
    int64_t wait = m ? backoff_wait(&m->backoff, BACKOFF_MOST, m->failed, os_wall()) : 0;
    if (wait > 0) {
        container_event(p->k, p->world->pod->val, p->container, false, "BackOff",
                        "Back-off pulling image \"" STR_FMT "\"", STR_ARG(p->image));
        return refuse(p, "ImagePullBackOff",
                      arena_printf(p->arena, "Back-off pulling image \"" STR_FMT "\": %s", STR_ARG(p->image),
                                   m->message ? m->message : ""),
                      wait);
    }
    container_event(p->k, p->world->pod->val, p->container, false, "Pulling", "Pulling image \"" STR_FMT "\"",
                    STR_ARG(p->image));
    int rc = take_slot(p->k);
    if (rc < 0)
        return rc;
    began = os_mono();
    rc = try_all(p, &e);
    give_slot(p->k);
    if (rc == 0)
        rc = runtime_image(p->k->rt, p->tagged, p->arena, &image, &e);
    if (rc == 0 && !image)
        rc = err_set(&e, -ENOENT, "the image is not there after it was pulled");
    if (rc == -ECANCELED)
        return rc;
    if (rc != 0)
        return pull_failed(p, &e, rc);
    p->k->images_dirty = true;
    told_pulled(p, os_mono().ns - asked.ns, os_mono().ns - began.ns, image);
    m = map_del(&p->k->pulls, pull_key(p));
    if (m)
        pull_free(m);
    read_info(p->arena, image, ret);
    return 0;
}

/* ---- policy ------------------------------------------------------------------------------------------------ */

static int ensure(struct pulling *p, struct str policy, struct image_info *ret)
{
    const struct val *pod = p->world->pod->val, *image = NULL;
    struct err e = {{0}};
    if (image_check(p->image, &e) < 0) {
        struct str text = arena_printf(p->arena, "Failed to apply default image tag \"" STR_FMT
                                       "\": couldn't parse image name \"" STR_FMT "\": %s",
                                       STR_ARG(p->image), STR_ARG(p->image), e.text);
        container_event(p->k, pod, p->container, true, "InspectFailed", STR_FMT, STR_ARG(text));
        return refuse(p, "InvalidImageName", text, SECONDS(60));
    }
    p->tagged = image_with_tag(p->arena, p->image);
    if (!str_is(policy, "Always")) {
        int rc = runtime_image(p->k->rt, p->tagged, p->arena, &image, &e);
        if (rc == -ECANCELED)
            return rc;
        if (rc != 0) {
            struct str text = arena_printf(p->arena, "Failed to inspect image \"" STR_FMT "\": %s", STR_ARG(p->image),
                                           err_text(&e, rc));
            container_event(p->k, pod, p->container, true, "InspectFailed", STR_FMT, STR_ARG(text));
            return refuse(p, "ImageInspectError", text, SECONDS(10));
        }
    }
    if (image) {
        container_event(p->k, pod, p->container, false, "Pulled",
                        "Container image \"" STR_FMT "\" already present on machine and can be accessed by the pod",
                        STR_ARG(p->image));
        read_info(p->arena, image, ret);
        return 0;
    }
    if (str_is(policy, "Never")) {
        struct str text = arena_printf(p->arena, "Container image \"" STR_FMT "\" is not present with pull policy of Never",
                                       STR_ARG(p->image));
        container_event(p->k, pod, p->container, true, "ErrImageNeverPull", STR_FMT, STR_ARG(text));
        return refuse(p, "ErrImageNeverPull", text, SECONDS(10));
    }
    return pull(p, ret);
}

int image_ensure(struct worker *w, const struct val *container, const struct val *sandbox_config, struct world *world,
                 struct arena *a, struct image_info *ret, const char **ret_reason, struct str *ret_message,
                 struct wall *ret_retry)
{
    struct pulling p = {
        .w = w,
        .k = w->k,
        .world = world,
        .arena = a,
        .container = val_getstr(container, N_name),
        .image = val_getstr(container, N_image),
        .sandbox_config = sandbox_config,
        .ret_reason = ret_reason,
        .ret_message = ret_message,
        .ret_retry = ret_retry,
    };
    struct str policy = val_getstr(container, N_imagePullPolicy);
    return ensure(&p, policy.n ? policy : STR("IfNotPresent"), ret);
}

void images_free(struct kubelet *k)
{
    map_done_with(&k->pulls, pull_free);
}
