/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User namespaces (KEP-127): a Pod with hostUsers: false gets a range of the machine's users of its own. Which one is in the
 * file "userns" of its folder, in upstream's form, and goes with it: the runtime does not tell.
 */
#include "node/kubelet-internal.h"
#include "wire/json.h"

enum { LENGTH = 65536, FILE_MAX = 4096 };

static bool in_use(struct kubelet *k, int64_t first)
{
    MAP_EACH (&k->workers, m)
        if (((const struct worker *)m->value)->userns == first)
            return true;
    return false;
}

static struct str file_of(struct kubelet *k, struct arena *a, const char *uid)
{
    return arena_printf(a, STR_FMT "/userns", STR_ARG(pod_dir(a, k->cfg.root_dir, str_of(uid))));
}

/* What an earlier life of ours, or upstream's kubelet, gave it; 0: nothing. */
static int64_t read_range(struct kubelet *k, const char *uid)
{
    struct arena a = ARENA_INIT;
    struct str text;
    struct val *v = NULL;
    int64_t first = 0;
    if (k->host->ops->read_file(k->host, &a, file_of(k, &a, uid).p, FILE_MAX, &text, NULL) == 0 &&
        json_decode(&a, NULL, text, 0, NULL, &v, NULL) == 0) {
        const struct val *m = val_item(val_key(v, STR("uidMappings")), 0);
        if (val_int(val_key(m, STR("length")), 0) == LENGTH && val_int(val_key(m, STR("containerId")), -1) == 0)
            first = val_int(val_key(m, STR("hostId")), 0);
    }
    arena_done(&a);
    return first > 0 && first % LENGTH == 0 ? first : 0;
}

/* Ranges of Pods that are known only by their folders count, too: they may run. */
static void read_others(struct kubelet *k)
{
    MAP_EACH (&k->workers, m) {
        struct worker *w = m->value;
        if (!w->userns && w->pod && !val_bool(val_at(w->pod->val, N_spec, N_hostUsers), true))
            w->userns = read_range(k, w->uid);
    }
}

static int write_range(struct kubelet *k, const char *uid, int64_t first, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct str one = arena_printf(&a, "[{\"hostId\":%lld,\"containerId\":0,\"length\":%d}]", (long long)first, LENGTH);
    struct str text = arena_printf(&a, "{\"uidMappings\":" STR_FMT ",\"gidMappings\":" STR_FMT "}", STR_ARG(one), STR_ARG(one));
    int r = k->host->ops->make_dir(k->host, pod_dir(&a, k->cfg.root_dir, str_of(uid)).p, 0750, e);
    if (r == 0)
        if ((r = os_write_file(file_of(k, &a, uid).p, text, 0644)) < 0) /* torn, another Pod would get its range */
            err_set(e, r, "cannot write the user namespace of pod %s: %s", uid, strerror(-r));
    arena_done(&a);
    return r;
}

static bool handler_can(const struct kubelet *k, struct str handler)
{
    VAL_EACH (val_get(k->features, N_runtimeHandlers), h)
        if (str_eq(val_getstr(h, N_name), handler))
            return val_bool(val_at(h, N_features, N_userNamespaces), false);
    return false;
}

int userns_ensure(struct worker *w, const struct val *pod, struct str handler, struct err *e)
{
    struct kubelet *k = w->k;
    if (val_bool(val_at(pod, N_spec, N_hostUsers), true))
        return 0;
    if (!handler_can(k, handler))
        return handler.n ? err_set(e, -ENOTSUP, "can't set `spec.hostUsers: false`, RuntimeClass handler \"" STR_FMT
                                   "\" does not support user namespaces", STR_ARG(handler))
                         : err_set(e, -ENOTSUP, "can't set `spec.hostUsers: false`, runtime does not support user namespaces");
    if (!w->userns)
        w->userns = read_range(k, w->uid);
    if (w->userns)
        return 0;
    read_others(k);
    for (int64_t i = 1; i <= MAX(k->cfg.max_pods, 110) * INT64_C(2); i++)
        if (!in_use(k, i * LENGTH)) {
            w->userns = i * LENGTH;
            int r = write_range(k, w->uid, w->userns, e);
            if (r < 0)
                w->userns = 0;
            return r;
        }
    return err_set(e, -ENOSPC, "create user namespace: could not find an empty slot to allocate a user namespace");
}

struct cri_node userns_node(struct worker *w, const struct val *pod)
{
    struct cri_node n = w->k->cri;
    if (!val_bool(val_at(pod, N_spec, N_hostUsers), true)) {
        if (!w->userns)
            w->userns = read_range(w->k, w->uid);
        n.userns = w->userns;
    }
    return n;
}
