/* SPDX-License-Identifier: Apache-2.0 */
/* PodSecurity (KEP-2579): the levels that a namespace's labels name, for pods (refused) and for what makes
 * pods (warned about). Namespace labels that are no level count as restricted. */
#include "apiserver/admit.h"

#include <stdio.h>

#include "apiserver/admit_config.h"
#include "apiserver/audit.h"
#include "apiserver/podlevels.h"
#include "apiserver/state.h"
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

static enum pod_level level_of(const struct admission *a, const struct val *ns, int mode)
{
    static const char *const labels[POD_MODES] = {[POD_ENFORCE] = LABEL("enforce"), [POD_AUDIT] = LABEL("audit"), [POD_WARN] = LABEL("warn")};
    const struct admit_settings *c = a->r->server->admit_config;
    enum pod_level level = LEVEL_RESTRICTED;
    struct str text = obj_label(ns, str_of(labels[mode]));
    if (!text.n)
        return c ? c->levels[mode] : LEVEL_PRIVILEGED;
    pod_level_parse(text, &level);
    return level;
}

/* What is not checked, by the configuration file: why, or NULL. */
static const char *exempt(const struct admission *a, const struct val *pod)
{
    const struct admit_settings *c = a->r->server->admit_config;
    if (!c)
        return NULL;
    if (admit_config_lists(c->namespaces, a->ns))
        return "namespace";
    if (admit_config_lists(c->users, a->r->user.name))
        return "user";
    struct str class = val_str(val_at(pod, N_spec, N_runtimeClassName));
    return class.n && admit_config_lists(c->runtime_classes, class) ? "runtimeClass" : NULL;
}

static struct str violations(struct admission *a, enum pod_level level, const struct val *pod)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    pod_level_violations(level, val_get(obj_meta(pod), N_annotations), val_get(pod, N_spec), &b);
    return arena_str(a->r->arena, buf_str(&b));
}

static const char *const level_names[] = {"privileged", "baseline", "restricted"};

/* text: what is wrong, empty for nothing. */
static void count(const struct admission *a, const char *mode, enum pod_level level, struct str text)
{
    char labels[256];
    bool pod = a->res->index == RES_PODS;
    int n = snprintf(labels, sizeof(labels),
                     "decision=\"%s\",mode=\"%s\",policy_level=\"%s\",policy_version=\"latest\",request_operation=\"%s\",resource=\"%s\",subresource=\"%s\"",
                     text.n ? "deny" : "allow", mode, level_names[level], a->op & ADMIT_CREATE ? "create" : "update", pod ? "pod" : "controller",
                     a->sub ? a->sub : "");
    metric_add(&a->r->server->metrics.set, METRIC_POD_SECURITY, str_n(labels, MIN((size_t)n, sizeof(labels) - 1)), 1);
}

static void note_about(struct admission *a, const struct val *ns, const struct val *pod)
{
    enum pod_level level = level_of(a, ns, POD_AUDIT);
    struct str text = violations(a, level, pod);
    if (level != LEVEL_PRIVILEGED)
        count(a, "audit", level, text);
    if (text.n)
        audit_note(a->r, STR(LABEL("audit-violations")),
                   arena_printf(a->r->arena, "would violate PodSecurity \"%s:latest\": %.*s", level_names[level], STR_ARG(text)));
}

static void warn_about(struct admission *a, const struct val *ns, const struct val *pod)
{
    enum pod_level level = level_of(a, ns, POD_WARN);
    struct str text = violations(a, level, pod);
    if (level != LEVEL_PRIVILEGED)
        count(a, "warn", level, text);
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
    const char *why = exempt(a, subject);
    if (why) {
        audit_note(a->r, STR(LABEL("exempt")), str_of(why));
        return 0;
    }
    enum pod_level level = level_of(a, ns, POD_ENFORCE);
    if (pod)
        audit_note(a->r, STR(LABEL("enforce-policy")), arena_printf(a->r->arena, "%s:latest", level_names[level]));
    note_about(a, ns, subject);
    struct str text = pod ? violations(a, level, subject) : STR_NULL;
    if (pod)
        count(a, "enforce", level, text);
    if (text.n)
        return admit_forbid(a, "violates PodSecurity \"%s:latest\": %.*s", level_names[level], STR_ARG(text));
    warn_about(a, ns, subject);
    return 0;
}
