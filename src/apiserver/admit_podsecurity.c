/* SPDX-License-Identifier: Apache-2.0 */
/* PodSecurity (KEP-2579): the levels that a namespace's labels name, for pods (refused) and for what makes
 * pods (warned about). Namespace labels that are no level count as restricted. */
#include "apiserver/admit.h"
#include "apiserver/podlevels.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#define LABEL(mode) "pod-security.kubernetes.io/" mode

static const struct template {
    uint16_t res;
    name_id path[5]; /* to the PodTemplateSpec */
} templates[] = {
    {RES_PODTEMPLATES, {N_template}},
    {RES_REPLICATIONCONTROLLERS, {N_spec, N_template}},
    {RES_REPLICASETS, {N_spec, N_template}},
    {RES_DEPLOYMENTS, {N_spec, N_template}},
    {RES_STATEFULSETS, {N_spec, N_template}},
    {RES_DAEMONSETS, {N_spec, N_template}},
    {RES_JOBS, {N_spec, N_template}},
    {RES_CRONJOBS, {N_spec, N_jobTemplate, N_spec, N_template}},
};

static enum pod_level level_of(const struct val *ns, const char *label)
{
    enum pod_level level = LEVEL_RESTRICTED;
    struct str text = obj_label(ns, str_of(label));
    if (!text.n)
        return LEVEL_PRIVILEGED;
    pod_level_parse(text, &level);
    return level;
}

static struct str violations(struct admission *a, enum pod_level level, const struct val *pod)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    pod_level_violations(level, val_get(obj_meta(pod), N_annotations), val_get(pod, N_spec), &b);
    return arena_str(a->r->arena, buf_str(&b));
}

static const char *const level_names[] = {"privileged", "baseline", "restricted"};

static void warn_about(struct admission *a, const struct val *ns, const struct val *pod)
{
    enum pod_level level = level_of(ns, LABEL("warn"));
    struct str text = violations(a, level, pod);
    if (text.n)
        request_warn(a->r, arena_printf(a->r->arena, "would violate PodSecurity \"%s:latest\": %.*s",
                                        level_names[level], STR_ARG(text)));
}

static const struct val *template_of(const struct admission *a)
{
    for (size_t i = 0; i < ARRAY_SIZE(templates); i++)
        if (templates[i].res == a->res->index)
            return val_path(a->v, templates[i].path);
    return NULL;
}

/* Of a pod's spec only what the checks look at may change later; status and the like is not looked at again.
 */
static bool changed(const struct admission *a)
{
    return a->op == ADMIT_CREATE || !val_equal(val_get(a->v, N_spec), val_get(a->old, N_spec));
}

int admit_pod_security(struct admission *a)
{
    bool pod = a->res->index == RES_PODS;
    if (!a->ns.n || (a->sub && !(pod && strcmp(a->sub, "ephemeralcontainers") == 0)) || !changed(a))
        return 0;
    const struct val *subject = pod ? a->v : template_of(a);
    const struct val *ns = subject ? admit_find(a, RES_NAMESPACES, STR(""), a->ns) : NULL;
    if (!subject || !ns)
        return 0;
    enum pod_level level = level_of(ns, LABEL("enforce"));
    struct str text = pod ? violations(a, level, subject) : STR_NULL;
    if (text.n)
        return admit_forbid(a, "violates PodSecurity \"%s:latest\": %.*s", level_names[level], STR_ARG(text));
    warn_about(a, ns, subject);
    return 0;
}
