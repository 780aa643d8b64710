/* SPDX-License-Identifier: Apache-2.0 */
/* What test_codec.c does not reach: gRPC messages, the odd corners, and bytes that are no message. */
#include "../testing.h"

#include "wire/json.h"
#include "wire/proto.h"
#include "wire/value-internal.h"

#include "names.h"
#include "types.h"

static struct str hex(struct arena *a, struct str s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < s.n; i++)
        buf_printf(&b, "%02x", (unsigned char)s.p[i]);
    return arena_str(a, buf_str(&b));
}

static struct str unhex(struct arena *a, const char *text)
{
    size_t n = strlen(text) / 2;
    char *p = arena_bytes(a, n + 1);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)strtol((char[]){text[2 * i], text[2 * i + 1], 0}, NULL, 16);
    return str_n(p, n);
}

static struct str encode(struct arena *a, const struct type *t, const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    proto_encode(&b, t, v);
    return arena_str(a, buf_str(&b));
}

static struct val *decode(struct arena *a, const struct type *t, const char *bytes)
{
    struct val *v = NULL;
    struct err e = {0};
    if (proto_decode(a, t, unhex(a, bytes), &v, &e) < 0)
        fail_msg("%s: %s", bytes, e.text);
    return v;
}

static struct str json(struct arena *a, const struct type *t, const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, t, v, 0);
    return arena_str(a, buf_str(&b));
}

/* JSON, its bytes, and the JSON that the bytes give (NULL: the same). */
static const struct {
    const char *type, *json, *bytes, *back;
} both_ways[] = {
    /* scalars that are no pointers are there also when they are zero */
    {"core.v1.ContainerPort", "{\"containerPort\":80}",
     "0a0010001850220"
     "02a00",
     NULL},
    {"core.v1.ContainerPort", "{\"name\":\"a\",\"hostPort\":-1,\"containerPort\":0}",
     "0a016110ffffffffffffffffff011800220"
     "02a00",
     NULL},
    /* maps are in the order of their keys, absent pointers are left out */
    {"meta.v1.LabelSelector", "{\"matchLabels\":{\"b\":\"2\",\"a\":\"1\"}}",
     "0a060a01611201310a060a0162120132", "{\"matchLabels\":{\"a\":\"1\",\"b\":\"2\"}}"},
    /* an inlined message stands in its own field */
    {"core.v1.Volume", "{\"name\":\"v\",\"emptyDir\":{\"sizeLimit\":\"1Gi\"}}",
     "0a0176120b12090a0012050a03314769", NULL},
    {"core.v1.Volume", "{\"name\":\"v\"}", "0a01761200", NULL},
    /* a pointer to an empty message is not an absent one */
    {"core.v1.Volume", "{\"name\":\"v\",\"emptyDir\":{}}", "0a0176120412020a00", NULL},
    /* zero quantities, times, durations and int-or-strings */
    {"core.v1.ResourceFieldSelector", "{\"resource\":\"r\"}",
     "0a00120172"
     "1a030a0130",
     "{\"resource\":\"r\",\"divisor\":\"0\"}"},
    {"core.v1.ServicePort", "{\"port\":1}",
     "0a0012001801220608001000"
     "1a002800",
     "{\"port\":1,\"targetPort\":0}"},
    {"core.v1.ServicePort", "{\"port\":1,\"targetPort\":\"x\"}", "0a00120018012207080110001a01782800", NULL},
    {"coordination.v1.LeaseSpec", "{\"renewTime\":\"1970-01-01T00:00:01.000002Z\"}",
     "220508011"
     "0d00f",
     NULL},
    {"meta.v1.Condition",
     "{\"type\":\"T\",\"status\":\"S\",\"lastTransitionTime\":null,\"reason\":\"\",\"message\":\"\"}",
     "0a015412015318002200"
     "2a003200",
     NULL},
    /* lists of strings in maps, raw JSON, alternatives */
    {"authentication.v1.UserInfo", "{\"extra\":{\"k\":[\"a\",\"b\"]}}", "0a001200220b0a016b12060a01610a0162",
     NULL},
    {"meta.v1.ManagedFieldsEntry", "{\"fieldsV1\":{}}", "0a0012001a0032003a040a027b7d4200", NULL},
    {"apps.v1.ControllerRevision", "{\"metadata\":{},\"data\":null,\"revision\":5}",
     "0a100a0012001a0022002a00320038004200"
     "12001805",
     NULL},
    {"apiextensions.v1.JSONSchemaPropsOrBool", "{}", "0800", NULL},
    /* proto3: no zeros, packed numbers, members of a oneof and messages always */
    {"runtime.v1.LinuxContainerResources", "{\"cpu_period\":0,\"cpu_shares\":2,\"unified\":{\"a\":\"\"}}",
     "18024a050a01611200", "{\"cpu_shares\":2,\"unified\":{\"a\":\"\"}}"},
    {"etcdserverpb.RequestOp", "{\"request_range\":{}}", "0a00", NULL},
    {"etcdserverpb.RequestOp", "{\"request_range\":{\"key\":\"YQ==\",\"limit\":300}}", "0a060a016118ac02",
     NULL},
    {"etcdserverpb.RequestOp", "{}", "", NULL},
};

static void bytes_both_ways(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(both_ways); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        const struct type *t = type_find(str_of(both_ways[i].type));
        struct val *v;
        struct err e = {0};
        assert_non_null(t);
        if (json_decode(&a, t, str_of(both_ways[i].json), 0, NULL, &v, &e) < 0)
            fail_msg("%s: %s", both_ways[i].json, e.text);
        struct str bytes = hex(&a, encode(&a, t, v));
        if (!str_is(bytes, both_ways[i].bytes))
            fail_msg("%s\n gives " STR_FMT "\n not   %s", both_ways[i].json, STR_ARG(bytes),
                     both_ways[i].bytes);
        struct val *w = decode(&a, t, both_ways[i].bytes);
        struct str back = json(&a, t, w);
        const char *want = both_ways[i].back ? both_ways[i].back : both_ways[i].json;
        if (!str_is(back, want))
            fail_msg("%s\n gives back " STR_FMT "\n not        %s", both_ways[i].bytes, STR_ARG(back), want);
    }
}

/* Fields in any order, unknown ones, the last of several, parts of a list between others. */
static void liberal_in_what_it_takes(void **state UNUSED)
{
    static const struct {
        const char *type, *bytes, *json;
    } cases[] = {
        {"core.v1.ContainerPort", "18500a01610a0162", "{\"name\":\"b\",\"containerPort\":80}"},
        {"core.v1.ContainerPort", "18501800", "{\"containerPort\":0}"},
        {"core.v1.ContainerPort", "f80105f9010102030405060708fa0103616263fd01010203041801",
         "{\"containerPort\":1}"},
        {"meta.v1.ObjectMeta", "7201610a016e720162", "{\"name\":\"n\",\"finalizers\":[\"a\",\"b\"]}"},
        {"meta.v1.ObjectMeta",
         "5a060a01611201310a016e5a0612013"
         "20a01615a060a0162120133",
         "{\"name\":\"n\",\"labels\":{\"a\":\"2\",\"b\":\"3\"}}"},
        {"meta.v1.ObjectMeta", "5a030a01615a03120178", "{\"labels\":{\"\":\"x\",\"a\":\"\"}}"},
        {"core.v1.Volume", "120412020a000a0176", "{\"name\":\"v\",\"emptyDir\":{}}"},
        {"core.v1.PodSecurityContext", "20012002", "{\"supplementalGroups\":[1,2]}"},
        {"core.v1.PodSecurityContext", "22020102", "{\"supplementalGroups\":[1,2]}"}, /* packed */
        {"core.v1.PodSecurityContext", "20012202020320042200", "{\"supplementalGroups\":[1,2,3,4]}"},
        {"apiextensions.v1.JSONSchemaProps",
         "f2010408011"
         "200",
         NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        const struct type *t = type_find(str_of(cases[i].type));
        struct val *v = decode(&a, t, cases[i].bytes);
        if (cases[i].json && !str_is(json(&a, t, v), cases[i].json))
            fail_msg("%s gives " STR_FMT, cases[i].bytes, STR_ARG(json(&a, t, v)));
    }
}

static void alternatives(void **state UNUSED)
{
    static const struct {
        const char *bytes, *json;
    } cases[] = {
        {"f201020801", "{\"additionalProperties\":true}"},
        {"f201020800", "{\"additionalProperties\":false}"},
        {"f201040801"
         "1200",
         "{\"additionalProperties\":{}}"},
        {"f2010412000800", "{\"additionalProperties\":{}}"},
        {"f20100", "{}"},
        {"c201020a00", "{\"items\":{}}"},
        {"c2010412001200", "{\"items\":[{},{}]}"},
        {"c20100", "{}"},
        {"82020a0a016112050a031201"
         "62",
         NULL},
        {"82020b0a01611206120162120163", "{\"dependencies\":{\"a\":[\"b\",\"c\"]}}"},
        {"820207"
         "0a016112020a00",
         "{\"dependencies\":{\"a\":{}}}"},
    };
    const struct type *t = type_at(T_apiextensions_v1_JSONSchemaProps);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct val *v = decode(&a, t, cases[i].bytes);
        if (cases[i].json && !str_is(json(&a, t, v), cases[i].json))
            fail_msg("%s gives " STR_FMT, cases[i].bytes, STR_ARG(json(&a, t, v)));
    }
}

static void refuses_what_is_no_message(void **state UNUSED)
{
    static const struct {
        const char *type, *bytes, *error;
    } cases[] = {
        {"core.v1.Pod", "0a05", "proto: unexpected end of the message"},
        {"core.v1.Pod", "0a", "proto: unexpected end of the message"},
        {"core.v1.Pod", "80", "proto: unexpected end of the message"},
        {"core.v1.Pod", "ffffffffffffffffffff01", "proto: integer overflow"},
        {"core.v1.Pod", "0affffffffffffffffff01", "proto: unexpected end of the message"},
        {"core.v1.Pod", "0b", "proto: illegal wireType 3"},
        {"core.v1.Pod", "0f", "proto: illegal wireType 7"},
        {"core.v1.Pod", "0001", "proto: illegal tag 0"},
        {"core.v1.Pod", "0801", "proto: wrong wireType = 0 for field metadata"},
        {"core.v1.ContainerPort", "1a0161", "proto: wrong wireType = 2 for field containerPort"},
        {"core.v1.ContainerPort", "0901020304050607", "proto: unexpected end of the message"},
        {"meta.v1.ObjectMeta", "5a020a05", "proto: unexpected end of the message"},
        {"meta.v1.ManagedFieldsEntry", "3a030a017b", "unexpected end of JSON input"},
        {"core.v1.ResourceFieldSelector", "1a030a0178", "quantities must match"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct val *v = NULL;
        struct err e = {0};
        const struct type *t = type_find(str_of(cases[i].type));
        assert_int_equal(proto_decode(&a, t, unhex(&a, cases[i].bytes), &v, &e), -EINVAL);
        if (!str_starts(str_of(e.text), str_of(cases[i].error)))
            fail_msg("%s says %s", cases[i].bytes, e.text);
        assert_null(v);
    }
}

/* JSONSchemaProps.not (28) within each other. */
static void nesting_ends_somewhere(void **state UNUSED)
{
    const struct type *t = type_at(T_apiextensions_v1_JSONSchemaProps);
    for (int depth = WIRE_MAX_DEPTH - 1; depth <= WIRE_MAX_DEPTH; depth++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct val v = {.kind = VAL_OBJ}, *w;
        for (int i = 0; i < depth; i++) {
            struct val *outer = val_new(&a, VAL_OBJ);
            val_set(&a, outer, N_not, v);
            v = *outer;
        }
        struct str bytes = encode(&a, t, &v);
        assert_int_equal(proto_decode(&a, t, bytes, &w, NULL), depth < WIRE_MAX_DEPTH ? 0 : -EINVAL);
        if (depth < WIRE_MAX_DEPTH)
            assert_true(val_same(&v, w));
    }
}

static void envelopes(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct proto_envelope env;
    struct err e = {0};
    struct val *v = val_new(&a, VAL_OBJ), *w;
    const struct type *t = type_at(T_apps_v1_Deployment);
    val_set_str(&a, val_sub_obj(&a, v, N_metadata), N_name, STR("d"));
    proto_encode_object(&b, t, v);
    assert_true(proto_is_envelope(buf_str(&b)));
    assert_int_equal(proto_open(buf_str(&b), &env, &e), 0);
    assert_str(env.api_version, "apps/v1");
    assert_str(env.kind, "Deployment");
    assert_true(str_eq(env.raw, encode(&a, t, v)));
    assert_str(env.content_type, "");

    struct buf c CLEANUP_BUF = BUF_INIT;
    proto_encode_envelope(&c, env.api_version, env.kind, env.raw);
    assert_true(str_eq(buf_str(&b), buf_str(&c)));

    assert_int_equal(proto_decode_object(&a, t, buf_str(&b), &w, &e), 0);
    assert_int_equal(w->items[0].name, N_kind);
    assert_int_equal(w->items[1].name, N_apiVersion);
    assert_str(val_str(val_at(w, N_metadata, N_name)), "d");
    assert_str(val_getstr(w, N_kind), "Deployment");

    assert_false(proto_is_envelope(STR("k8s")));
    assert_int_equal(proto_open(STR("{}"), &env, &e), -EINVAL);
    assert_int_equal(proto_open(str_n("k8s\0\x0a", 5), &env, &e), -EINVAL);
    assert_int_equal(proto_open(str_n("k8s\0", 4), &env, &e), 0);
    assert_str(env.raw, "");
}

static void appends_to_what_is_there(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "x");
    proto_encode(&b, type_at(T_meta_v1_LabelSelector), NULL);
    assert_str(buf_str(&b), "x");
    proto_encode(&b, type_at(T_core_v1_Volume), NULL);
    assert_int_equal(b.n, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_both_ways),
        cmocka_unit_test(liberal_in_what_it_takes),
        cmocka_unit_test(alternatives),
        cmocka_unit_test(refuses_what_is_no_message),
        cmocka_unit_test(nesting_ends_somewhere),
        cmocka_unit_test(envelopes),
        cmocka_unit_test(appends_to_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
