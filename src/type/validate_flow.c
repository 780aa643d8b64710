/* SPDX-License-Identifier: Apache-2.0 */
/* flowcontrol.apiserver.k8s.io: FlowSchemas and the levels of priority (KEP-1040). */
#include "type/validate-internal.h"

static const struct val empty_text = {.kind = VAL_STR, .s = ""};

static bool has_star(const struct val *list)
{
    VAL_EACH (list, v)
        if (str_is(val_str(v), "*"))
            return true;
    return false;
}

/* ---- FlowSchema ---------------------------------------------------------------------------------------- */

static void check_account(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct str ns = val_getstr(v, N_namespace), name = val_getstr(v, N_name);
    if (!name.n)
        say_required(x, AT(p, N_name), NULL);
    else if (!str_is(name, "*"))
        check_text(x, AT(p, N_name), name, check_subdomain);
    if (!ns.n)
        say_required(x, AT(p, N_namespace), "must specify namespace for service account");
    else
        check_text(x, AT(p, N_namespace), ns, check_label_of_dns);
}

static const struct {
    const char *kind;
    name_id member;
} subjects[] = {{"ServiceAccount", N_serviceAccount}, {"User", N_user}, {"Group", N_group}};

static void rule_subject(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    static const char *const kinds[] = {"Group", "ServiceAccount", "User", NULL};
    const struct val *kind = val_get(v, N_kind);
    (void)old;
    if (!str_in(val_str(kind), kinds)) {
        say_unsupported(x, AT(p, N_kind), kind ?: &empty_text, kinds);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(subjects); i++) {
        const struct val *m = val_get(v, subjects[i].member);
        const struct vpath *at = AT(p, subjects[i].member);
        bool wanted = str_is(val_str(kind), subjects[i].kind);
        if (wanted && !m)
            say_required(x, at, "is required by the subject's kind");
        else if (!wanted && m)
            say_forbidden(x, at, "is forbidden by the subject's kind");
        else if (wanted && subjects[i].member == N_serviceAccount)
            check_account(x, at, m);
        else if (wanted && !val_getstr(m, N_name).n)
            say_required(x, AT(at, N_name), NULL);
    }
}

/* Something, and nothing beside "*". */
static bool check_list(struct validation *x, const struct vpath *p, const struct val *list)
{
    if (!val_len(list))
        say_required(x, p, "must contain at least one value");
    else if (has_star(list) && val_len(list) > 1)
        say_invalid(x, p, list, "if '*' is present, must not specify others");
    return val_len(list) && !has_star(list);
}

static void check_verbs(struct validation *x, const struct vpath *p, const struct val *list)
{
    static const char *const verbs[] = {"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch", NULL};
    if (!check_list(x, p, list))
        return;
    VAL_EACH (list, v)
        if (!str_in(val_str(v), verbs)) {
            say_unsupported(x, p, list, verbs);
            return;
        }
}

static void rule_resources(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *namespaces = val_get(v, N_namespaces);
    const struct vpath *at = AT(p, N_namespaces);
    size_t i = 0;
    (void)old;
    check_verbs(x, AT(p, N_verbs), val_get(v, N_verbs));
    check_list(x, AT(p, N_apiGroups), val_get(v, N_apiGroups));
    check_list(x, AT(p, N_resources), val_get(v, N_resources));
    if (!val_len(namespaces) && val_bool(val_get(v, N_clusterScope), false))
        return;
    if (check_list(x, at, namespaces))
        VAL_EACH (namespaces, ns)
            check_text(x, ITEM(at, i++), val_str(ns), check_label_of_dns);
}

static const char *url_fault(struct str s)
{
    ptrdiff_t star = str_find(s, '*');
    if (!s.n)
        return "must not be empty";
    if (s.p[0] != '/')
        return "must start with slash";
    if (str_find(s, ' ') >= 0)
        return "must not contain white-space";
    if (str_contains(s, STR("//")))
        return "must not contain double slash";
    if (star >= 0 && (!str_ends(s, STR("/*")) || (size_t)star + 1 < s.n))
        return "wildcard can only do suffix matching";
    return NULL;
}

static void rule_urls(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *urls = val_get(v, N_nonResourceURLs);
    const struct vpath *at = AT(p, N_nonResourceURLs);
    size_t i = 0;
    (void)old;
    check_verbs(x, AT(p, N_verbs), val_get(v, N_verbs));
    if (!check_list(x, at, urls))
        return;
    VAL_EACH (urls, url) {
        const char *fault = str_is(val_str(url), "/") ? NULL : url_fault(val_str(url));
        if (fault)
            say_invalid(x, ITEM(at, i), url, fault);
        i++;
    }
}

static void rule_rules(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    (void)old;
    if (!val_len(val_get(v, N_subjects)))
        say_required(x, AT(p, N_subjects), "subjects must contain at least one value");
    if (!val_len(val_get(v, N_resourceRules)) && !val_len(val_get(v, N_nonResourceRules)))
        say_required(x, p, "at least one of resourceRules and nonResourceRules has to be non-empty");
}

static void rule_flow_spec(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    static const char *const methods[] = {"ByNamespace", "ByUser", NULL};
    enum { PRECEDENCE_MAX = 10000 };
    const struct val *precedence = val_get(v, N_matchingPrecedence), *method = val_get(v, N_distinguisherMethod);
    const struct vpath *level = AT(AT(p, N_priorityLevelConfiguration), N_name);
    struct str name = val_str(val_at(v, N_priorityLevelConfiguration, N_name));
    int64_t n = val_int(precedence, 0);
    (void)old;
    if (n <= 0 || n > PRECEDENCE_MAX)
        say_invalid(x, AT(p, N_matchingPrecedence), precedence ?: &(struct val){.kind = VAL_INT},
                    n <= 0 ? "must be a positive value" : "must not be greater than 10000");
    if (n == 1 && !str_is(obj_name(x->obj), "exempt"))
        say_invalid(x, AT(p, N_matchingPrecedence), precedence,
                    "only the schema named 'exempt' may have matchingPrecedence 1");
    if (method && !str_in(val_getstr(method, N_type), methods))
        say_unsupported(x, AT(AT(p, N_distinguisherMethod), N_type), val_get(method, N_type) ?: &empty_text, methods);
    if (name.n)
        check_text(x, level, name, check_subdomain);
    else
        say_required(x, level, "must reference a priority level");
}

/* ---- PriorityLevelConfiguration ------------------------------------------------------------------------ */

/* Hands of cards are dealt out of one hash of 60 bits: queues to the power of size has to fit. */
static bool hash_suffices(int64_t queues, int64_t size)
{
    int64_t left = (int64_t)1 << 60;
    for (; size > 0 && left > 0 && queues > 1; size--)
        left /= queues;
    return left > 0;
}

static void check_queuing(struct validation *x, const struct vpath *p, const struct val *v)
{
    enum { QUEUES_MAX = 10000000 };
    const struct val *hand = val_get(v, N_handSize), *zero = &(struct val){.kind = VAL_INT};
    int64_t queues = val_int(val_get(v, N_queues), 0), size = val_int(hand, 0);
    struct arena *a = x->s->arena;
    if (val_int(val_get(v, N_queueLengthLimit), 0) <= 0)
        say_invalid(x, AT(p, N_queueLengthLimit), val_get(v, N_queueLengthLimit) ?: zero, "must be positive");
    if (queues <= 0 || queues > QUEUES_MAX)
        say_invalid(x, AT(p, N_queues), val_get(v, N_queues) ?: zero,
                    queues <= 0 ? "must be positive" : "must not be greater than 10000000");
    if (size <= 0)
        say_invalid(x, AT(p, N_handSize), hand ?: zero, "must be positive");
    else if (size > queues)
        say_invalid(x, AT(p, N_handSize), hand,
                    arena_printf(a, "should not be greater than queues (%lld)", (long long)queues).p);
    else if (!hash_suffices(queues, size))
        say_invalid(x, AT(p, N_handSize), hand,
                    arena_printf(a, "required entropy bits of deckSize %lld and handSize %lld should not be greater than 60",
                                 (long long)queues, (long long)size).p);
}

static void check_response(struct validation *x, const struct vpath *p, const struct val *v)
{
    static const char *const kinds[] = {"Queue", "Reject", NULL};
    const struct val *type = val_get(v, N_type), *queuing = val_get(v, N_queuing);
    if (!val_str(type).n)
        say_required(x, AT(p, N_type), NULL);
    else if (!str_in(val_str(type), kinds))
        say_unsupported(x, AT(p, N_type), type, kinds);
    if (!str_is(val_str(type), "Queue")) {
        if (queuing)
            say_forbidden(x, AT(p, N_queuing), "must be nil if limited.limitResponse.type is not Limited");
    } else if (!queuing) {
        say_required(x, AT(p, N_queuing), "must not be empty if limited.limitResponse.type is Limited");
    } else {
        check_queuing(x, AT(p, N_queuing), queuing);
    }
}

static void rule_level_spec(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    static const char *const kinds[] = {"Exempt", "Limited", NULL};
    const struct val *type = val_get(v, N_type), *limited = val_get(v, N_limited), *exempt = val_get(v, N_exempt);
    bool is_limited = str_is(val_str(type), "Limited"), is_exempt = str_is(val_str(type), "Exempt");
    const struct val *part = is_limited ? limited : is_exempt ? exempt : NULL;
    const struct vpath *at = AT(p, is_limited ? N_limited : N_exempt);
    (void)old;
    if (str_is(obj_name(x->obj), "exempt") != is_exempt)
        say_invalid(x, AT(p, N_type), type ?: &empty_text, "must be 'Exempt' if and only if `name` is 'exempt'");
    if (!val_str(type).n)
        say_required(x, AT(p, N_type), NULL);
    else if (!str_in(val_str(type), kinds))
        say_unsupported(x, AT(p, N_type), type, kinds);
    if (limited && !is_limited)
        say_forbidden(x, AT(p, N_limited), "must be nil if the type is not Limited");
    if (exempt && !is_exempt)
        say_forbidden(x, AT(p, N_exempt), "must be nil if the type is not Exempt");
    if (is_limited && !limited)
        say_required(x, AT(p, N_limited), "must not be empty when type is Limited");
    if (!part)
        return;
    check_range(x, AT(at, N_nominalConcurrencyShares), val_get(part, N_nominalConcurrencyShares), 0, INT64_MAX);
    check_range(x, AT(at, N_lendablePercent), val_get(part, N_lendablePercent), 0, 100);
    if (is_limited) {
        check_range(x, AT(at, N_borrowingLimitPercent), val_get(part, N_borrowingLimitPercent), 0, INT64_MAX);
        check_response(x, AT(at, N_limitResponse), val_get(part, N_limitResponse));
    }
}

const struct rule rules_flow[] = {
    {T_flowcontrol_v1_ExemptPriorityLevelConfiguration, RULE_OWN, NULL},
    {T_flowcontrol_v1_FlowDistinguisherMethod, RULE_OWN, NULL},
    {T_flowcontrol_v1_FlowSchemaSpec, RULE_OWN, rule_flow_spec},
    {T_flowcontrol_v1_GroupSubject, RULE_OWN, NULL},
    {T_flowcontrol_v1_LimitResponse, RULE_OWN, NULL},
    {T_flowcontrol_v1_LimitedPriorityLevelConfiguration, RULE_OWN, NULL},
    {T_flowcontrol_v1_NonResourcePolicyRule, RULE_OWN, rule_urls},
    {T_flowcontrol_v1_PolicyRulesWithSubjects, RULE_OWN, rule_rules},
    {T_flowcontrol_v1_PriorityLevelConfigurationReference, RULE_OWN, NULL},
    {T_flowcontrol_v1_PriorityLevelConfigurationSpec, RULE_OWN, rule_level_spec},
    {T_flowcontrol_v1_QueuingConfiguration, RULE_OWN, NULL},
    {T_flowcontrol_v1_ResourcePolicyRule, RULE_OWN, rule_resources},
    {T_flowcontrol_v1_ServiceAccountSubject, RULE_OWN, NULL},
    {T_flowcontrol_v1_Subject, RULE_OWN, rule_subject},
    {T_flowcontrol_v1_UserSubject, RULE_OWN, NULL},
    {0, 0, NULL},
};
