/* SPDX-License-Identifier: Apache-2.0 */
/* Server-side apply and managedFields, as tables of what was and what is applied. */
#include "../testing.h"

#include "names.h"
#include "type/managed.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"

static struct arena arena;
static struct status status;

static int setup(void **state UNUSED)
{
    arena = (struct arena)ARENA_INIT;
    status_init(&status, &arena);
    return 0;
}

static int teardown(void **state UNUSED)
{
    arena_done(&arena);
    return 0;
}

static struct val *decode(const struct type *t, const char *text)
{
    struct val *v;
    struct err e = {{0}};
    if (json_decode(&arena, t, str_of(text), 0, NULL, &v, &e) < 0)
        fail_msg("%s: %s", text, e.text);
    return v;
}

static const char *text_of(const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, NULL, v, 0);
    return arena_str(&arena, buf_str(&b)).p;
}

static const char *set_text(const struct fieldset *s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    fieldset_encode(&b, s);
    return arena_str(&arena, buf_str(&b)).p;
}

static struct fieldset *set_of(const char *text)
{
    struct fieldset *s;
    assert_int_equal(fieldset_decode(&arena, str_of(text), &s, NULL), 0);
    return s;
}

/* ---- sets ------------------------------------------------------------------------------------------------- */

static void sets_are_read_and_written(void **state UNUSED)
{
    static const char *const same[] = {
        "{}",
        "{\"f:spec\":{\"f:replicas\":{}}}",
        "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:app\":{}}}}",
        "{\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:name\":{}}}",
        "{\"v:\\\"a\\\"\":{}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        assert_string_equal(set_text(set_of(same[i])), same[i]);
    assert_string_equal(set_text(set_of("{\"k:{\\\"b\\\":1,\\\"a\\\":2}\":{}}")), "{\"k:{\\\"a\\\":2,\\\"b\\\":1}\":{}}");
    /* the same twice, a kind of element that is not known yet, null for nothing below */
    assert_string_equal(set_text(set_of("{\"k:{\\\"b\\\":1,\\\"a\\\":2}\":{},\"k:{\\\"a\\\":2,\\\"b\\\":1}\":{}}")),
                        "{\"k:{\\\"a\\\":2,\\\"b\\\":1}\":{}}");
    assert_string_equal(set_text(set_of("{\"g:a\":{},\"f:a\":null,\"\\u0000:\":{}}")), "{\"f:a\":{}}");
    static const char *const bad[] = {"", "[]", "{\"x\":{}}", "{\"f:a\":{\"x\":{}}}", "{\"f:a\":1}", "{\"f:a\":[]}",
                                      "{\"k:{\":{}}", "{\"k:[1]\":{}}", "{\"i:x\":{}}", "{\"v:\":{}}"};
    struct fieldset *s;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(fieldset_decode(&arena, str_of(bad[i]), &s, NULL), -EINVAL);
}

static void sets_are_added_and_taken_away(void **state UNUSED)
{
    struct fieldset *x = set_of("{\"f:a\":{\".\":{},\"f:b\":{}},\"f:c\":{}}"), *y = set_of("{\"f:a\":{},\"f:d\":{}}");
    assert_string_equal(set_text(fieldset_union(&arena, x, y)), "{\"f:a\":{\".\":{},\"f:b\":{}},\"f:c\":{},\"f:d\":{}}");
    assert_string_equal(set_text(fieldset_minus(&arena, x, y)), "{\"f:a\":{\"f:b\":{}},\"f:c\":{}}");
    assert_string_equal(set_text(fieldset_without(&arena, x, y)), "{\"f:c\":{}}");
    assert_string_equal(set_text(fieldset_common(&arena, x, y)), "{\"f:a\":{}}");
    assert_true(fieldset_equal(x, set_of("{\"f:c\":{},\"f:a\":{\"f:b\":{},\".\":{}}}")));
    assert_false(fieldset_equal(x, y));
    assert_true(fieldset_empty(fieldset_minus(&arena, y, y)));
}

/* ---- update ---------------------------------------------------------------------------------------------------- */

static struct managed_request request(const struct type *t, const char *version, const char *manager)
{
    return (struct managed_request){.type = t, .api_version = str_of(version), .manager = str_of(manager),
                                    .now = {INT64_C(1800000000) * NSEC_PER_SEC}};
}

static void what_is_written_is_the_writers(void **state UNUSED)
{
    const struct type *t = type_at(T_core_v1_Pod);
    struct managed_request r = request(t, "v1", "me");
    struct val *v = decode(t, "{\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\","
                              "\"ports\":[{\"containerPort\":80,\"protocol\":\"TCP\"}]}]}}");
    const struct val *list = managed_update(&arena, &r, NULL, v), *one = val_item(list, 0);
    assert_int_equal(val_len(list), 1);
    assert_string_equal(val_cstr(val_get(one, N_manager)), "me");
    assert_string_equal(val_cstr(val_get(one, N_operation)), "Update");
    assert_string_equal(val_cstr(val_get(one, N_fieldsV1)),
                        "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:a\":{}}},\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":"
                        "{\".\":{},\"f:image\":{},\"f:name\":{},\"f:ports\":{\".\":{},\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":"
                        "{\".\":{},\"f:containerPort\":{},\"f:protocol\":{}}},\"f:resources\":{}}}}}");
}

static struct val *with_managed(const struct type *t, const struct val *v, const struct val *managed)
{
    struct val *copy = val_copy(&arena, v);
    val_set_ref(&arena, val_sub_obj(&arena, copy, N_metadata), N_managedFields, managed);
    return (void)t, copy;
}

static void what_changes_hands_changes_owners(void **state UNUSED)
{
    const struct type *t = type_at(T_core_v1_ConfigMap);
    struct managed_request first = request(t, "v1", "first"), second = request(t, "v1", "second");
    struct val *v = decode(t, "{\"metadata\":{\"name\":\"m\",\"uid\":\"u\"},\"data\":{\"a\":\"1\",\"b\":\"1\"}}");
    v = with_managed(t, v, managed_update(&arena, &first, NULL, v));
    struct val *to = val_copy(&arena, v);
    val_put_str(&arena, val_sub_map(&arena, to, N_data), STR("b"), STR("2"));
    const struct val *list = managed_update(&arena, &second, v, to);
    assert_int_equal(val_len(list), 2);
    assert_string_equal(val_cstr(val_get(val_item(list, 0), N_fieldsV1)), "{\"f:data\":{\".\":{},\"f:a\":{}}}");
    assert_string_equal(val_cstr(val_get(val_item(list, 1), N_fieldsV1)), "{\"f:data\":{\"f:b\":{}}}");
    /* nothing changed: nobody is newer */
    second.now.ns += 5 * NSEC_PER_SEC;
    struct val *again = with_managed(t, to, list);
    assert_true(val_same(managed_update(&arena, &second, again, again), list));
    /* of an object without it none is kept; an empty entry throws it away */
    assert_null(managed_update(&arena, &first, decode(t, "{\"metadata\":{\"uid\":\"u\"}}"), to = decode(t, "{\"data\":{\"x\":\"y\"}}")));
}

/* ---- apply ------------------------------------------------------------------------------------------------------- */

struct step {
    const char *manager;
    bool force;
    const char *config; /* without kind and apiVersion */
    int code;
    const char *want; /* the data or spec that results, or a part of the message */
};

static struct val *play(const struct type *t, const char *version, name_id part, const struct step *steps, size_t n)
{
    struct val *live = NULL;
    for (size_t i = 0; i < n; i++) {
        struct managed_request r = request(t, version, steps[i].manager);
        const struct val *is, *managed;
        struct val *config = decode(NULL, steps[i].config);
        val_put_str(&arena, config, STR("apiVersion"), str_of(version));
        status_init(&status, &arena);
        int code = managed_apply(&arena, &r, live, config, steps[i].force, &is, &managed, &status);
        if (code != steps[i].code)
            fail_msg("step %zu: %d " STR_FMT, i, code, STR_ARG(status.message));
        if (code) {
            if (!strstr(status.message.p, steps[i].want))
                fail_msg("step %zu: " STR_FMT, i, STR_ARG(status.message));
            continue;
        }
        live = with_managed(t, decode(t, text_of(is)), managed);
        const char *got = text_of(val_get(live, part));
        if (strcmp(got, steps[i].want) != 0)
            fail_msg("step %zu: %s", i, got);
    }
    return live;
}

static void appliers_share_an_object(void **state UNUSED)
{
    static const struct step steps[] = {
        {"a", false, "{\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"1\",\"y\":\"1\"}}", 0, "{\"x\":\"1\",\"y\":\"1\"}"},
        {"b", false, "{\"metadata\":{\"name\":\"m\"},\"data\":{\"z\":\"1\",\"y\":\"1\"}}", 0, "{\"x\":\"1\",\"y\":\"1\",\"z\":\"1\"}"},
        {"b", false, "{\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"2\"}}", 409, "Apply failed with 1 conflict: conflict with \"a\": .data.x"},
        {"b", true, "{\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"2\"}}", 0, "{\"x\":\"2\",\"y\":\"1\"}"}, /* z went: b had it alone */
        {"a", false, "{\"metadata\":{\"name\":\"m\"},\"data\":{\"y\":\"3\"}}", 0, "{\"x\":\"2\",\"y\":\"3\"}"},
        {"a", false, "{\"metadata\":{\"name\":\"m\"}}", 0, "{\"x\":\"2\"}"},
        {"a", false, "{\"metadata\":{\"name\":\"m\"},\"nothing\":1}", 500, ".nothing: field not declared in schema"},
    };
    play(type_at(T_core_v1_ConfigMap), "v1", N_data, steps, ARRAY_SIZE(steps));
}

static void items_of_lists_are_found_by_their_keys(void **state UNUSED)
{
    static const struct step steps[] = {
        {"a", false, "{\"spec\":{\"ports\":[{\"port\":80},{\"port\":81,\"protocol\":\"UDP\"}]}}", 0,
         "{\"ports\":[{\"port\":80},{\"protocol\":\"UDP\",\"port\":81}]}"},
        {"b", false, "{\"spec\":{\"ports\":[{\"port\":90},{\"port\":80,\"protocol\":\"TCP\",\"name\":\"web\"}]}}", 0,
         "{\"ports\":[{\"port\":90},{\"name\":\"web\",\"protocol\":\"TCP\",\"port\":80},{\"protocol\":\"UDP\",\"port\":81}]}"},
        {"a", false, "{\"spec\":{\"ports\":[{\"port\":80}]}}", 0, "{\"ports\":[{\"port\":90},{\"name\":\"web\",\"protocol\":\"TCP\",\"port\":80}]}"},
        {"a", false, "{\"spec\":{\"ports\":[{\"port\":80},{\"port\":80}]}}", 500, "duplicate entries for key"},
    };
    play(type_at(T_core_v1_Service), "v1", N_spec, steps, ARRAY_SIZE(steps));
}

/* What kubectl applied the old way is its own. */
static void kubectl_takes_over_from_itself(void **state UNUSED)
{
    const struct type *t = type_at(T_core_v1_ConfigMap);
    struct managed_request old = request(t, "v1", "kubectl-client-side-apply"), r = request(t, "v1", "kubectl");
    struct val *v = decode(t, "{\"metadata\":{\"uid\":\"u\",\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":"
                              "\"{\\\"apiVersion\\\":\\\"v1\\\",\\\"data\\\":{\\\"x\\\":\\\"1\\\"}}\"}},\"data\":{\"x\":\"1\",\"y\":\"1\"}}");
    const struct val *is, *managed;
    v = with_managed(t, v, managed_update(&arena, &old, NULL, v));
    struct val *mine = decode(NULL, "{\"apiVersion\":\"v1\",\"data\":{\"x\":\"2\"}}"), *more = decode(NULL, "{\"apiVersion\":\"v1\",\"data\":{\"y\":\"2\"}}");
    assert_int_equal(managed_apply(&arena, &r, v, mine, false, &is, &managed, &status), 0);
    assert_string_equal(text_of(val_key(is, STR("data"))), "{\"x\":\"2\",\"y\":\"1\"}");
    assert_non_null(strstr(text_of(is), "\\\"x\\\":\\\"2\\\"")); /* the annotation goes along */
    assert_int_equal(managed_apply(&arena, &r, v, more, false, &is, &managed, &status), 409);
    r.manager = STR("other");
    assert_int_equal(managed_apply(&arena, &r, v, mine, false, &is, &managed, &status), 409);
}

static void a_status_is_applied_through_its_own_door(void **state UNUSED)
{
    const struct type *t = type_at(T_apps_v1_Deployment);
    struct managed_request r = request(t, "apps/v1", "s");
    struct fieldset *spec = set_of("{\"f:spec\":{}}");
    const struct val *is, *managed;
    r.subresource = "status";
    r.not_ours = spec;
    struct val *v = decode(t, "{\"metadata\":{\"uid\":\"u\"},\"spec\":{\"replicas\":1}}");
    struct val *config = decode(NULL, "{\"apiVersion\":\"apps/v1\",\"spec\":{\"replicas\":5},\"status\":{\"readyReplicas\":1}}");
    assert_int_equal(managed_apply(&arena, &r, v, config, false, &is, &managed, &status), 0);
    const struct val *mine = val_item(managed, 0);
    assert_string_equal(val_cstr(val_get(mine, N_fieldsV1)), "{\"f:status\":{\"f:readyReplicas\":{}}}");
    assert_string_equal(val_cstr(val_get(mine, N_subresource)), "status");
}

static void of_many_updaters_the_oldest_are_one(void **state UNUSED)
{
    const struct type *t = type_at(T_core_v1_ConfigMap);
    struct val *v = decode(t, "{\"metadata\":{\"uid\":\"u\"},\"data\":{\"k\":\"v\"}}");
    struct managed_request r = request(t, "v1", "m0");
    v = with_managed(t, v, managed_update(&arena, &r, NULL, v));
    for (int i = 1; i < 20; i++) {
        r.manager = arena_printf(&arena, "m%d", i);
        r.now.ns += NSEC_PER_SEC;
        struct val *to = val_copy(&arena, v);
        val_put_str(&arena, val_sub_map(&arena, to, N_data), r.manager, STR("x"));
        v = with_managed(t, to, managed_update(&arena, &r, v, to));
    }
    const struct val *list = val_get(obj_meta(v), N_managedFields);
    assert_int_equal(val_len(list), 10);
    assert_string_equal(val_cstr(val_get(val_item(list, 0), N_manager)), "ancient-changes");
}

static struct val *wide_map(size_t n, const char *value)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "{\"metadata\":{\"uid\":\"u\"},\"data\":{");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s\"k%zu\":\"%s\"", i ? "," : "", i * 7919 % n, value);
    buf_puts(&b, "}}");
    return decode(NULL, arena_str(&arena, buf_str(&b)).p);
}

static struct val *long_list(size_t n, size_t step)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "{\"metadata\":{\"uid\":\"u\",\"finalizers\":[");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s\"x/%zu\"", i ? "," : "", i * step % n);
    buf_puts(&b, "]}}");
    return decode(NULL, arena_str(&arena, buf_str(&b)).p);
}

/* A body of some megabytes costs no square of its size: it would stand here for minutes. */
static void much_is_merged_in_time(void **state UNUSED)
{
    enum { MANY = 100003 };
    const struct type *t = type_at(T_core_v1_ConfigMap);
    struct managed_request r = request(t, "v1", "m");
    struct val *pairs[][2] = {{wide_map(MANY, "a"), wide_map(MANY - 1, "b")}, {long_list(MANY, 7919), long_list(MANY, 7907)}};
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        const struct val *is, *managed, *list;
        struct val *live = decode(t, text_of(pairs[i][0])), *to = decode(t, text_of(pairs[i][1]));
        live = with_managed(t, live, managed_update(&arena, &r, NULL, live));
        list = managed_update(&arena, &r, live, to);
        assert_int_equal(val_len(list), 1);
        val_put_str(&arena, pairs[i][1], STR("apiVersion"), STR("v1"));
        assert_int_equal(managed_apply(&arena, &r, live, pairs[i][1], true, &is, &managed, &status), 0);
    }
}

static void of_many_that_were_sent_the_oldest_are_one(void **state UNUSED)
{
    enum { MANY = 3000 };
    const struct type *t = type_at(T_core_v1_ConfigMap);
    struct managed_request r = request(t, "v1", "me");
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "{\"metadata\":{\"uid\":\"u\",\"managedFields\":[");
    for (size_t i = 0; i < MANY; i++)
        buf_printf(&b, "%s{\"manager\":\"m%zu\",\"operation\":\"Update\",\"apiVersion\":\"%s\",\"fieldsType\":\"FieldsV1\","
                       "\"fieldsV1\":{\"f:data\":{\"f:%zu\":{}}}}", i ? "," : "", i, i % 2 ? "v1" : "v2", i);
    buf_puts(&b, "]},\"data\":{\"x\":\"y\"}}");
    struct val *v = decode(t, arena_str(&arena, buf_str(&b)).p), *live = decode(t, "{\"metadata\":{\"uid\":\"u\"},\"data\":{\"a\":\"b\"}}");
    assert_int_equal(val_len(managed_update(&arena, &r, live, v)), 10);
}

static void of_one_manager_the_last_entry_counts(void **state UNUSED)
{
    const struct type *t = type_at(T_core_v1_ConfigMap);
    struct managed_request r = request(t, "v1", "me");
    struct val *v = decode(t, "{\"metadata\":{\"uid\":\"u\",\"managedFields\":["
        "{\"manager\":\"m\",\"operation\":\"Apply\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{\"f:a\":{}}}},"
        "{\"manager\":\"m\",\"operation\":\"Apply\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{\"f:b\":{}}}}"
        "]},\"data\":{\"a\":\"b\"}}");
    const struct val *list = managed_update(&arena, &r, v, v);
    assert_int_equal(val_len(list), 1);
    assert_string_equal(val_cstr(val_get(val_item(list, 0), N_fieldsV1)), "{\"f:data\":{\"f:b\":{}}}");
}

/* What is there twice stays, and does not keep an applier from taking back what it had. */
static void twins_that_stand_already_stay(void **state UNUSED)
{
    const struct type *t = type_at(T_core_v1_Pod);
    struct managed_request r = request(t, "v1", "a");
    const struct val *is, *managed;
    struct val *live = decode(t, "{\"metadata\":{\"uid\":\"u\",\"labels\":{\"x\":\"1\"},\"managedFields\":[{\"manager\":\"a\",\"operation\":"
        "\"Apply\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{\"f:x\":{}}}}}]},"
        "\"spec\":{\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"E\",\"value\":\"1\"},{\"name\":\"E\",\"value\":\"2\"}]}]}}");
    struct val *config = decode(NULL, "{\"apiVersion\":\"v1\",\"spec\":{\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"F\"}]}]}}");
    assert_int_equal(managed_apply(&arena, &r, live, config, false, &is, &managed, &status), 0);
    const struct val *env = val_key(val_item(val_key(val_key(is, STR("spec")), STR("containers")), 0), STR("env"));
    assert_int_equal(val_len(env), 3);
    assert_null(val_key(val_key(val_key(is, STR("metadata")), STR("labels")), STR("x")));
}

static void a_configuration_has_to_fit_its_type(void **state UNUSED)
{
    static const struct {
        const char *config, *want;
    } cases[] = {
        {"{\"metadata\":[]}", ".metadata: expected map, got []"},
        {"{\"spec\":\"x\"}", ".spec: expected map, got \"x\""},
        {"{\"spec\":{\"containers\":{}}}", ".spec.containers: expected list, got {}"},
        {"{\"spec\":{\"containers\":[1]}}", ".spec.containers[0]: expected map, got 1"},
        {"{\"spec\":{\"containers\":[null]}}", ".spec.containers: element 0: associative list"},
        {"{\"spec\":{\"containers\":[{\"image\":\"i\"}]}}", "omits all key fields"},
        {"{\"metadata\":{\"finalizers\":[[]]}}", "expected string"},
        {"{\"metadata\":{\"finalizers\":[null]}}", "no scalar"},
        {"{\"metadata\":{\"finalizers\":[\"a\",\"b\",\"a\"]}}", "duplicate entries for key \"a\""},
        {"{\"metadata\":{\"labels\":{\"a\":1}}}", ".metadata.labels.a: expected string, got 1"},
        {"{\"spec\":{\"priority\":\"x\"}}", "expected numeric"},
        {"{\"spec\":{\"hostNetwork\":1}}", "expected boolean"},
        {"{\"spec\":{\"overhead\":{\"cpu\":[]}}}", "expected any scalar"},
        {"{\"spec\":{\"affinity\":{\"x\":1}}}", ".spec.affinity.x: field not declared in schema"},
        {"{\"status\":{\"phase\":{}}}", "expected string"},
    };
    const struct type *t = type_at(T_core_v1_Pod);
    struct managed_request r = request(t, "v1", "a");
    const struct val *is, *managed;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct val *config = decode(NULL, cases[i].config);
        val_put_str(&arena, config, STR("apiVersion"), STR("v1"));
        status_init(&status, &arena);
        if (managed_apply(&arena, &r, NULL, config, false, &is, &managed, &status) != 500 || !strstr(status.message.p, cases[i].want))
            fail_msg("%s: " STR_FMT, cases[i].config, STR_ARG(status.message));
    }
}

/* Who scaled is who has the replicas; who had them has the rest. */
static void managers_of_a_scale(void **state UNUSED)
{
    const struct type *t = type_at(T_apps_v1_Deployment);
    struct managed_request r = request(t, "apps/v1", "a");
    struct val *live = decode(t, "{\"metadata\":{\"uid\":\"u\",\"managedFields\":["
        "{\"manager\":\"a\",\"operation\":\"Apply\",\"apiVersion\":\"apps/v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:spec\":{\"f:paused\":{},\"f:replicas\":{}}}},"
        "{\"manager\":\"b\",\"operation\":\"Update\",\"apiVersion\":\"apps/v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:spec\":{\"f:template\":{}}}}]}}");
    const struct val *scale = managed_to_scale(&arena, &r, live);
    assert_int_equal(val_len(scale), 1);
    assert_string_equal(val_cstr(val_get(val_item(scale, 0), N_apiVersion)), "autoscaling/v1");
    assert_string_equal(val_cstr(val_get(val_item(scale, 0), N_fieldsV1)), "{\"f:spec\":{\"f:replicas\":{}}}");
    assert_true(val_same(managed_from_scale(&arena, &r, live, scale), val_get(obj_meta(live), N_managedFields)));
    struct val *other = val_copy(&arena, scale);
    val_set_str(&arena, other->items, N_manager, STR("hpa"));
    const struct val *list = managed_from_scale(&arena, &r, live, other);
    assert_int_equal(val_len(list), 3);
    assert_string_equal(val_cstr(val_get(val_item(list, 0), N_fieldsV1)), "{\"f:spec\":{\"f:paused\":{}}}");
    assert_string_equal(val_cstr(val_get(val_item(list, 1), N_manager)), "hpa");
    assert_string_equal(val_cstr(val_get(val_item(list, 1), N_apiVersion)), "apps/v1");
    assert_int_equal(val_len(managed_from_scale(&arena, &r, live, NULL)), 2);
}

/* "v2" calls data what "v1" calls binaryData; nothing else is served. */
static const struct val *to_v2(const struct managed_request *r UNUSED, struct arena *a, struct str version, const struct val *v,
                               const struct type **ret)
{
    if (!str_is(version, "v2"))
        return NULL;
    struct val *out = val_copy_shallow(a, v);
    *ret = type_at(T_core_v1_Secret);
    val_set_ref(a, out, N_data, NULL);
    val_set_ref(a, out, N_stringData, val_get(v, N_data));
    return out;
}

static void each_manager_sees_its_own_version(void **state UNUSED)
{
    const struct type *t = type_at(T_core_v1_ConfigMap);
    struct managed_request r = request(t, "v1", "me");
    r.in_version = to_v2;
    struct val *live = decode(t, "{\"metadata\":{\"uid\":\"u\",\"managedFields\":["
        "{\"manager\":\"a\",\"operation\":\"Update\",\"apiVersion\":\"v2\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:stringData\":{\"f:x\":{},\"f:y\":{}}}},"
        "{\"manager\":\"b\",\"operation\":\"Update\",\"apiVersion\":\"v9\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{\"f:z\":{}}}}]},"
        "\"data\":{\"x\":\"1\",\"y\":\"1\"}}");
    struct val *to = val_copy(&arena, live);
    val_put_str(&arena, val_sub_map(&arena, to, N_data), STR("x"), STR("2"));
    const struct val *list = managed_update(&arena, &r, live, to), *is, *managed;
    assert_int_equal(val_len(list), 2);
    assert_string_equal(val_cstr(val_get(val_item(list, 0), N_fieldsV1)), "{\"f:stringData\":{\"f:y\":{}}}");
    assert_string_equal(val_cstr(val_get(val_item(list, 1), N_fieldsV1)), "{\"f:data\":{\"f:x\":{}}}");
    struct val *config = decode(NULL, "{\"apiVersion\":\"v1\",\"data\":{\"y\":\"2\"}}");
    assert_int_equal(managed_apply(&arena, &r, live, config, false, &is, &managed, &status), 409);
    assert_non_null(strstr(status.message.p, "conflict with \"a\" using v2: .stringData.y"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sets_are_read_and_written, setup, teardown),
        cmocka_unit_test_setup_teardown(sets_are_added_and_taken_away, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_written_is_the_writers, setup, teardown),
        cmocka_unit_test_setup_teardown(what_changes_hands_changes_owners, setup, teardown),
        cmocka_unit_test_setup_teardown(appliers_share_an_object, setup, teardown),
        cmocka_unit_test_setup_teardown(items_of_lists_are_found_by_their_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(kubectl_takes_over_from_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(a_status_is_applied_through_its_own_door, setup, teardown),
        cmocka_unit_test_setup_teardown(of_many_updaters_the_oldest_are_one, setup, teardown),
        cmocka_unit_test_setup_teardown(much_is_merged_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(of_many_that_were_sent_the_oldest_are_one, setup, teardown),
        cmocka_unit_test_setup_teardown(of_one_manager_the_last_entry_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(twins_that_stand_already_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(a_configuration_has_to_fit_its_type, setup, teardown),
        cmocka_unit_test_setup_teardown(managers_of_a_scale, setup, teardown),
        cmocka_unit_test_setup_teardown(each_manager_sees_its_own_version, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
