/* SPDX-License-Identifier: Apache-2.0 */
/* PodResizeValidator and NodeDeclaredFeatureValidator: resizes that the Pod's node can never grant or does not know
 * (KEP-1287, KEP-5328). */
#include "apiserver/admit.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/podresources.h"
#include "wire/quantity.h"

/* Of a resource, what the Pod asks for in all: its own request goes before the sum of its containers', overhead on top. */
static struct quantity requested(const struct val *spec, const struct val *sum, struct str name)
{
    const struct val *own = val_key(val_at(spec, N_resources, N_requests), name);
    struct quantity q = quantity_or_zero(val_str(own ? own : val_key(sum, name)));
    return quantity_add(q, quantity_or_zero(val_str(val_key(val_get(spec, N_overhead), name))));
}

static bool spec_moved(const struct admission *a)
{
    return val_int(val_get(obj_meta(a->v), N_generation), 0) != val_int(val_get(obj_meta(a->old), N_generation), 0);
}

static const struct val *node_of(struct admission *a, int *ret)
{
    struct str name = val_str(val_at(a->v, N_spec, N_nodeName));
    const struct val *node = admit_find(a, RES_NODES, STR(""), name);
    *ret = node ? 0 : admit_forbid(a, "node \"%.*s\" not found", STR_ARG(name));
    return node;
}

int admit_pod_resize(struct admission *a)
{
    const struct val *spec = val_get(a->v, N_spec), *node;
    int e = 0;
    if (!admit_is(a, RES_PODS, "resize") || !val_getstr(spec, N_nodeName).n || !spec_moved(a) || !(node = node_of(a, &e)))
        return e;
    struct str os = obj_label(node, STR("kubernetes.io/os"));
    if (os.n && !str_is(os, "linux")) {
        cause_add(&a->r->status, "UnsupportedPlatform", STR_NULL, "%s", "");
        return admit_forbid(a, "pod resize is only supported on linux nodes, node \"%.*s\" is \"%.*s\"", STR_ARG(obj_name(node)),
                            STR_ARG(os));
    }
    const struct val *sum = pod_resources_sum(a->r->arena, spec, N_requests), *have = val_at(node, N_status, N_allocatable);
    struct quantity cpu = requested(spec, sum, STR("cpu")), cpu_have = quantity_or_zero(val_str(val_key(have, STR("cpu"))));
    struct quantity memory = requested(spec, sum, STR("memory")),
                    memory_have = quantity_or_zero(val_str(val_key(have, STR("memory"))));
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (quantity_cmp(cpu, cpu_have) > 0)
        buf_printf(&b, "cpu, requested: %lld, allocatable: %lld", (long long)quantity_milli(cpu), (long long)quantity_milli(cpu_have));
    if (quantity_cmp(memory, memory_have) > 0)
        buf_printf(&b, "%smemory, requested: %lld, allocatable: %lld", b.n ? "; " : "", (long long)quantity_units(memory),
                   (long long)quantity_units(memory_have));
    if (!b.n)
        return 0;
    cause_add(&a->r->status, "NodeCapacity", STR_NULL, "%s", "");
    return admit_forbid(a, "node didn't have enough allocatable resources: " STR_FMT, STR_ARG(buf_str(&b)));
}

/* ---- features that nodes declare --------------------------------------------------------------------- */

static bool moves_init(const struct val *spec, const struct val *old)
{
    const struct val *was = val_get(old, N_initContainers);
    for (size_t i = 0; i < val_len(was); i++) {
        const struct val *c = val_item(was, i), *now = val_item(val_get(spec, N_initContainers), i);
        if (!str_is(val_getstr(c, N_restartPolicy), "Always") && !val_equal(val_get(c, N_resources), val_get(now, N_resources)))
            return true;
    }
    return false;
}

static bool declares(const struct val *node, const char *feature)
{
    VAL_EACH(val_at(node, N_status, N_declaredFeatures), f)
        if (str_is(val_str(f), feature))
            return true;
    return false;
}

int admit_declared_features(struct admission *a)
{
    static const char *const names[] = {"InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers"};
    const struct val *spec = val_get(a->v, N_spec), *was = val_get(a->old, N_spec), *node;
    int e = 0;
    if (!(admit_is(a, RES_PODS, NULL) || admit_is(a, RES_PODS, "resize")) || !val_getstr(spec, N_nodeName).n || !spec_moved(a))
        return 0;
    bool needed[] = {!val_equal(val_get(spec, N_resources), val_get(was, N_resources)), moves_init(spec, was)};
    CLEANUP_BUF struct buf b = BUF_INIT;
    if ((!needed[0] && !needed[1]) || !(node = node_of(a, &e)))
        return e;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (needed[i] && !declares(node, names[i]))
            buf_printf(&b, "%s%s", b.n ? ", " : "", names[i]);
    return b.n ? admit_forbid(a, "pod update requires features " STR_FMT " which are not available on node \"%.*s\"",
                              STR_ARG(buf_str(&b)), STR_ARG(obj_name(node)))
               : 0;
}
