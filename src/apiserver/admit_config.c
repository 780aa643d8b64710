/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/admit_config.h"

#include "apiserver/config_file.h"
#include "base/os.h"
#include "names.h"
#include "types.h"
#include "wire/json.h"
#include "wire/yaml.h"

enum { FILE_MAX = 1 << 20 };

#define POD_SECURITY "pod-security.admission.config.k8s.io"

bool admit_config_lists(const struct val *list, struct str name)
{
    VAL_EACH(list, v)
        if (str_eq(val_str(v), name))
            return true;
    return false;
}

void admit_config_free(struct admit_settings *c)
{
    if (!c)
        return;
    arena_done(&c->arena);
    free(c);
}

/* ---- PodSecurity --------------------------------------------------------------------------------------- */

static int take_level(const struct val *defaults, name_id level, name_id version, enum pod_level *ret, struct err *e)
{
    struct str text = val_getstr(defaults, level), v = val_getstr(defaults, version);
    if (text.n && !pod_level_parse(text, ret))
        return err_set(e, -EINVAL, "defaults." STR_FMT ": \"" STR_FMT "\" is not one of privileged, baseline, restricted", STR_ARG(name_str(level)),
                       STR_ARG(text));
    if (v.n && !str_is(v, "latest") && !str_is(v, "v1.37"))
        return err_set(e, -EINVAL, "defaults." STR_FMT ": \"" STR_FMT "\" is not there: the rules are those of v1.37 (latest)", STR_ARG(name_str(version)),
                       STR_ARG(v));
    return 0;
}

static int take_pod_security(struct admit_settings *c, struct str json, struct err *e)
{
    static const name_id modes[POD_MODES][2] = {{N_enforce, N_enforce_version}, {N_audit, N_audit_version}, {N_warn, N_warn_version}};
    struct json_report rep = {0};
    struct val *v;
    int r = json_decode(&c->arena, &types[T_podsecurity_v1_PodSecurityConfiguration], json, 0, &rep, &v, e);
    if (r == 0 && rep.n)
        return err_set(e, -EINVAL, STR_FMT, STR_ARG(rep.problems[0]));
    if (r == 0 && (!str_is(val_getstr(v, N_kind), "PodSecurityConfiguration") || !str_is(val_getstr(v, N_apiVersion), POD_SECURITY "/v1")))
        return err_set(e, -EINVAL, "expected a " POD_SECURITY "/v1 PodSecurityConfiguration");
    for (int i = 0; r == 0 && i < POD_MODES; i++)
        r = take_level(val_get(v, N_defaults), modes[i][0], modes[i][1], &c->levels[i], e);
    if (r == 0) {
        c->users = val_at(v, N_exemptions, N_usernames);
        c->namespaces = val_at(v, N_exemptions, N_namespaces);
        c->runtime_classes = val_at(v, N_exemptions, N_runtimeClasses);
    }
    return r;
}

/* ---- the file ------------------------------------------------------------------------------------------ */

/* Plugins that upstream configures by file, and why it is not done here. */
static const struct {
    const char *name, *why;
} others[] = {
    {"ResourceQuota", "limitedResources are not there: what has no quota is not limited"},
    {"EventRateLimit", "the plugin is not there: priority and fairness bounds who writes events"},
    {"MutatingAdmissionWebhook", "webhooks are authenticated to by no kubeconfig"},
    {"ValidatingAdmissionWebhook", "webhooks are authenticated to by no kubeconfig"},
    {"ImagePolicyWebhook", "the plugin is not there: use a ValidatingWebhookConfiguration"},
    {"PodNodeSelector", "the plugin is not there: use a MutatingAdmissionPolicy"},
    {"PodTolerationRestriction", "the plugin is not there: use a MutatingAdmissionPolicy"},
    {"PriorityConfig", "the plugin is not there"},
};

static int settings_of(struct arena *a, const struct val *plugin, const char *path, struct str *ret, struct err *e)
{
    struct str text = val_str(val_get(plugin, N_configuration)), file = val_getstr(plugin, N_path);
    ssize_t slash = -1;
    if (text.n || !file.n) {
        *ret = text;
        return 0;
    }
    for (size_t i = 0; path[i]; i++)
        if (path[i] == '/')
            slash = (ssize_t)i;
    struct str whole = file.p[0] == '/' ? file : arena_printf(a, "%.*s" STR_FMT, (int)(slash + 1), path, STR_ARG(file)); /* beside the file that names it */
    int r = os_read_file(a, arena_cstr(a, whole), FILE_MAX, &text);
    if (r < 0)
        return err_set(e, r, STR_FMT ": %s", STR_ARG(whole), strerror(-r));
    return yaml_to_json(a, text, NULL, ret, e);
}

static int take_plugin(struct admit_settings *c, const struct val *plugin, const char *path, struct err *e)
{
    struct str name = val_getstr(plugin, N_name), json;
    int r = settings_of(&c->arena, plugin, path, &json, e);
    if (r < 0 || !json.n)
        return r;
    if (str_is(name, "PodSecurity"))
        return take_pod_security(c, json, e);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (str_is(name, others[i].name))
            return err_set(e, -EINVAL, "%s", others[i].why);
    return err_set(e, -EINVAL, "no such plugin has settings");
}

int admit_config_load(const char *path, struct admit_settings **ret, struct err *e)
{
    struct admit_settings *c = NEW(struct admit_settings);
    struct val *v = NULL;
    int r = config_file_read(&c->arena, path, &types[T_apiserver_v1_AdmissionConfiguration], "AdmissionConfiguration", "v1,v1alpha1", NULL, &v, e);
    VAL_EACH(val_get(v, N_plugins), plugin)
        if (r == 0 && (r = take_plugin(c, plugin, path, e)) < 0)
            err_wrap(e, r, "plugin \"" STR_FMT "\"", STR_ARG(val_getstr(plugin, N_name)));
    if (r < 0) {
        admit_config_free(c);
        return err_wrap(e, r, "--admission-control-config-file %s", path);
    }
    *ret = c;
    return 0;
}
