/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upstream's own encodings of one object of every kind, with every field filled (data/codec.jsonl): the JSON
 * gives the protobuf byte for byte, and the protobuf gives the JSON.
 */
#include "../testing.h"

#include "wire/json.h"
#include "wire/leaf.h"
#include "wire/proto.h"

#include "names.h"

#include <stdio.h>

static const char *data_path;

/* The JSON of an object as our encoder writes it; through it two texts are compared as values. */
static struct str normal(struct arena *a, struct str json)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v;
    assert_int_equal(json_decode(a, NULL, json, 0, NULL, &v, NULL), 0);
    json_encode(&b, NULL, v, 0);
    return arena_str(a, buf_str(&b));
}

/* "core.v1.Pod" of "v1" and "Pod", "rbac.v1.Role" of "rbac.authorization.k8s.io/v1" and "Role". */
static const struct type *type_of(struct str api_version, struct str kind)
{
    for (unsigned i = 1; i < n_types; i++) {
        struct str name = str_of(types[i].name);
        if (types[i].api_version && str_is(api_version, types[i].api_version) &&
            str_eq(str_from(name, (size_t)(str_rfind(name, '.') + 1)), kind))
            return &types[i];
    }
    return NULL;
}

static void show_difference(const char *what, struct str kind, struct str got, struct str want)
{
    size_t i = 0;
    while (i < got.n && i < want.n && got.p[i] == want.p[i])
        i++;
    size_t from = i > 60 ? i - 60 : 0;
    fprintf(stderr, STR_FMT ": %s differs at %zu\n got  ..." STR_FMT "\n want ..." STR_FMT "\n",
            STR_ARG(kind), what, i, STR_ARG(str_slice(got, from, 160)), STR_ARG(str_slice(want, from, 160)));
}

static bool check_kind(struct arena *a, const struct val *line)
{
    struct str kind = val_str(val_key(line, STR("kind"))), proto, json;
    struct str api_version = val_str(val_key(line, STR("apiVersion")));
    const struct type *t = type_of(api_version, kind);
    struct buf b CLEANUP_BUF = BUF_INIT, want CLEANUP_BUF = BUF_INIT;
    struct val *v, *w;
    struct err e = {0};
    struct json_report report = {0};
    if (!t) {
        fprintf(stderr, STR_FMT " " STR_FMT ": no such type\n", STR_ARG(api_version), STR_ARG(kind));
        return false;
    }
    assert_int_equal(base64_decode(a, val_str(val_key(line, STR("protobuf"))), &proto), 0);
    json_encode(&want, NULL, val_key(line, STR("json")), 0);
    json = arena_str(a, buf_str(&want));

    bool ok = true;
    if (json_decode(a, t, json, 0, &report, &v, &e) < 0 || report.n) {
        fprintf(stderr, STR_FMT ": decoding JSON: %s " STR_FMT "\n", STR_ARG(kind), e.text,
                STR_ARG(report.n ? report.problems[0] : STR("")));
        return false;
    }
    proto_encode_object(&b, t, v);
    if (!str_eq(buf_str(&b), proto)) {
        show_difference("protobuf", kind, buf_str(&b), proto);
        ok = false;
    }
    if (proto_decode_object(a, t, proto, &w, &e) < 0) {
        fprintf(stderr, STR_FMT ": decoding protobuf: %s\n", STR_ARG(kind), e.text);
        return false;
    }
    buf_clear(&b);
    json_encode(&b, t, w, 0);
    if (!str_eq(normal(a, buf_str(&b)), json)) {
        show_difference("JSON", kind, normal(a, buf_str(&b)), json);
        ok = false;
    }
    if (!val_same(v, w)) {
        fprintf(stderr, STR_FMT ": JSON and protobuf give different values\n", STR_ARG(kind));
        ok = false;
    }
    return ok;
}

static void upstreams_encodings_both_ways(void **state UNUSED)
{
    FILE *f = fopen(data_path, "r");
    assert_non_null(f);
    char *text = NULL;
    size_t size = 0, n = 0, failed = 0;
    ssize_t len;
    while ((len = getline(&text, &size, f)) > 0) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct val *line;
        assert_int_equal(json_decode(&a, NULL, str_n(text, (size_t)len), 0, NULL, &line, NULL), 0);
        failed += !check_kind(&a, line);
        n++;
    }
    free(text);
    fclose(f);
    assert_int_equal(n, 147);
    assert_int_equal(failed, 0);
}

int main(int argc, char **argv)
{
    data_path = argc > 1 ? argv[1] : "test/unit/wire/data/codec.jsonl";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upstreams_encodings_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
