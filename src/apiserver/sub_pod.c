/* SPDX-License-Identifier: Apache-2.0 */
/* pods/binding (and the old bindings): where a pod runs. */
#include "apiserver/admit.h"
#include "apiserver/state.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"

static int refuse(struct request *r, struct str name, const char *why)
{
    return status_conflict(&r->status, &resources[RES_PODS], name, why);
}

/* Labels of the node's place that pods carry (KEP-4742). */
static void copy_topology(struct request *r, struct val *pod, struct str node)
{
    static const char *const labels[] = {"topology.kubernetes.io/zone", "topology.kubernetes.io/region"};
    const struct object *n = cache_get(state_kind(r->server, RES_NODES), STR(""), node);
    struct val *meta = val_sub_obj(r->arena, pod, N_metadata);
    for (size_t i = 0; n && i < ARRAY_SIZE(labels); i++) {
        struct str value = obj_label(n->val, str_of(labels[i]));
        if (value.n)
            val_put_str(r->arena, val_sub_map(r->arena, meta, N_labels), str_of(labels[i]), value);
    }
}

static void merge_annotations(struct request *r, struct val *pod, const struct val *binding)
{
    struct val *meta = val_sub_obj(r->arena, pod, N_metadata);
    VAL_EACH_ENTRY(val_get(obj_meta(binding), N_annotations), k, v)
        val_put_str(r->arena, val_sub_map(r->arena, meta, N_annotations), val_str(k), val_str(v));
}

static int bind_pod(struct request *r, const struct object *now, void *arg, struct val **ret)
{
    const struct val *binding = arg;
    struct str node = val_str(val_at(binding, N_target, N_name));
    struct str uid = obj_uid(binding), has = val_str(val_at(now->val, N_spec, N_nodeName));
    if (uid.n && !str_eq(uid, now->uid))
        return refuse(r, now->name,
                      arena_printf(r->arena,
                                   "Precondition failed: UID in precondition: %.*s, UID in object "
                                   "meta: %.*s",
                                   STR_ARG(uid), STR_ARG(now->uid))
                          .p);
    if (obj_deleting(now->val))
        return refuse(r, now->name,
                      arena_printf(r->arena, "pod %.*s is being deleted, cannot be assigned to a host",
                                   STR_ARG(now->name))
                          .p);
    if (has.n)
        return refuse(r, now->name, arena_printf(r->arena, "pod %.*s is already assigned to node \"%.*s\"",
                                                 STR_ARG(now->name), STR_ARG(has)).p);
    if (val_len(val_at(now->val, N_spec, N_schedulingGates)))
        return refuse(r, now->name, arena_printf(r->arena, "pod %.*s has non-empty .spec.schedulingGates",
                                                 STR_ARG(now->name)).p);
    struct val *v = val_copy(r->arena, now->val);
    val_set_str(r->arena, val_sub_obj(r->arena, v, N_spec), N_nodeName, node);
    merge_annotations(r, v, binding);
    copy_topology(r, v, node);
    struct val *status = val_sub_obj(r->arena, v, N_status);
    val_del(status, N_nominatedNodeName);
    condition_set(r->arena, val_sub_list(r->arena, status, N_conditions), STR("PodScheduled"), "True", "",
                  STR(""), r->now);
    *ret = v;
    return 0;
}

static int check_binding(struct request *r, const struct val *b)
{
    struct str kind = val_str(val_at(b, N_target, N_kind));
    const struct val *target = val_get(b, N_target);
    if (kind.n && !str_is(kind, "Node"))
        cause_not_supported(&r->status, STR("target.kind"), val_get(target, N_kind),
                            (const char *const[]){"Node", "<empty>", NULL});
    if (!val_getstr(target, N_name).n)
        cause_required(&r->status, STR("target.name"), "");
    return status_invalid(&r->status, STR(""), STR("Binding"), obj_name(b));
}

static const struct admit_body binding_body = {&types[T_core_v1_Binding], "", "v1", "Binding"};

int sub_binding(struct request *r)
{
    struct val *b = NULL;
    const struct object *o = NULL;
    int e = decode_body(r, &types[T_core_v1_Binding], "v1", "Binding", &b);
    if (e)
        return e;
    if (!r->sub)
        r->info.name = obj_name(b);
    else if (obj_name(b).n && !str_eq(obj_name(b), r->info.name))
        return status_bad_request(&r->status, "name in URL does not match name in Binding object");
    if ((e = check_binding(r, b)) || (e = admit_subresource(r, ADMIT_CREATE, &binding_body, b)))
        return e;
    r->kind = state_kind(r->server, RES_PODS);
    e = write_update(r, bind_pod, b, WRITE_NO_CHECKS | WRITE_NO_ADMIT, &o, NULL);
    if (e == 404)
        return e;
    if (!e)
        answer_success(r, 201, NULL, STR(""), STR(""));
    return e;
}
