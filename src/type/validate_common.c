/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of common shapes: texts, labels, amounts, percentages, selectors. */
#include "base/map.h"
#include "type/selector.h"
#include "type/text.h"
#include "type/validate-internal.h"
#include "wire/quantity.h"

bool str_in(struct str s, const char *const *words)
{
    for (; *words; words++)
        if (str_is(s, *words))
            return true;
    return false;
}

void check_text(struct validation *x, const struct vpath *p, struct str s, check_fn *fn)
{
    struct check c = {0};
    fn(&c, s);
    for (unsigned i = 0; i < c.n; i++)
        say_invalid_str(x, p, s, c.texts[i]);
}

void check_labels(struct validation *x, const struct vpath *p, const struct val *map)
{
    VAL_EACH_ENTRY (map, k, v) {
        check_text(x, p, val_str(k), check_label_key);
        check_text(x, p, val_str(v), check_label_text);
    }
}

void check_same(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    if (!val_equal(v, old))
        say_invalid(x, p, v, "field is immutable");
}

void check_relative_path(struct validation *x, const struct vpath *p, struct str path)
{
    struct str rest = path, part;
    if (str_starts(path, STR("/")))
        say_invalid_str(x, p, path, "must be a relative path");
    while (str_next(&rest, '/', &part))
        if (str_is(part, "..")) {
            say_invalid_str(x, p, path, "must not contain '..'");
            return;
        }
}

static const struct val *unique_key(const struct val *item, name_id name)
{
    return name ? val_get(item, name) : item;
}

/* Lists come as long as a body may be, whatever their limit: a look at each pair of items would take minutes. */
static void unique(struct validation *x, const struct vpath *p, const struct val *list, name_id name, bool of_item)
{
    struct map seen = MAP_INIT;
    size_t i = 0;
    if (val_len(list) < 2)
        return;
    VAL_EACH (list, item) {
        const struct val *key = unique_key(item, name);
        if (val_str(key).n && map_put(&seen, val_str(key), &seen))
            say_duplicate(x, of_item ? ITEM(p, i) : AT(ITEM(p, i), name), key);
        i++;
    }
    map_done(&seen);
}

void check_unique(struct validation *x, const struct vpath *p, const struct val *list, name_id name)
{
    unique(x, p, list, name, !name);
}

void check_unique_items(struct validation *x, const struct vpath *p, const struct val *list, name_id name)
{
    unique(x, p, list, name, true);
}

/* ---- amounts ------------------------------------------------------------------------------------------- */

void check_quantity(struct validation *x, const struct vpath *p, const struct val *q)
{
    if (q && quantity_or_zero(val_str(q)).nano < 0)
        say_invalid(x, p, q, "must be greater than or equal to 0");
}

static bool is_native(struct str resource)
{
    return str_find(resource, '/') < 0 || str_contains(resource, STR("kubernetes.io/"));
}

bool is_hugepages(struct str resource)
{
    return str_starts(resource, STR("hugepages-"));
}

bool is_extended_resource(struct str resource)
{
    struct check c = {0};
    if (is_native(resource) || str_starts(resource, STR("requests.")))
        return false;
    check_label_key(&c, resource);
    return c.n == 0;
}

static bool is_whole(struct str resource)
{
    static const char *const names[] = {
        "pods",       "resourcequotas",         "services",           "replicationcontrollers", "secrets",
        "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers", NULL};
    return str_in(resource, names) || is_extended_resource(resource);
}

void check_resource_amount(struct validation *x, const struct vpath *p, struct str resource,
                           const struct val *q)
{
    check_quantity(x, p, q);
    if (is_whole(resource) && quantity_or_zero(val_str(q)).nano % 1000000000)
        say_invalid(x, p, q, "must be an integer");
}

bool is_standard_resource(struct str s)
{
    static const char *const names[] = {"cpu",
                                        "memory",
                                        "ephemeral-storage",
                                        "requests.cpu",
                                        "requests.memory",
                                        "requests.ephemeral-storage",
                                        "limits.cpu",
                                        "limits.memory",
                                        "limits.ephemeral-storage",
                                        "pods",
                                        "resourcequotas",
                                        "services",
                                        "replicationcontrollers",
                                        "secrets",
                                        "configmaps",
                                        "persistentvolumeclaims",
                                        "storage",
                                        "requests.storage",
                                        "services.nodeports",
                                        "services.loadbalancers",
                                        NULL};
    return str_in(s, names) || is_hugepages(s) || str_starts(s, STR("requests.hugepages-"));
}

void check_resource_name(struct validation *x, const struct vpath *p, struct str s)
{
    struct check c = {0};
    check_label_key(&c, s);
    for (unsigned i = 0; i < c.n; i++)
        say_invalid_str(x, p, s, c.texts[i]);
    if (!c.n && str_find(s, '/') < 0 && !is_standard_resource(s))
        say_invalid_str(x, p, s, "must be a standard resource type or fully qualified");
}

/* What a container can have: the node's own resources and those of devices. */
void check_container_resource_name(struct validation *x, const struct vpath *p, struct str s)
{
    static const char *const own[] = {"cpu", "memory", "ephemeral-storage", NULL};
    check_resource_name(x, p, s);
    if (str_find(s, '/') < 0) {
        if (!str_in(s, own) && !is_hugepages(s))
            say_invalid_str(x, p, s, "must be a standard resource for containers");
    } else if (!is_native(s) && !is_extended_resource(s)) {
        say_invalid_str(x, p, s, "doesn't follow extended resource name standard");
    }
}

/* ---- numbers or percentages ---------------------------------------------------------------------------- */

void check_int_or_percent(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct check c = {0};
    if (val_is(v, VAL_INT) && v->i < 0)
        say_invalid(x, p, v, "must be greater than or equal to 0");
    if (!val_is(v, VAL_STR))
        return;
    check_percent(&c, val_str(v));
    if (c.n)
        say_invalid(x, p, v, c.texts[0]);
}

/* The number of a percentage, -1 when it is none. */
static int64_t percent_of(const struct val *v)
{
    struct str s = val_str(v);
    int64_t n;
    return s.n > 1 && str_ends(s, STR("%")) && str_to_i64(str_slice(s, 0, s.n - 1), &n) == 0 ? n : -1;
}

bool int_or_percent_is_zero(const struct val *v)
{
    return val_is(v, VAL_STR) ? percent_of(v) == 0 : val_int(v, 0) == 0;
}

void check_at_most_100_percent(struct validation *x, const struct vpath *p, const struct val *v)
{
    if (val_is(v, VAL_STR) && percent_of(v) > 100)
        say_invalid(x, p, v, "must not be greater than 100%");
}

/* ---- selectors ----------------------------------------------------------------------------------------- */

void check_selector_matches(struct validation *x, const struct vpath *selector_at, const struct val *selector,
                            const struct vpath *labels_at, const struct val *labels)
{
    struct selector s;
    struct err e = {0};
    if (selector_from_val(x->s->arena, selector, &s, &e) < 0)
        say_invalid(x, selector_at, selector, "invalid label selector");
    else if (!selector_matches(&s, labels))
        say_invalid(x, labels_at, labels, "`selector` does not match template `labels`");
}

static void check_expression(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct str op = val_getstr(v, N_operator);
    const struct val *values = val_get(v, N_values);
    if (str_is(op, "In") || str_is(op, "NotIn")) {
        if (!val_len(values))
            say_required(x, AT(p, N_values), "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (str_is(op, "Exists") || str_is(op, "DoesNotExist")) {
        if (val_len(values))
            say_forbidden(x, AT(p, N_values),
                          "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
        say_invalid_str(x, AT(p, N_operator), op, "not a valid selector operator");
    }
    check_text(x, AT(p, N_key), val_getstr(v, N_key), check_label_key);
    for (size_t i = 0; i < val_len(values); i++)
        check_text(x, ITEM(AT(p, N_values), i), val_str(val_item(values, i)), check_label_text);
}

static void rule_label_selector(struct validation *x, const struct vpath *p, const struct val *v,
                                const struct val *old)
{
    size_t i = 0;
    check_labels(x, AT(p, N_matchLabels), val_get(v, N_matchLabels));
    VAL_EACH (val_get(v, N_matchExpressions), expr)
        check_expression(x, ITEM(AT(p, N_matchExpressions), i++), expr);
}

const struct rule rules_meta[] = {
    {T_meta_v1_LabelSelector, RULE_OWN, rule_label_selector},
    {T_meta_v1_LabelSelectorRequirement, RULE_OWN, NULL},
    {0, 0, NULL},
};
