/* SPDX-License-Identifier: Apache-2.0 */
/* Events about Pods, containers (a Pod with a fieldPath) and the node. */
#include "node/kubelet-internal.h"


static PRINTF(2, 0) struct str format(struct arena *a, const char *fmt, va_list ap)
{
    struct buf b = BUF_INIT;
    buf_vprintf(&b, fmt, ap);
    struct str s = arena_str(a, buf_str(&b));
    buf_done(&b);
    return s;
}

/* For a static pod: about its image in the API, which is what people look at. */
static struct val *pod_reference(struct arena *a, struct kubelet *k, const struct val *pod)
{
    const struct object *mirror = pod_is_static(pod) ? mirror_of(k, pod) : NULL;
    const struct val *v = mirror ? mirror->val : pod;
    struct val *ref = val_new(a, VAL_OBJ);
    val_set_str(a, ref, N_kind, STR("Pod"));
    val_set_str(a, ref, N_namespace, obj_namespace(v));
    val_set_str(a, ref, N_name, obj_name(v));
    val_set_str(a, ref, N_uid, obj_uid(v));
    val_set_str(a, ref, N_apiVersion, STR("v1"));
    val_set_str(a, ref, N_resourceVersion, val_getstr(obj_meta(v), N_resourceVersion));
    return ref;
}

static void record(struct kubelet *k, const struct val *ref, const struct val *annotations, bool warning, const char *reason, struct str text)
{
    struct str who = val_getstr(ref, N_name);
    log_line(warning ? LOG_INFO : LOG_DEBUG, LOG, "%s " STR_FMT "/" STR_FMT ": " STR_FMT, reason,
             STR_ARG(val_getstr(ref, N_namespace)), STR_ARG(who), STR_ARG(text));
    event_record_noted(k->events, &resources[RES_PODS], ref, annotations, warning, reason, STR_FMT, STR_ARG(text));
}

void pod_event(struct kubelet *k, const struct val *pod, bool warning, const char *reason, const char *fmt, ...)
{
    struct arena a = ARENA_INIT;
    va_list ap;
    if (!pod)
        return;
    va_start(ap, fmt);
    struct str text = format(&a, fmt, ap);
    va_end(ap);
    record(k, pod_reference(&a, k, pod), NULL, warning, reason, text);
    arena_done(&a);
}

void pod_event_noted(struct kubelet *k, const struct val *pod, const struct val *annotations, const char *reason, struct str text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    record(k, pod_reference(&a, k, pod), annotations, true, reason, text);
}

void container_event(struct kubelet *k, const struct val *pod, struct str container, bool warning, const char *reason,
                     const char *fmt, ...)
{
    struct arena a = ARENA_INIT;
    va_list ap;
    if (!pod)
        return;
    va_start(ap, fmt);
    struct str text = format(&a, fmt, ap);
    va_end(ap);
    struct val *ref = pod_reference(&a, k, pod);
    struct str path = container_field_path(&a, pod, container);
    if (path.n)
        val_set_str(&a, ref, N_fieldPath, path);
    record(k, ref, NULL, warning, reason, text);
    arena_done(&a);
}

void node_event(struct kubelet *k, bool warning, const char *reason, const char *fmt, ...)
{
    struct arena a = ARENA_INIT;
    va_list ap;
    va_start(ap, fmt);
    struct str text = format(&a, fmt, ap);
    va_end(ap);
    record(k, k->node_ref, NULL, warning, reason, text);
    arena_done(&a);
}

const struct val *pod_disruption(struct arena *a, const struct val *pod, struct str message)
{
    struct val *c = val_new(a, VAL_OBJ);
    int64_t generation = val_int(val_get(obj_meta(pod), N_generation), 0);
    val_set_str(a, c, N_type, STR("DisruptionTarget"));
    if (generation)
        val_set_int(a, c, N_observedGeneration, generation);
    val_set_str(a, c, N_status, STR("True"));
    val_set_str(a, c, N_reason, STR("TerminationByKubelet"));
    val_set_str(a, c, N_message, message);
    val_set_time(a, c, N_lastTransitionTime, os_wall());
    return c;
}
