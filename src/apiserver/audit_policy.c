/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/audit_policy.h"

#include <stdio.h>

#include "names.h"
#include "types.h"
#include "wire/json.h"
#include "wire/yaml.h"

const char *const audit_levels[AUDIT_LEVELS] = {"None", "Metadata", "Request", "RequestResponse"};
const char *const audit_stages[AUDIT_STAGES] = {"RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"};

static int named(const char *const *names, int n, struct str s)
{
    for (int i = 0; i < n; i++)
        if (str_is(s, names[i]))
            return i;
    return -1;
}

static bool has(const struct val *list, struct str s)
{
    VAL_EACH(list, v)
        if (str_eq(val_str(v), s))
            return true;
    return false;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static int check_stages(const struct val *list, const char *of, struct err *e)
{
    int i = 0;
    VAL_EACH(list, v)
    {
        if (named(audit_stages, AUDIT_STAGES, val_str(v)) < 0)
            return err_set(e, -EINVAL, "%somitStages[%d]: \"" STR_FMT "\" is no stage, expected RequestReceived, ResponseStarted, "
                           "ResponseComplete or Panic", of, i, STR_ARG(val_str(v)));
        i++;
    }
    return 0;
}

static int check_paths(const struct val *list, const char *of, struct err *e)
{
    int i = 0;
    VAL_EACH(list, v)
    {
        struct str s = val_str(v);
        bool all = str_is(s, "*");
        if (!all && !str_starts(s, STR("/")))
            return err_set(e, -EINVAL, "%snonResourceURLs[%d]: \"" STR_FMT "\" must begin with a '/'", of, i, STR_ARG(s));
        ssize_t star = str_find(s, '*');
        if (!all && star >= 0 && (size_t)star + 1 != s.n)
            return err_set(e, -EINVAL, "%snonResourceURLs[%d]: \"" STR_FMT "\": '*' may only be the last character", of, i,
                           STR_ARG(s));
        i++;
    }
    return 0;
}

static int check_rule(const struct val *rule, const char *of, struct err *e)
{
    struct str level = val_getstr(rule, N_level);
    const struct val *paths = val_get(rule, N_nonResourceURLs), *wanted = val_get(rule, N_resources);
    int i = 0;
    if (named(audit_levels, AUDIT_LEVELS, level) < 0)
        return err_set(e, -EINVAL, "%slevel: \"" STR_FMT "\" is no level, expected None, Metadata, Request or RequestResponse", of,
                       STR_ARG(level));
    if (val_len(paths) && (val_len(wanted) || val_len(val_get(rule, N_namespaces))))
        return err_set(e, -EINVAL, "%snonResourceURLs: a rule cannot apply to resources and to other URLs", of);
    VAL_EACH(wanted, g)
    {
        if (val_len(val_get(g, N_resourceNames)) && !val_len(val_get(g, N_resources)))
            return err_set(e, -EINVAL, "%sresources[%d].resourceNames: needs at least one resource", of, i);
        i++;
    }
    int r = check_paths(paths, of, e);
    return r ? r : check_stages(val_get(rule, N_omitStages), of, e);
}

static int check_policy(const struct val *v, struct err *e)
{
    struct str version = val_getstr(v, N_apiVersion), kind = val_getstr(v, N_kind);
    if (!str_is(version, "audit.k8s.io/v1") || !str_is(kind, "Policy"))
        return err_set(e, -EINVAL, "a " STR_FMT " " STR_FMT ", expected an audit.k8s.io/v1 Policy", STR_ARG(version), STR_ARG(kind));
    if (!val_len(val_get(v, N_rules)))
        return err_set(e, -EINVAL, "rules: there must be at least one");
    int r = check_stages(val_get(v, N_omitStages), "", e), i = 0;
    VAL_EACH(val_get(v, N_rules), rule)
    {
        char of[32];
        snprintf(of, sizeof(of), "rules[%d].", i++);
        if (r == 0)
            r = check_rule(rule, of, e);
    }
    return r;
}

int audit_policy_read(struct arena *a, struct str text, const struct val **ret, struct str *ret_warning, struct err *e)
{
    struct json_report rep = {0};
    struct str json;
    struct val *v = NULL;
    int r = yaml_to_json(a, text, &rep, &json, e);
    if (r == 0)
        r = json_decode(a, &types[T_audit_v1_Policy], json, 0, &rep, &v, e);
    if (r == 0)
        r = check_policy(v, e);
    if (r < 0)
        return r;
    *ret_warning = arena_join(a, rep.problems, rep.n, STR(", "));
    *ret = v;
    return 0;
}

/* ---- choosing ------------------------------------------------------------------------------------------ */

static bool user_fits(const struct val *rule, const struct user *u)
{
    const struct val *users = val_get(rule, N_users), *groups = val_get(rule, N_userGroups);
    if (val_len(users) && (!u || !has(users, u->name)))
        return false;
    for (size_t i = 0; u && i < u->n_groups; i++)
        if (has(groups, u->groups[i]))
            return true;
    return !val_len(groups);
}

/* "pods", "pods/log", "*", "*" + "/log", "pods/" + "*" (which is the resource itself, too). */
static bool resource_fits(struct str want, const struct attributes *at)
{
    struct str head, sub;
    if (str_is(want, "*"))
        return true;
    if (!str_cut(want, '/', &head, &sub))
        return !at->subresource.n && str_eq(want, at->resource);
    if (str_is(sub, "*") && str_eq(head, at->resource))
        return true;
    return at->subresource.n && str_eq(sub, at->subresource) && (str_is(head, "*") || str_eq(head, at->resource));
}

static bool group_fits(const struct val *g, const struct attributes *at)
{
    struct str group = val_getstr(g, N_group);
    const struct val *wanted = val_get(g, N_resources), *names = val_get(g, N_resourceNames);
    if (!str_is(group, "*") && !str_eq(group, at->group))
        return false;
    if (!val_len(wanted))
        return true;
    if (val_len(names) && !has(names, at->name))
        return false;
    VAL_EACH(wanted, v)
        if (resource_fits(val_str(v), at))
            return true;
    return false;
}

static bool place_fits(const struct val *rule, const struct attributes *at)
{
    const struct val *namespaces = val_get(rule, N_namespaces), *groups = val_get(rule, N_resources);
    if (!at->resource_request || (val_len(namespaces) && !has(namespaces, at->ns)))
        return false;
    VAL_EACH(groups, g)
        if (group_fits(g, at))
            return true;
    return !val_len(groups);
}

static bool path_fits(const struct val *paths, const struct attributes *at)
{
    VAL_EACH(paths, v)
    {
        struct str s = val_str(v);
        bool below = str_ends(s, STR("*")) && str_starts(at->path, str_n(s.p, s.n - 1));
        if (!at->resource_request && (below || str_eq(s, at->path)))
            return true;
    }
    return false;
}

static bool rule_fits(const struct val *rule, const struct attributes *at)
{
    const struct val *verbs = val_get(rule, N_verbs), *paths = val_get(rule, N_nonResourceURLs);
    if (!user_fits(rule, at->user) || (val_len(verbs) && !has(verbs, at->verb)))
        return false;
    if (val_len(val_get(rule, N_namespaces)) || val_len(val_get(rule, N_resources)))
        return place_fits(rule, at);
    return !val_len(paths) || path_fits(paths, at);
}

static unsigned stages_of(const struct val *list)
{
    unsigned bits = 0;
    VAL_EACH(list, v)
        bits |= 1u << named(audit_stages, AUDIT_STAGES, val_str(v));
    return bits;
}

struct audit_choice audit_policy_choose(const struct val *policy, const struct attributes *at)
{
    if (!policy)
        return (struct audit_choice){.level = at->resource_request ? AUDIT_METADATA : AUDIT_NONE,
                                     .omitted = 1u << AUDIT_RECEIVED | 1u << AUDIT_STARTED};
    unsigned omitted = stages_of(val_get(policy, N_omitStages));
    bool omit_managed = val_bool(val_get(policy, N_omitManagedFields), false);
    VAL_EACH(val_get(policy, N_rules), rule)
        if (rule_fits(rule, at))
            return (struct audit_choice){.level = (enum audit_level)named(audit_levels, AUDIT_LEVELS, val_getstr(rule, N_level)),
                                         .omitted = omitted | stages_of(val_get(rule, N_omitStages)),
                                         .omit_managed = val_bool(val_get(rule, N_omitManagedFields), omit_managed)};
    return (struct audit_choice){.level = AUDIT_NONE, .omitted = omitted};
}
