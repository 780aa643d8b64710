/* SPDX-License-Identifier: Apache-2.0 */
#include "node/pod.h"

#include <stdio.h>

static const name_id spec_names[CONTAINER_KINDS] = {
    [CK_INIT] = N_initContainers,
    [CK_MAIN] = N_containers,
    [CK_EPHEMERAL] = N_ephemeralContainers,
};
static const name_id status_names[CONTAINER_KINDS] = {
    [CK_INIT] = N_initContainerStatuses,
    [CK_MAIN] = N_containerStatuses,
    [CK_EPHEMERAL] = N_ephemeralContainerStatuses,
};

const struct val *pod_containers(const struct val *pod, enum container_kind kind)
{
    return val_get(pod_spec(pod), spec_names[kind]);
}

name_id pod_statuses_name(enum container_kind kind)
{
    return status_names[kind];
}

const struct val *pod_statuses(const struct val *status, enum container_kind kind)
{
    return val_get(status, status_names[kind]);
}

const struct val *pod_find_container(const struct val *pod, struct str name, enum container_kind *ret_kind)
{
    for (int k = 0; k < CONTAINER_KINDS; k++)
        VAL_EACH (pod_containers(pod, (enum container_kind)k), c)
            if (str_eq(val_getstr(c, N_name), name)) {
                if (ret_kind)
                    *ret_kind = (enum container_kind)k;
                return c;
            }
    return NULL;
}

bool container_is_sidecar(const struct val *container)
{
    return str_is(val_getstr(container, N_restartPolicy), "Always");
}

static bool rule_matches(const struct val *rule, int64_t exit_code)
{
    const struct val *codes = val_get(rule, N_exitCodes);
    if (!codes)
        return false;
    bool found = false;
    VAL_EACH (val_get(codes, N_values), v)
        found = found || val_int(v, -1) == exit_code;
    return str_is(val_getstr(codes, N_operator), "NotIn") ? !found : found;
}

bool container_restarts(const struct val *pod, const struct val *container, int64_t exit_code)
{
    struct str own = val_getstr(container, N_restartPolicy);
    if (own.n) {
        VAL_EACH (val_get(container, N_restartPolicyRules), rule)
            if (rule_matches(rule, exit_code) && str_starts(val_getstr(rule, N_action), STR("Restart")))
                return true;
    }
    struct str policy = own.n ? own : val_getstr(pod_spec(pod), N_restartPolicy);
    if (str_is(policy, "Never"))
        return false;
    return str_is(policy, "OnFailure") ? exit_code != 0 : true;
}

bool container_restarts_all(const struct val *container, int64_t exit_code)
{
    VAL_EACH (val_get(container, N_restartPolicyRules), rule)
        if (rule_matches(rule, exit_code)) /* the first that fits */
            return str_is(val_getstr(rule, N_action), "RestartAllContainers");
    return false;
}

bool pod_may_restart_all(const struct val *pod)
{
    for (enum container_kind k = CK_INIT; k <= CK_MAIN; k++)
        VAL_EACH (pod_containers(pod, k), c)
            VAL_EACH (val_get(c, N_restartPolicyRules), rule)
                if (str_is(val_getstr(rule, N_action), "RestartAllContainers"))
                    return true;
    return false;
}

bool container_restarts_when_killed(const struct val *pod, const struct val *container)
{
    struct str own = val_getstr(container, N_restartPolicy);
    return !str_is(own.n ? own : val_getstr(pod_spec(pod), N_restartPolicy), "Never");
}

bool pod_host_network(const struct val *pod)
{
    return val_bool(val_at(pod, N_spec, N_hostNetwork), false);
}

bool pod_is_static(const struct val *pod)
{
    struct str source = obj_annotation(pod, STR(POD_ANNOTATION_SOURCE));
    return source.n && !str_is(source, "api") && !pod_is_mirror(pod);
}

bool pod_is_mirror(const struct val *pod)
{
    return obj_annotation(pod, STR(POD_ANNOTATION_MIRROR)).n > 0;
}

bool pod_phase_is_terminal(struct str phase)
{
    return str_is(phase, "Succeeded") || str_is(phase, "Failed");
}

bool pod_terminal(const struct val *pod)
{
    return pod_phase_is_terminal(val_getstr(pod_status(pod), N_phase));
}

bool pod_critical(const struct val *pod)
{
    return pod_is_static(pod) || pod_is_mirror(pod) ||
           val_int(val_at(pod, N_spec, N_priority), 0) >= INT64_C(2000000000);
}

int64_t pod_grace_seconds(const struct val *pod)
{
    const struct val *g = val_get(obj_meta(pod), N_deletionGracePeriodSeconds);
    if (obj_deleting(pod) && g)
        return MAX(val_int(g, 30), (int64_t)0);
    return MAX(val_int(val_at(pod, N_spec, N_terminationGracePeriodSeconds), 30), (int64_t)0);
}

struct str pod_text(struct arena *a, const struct val *pod)
{
    return arena_printf(a, STR_FMT "_" STR_FMT "(" STR_FMT ")", STR_ARG(obj_name(pod)),
                        STR_ARG(obj_namespace(pod)), STR_ARG(obj_uid(pod)));
}

struct str pod_key(struct arena *a, const struct val *pod)
{
    return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(obj_namespace(pod)), STR_ARG(obj_name(pod)));
}

struct str pod_hostname(struct arena *a, const struct val *pod)
{
    struct str h = val_getstr(pod_spec(pod), N_hostnameOverride);
    if (!h.n)
        h = val_getstr(pod_spec(pod), N_hostname);
    if (!h.n)
        h = obj_name(pod);
    h = str_slice(h, 0, 63);
    while (h.n && (h.p[h.n - 1] == '-' || h.p[h.n - 1] == '.'))
        h.n--;
    return arena_str(a, h);
}

struct str pod_fqdn(struct arena *a, const struct val *pod, const char *cluster_domain)
{
    struct str sub = val_getstr(pod_spec(pod), N_subdomain);
    if (!sub.n || val_getstr(pod_spec(pod), N_hostnameOverride).n)
        return STR_NULL;
    return arena_printf(a, STR_FMT "." STR_FMT "." STR_FMT ".svc.%s", STR_ARG(pod_hostname(a, pod)), STR_ARG(sub),
                        STR_ARG(obj_namespace(pod)), cluster_domain);
}

struct str container_field_path(struct arena *a, const struct val *pod, struct str container)
{
    enum container_kind k;
    if (!pod_find_container(pod, container, &k))
        return STR_NULL;
    return arena_printf(a, "spec." STR_FMT "{" STR_FMT "}", STR_ARG(name_str(spec_names[k])), STR_ARG(container));
}

/* A JSON string as Go's encoding/json has it, of the characters that names of images can have. */
static void put_go_string(struct buf *b, struct str s)
{
    buf_putc(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else if (c < ' ' || c == '<' || c == '>' || c == '&')
            buf_printf(b, "\\u%04x", c);
        else
            buf_putc(b, (char)c);
    }
    buf_putc(b, '"');
}

static uint32_t fnv1a(uint32_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    return h;
}

/* Upstream's kubelet writes 32-bit FNV-1a of a Go dump of the bytes of a JSON text. The same here, so that either kubelet
 * can take over the containers of the other without a restart. */
struct str container_hash(struct arena *a, const struct val *container)
{
    struct buf json CLEANUP_BUF = BUF_INIT;
    char number[8];
    buf_puts(&json, "{\"image\":");
    put_go_string(&json, val_getstr(container, N_image));
    buf_puts(&json, ",\"name\":");
    put_go_string(&json, val_getstr(container, N_name));
    buf_putc(&json, '}');
    uint32_t h = fnv1a(2166136261u, "([]uint8)[");
    for (size_t i = 0; i < json.n; i++) {
        snprintf(number, sizeof(number), i ? " %u" : "%u", (unsigned char)json.p[i]);
        h = fnv1a(h, number);
    }
    return arena_printf(a, "%x", (unsigned)fnv1a(h, "]"));
}
