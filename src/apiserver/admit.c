/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/admit.h"

#include <stdarg.h>

#include "apiserver/dynamic.h"
#include "apiserver/state.h"
#include "base/os.h"
#include "type/meta.h"

#define WRITES (ADMIT_CREATE | ADMIT_UPDATE)
#define ALL (WRITES | ADMIT_DELETE | ADMIT_CONNECT | ADMIT_BODY)

/* In upstream's order. */
static const struct admit_plugin plugins[] = {
    {"NamespaceLifecycle", true, WRITES | ADMIT_DELETE, admit_namespace_lifecycle, admit_namespace_delete},
    {"LimitRanger", true, WRITES, admit_limit_ranger, admit_limit_ranger_check},
    {"ServiceAccount", true, WRITES, admit_service_account, admit_service_account_check},
    {"NodeRestriction", true, WRITES | ADMIT_DELETE, NULL, admit_node_restriction},
    {"TaintNodesByCondition", true, ADMIT_CREATE, admit_taint_nodes, NULL},
    {"PodSecurity", true, WRITES, NULL, admit_pod_security},
    {"Priority", true, WRITES, admit_priority, NULL},
    {"DefaultTolerationSeconds", true, WRITES, admit_default_toleration_seconds, NULL},
    {"DefaultStorageClass", true, ADMIT_CREATE, admit_default_storage_class, NULL},
    {"StorageObjectInUseProtection", true, ADMIT_CREATE, admit_storage_in_use, NULL},
    {"PersistentVolumeClaimResize", true, ADMIT_UPDATE, NULL, admit_pvc_resize},
    {"RuntimeClass", true, ADMIT_CREATE, admit_runtime_class, admit_runtime_class_check},
    {"CertificateApproval", true, ADMIT_UPDATE, NULL, admit_certificate_approval},
    {"CertificateSigning", true, ADMIT_UPDATE, NULL, admit_certificate_signing},
    {"CertificateSubjectRestriction", true, ADMIT_CREATE, NULL, admit_certificate_subject},
    {"ClusterTrustBundleAttest", true, WRITES, NULL, admit_trust_bundle},
    {"DefaultIngressClass", true, ADMIT_CREATE, admit_default_ingress_class, NULL},
    {"DenyServiceExternalIPs", true, WRITES, NULL, admit_deny_external_ips},
    {"NodeDeclaredFeatureValidator", true, ADMIT_UPDATE, NULL, admit_declared_features},
    {"PodResizeValidator", true, ADMIT_UPDATE, NULL, admit_pod_resize},
    {"MutatingAdmissionPolicy", true, WRITES | ADMIT_CONNECT | ADMIT_BODY, admit_mutating_policies, NULL},
    {"MutatingAdmissionWebhook", true, ALL, admit_mutating_webhooks, NULL},
    {"ValidatingAdmissionPolicy", true, ALL, NULL, admit_validating_policies},
    {"ValidatingAdmissionWebhook", true, ALL, NULL, admit_validating_webhooks},
    {"ResourceQuota", true, WRITES, NULL, admit_resource_quota},
};

/* Names of upstream that have nothing to do here yet; asking for them is no error. */
static const char *const accepted[] = {"PodTopologyLabels", NULL};

/* Nobody asks the plugins about reviews of access. */
static bool is_review(const struct admission *a)
{
    return !a->res->stored;
}

static const char *operation_of(const struct admission *a)
{
    return a->op & ADMIT_CREATE ? "CREATE" : a->op & ADMIT_UPDATE ? "UPDATE" : a->op & ADMIT_DELETE ? "DELETE" : "CONNECT";
}

/* "name=...," unless name is NULL, and the rest of the labels. */
static void observe(const struct admission *a, const char *name, bool mutate, int e, struct mono begun)
{
    char text[160], *p = text;
    if (name)
        p = stpcpy(stpcpy(stpcpy(p, "name=\""), name), "\",");
    p = stpcpy(stpcpy(p, "operation=\""), operation_of(a));
    p = stpcpy(p, e ? "\",rejected=\"true\",type=\"" : "\",rejected=\"false\",type=\"");
    p = stpcpy(p, mutate ? "admit\"" : "validate\"");
    metric_observe(&a->r->server->metrics.set, name ? METRIC_ADMISSION_PLUGIN_SECONDS : METRIC_ADMISSION_STEP_SECONDS, str_n(text, (size_t)(p - text)),
                   (double)(os_mono().ns - begun.ns) / 1e9);
}

static int run_plugin(struct admission *a, const struct admit_plugin *plugin, admit_fn *fn, bool mutate)
{
    struct mono begun = os_mono();
    int e = fn(a);
    observe(a, plugin->name, mutate, e, begun);
    return e;
}

static int run_all(struct admission *a, bool mutate)
{
    const struct admit_plugin **list = a->r->server->plugins;
    for (size_t i = 0; !is_review(a) && list && list[i]; i++) {
        admit_fn *fn = mutate ? list[i]->mutate : list[i]->validate;
        bool wants = (list[i]->ops & a->op) && (!a->body || list[i]->ops & ADMIT_BODY);
        int e = fn && wants ? run_plugin(a, list[i], fn, mutate) : 0;
        if (e)
            return e;
    }
    return 0;
}

static int run(struct admission *a, bool mutate)
{
    struct mono begun = os_mono();
    int e = run_all(a, mutate);
    if (!is_review(a))
        observe(a, NULL, mutate, e, begun);
    return e;
}

/* Once more, when what objects configure has changed something: plugins and those who want to see it. */
int admit_mutate(struct admission *a)
{
    struct admit_rerun rerun = {.second = false};
    a->rerun = &rerun;
    int e = run(a, true);
    if (!e && rerun.wanted) {
        rerun.second = true;
        e = run(a, true);
    }
    admit_rerun_done(&rerun);
    a->rerun = NULL;
    return e;
}

int admit_subresource(struct request *r, enum admit_op op, const struct admit_body *body, struct val *v)
{
    struct admission a = {.r = r, .op = op, .res = stored_resource(r->res), .sub = r->sub ? r->sub->name : NULL, .ns = r->ns,
                          .name = r->info.name, .v = v, .dry_run = r->opt.dry_run, .body = body};
    int e = admit_mutate(&a);
    return e ? e : admit_validate(&a);
}

int admit_validate(struct admission *a)
{
    return run(a, false);
}

const struct val *admit_find(const struct admission *a, uint16_t res, struct str ns, struct str name)
{
    const struct object *o = cache_get(state_kind(a->r->server, res), ns, name);
    return o ? o->val : NULL;
}

int admit_forbid(struct admission *a, const char *fmt, ...)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    return status_forbidden(&a->r->status, a->res, a->name, arena_str(a->r->arena, buf_str(&b)).p);
}

/* ---- which run --------------------------------------------------------------------------------------- */

static bool listed(const char *list, const char *name)
{
    struct str rest = str_of(list), one;
    while (list && *list && str_next(&rest, ',', &one))
        if (str_is(str_trim(one), name))
            return true;
    return false;
}

static bool known(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(plugins); i++)
        if (str_is(name, plugins[i].name))
            return true;
    for (size_t i = 0; accepted[i]; i++)
        if (str_is(name, accepted[i]))
            return true;
    return false;
}

static int check_names(const char *flag, const char *list, struct err *e)
{
    struct str rest = str_of(list), one;
    while (list && *list && str_next(&rest, ',', &one))
        if (str_trim(one).n && !known(str_trim(one)))
            return err_set(e, -EINVAL, "%s: \"%.*s\" is no admission plugin of this server", flag,
                           STR_ARG(one));
    return 0;
}

int admit_setup(struct apiserver *s, struct err *e)
{
    const struct apiserver_config *c = &s->config;
    int r = check_names("--enable-admission-plugins", c->admission_on, e);
    if (!r)
        r = check_names("--disable-admission-plugins", c->admission_off, e);
    if (r < 0)
        return r;
    s->plugins = xcalloc(ARRAY_SIZE(plugins) + 1, sizeof(struct admit_plugin *));
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(plugins); i++) {
        bool on = (plugins[i].on || listed(c->admission_on, plugins[i].name)) &&
                  !listed(c->admission_off, plugins[i].name);
        if (on)
            s->plugins[n++] = &plugins[i];
    }
    return 0;
}
