/* SPDX-License-Identifier: Apache-2.0 */
/* Devices (resource.k8s.io): claims and their templates, classes, slices, and what is written to a claim's status.
 * CEL expressions are compiled by the API server, which stands above this floor. */
#include "type/validate-internal.h"

#include "base/map.h"
#include "type/resourceclaim.h"
#include "wire/json.h"
#include "wire/quantity.h"

enum {
    ID_MAX = 32,
    POOL_NAME_MAX = 253,
    OPAQUE_MAX = 10 << 10,
    DEVICES_MAX_ADVANCED = 64, /* with taints, counters or lists */
    ATTRIBUTES_MAX = 32,       /* and capacities, of a device */
    VALUES_MAX = 48,           /* of attributes, lists item by item */
    COUNTER_SETS_MAX = 2,      /* that a device consumes from */
    COUNTERS_MAX = 32,
};

/* ---- names ------------------------------------------------------------------------------------------------ */

static void check_id(struct validation *x, const struct vpath *p, struct str id)
{
    if (id.n > ID_MAX)
        say_too_long(x, p, ID_MAX);
    check_text(x, p, id, check_c_identifier);
}

/* [domain/]name, of attributes and capacities. */
static void check_qualified(struct validation *x, const struct vpath *p, struct str name)
{
    struct str domain, id;
    if (!str_cut(name, '/', &domain, &id)) {
        check_id(x, p, name);
        return;
    }
    if (str_find(id, '/') >= 0)
        return; /* upstream looks at no more than two parts */
    if (!domain.n)
        say_invalid_str(x, p, STR(""), "the domain must not be empty");
    else
        check_driver_name(x, p, domain);
    if (!id.n)
        say_invalid_str(x, p, STR(""), "the name must not be empty");
    else
        check_id(x, p, id);
}

static void check_fully_qualified(struct validation *x, const struct vpath *p, const struct val *name)
{
    if (!name)
        return;
    check_qualified(x, p, val_str(name));
    if (str_find(val_str(name), '/') < 0)
        say_invalid(x, p, name, "a fully qualified name must be a domain and a name separated by a slash");
}

static void check_pool_name(struct validation *x, const struct vpath *p, struct str name)
{
    struct str rest = name, part;
    if (!name.n) {
        say_required(x, p, NULL);
        return;
    }
    if (name.n > POOL_NAME_MAX)
        say_too_long(x, p, POOL_NAME_MAX);
    while (str_next(&rest, '/', &part))
        check_text(x, p, part, check_subdomain);
}

static void check_uuid(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct str s = val_str(v);
    bool ok = s.n == 36;
    for (size_t i = 0; ok && i < s.n; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        ok = dash ? s.p[i] == '-' : ((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f'));
    }
    if (v && !ok)
        say_invalid(x, p, v,
                    "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase "
                    "hexadecimal characters");
}

static void check_json_object(struct validation *x, const struct vpath *p, struct str raw)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = NULL;
    struct err e = {{0}};
    if (!raw.n || str_is(raw, "null"))
        say_required(x, p, NULL);
    else if (raw.n > OPAQUE_MAX)
        say_too_long(x, p, OPAQUE_MAX);
    else if (json_decode(&a, NULL, raw, 0, NULL, &v, &e) < 0)
        say_invalid_str(x, p, STR("<value omitted>"),
                        arena_printf(x->s->arena, "error parsing data as JSON: %s", e.text).p);
    else if (!val_is(v, VAL_MAP))
        say_invalid_str(x, p, STR("<value omitted>"), "must be a valid JSON object");
}

/* ---- claims ------------------------------------------------------------------------------------------------ */

static bool names_request(const struct val *requests, struct str ref)
{
    struct str base, sub;
    bool two = str_cut(ref, '/', &base, &sub);
    const struct val *r = val_named(requests, two ? base : ref);
    return r && (!two || val_named(val_get(r, N_firstAvailable), sub));
}

static void check_request_ref(struct validation *x, const struct vpath *p, struct str ref, const struct val *requests)
{
    static const char text[] = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    struct str rest = ref, part;
    size_t parts = 0;
    while (str_next(&rest, '/', &part))
        parts++;
    if (parts > 2) {
        say_invalid_str(x, p, ref, text);
        return;
    }
    rest = ref;
    while (str_next(&rest, '/', &part))
        check_text(x, p, part, check_label_of_dns);
    if (!names_request(requests, ref))
        say_invalid_str(x, p, ref, text);
}

static void check_request_refs(struct validation *x, const struct vpath *p, const struct val *refs,
                               const struct val *requests)
{
    size_t i = 0;
    VAL_EACH (refs, ref)
        check_request_ref(x, ITEM(p, i++), val_str(ref), requests);
    check_unique(x, p, refs, 0);
}

static void rule_device_claim(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *requests = val_get(v, N_requests);
    size_t i = 0;
    (void)old;
    check_unique_items(x, AT(p, N_requests), requests, N_name);
    VAL_EACH (val_get(v, N_constraints), c)
        check_request_refs(x, AT(ITEM(AT(p, N_constraints), i++), N_requests), val_get(c, N_requests), requests);
    i = 0;
    VAL_EACH (val_get(v, N_config), c)
        check_request_refs(x, AT(ITEM(AT(p, N_config), i++), N_requests), val_get(c, N_requests), requests);
}

static void rule_device_request(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    bool exactly = val_get(v, N_exactly), first = val_len(val_get(v, N_firstAvailable)) > 0;
    (void)old;
    if (!exactly && !first)
        say_required(x, p, "exactly one of `exactly` or `firstAvailable` is required");
    else if (exactly && first)
        say_invalid(x, p, NULL,
                    "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
    check_unique_items(x, AT(p, N_firstAvailable), val_get(v, N_firstAvailable), N_name);
}

static void rule_request(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *count = val_get(v, N_count);
    bool all = str_is(val_getstr(v, N_allocationMode), "All");
    (void)old;
    if (all && val_int(count, 0) != 0)
        say_invalid(x, AT(p, N_count), count, "must not be specified when allocationMode is 'All'");
    else if (!all && !count && str_is(val_getstr(v, N_allocationMode), "ExactCount"))
        say_invalid(x, AT(p, N_count), &(const struct val){.kind = VAL_INT}, "must be greater than zero");
}

static void rule_toleration(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    struct str value = val_getstr(v, N_value);
    (void)old;
    if (str_is(val_getstr(v, N_operator), "Exists") && value.n)
        say_invalid_str(x, AT(p, N_value), value, "must be empty for operator `Exists`");
    else
        check_text(x, AT(p, N_value), value, check_label_text);
}

static void rule_taint_selector(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    (void)old;
    if (val_get(v, N_driver))
        check_driver_name(x, AT(p, N_driver), val_getstr(v, N_driver));
    if (val_get(v, N_pool))
        check_pool_name(x, AT(p, N_pool), val_getstr(v, N_pool));
}

static void rule_constraint(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *match = val_get(v, N_matchAttribute), *distinct = val_get(v, N_distinctAttribute);
    (void)old;
    if (!match && !distinct)
        say_required(x, p,
                     "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set");
    check_fully_qualified(x, AT(p, N_matchAttribute), match);
    check_fully_qualified(x, AT(p, N_distinctAttribute), distinct);
}

static void check_settings(struct validation *x, const struct vpath *p, const struct val *v)
{
    if (!val_get(v, N_opaque))
        say_required(x, AT(p, N_opaque), NULL);
}

static void rule_settings(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    (void)old;
    check_settings(x, p, v);
}

static void rule_opaque(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *parameters = val_get(v, N_parameters);
    if (!val_getstr(v, N_driver).n)
        say_required(x, AT(p, N_driver), NULL);
    else
        check_driver_name(x, AT(p, N_driver), val_getstr(v, N_driver));
    if (!old || !val_equal(parameters, val_get(old, N_parameters)))
        check_json_object(x, AT(p, N_parameters), val_str(parameters));
}

static void rule_claim(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    if (old)
        check_same(x, AT(p, N_spec), val_get(v, N_spec), val_get(old, N_spec));
}

static void rule_template_spec(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    (void)old;
    check_template_meta(x, AT(p, N_metadata), obj_meta(v));
}

static void rule_class_spec(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *name = val_get(v, N_extendedResourceName);
    (void)old;
    if (name && !is_extended_resource(val_str(name)))
        say_invalid(x, AT(p, N_extendedResourceName), name, "must be a valid extended resource name");
}

/* ---- slices -------------------------------------------------------------------------------------------------- */

/* Which of the ways to say where devices are is taken: none or several are wrong. */
struct choice {
    struct buf set;
    unsigned n;
};

static void choose(struct choice *c, bool set, const char *name)
{
    if (!set)
        return;
    buf_printf(&c->set, "%s`%s`", c->n++ ? ", " : "{", name);
}

static void judge(struct validation *x, const struct vpath *p, struct choice *c, const char *text, const char *many)
{
    buf_putc(&c->set, '}');
    if (!c->n)
        say_required(x, p, text);
    else if (c->n > 1)
        say_invalid_str(x, p, arena_str(x->s->arena, buf_str(&c->set)), many);
    buf_done(&c->set);
}

static void check_true_or_unset(struct validation *x, const struct vpath *p, const struct val *v)
{
    if (v && !val_bool(v, true))
        say_invalid(x, p, v, "must be either unset or set to true");
}

static void check_slice_node(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct choice c = {0};
    const struct val *name = val_get(v, N_nodeName), *terms = val_at(v, N_nodeSelector, N_nodeSelectorTerms);
    if (name && !val_str(name).n)
        say_invalid(x, AT(p, N_nodeName), name, "must be either unset or set to a non-empty string");
    if (val_get(v, N_nodeSelector) && val_len(terms) != 1)
        say_invalid(x, AT(AT(p, N_nodeSelector), N_nodeSelectorTerms), terms, "must have exactly one node selector term");
    check_true_or_unset(x, AT(p, N_allNodes), val_get(v, N_allNodes));
    check_true_or_unset(x, AT(p, N_perDeviceNodeSelection), val_get(v, N_perDeviceNodeSelection));
    choose(&c, val_str(name).n, "nodeName");
    choose(&c, val_get(v, N_nodeSelector), "nodeSelector");
    choose(&c, val_bool(val_get(v, N_allNodes), false), "allNodes");
    choose(&c, val_bool(val_get(v, N_perDeviceNodeSelection), false), "perDeviceNodeSelection");
#define ONE_OF "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
    judge(x, p, &c, ONE_OF, ONE_OF ", but multiple fields are set");
#undef ONE_OF
}

static void check_device_node(struct validation *x, const struct vpath *p, const struct val *d, bool per_device)
{
    struct choice c = {0};
    const struct val *name = val_get(d, N_nodeName);
    if (!per_device) {
        if (name || val_get(d, N_nodeSelector) || val_get(d, N_allNodes))
            say_invalid(x, p, NULL,
                        "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true "
                        "in the ResourceSlice spec");
        return;
    }
    if (name && !val_str(name).n)
        say_invalid(x, AT(p, N_nodeName), name, "must not be empty");
    check_true_or_unset(x, AT(p, N_allNodes), val_get(d, N_allNodes));
    choose(&c, val_str(name).n, "nodeName");
    choose(&c, val_get(d, N_nodeSelector), "nodeSelector");
    choose(&c, val_bool(val_get(d, N_allNodes), false), "allNodes");
    static const char text[] = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when "
                               "`perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    judge(x, p, &c, text, text);
}

static size_t values_of(const struct val *attribute)
{
    static const name_id lists[] = {N_bools, N_ints, N_strings, N_versions};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        n += val_len(val_get(attribute, lists[i]));
    return n ? n : 1;
}

static bool is_advanced(const struct val *devices)
{
    VAL_EACH (devices, d) {
        if (val_len(val_get(d, N_taints)) || val_len(val_get(d, N_consumesCounters)))
            return true;
        VAL_EACH_ENTRY (val_get(d, N_attributes), k, a) {
            (void)k;
            if (val_get(a, N_bools) || val_get(a, N_ints) || val_get(a, N_strings) || val_get(a, N_versions))
                return true;
        }
    }
    return false;
}

static void rule_slice(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *devices = val_get(v, N_devices), *counters = val_get(v, N_sharedCounters);
    bool per_device = val_bool(val_get(v, N_perDeviceNodeSelection), false);
    size_t i = 0;
    (void)old;
    if (val_getstr(v, N_driver).n)
        check_driver_name(x, AT(p, N_driver), val_getstr(v, N_driver));
    check_slice_node(x, p, v);
    if (counters && devices)
        say_invalid_str(x, p, STR(""), "only one of `sharedCounters` or `devices` is allowed");
    if (val_len(devices) > DEVICES_MAX_ADVANCED && is_advanced(devices))
        say_too_many(x, AT(p, N_devices), val_len(devices), DEVICES_MAX_ADVANCED);
    check_unique_items(x, AT(p, N_devices), devices, N_name);
    check_unique_items(x, AT(p, N_sharedCounters), counters, N_name);
    VAL_EACH (devices, d)
        check_device_node(x, ITEM(AT(p, N_devices), i++), d, per_device);
}

static void rule_pool(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    check_pool_name(x, AT(p, N_name), val_getstr(v, N_name));
    if (val_int(val_get(v, N_resourceSliceCount), 0) <= 0)
        say_invalid(x, AT(p, N_resourceSliceCount),
                    val_get(v, N_resourceSliceCount) ?: &(const struct val){.kind = VAL_INT}, "must be greater than zero");
    if (val_int(val_get(v, N_generation), 0) < 0)
        say_invalid(x, AT(p, N_generation), val_get(v, N_generation), "must be greater than or equal to zero");
    if (old)
        check_same(x, AT(p, N_name), val_get(v, N_name), val_get(old, N_name));
}

/* ---- devices --------------------------------------------------------------------------------------------------- */

static void check_keys(struct validation *x, const struct vpath *p, const struct val *map)
{
    EACH_KEY (map, k)
        check_qualified(x, p, val_str(k));
}

static void check_binding_conditions(struct validation *x, const struct vpath *p, const struct val *v)
{
    const struct val *good = val_get(v, N_bindingConditions), *bad = val_get(v, N_bindingFailureConditions);
    size_t i = 0;
    VAL_EACH (good, c)
        check_text(x, ITEM(AT(p, N_bindingConditions), i++), val_str(c), check_label_key);
    i = 0;
    VAL_EACH (bad, c) {
        const struct vpath *at = ITEM(AT(p, N_bindingFailureConditions), i++);
        check_text(x, at, val_str(c), check_label_key);
        VAL_EACH (good, g)
            if (str_eq(val_str(g), val_str(c)))
                say_invalid(x, at, c, "bindingFailureConditions must not overlap with bindingConditions");
    }
    check_unique(x, AT(p, N_bindingConditions), good, 0);
    check_unique(x, AT(p, N_bindingFailureConditions), bad, 0);
    if (!val_len(good) && val_len(bad))
        say_invalid(x, AT(p, N_bindingConditions), NULL, "bindingConditions are required to use bindingFailureConditions");
    if (val_len(good) && !val_len(bad))
        say_invalid(x, AT(p, N_bindingFailureConditions), NULL,
                    "bindingFailureConditions are required to use bindingConditions");
}

static void check_policies(struct validation *x, const struct vpath *p, const struct val *d);

static void rule_device(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *attributes = val_get(v, N_attributes), *capacity = val_get(v, N_capacity);
    const struct val *consumes = val_get(v, N_consumesCounters);
    size_t names = val_len(attributes) + val_len(capacity), values = 0;
    VAL_EACH_ENTRY (attributes, k, a) {
        (void)k;
        values += values_of(a);
    }
    if (names > ATTRIBUTES_MAX)
        say_invalid(x, p, &(const struct val){.kind = VAL_INT, .i = (int64_t)names},
                    "the total number of attributes and capacities must not exceed 32");
    if (values > VALUES_MAX)
        say_invalid(x, p, &(const struct val){.kind = VAL_INT, .i = (int64_t)values},
                    "the total number of attribute values must not exceed 48");
    check_keys(x, AT(p, N_attributes), attributes);
    check_keys(x, AT(p, N_capacity), capacity);
    if (!old || !val_equal(capacity, val_get(old, N_capacity)))
        check_policies(x, AT(p, N_capacity), v);
    if (val_len(consumes) > COUNTER_SETS_MAX)
        say_too_many(x, AT(p, N_consumesCounters), val_len(consumes), COUNTER_SETS_MAX);
    check_unique_items(x, AT(p, N_consumesCounters), consumes, N_counterSet);
    check_binding_conditions(x, p, v);
}

static void check_counters(struct validation *x, const struct vpath *p, const struct val *map)
{
    if (val_len(map) > COUNTERS_MAX) {
        say_too_many(x, p, val_len(map), COUNTERS_MAX);
        return;
    }
    EACH_KEY (map, k)
        check_text(x, p, val_str(k), check_label_of_dns);
}

static void rule_counters(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    (void)old;
    check_counters(x, AT(p, N_counters), val_get(v, N_counters));
}

static bool digits(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

static bool number_without_zeros(struct str s)
{
    return digits(s) && (s.n == 1 || s.p[0] != '0');
}

/* Dot-separated words of letters, digits and hyphens; in the pre-release part numbers have no leading zeros. */
static bool words(struct str s, bool pre_release)
{
    struct str word;
    while (str_next(&s, '.', &word)) {
        for (size_t i = 0; i < word.n; i++) {
            char c = word.p[i];
            if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-'))
                return false;
        }
        if (!word.n || (pre_release && digits(word) && !number_without_zeros(word)))
            return false;
    }
    return true;
}

/* semver.org 2.0.0 */
static bool is_semver(struct str s)
{
    struct str core, rest, build = STR_NULL, pre = STR_NULL, part;
    if (str_cut(s, '+', &rest, &build) && !words(build.p ? build : STR(""), false))
        return false;
    s = str_find(s, '+') >= 0 ? rest : s;
    if (str_cut(s, '-', &core, &pre) && !words(pre.p ? pre : STR(""), true))
        return false;
    core = str_find(s, '-') >= 0 ? core : s;
    size_t n = 0;
    while (str_next(&core, '.', &part)) {
        if (!number_without_zeros(part))
            return false;
        n++;
    }
    return n == 3;
}

static void rule_attribute(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    static const char not_semver[] = "must be a string compatible with semver.org spec 2.0.0";
    const struct val *version = val_get(v, N_version);
    size_t n = 0, i = 0;
    (void)old;
    VAL_EACH_MEMBER (v, m) {
        (void)m;
        n++;
    }
    if (n != 1)
        say_invalid(x, p, n ? v : NULL, "exactly one value must be specified");
    if (version && !is_semver(val_str(version)))
        say_invalid(x, AT(p, N_version), version, not_semver);
    VAL_EACH (val_get(v, N_versions), item) {
        if (!is_semver(val_str(item)))
            say_invalid(x, ITEM(AT(p, N_versions), i), item, not_semver);
        i++;
    }
}

/* ---- capacities ---------------------------------------------------------------------------------------------------- */

static struct quantity amount(const struct val *v)
{
    return quantity_or_zero(val_str(v));
}

static int compare(const struct val *a, const struct val *b)
{
    return quantity_cmp(amount(a), amount(b));
}

static const char *say(struct validation *x, const char *text, const struct val *q)
{
    return arena_printf(x->s->arena, "%s: " STR_FMT, text, STR_ARG(val_str(q))).p;
}

static void check_valid_values(struct validation *x, const struct vpath *p, const struct val *list,
                               const struct val *standard, const struct val *whole)
{
    bool found = false;
    for (size_t i = 0; i < val_len(list); i++) {
        const struct val *v = val_item(list, i);
        if (i && compare(val_item(list, i - 1), v) > 0)
            say_invalid(x, ITEM(p, i), v, "values must be sorted in ascending order");
        if (compare(v, whole) > 0)
            say_invalid(x, ITEM(p, i), v, say(x, "option is larger than capacity value", whole));
        found |= compare(v, standard) == 0;
        for (size_t j = 0; j < i; j++)
            if (compare(v, val_item(list, j)) == 0) {
                say_duplicate(x, ITEM(p, i), v);
                break;
            }
    }
    if (!found)
        say_invalid(x, p, standard, "default value is not valid according to the requestPolicy");
}

static void check_step(struct validation *x, const struct vpath *p, const struct val *v, const struct val *range)
{
    const struct val *min = val_get(range, N_min), *step = val_get(range, N_step);
    if ((amount(v).nano - amount(min).nano) % amount(step).nano)
        say_invalid(x, p, v,
                    arena_printf(x->s->arena, "value is not a multiple of a given step (" STR_FMT ") from (" STR_FMT ")",
                                 STR_ARG(val_str(step)), STR_ARG(val_str(min)))
                        .p);
}

static void check_range_steps(struct validation *x, const struct vpath *p, const struct val *range,
                              const struct val *standard, const struct val *whole)
{
    const struct val *min = val_get(range, N_min), *step = val_get(range, N_step);
    struct quantity one = quantity_add(amount(min), amount(step));
    char text[QUANTITY_TEXT_MAX];
    if (!step)
        return;
    if (amount(step).nano <= 0) {
        say_invalid(x, AT(p, N_step), step, "must be greater than zero");
        return;
    }
    if (quantity_cmp(one, amount(whole)) > 0)
        say_invalid(x, AT(p, N_step), step,
                    arena_printf(x->s->arena, "one step %s is larger than capacity value: " STR_FMT, quantity_text(one, text),
                                 STR_ARG(val_str(whole)))
                        .p);
    check_step(x, AT(p, N_step), standard, range);
    if (val_get(range, N_max))
        check_step(x, AT(p, N_step), val_get(range, N_max), range);
}

static void check_valid_range(struct validation *x, const struct vpath *p, const struct val *range,
                              const struct val *standard, const struct val *whole)
{
    const struct val *min = val_get(range, N_min), *max = val_get(range, N_max);
    if (!min)
        return; /* the table says that it is required */
    if (compare(min, whole) > 0)
        say_invalid(x, AT(p, N_min), min, say(x, "min is larger than capacity value", whole));
    if (compare(standard, min) < 0)
        say_invalid(x, AT(p, N_default), standard, say(x, "default is less than min", min));
    if (max && compare(min, max) > 0)
        say_invalid(x, AT(p, N_max), min, say(x, "min is larger than max", max));
    if (max && compare(max, whole) > 0)
        say_invalid(x, AT(p, N_max), max, say(x, "max is larger than capacity value", whole));
    if (max && compare(standard, max) > 0)
        say_invalid(x, AT(p, N_default), standard, say(x, "default is more than max", max));
    check_range_steps(x, p, range, standard, whole);
}

static void check_policy(struct validation *x, const struct vpath *p, const struct val *policy, const struct val *whole)
{
    const struct val *values = val_get(policy, N_validValues), *range = val_get(policy, N_validRange);
    const struct val *standard = val_get(policy, N_default);
    if (val_len(values) && range)
        say_forbidden(x, p,
                      "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time");
    else if ((val_len(values) || range) && !standard)
        say_required(x, AT(p, N_default),
                     range ? "required when validRange is defined" : "required when validValues is defined");
    else if (val_len(values))
        check_valid_values(x, AT(p, N_validValues), values, standard, whole);
    else if (range)
        check_valid_range(x, AT(p, N_validRange), range, standard, whole);
}

static void check_policies(struct validation *x, const struct vpath *p, const struct val *d)
{
    bool multiple = val_bool(val_get(d, N_allowMultipleAllocations), false);
    VAL_EACH_ENTRY (val_get(d, N_capacity), k, c) {
        const struct val *policy = val_get(c, N_requestPolicy);
        const struct vpath *at = AT(KEY(p, val_str(k)), N_requestPolicy);
        if (policy && multiple)
            check_policy(x, at, policy, val_get(c, N_value));
        else if (policy)
            say_forbidden(x, at, "allowMultipleAllocations must be true");
    }
}

/* ---- what is written to a claim's status ---------------------------------------------------------------------------- */

/* What same_allocated_device compares, as one text. */
static struct str device_key(struct arena *a, const struct val *d)
{
    return arena_printf(a, STR_FMT "\n" STR_FMT "\n" STR_FMT "\n" STR_FMT, STR_ARG(val_getstr(d, N_driver)),
                        STR_ARG(val_getstr(d, N_pool)), STR_ARG(val_getstr(d, N_device)), STR_ARG(val_getstr(d, N_shareID)));
}

static void check_users(struct validation *x, const struct vpath *p, const struct val *status, const struct val *was,
                        bool deleting)
{
    const struct val *users = val_get(status, N_reservedFor);
    bool added = false;
    VAL_EACH (users, u) {
        bool there = false;
        VAL_EACH (val_get(was, N_reservedFor), o)
            there |= val_equal(u, o);
        added |= !there;
    }
    check_unique_items(x, p, users, N_uid);
    if (val_len(users) && !val_get(status, N_allocation))
        say_forbidden(x, p, "may not be specified when `allocated` is not set");
    else if (val_len(users) && deleting && added)
        say_forbidden(x, p, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
}

static void check_device_statuses(struct validation *x, const struct vpath *p, const struct val *status)
{
    struct arena *a = x->s->arena;
    struct map allocated = MAP_INIT, seen = MAP_INIT;
    size_t i = 0;
    VAL_EACH (val_at(status, N_allocation, N_devices, N_results), r)
        map_put(&allocated, device_key(a, r), &allocated);
    VAL_EACH (val_get(status, N_devices), d) {
        const struct vpath *at = ITEM(p, i++);
        struct str key = device_key(a, d);
        check_pool_name(x, AT(at, N_pool), val_getstr(d, N_pool));
        check_uuid(x, AT(at, N_shareID), val_get(d, N_shareID));
        if (!map_has(&allocated, key))
            say_invalid_str(x, at,
                            arena_printf(a, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(val_getstr(d, N_driver)),
                                         STR_ARG(val_getstr(d, N_pool)), STR_ARG(val_getstr(d, N_device))),
                            "must be an allocated device in the claim");
        if (val_str(val_get(d, N_data)).n)
            check_json_object(x, AT(at, N_data), val_str(val_get(d, N_data)));
        if (map_put(&seen, key, &seen))
            say_duplicate(x, at, d);
    }
    map_done(&allocated);
    map_done(&seen);
}

static void check_allocation(struct validation *x, const struct vpath *p, const struct val *allocation,
                             const struct val *requests)
{
    const struct val *devices = val_get(allocation, N_devices);
    const struct vpath *results = AT(AT(p, N_devices), N_results), *config = AT(AT(p, N_devices), N_config);
    size_t i = 0;
    VAL_EACH (val_get(devices, N_results), r) {
        const struct vpath *at = ITEM(results, i++);
        check_request_ref(x, AT(at, N_request), val_getstr(r, N_request), requests);
        check_pool_name(x, AT(at, N_pool), val_getstr(r, N_pool));
        check_binding_conditions(x, at, r);
        check_uuid(x, AT(at, N_shareID), val_get(r, N_shareID));
    }
    i = 0;
    VAL_EACH (val_get(devices, N_config), c)
        check_request_refs(x, AT(ITEM(config, i++), N_requests), val_get(c, N_requests), requests);
}

void check_resource_claim_status(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *status = val_get(v, N_status), *was = val_get(old, N_status);
    const struct val *allocation = val_get(status, N_allocation), *before = val_get(was, N_allocation);
    check_users(x, AT(p, N_reservedFor), status, was, obj_deleting(v));
    check_device_statuses(x, AT(p, N_devices), status);
    if (allocation && before)
        check_same(x, AT(p, N_allocation), allocation, before);
    else if (allocation)
        check_allocation(x, AT(p, N_allocation), allocation, val_at(v, N_spec, N_devices, N_requests));
}

const struct rule rules_resource[] = {
    {T_resource_v1_CounterSet, 0, rule_counters},
    {T_resource_v1_Device, 0, rule_device},
    {T_resource_v1_DeviceAllocationConfiguration, 0, rule_settings},
    {T_resource_v1_DeviceAttribute, 0, rule_attribute},
    {T_resource_v1_DeviceClaim, 0, rule_device_claim},
    {T_resource_v1_DeviceClaimConfiguration, 0, rule_settings},
    {T_resource_v1_DeviceClassConfiguration, 0, rule_settings},
    {T_resource_v1_DeviceClassSpec, 0, rule_class_spec},
    {T_resource_v1_DeviceConstraint, 0, rule_constraint},
    {T_resource_v1_DeviceCounterConsumption, 0, rule_counters},
    {T_resource_v1_DeviceRequest, 0, rule_device_request},
    {T_resource_v1_DeviceSubRequest, 0, rule_request},
    {T_resource_v1_DeviceTaintSelector, 0, rule_taint_selector},
    {T_resource_v1_DeviceToleration, 0, rule_toleration},
    {T_resource_v1_ExactDeviceRequest, 0, rule_request},
    {T_resource_v1_OpaqueDeviceConfiguration, RULE_OWN, rule_opaque},
    {T_resource_v1_ResourceClaim, 0, rule_claim},
    {T_resource_v1_ResourceClaimSpec, RULE_OWN, NULL},
    {T_resource_v1_ResourceClaimTemplateSpec, 0, rule_template_spec},
    {T_resource_v1_ResourcePool, RULE_OWN, rule_pool},
    {T_resource_v1_ResourceSliceSpec, 0, rule_slice},
    {0, 0, NULL},
};
