/* SPDX-License-Identifier: Apache-2.0 */
/* Webhooks and policies of admission (admissionregistration.k8s.io); their expressions are compiled in apiserver/dynamic_check.c. */
#include "type/validate-internal.h"

static bool has(const struct val *list, const char *text)
{
    VAL_EACH (list, v)
        if (str_is(val_str(v), text))
            return true;
    return false;
}

/* ---- rules ---------------------------------------------------------------------------------------------- */

/* A star stands alone. */
static void check_star(struct validation *x, const struct vpath *p, const struct val *list, const char *what)
{
    if (val_len(list) > 1 && has(list, "*"))
        say_invalid(x, p, list, arena_printf(x->s->arena, "if '*' is present, must not specify other %s", what).p);
}

/* What one of the entries before says already: all subresources, or all resources with that one. */
static void check_covered(struct validation *x, const struct vpath *p, const struct val *list, size_t i)
{
    struct arena *a = x->s->arena;
    struct str text = val_str(val_item(list, i)), res, sub, other, its;
    if (!str_cut(text, '/', &res, &sub))
        return;
    for (size_t j = 0; j < i; j++) {
        if (!str_cut(val_str(val_item(list, j)), '/', &other, &its))
            continue;
        if (str_is(its, "*") && str_eq(other, res))
            say_invalid(x, ITEM(p, i), val_item(list, i), arena_printf(a, "if '" STR_FMT "/*' is present, must not specify " STR_FMT, STR_ARG(res), STR_ARG(text)).p);
        if (str_is(other, "*") && str_eq(its, sub))
            say_invalid(x, ITEM(p, i), val_item(list, i), arena_printf(a, "if '*/" STR_FMT "' is present, must not specify " STR_FMT, STR_ARG(sub), STR_ARG(text)).p);
    }
}

static void check_resources_of(struct validation *x, const struct vpath *p, const struct val *list)
{
    bool plain = false; /* the last one without a subresource is not the star */
    for (size_t i = 0; i < val_len(list); i++) {
        struct str s = val_str(val_item(list, i));
        if (!s.n)
            say_required(x, ITEM(p, i), NULL);
        else if (str_find(s, '/') < 0)
            plain = !str_is(s, "*");
        check_covered(x, p, list, i);
    }
    if (val_len(list) > 1 && has(list, "*/*"))
        say_invalid(x, p, list, "if '*/*' is present, must not specify other resources");
    if (has(list, "*") && plain)
        say_invalid(x, p, list, "if '*' is present, must not specify other resources without subresources");
}

static void rule_rule(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *versions = val_get(v, N_apiVersions);
    (void)old;
    check_star(x, AT(p, N_operations), val_get(v, N_operations), "operations");
    check_star(x, AT(p, N_apiGroups), val_get(v, N_apiGroups), "API groups");
    check_star(x, AT(p, N_apiVersions), versions, "API versions");
    for (size_t i = 0; i < val_len(versions); i++)
        if (!val_str(val_item(versions, i)).n)
            say_required(x, ITEM(AT(p, N_apiVersions), i), NULL);
    check_resources_of(x, AT(p, N_resources), val_get(v, N_resources));
}

static void rule_named_rule(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *names = val_get(v, N_resourceNames);
    rule_rule(x, p, v, old);
    for (size_t i = 0; i < val_len(names); i++)
        check_text(x, ITEM(AT(p, N_resourceNames), i), val_str(val_item(names, i)), check_path_segment);
    check_unique(x, AT(p, N_resourceNames), names, 0);
}

/* ---- webhooks ------------------------------------------------------------------------------------------- */

static const char *const quiet[] = {"None", "NoneOnDryRun", NULL}, *const known_reviews[] = {"v1", "v1beta1", NULL};

/* Could what stood there be called by what is asked of new ones? */
static bool all_quiet(const struct val *hooks)
{
    VAL_EACH (hooks, h)
        if (!str_in(val_getstr(h, N_sideEffects), quiet))
            return false;
    return true;
}

static bool speaks(const struct val *versions)
{
    VAL_EACH (versions, v)
        if (str_in(val_str(v), known_reviews))
            return true;
    return false;
}

static bool all_speak(const struct val *hooks)
{
    VAL_EACH (hooks, h)
        if (val_len(val_get(h, N_admissionReviewVersions)) && !speaks(val_get(h, N_admissionReviewVersions)))
            return false;
    return true;
}

static void check_reviews(struct validation *x, const struct vpath *p, const struct val *list)
{
    for (size_t i = 0; i < val_len(list); i++) {
        bool again = false;
        for (size_t j = 0; j < i; j++)
            again = again || val_equal(val_item(list, i), val_item(list, j));
        if (again)
            say_invalid(x, ITEM(p, i), val_item(list, i), "duplicate version");
        else
            check_text(x, ITEM(p, i), val_str(val_item(list, i)), check_label_of_dns1035);
    }
    if (val_len(list) && !speaks(list) && all_speak(val_get(x->old, N_webhooks)))
        say_invalid(x, p, list, "must include at least one of v1, v1beta1");
}

static void check_hook_name(struct validation *x, const struct vpath *p, const struct val *name)
{
    unsigned dots = 0;
    struct str s = val_str(name);
    for (size_t i = 0; i < s.n; i++)
        dots += s.p[i] == '.';
    if (s.n && dots < 2 && !check_dns_subdomain(s))
        say_invalid(x, p, name, "should be a domain with at least three segments separated by dots");
}

#define FORM "; desired format: https://host[/path]"

static void check_url(struct validation *x, const struct vpath *p, struct str url)
{
    ssize_t at = str_find(url, ':');
    struct str scheme = at > 0 ? str_slice(url, 0, (size_t)at) : STR(""), rest = at > 0 ? str_from(url, (size_t)at + 1) : url;
    struct str host = STR(""), tail, user, bare, query, fragment;
    str_cut(rest, '#', &rest, &fragment);
    str_cut(rest, '?', &rest, &query);
    if (str_starts(rest, STR("//")))
        str_cut(str_from(rest, 2), '/', &host, &tail);
    if (!str_is(scheme, "https"))
        say_invalid_str(x, p, scheme, "'https' is the only allowed URL scheme" FORM);
    if (str_cut(host, '@', &user, &bare))
        say_invalid_str(x, p, user, "user information is not permitted in the URL");
    else
        bare = host;
    if (!bare.n)
        say_invalid_str(x, p, bare, "host must be specified" FORM);
    if (fragment.n)
        say_invalid_str(x, p, fragment, "fragments are not permitted in the URL");
    if (query.n)
        say_invalid_str(x, p, query, "query parameters are not permitted in the URL");
}

static void check_service(struct validation *x, const struct vpath *p, const struct val *v)
{
    if (!val_getstr(v, N_name).n)
        say_required(x, AT(p, N_namespace), NULL); /* upstream mixes the two up */
    if (!val_getstr(v, N_namespace).n)
        say_required(x, AT(p, N_name), NULL);
    check_webhook_path(x, AT(p, N_path), val_get(v, N_path));
    check_range(x, AT(p, N_port), val_get(v, N_port), 1, 65535);
}

static void check_client(struct validation *x, const struct vpath *p, const struct val *v)
{
    const struct val *url = val_get(v, N_url), *service = val_get(v, N_service);
    if (!url == !service && val_len(v)) /* an empty one is said to be already */
        say_required(x, p, "exactly one of url or service is required");
    else if (url)
        check_url(x, AT(p, N_url), val_str(url));
    else if (service)
        check_service(x, AT(p, N_service), service);
}

static void rule_webhook(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    struct str effects = val_getstr(v, N_sideEffects);
    (void)old;
    check_hook_name(x, AT(p, N_name), val_get(v, N_name));
    if (str_is(effects, "Some") || str_is(effects, "Unknown"))
        if (all_quiet(val_get(x->old, N_webhooks)))
            say_unsupported(x, AT(p, N_sideEffects), val_get(v, N_sideEffects), quiet);
    check_client(x, AT(p, N_clientConfig), val_get(v, N_clientConfig));
    check_unique(x, AT(p, N_matchConditions), val_get(v, N_matchConditions), N_name);
    check_reviews(x, AT(p, N_admissionReviewVersions), val_get(v, N_admissionReviewVersions));
}

static bool named_once(const struct val *hooks)
{
    for (size_t i = 0; i < val_len(hooks); i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(val_getstr(val_item(hooks, i), N_name), val_getstr(val_item(hooks, j), N_name)))
                return false;
    return true;
}

static void rule_configuration(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    if (named_once(val_get(old, N_webhooks)))
        check_unique(x, AT(p, N_webhooks), val_get(v, N_webhooks), N_name);
}

/* ---- policies ------------------------------------------------------------------------------------------- */

static bool is_identifier(struct str s)
{
    static const char *const reserved[] = {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function",
                                           "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while", NULL};
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(i && c >= '0' && c <= '9'))
            return false;
    }
    return s.n && !str_in(s, reserved);
}

/* Empty text is told by the tables. */
static void check_not_blank(struct validation *x, const struct vpath *p, struct str s)
{
    if (s.n && !str_trim(s).n)
        say_required(x, p, NULL);
}

static void rule_match_condition(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    (void)old;
    check_not_blank(x, AT(p, N_expression), val_getstr(v, N_expression));
}

static void rule_variable(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    struct str name = val_getstr(v, N_name);
    (void)old;
    check_not_blank(x, AT(p, N_name), name);
    check_not_blank(x, AT(p, N_expression), val_getstr(v, N_expression));
    if (str_trim(name).n && !is_identifier(name))
        say_invalid(x, AT(p, N_name), val_get(v, N_name), "must be a valid CEL identifier");
}

static void rule_validation(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    struct str message = val_getstr(v, N_message), by = val_getstr(v, N_messageExpression);
    (void)old;
    if (by.n && !str_trim(by).n)
        say_invalid(x, AT(p, N_messageExpression), val_get(v, N_messageExpression), "must be non-empty if specified");
    if (message.n && !str_trim(message).n)
        say_invalid(x, AT(p, N_message), val_get(v, N_message), "must be non-empty if specified");
    else if (str_find(str_trim(message), '\n') >= 0 || str_find(str_trim(message), '\r') >= 0)
        say_invalid(x, AT(p, N_message), val_get(v, N_message), "must not contain line breaks");
}

static void rule_param_kind(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    struct str text = val_getstr(v, N_apiVersion), group = STR(""), version = text, more;
    char kind[64];
    struct str k = val_getstr(v, N_kind);
    (void)old;
    if (str_cut(text, '/', &group, &more))
        version = more;
    else
        group = STR("");
    if (str_find(version, '/') >= 0)
        say_invalid(x, AT(p, N_apiVersion), val_get(v, N_apiVersion), arena_printf(x->s->arena, "unexpected GroupVersion string: " STR_FMT, STR_ARG(text)).p);
    else if (text.n && group.n)
        check_text(x, AT(p, N_apiVersion), group, check_subdomain);
    if (text.n && !version.n)
        say_invalid(x, AT(p, N_apiVersion), val_get(v, N_apiVersion), "version must be specified");
    else if (text.n && str_find(version, '/') < 0)
        check_text(x, AT(p, N_apiVersion), version, check_label_of_dns1035);
    for (size_t i = 0; i < k.n && i < sizeof(kind); i++)
        kind[i] = k.p[i] >= 'A' && k.p[i] <= 'Z' ? (char)(k.p[i] + 32) : k.p[i];
    struct check c = {0};
    check_label_of_dns1035(&c, k.n < sizeof(kind) ? str_n(kind, k.n) : k);
    if (k.n && c.n)
        say_invalid(x, AT(p, N_kind), val_get(v, N_kind), arena_printf(x->s->arena, "may have mixed case, but should otherwise match: %s", c.texts[0]).p);
}

/* What is deleted cannot be changed. */
static void check_no_delete(struct validation *x, const struct vpath *p, const struct val *match)
{
    static const char *const possible[] = {"*", "CONNECT", "CREATE", "UPDATE", NULL};
    VAL_EACH (val_get(match, N_resourceRules), rule)
        VAL_EACH (val_get(rule, N_operations), op)
            if (!str_in(val_str(op), possible))
                say_unsupported(x, AT(AT(p, N_resourceRules), N_operations), op, possible);
}

static void check_constraints(struct validation *x, const struct vpath *p, const struct val *spec)
{
    const struct val *match = val_get(spec, N_matchConstraints);
    check_unique(x, AT(p, N_matchConditions), val_get(spec, N_matchConditions), N_name);
    if (match && !val_len(val_get(match, N_resourceRules)))
        say_required(x, AT(AT(p, N_matchConstraints), N_resourceRules), NULL);
}

static void check_notes(struct validation *x, const struct vpath *p, const struct val *list)
{
    enum { NOTES_MAX = 20 };
    struct str name = obj_name(x->obj);
    size_t i = 0;
    if (val_len(list) > NOTES_MAX)
        say_invalid(x, p, list, "must not have more than 20 auditAnnotations");
    VAL_EACH (list, v) {
        const struct vpath *at = ITEM(p, i++);
        struct str key = val_getstr(v, N_key);
        if (key.n && !name.n)
            say_invalid(x, AT(at, N_key), val_get(v, N_key), "requires metadata.name be non-empty");
    }
    check_unique(x, p, list, N_key);
}

static void rule_policy_spec(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    static const char nothing[] = "validations or auditAnnotations must contain at least one item";
    const struct val *checks = val_get(v, N_validations), *notes = val_get(v, N_auditAnnotations);
    (void)old;
    check_constraints(x, p, v);
    if (!val_len(checks) && !val_len(notes)) {
        say_required(x, AT(p, N_validations), nothing);
        say_required(x, AT(p, N_auditAnnotations), nothing);
    }
    check_notes(x, AT(p, N_auditAnnotations), notes);
}

static void rule_mutating_spec(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    (void)old;
    check_constraints(x, p, v);
    check_no_delete(x, AT(p, N_matchConstraints), val_get(v, N_matchConstraints));
}

static void rule_binding_spec(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *actions = val_get(v, N_validationActions);
    (void)old;
    if (val_getstr(v, N_policyName).n)
        check_text(x, AT(p, N_policyName), val_getstr(v, N_policyName), check_subdomain);
    check_unique(x, AT(p, N_validationActions), actions, 0);
    if (has(actions, "Deny") && has(actions, "Warn"))
        say_invalid(x, AT(p, N_validationActions), actions,
                    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)");
}

static void rule_mutating_binding_spec(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    (void)old;
    if (val_getstr(v, N_policyName).n)
        check_text(x, AT(p, N_policyName), val_getstr(v, N_policyName), check_subdomain);
    check_no_delete(x, AT(p, N_matchResources), val_get(v, N_matchResources));
}

static void rule_param_ref(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    const struct val *selector = val_get(v, N_selector);
    const struct val *action = val_get(v, N_parameterNotFoundAction);
    bool name = val_getstr(v, N_name).n > 0;
    (void)old;
    static const char *const actions[] = {"Allow", "Deny", NULL};
    if (!val_str(action).n)
        say_required(x, AT(p, N_parameterNotFoundAction), NULL);
    else if (!str_in(val_str(action), actions))
        say_unsupported(x, AT(p, N_parameterNotFoundAction), action, actions);
    if (name)
        check_text(x, AT(p, N_name), val_getstr(v, N_name), check_path_segment);
    if (name && selector) {
        say_forbidden(x, AT(p, N_name), "name and selector are mutually exclusive");
        say_forbidden(x, AT(p, N_selector), "name and selector are mutually exclusive");
    }
    if (!name && !selector)
        say_required(x, p, "one of name or selector must be specified");
}

static void rule_mutation(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    static const struct {
        const char *type;
        name_id field, other;
    } kinds[] = {
        {"JSONPatch", N_jsonPatch, N_applyConfiguration},
        {"ApplyConfiguration", N_applyConfiguration, N_jsonPatch},
    };
    (void)old;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!str_is(val_getstr(v, N_patchType), kinds[i].type))
            continue;
        if (!val_get(v, kinds[i].field))
            say_required(
                x, AT(p, kinds[i].field),
                arena_printf(x->s->arena, "must be specified when patchType is %s", kinds[i].type).p);
        else if (!str_trim(val_str(val_at(v, kinds[i].field, N_expression))).n)
            say_required(x, AT(AT(p, kinds[i].field), N_expression), NULL);
        if (val_get(v, kinds[i].other))
            say_invalid(
                x, AT(p, kinds[i].other), val_get(v, kinds[i].other),
                arena_printf(x->s->arena, "must not be specified when patchType is %s", kinds[i].type).p);
    }
}

const struct rule rules_admission[] = {
    {T_admissionregistration_v1_MutatingWebhookConfiguration, 0, rule_configuration},
    {T_admissionregistration_v1_ValidatingWebhookConfiguration, 0, rule_configuration},
    {T_admissionregistration_v1_RuleWithOperations, 0, rule_rule},
    {T_admissionregistration_v1_NamedRuleWithOperations, 0, rule_named_rule},
    {T_admissionregistration_v1_ServiceReference, RULE_OWN, NULL},
    {T_admissionregistration_v1_MutatingWebhook, 0, rule_webhook},
    {T_admissionregistration_v1_ValidatingWebhook, 0, rule_webhook},
    {T_admissionregistration_v1_Variable, 0, rule_variable},
    {T_admissionregistration_v1_Validation, 0, rule_validation},
    {T_admissionregistration_v1_ParamKind, 0, rule_param_kind},
    {T_admissionregistration_v1_ParamRef, 0, rule_param_ref},
    {T_admissionregistration_v1_MatchCondition, 0, rule_match_condition},
    {T_admissionregistration_v1_Mutation, 0, rule_mutation},
    {T_admissionregistration_v1_ValidatingAdmissionPolicySpec, 0, rule_policy_spec},
    {T_admissionregistration_v1_ValidatingAdmissionPolicyBindingSpec, 0, rule_binding_spec},
    {T_admissionregistration_v1_MutatingAdmissionPolicySpec, 0, rule_mutating_spec},
    {T_admissionregistration_v1_MutatingAdmissionPolicyBindingSpec, 0, rule_mutating_binding_spec},
    {0, 0, NULL},
};
