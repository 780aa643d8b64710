/* SPDX-License-Identifier: Apache-2.0 */
#include "type/shared.h"
#include "type/object.h"

#include <pthread.h>

#include "cases.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

static const char POD[] = "{'metadata':{'name':'a','namespace':'x','uid':'u','labels':{'b':'1','a':'2'}},"
                          "'spec':{'containers':[{'name':'c','image':'i'}]}}";

static void test_new_sets_kind_and_identity(void **state)
{
    (void)state;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    const struct resource *r = &resources[RES_PODS];
    CLEANUP_OBJECT struct object *o = object_new(r, case_val(&a, r->type, POD));
    assert_str(val_getstr(o->val, N_kind), "Pod");
    assert_str(val_getstr(o->val, N_apiVersion), "v1");
    assert_str(o->name, "a");
    assert_str(o->namespace_, "x");
    assert_str(o->uid, "u");
    assert_int_equal(o->revision, 0);
    assert_null(val_get(o->meta, N_resourceVersion));
}

static void test_stamp_puts_the_revision_in_its_place(void **state)
{
    (void)state;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    const struct resource *r = &resources[RES_CONFIGMAPS];
    struct val *v = case_val(
        &a, r->type, "{'metadata':{'name':'a','uid':'u','creationTimestamp':'2020-01-01T00:00:00Z'}}");
    CLEANUP_OBJECT struct object *o = object_new(r, v);
    object_stamp(o, 42);
    assert_int_equal(o->revision, 42);
    assert_int_equal(obj_revision(o->val), 42);
    assert_json(
        &a, r->type, o->val,
        "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'a','uid':'u','resourceVersion':'42',"
        "'creationTimestamp':'2020-01-01T00:00:00Z'}}");
    assert_str(o->uid, "u");
}

static void test_stamp_replaces_what_the_client_sent(void **state)
{
    (void)state;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    const struct resource *r = &resources[RES_CONFIGMAPS];
    CLEANUP_OBJECT struct object *o =
        object_new(r, case_val(&a, r->type, "{'metadata':{'name':'a','resourceVersion':'7'}}"));
    assert_int_equal(o->revision, 7);
    object_stamp(o, 123456789);
    assert_str(val_getstr(o->meta, N_resourceVersion), "123456789");
    assert_int_equal(o->meta->n, 2);
}

static void test_members_stand_in_declared_order(void **state)
{
    (void)state;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    const struct resource *r = &resources[RES_SERVICES];
    struct val *v = val_new(&a, VAL_OBJ);
    struct val *spec = val_sub_obj(&a, v, N_spec);
    val_set_str(&a, spec, N_type, STR("ClusterIP"));
    val_set_str(&a, spec, N_clusterIP, STR("None"));
    struct val *port = val_add_obj(&a, val_sub_list(&a, spec, N_ports));
    val_set_int(&a, port, N_port, 80);
    val_set_str(&a, port, N_name, STR("p"));
    val_set(&a, spec, N_sessionAffinity, (struct val){.kind = VAL_NULL});
    CLEANUP_OBJECT struct object *o = object_new(r, v);
    const struct val *s = val_get(o->val, N_spec);
    assert_int_equal(o->val->items[0].name, N_kind);
    assert_int_equal(s->n, 3);
    assert_int_equal(s->items[0].name, N_ports);
    assert_int_equal(s->items[1].name, N_clusterIP);
    assert_int_equal(s->items[2].name, N_type);
    assert_int_equal(s->items[0].items[0].items[0].name, N_name);
}

static void test_needs_nothing_of_what_it_was_made_of(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    const struct resource *r = &resources[RES_PODS];
    CLEANUP_OBJECT struct object *o = object_new(r, case_val(&a, r->type, POD));
    arena_done(&a);
    object_stamp(o, 5);
    assert_str(object_encoded(o, ENC_JSON), "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
                                            "\"a\",\"namespace\":\"x\",\"uid\":\"u\","
                                            "\"resourceVersion\":\"5\",\"labels\":{\"a\":\"2\",\"b\":\"1\"}},"
                                            "\"spec\":{\"containers\":[{\"name\":\"c\","
                                            "\"image\":\"i\",\"resources\":{}}]},\"status\":{}}");
}

static void test_encoded_once(void **state)
{
    (void)state;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    const struct resource *r = &resources[RES_PODS];
    CLEANUP_OBJECT struct object *o = object_new(r, case_val(&a, r->type, POD));
    struct str once = object_encoded(o, ENC_JSON);
    assert_ptr_equal(once.p, object_encoded(o, ENC_JSON).p);
    struct str proto = object_encoded(o, ENC_PROTO);
    assert_memory_equal(proto.p, "k8s\0", 4);
    object_drop_encodings(o);
    assert_true(str_starts(object_encoded(o, ENC_JSON), STR("{\"kind\":\"Pod\"")));
}

#define FIELDS "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:image\":{},\"f:name\":{}}}}}"

static void test_field_sets_of_managers_are_shared(void **state)
{
    (void)state;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    const struct resource *r = &resources[RES_PODS];
    size_t before = shared_texts();
    static const char text[] = "{\"metadata\":{\"name\":\"%s\",\"managedFields\":[{\"manager\":\"m\",\"fieldsV1\":" FIELDS "}]}}";
    struct object *one = object_new(r, case_val(&a, r->type, arena_printf(&a, text, "one").p));
    struct object *two = object_new(r, case_val(&a, r->type, arena_printf(&a, text, "two").p));
    const struct val *of_one = val_get(val_item(val_get(one->meta, N_managedFields), 0), N_fieldsV1);
    const struct val *of_two = val_get(val_item(val_get(two->meta, N_managedFields), 0), N_fieldsV1);
    assert_ptr_equal(of_one->s, of_two->s);
    assert_int_equal(shared_texts(), before + 1);
    object_unref(one);
    assert_str(val_str(of_two), FIELDS);
    assert_true(str_contains(object_encoded(two, ENC_JSON), STR(FIELDS)));
    object_unref(two);
    assert_int_equal(shared_texts(), before);
}

static void test_stored_bytes_leave_the_revision_out(void **state)
{
    (void)state;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    const struct resource *r = &resources[RES_PODS];
    CLEANUP_OBJECT struct object *o = object_new(r, case_val(&a, r->type, POD));
    CLEANUP_BUF struct buf before = BUF_INIT;
    CLEANUP_BUF struct buf after = BUF_INIT;
    object_store_bytes(r, o->val, &before);
    object_stamp(o, 99);
    object_store_bytes(r, o->val, &after);
    assert_int_equal(before.n, after.n);
    assert_memory_equal(before.p, after.p, before.n);
    struct object *back = NULL;
    assert_int_equal(object_decode(r, buf_str(&after), 100, &back, NULL), 0);
    assert_int_equal(back->revision, 100);
    object_stamp(o, 100);
    assert_true(val_equal(o->val, back->val));
    object_unref(back);
}

static void test_decode_refuses_rubbish(void **state)
{
    (void)state;
    struct object *o = NULL;
    struct err e = {0};
    assert_true(object_decode(&resources[RES_PODS], STR("rubbish"), 1, &o, &e) < 0);
    assert_null(o);
    assert_true(e.text[0]);
}

static void *reader(void *arg)
{
    return (void *)(uintptr_t)object_encoded(arg, ENC_JSON).p;
}

static void test_readers_in_threads_share_one_encoding(void **state)
{
    (void)state;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    const struct resource *r = &resources[RES_PODS];
    for (int round = 0; round < 50; round++) {
        CLEANUP_OBJECT struct object *o = object_new(r, case_val(&a, r->type, POD));
        pthread_t t[4];
        void *got[4];
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&t[i], NULL, reader, o), 0);
        for (int i = 0; i < 4; i++)
            pthread_join(t[i], &got[i]);
        for (int i = 1; i < 4; i++)
            assert_ptr_equal(got[0], got[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_sets_kind_and_identity),
        cmocka_unit_test(test_stamp_puts_the_revision_in_its_place),
        cmocka_unit_test(test_stamp_replaces_what_the_client_sent),
        cmocka_unit_test(test_members_stand_in_declared_order),
        cmocka_unit_test(test_needs_nothing_of_what_it_was_made_of),
        cmocka_unit_test(test_encoded_once),
        cmocka_unit_test(test_field_sets_of_managers_are_shared),
        cmocka_unit_test(test_stored_bytes_leave_the_revision_out),
        cmocka_unit_test(test_decode_refuses_rubbish),
        cmocka_unit_test(test_readers_in_threads_share_one_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
