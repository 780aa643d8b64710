/* SPDX-License-Identifier: Apache-2.0 */
#include "client/fake_client.h"
#include "testing.h"
#include "type/meta.h"

struct fixture {
    struct fake_client *fake;
    struct event_recorder *recorder;
    struct object *pod;
};

static void set_up(struct fixture *t)
{
    t->fake = fake_client_new();
    t->recorder = event_recorder_new(fake_client_as(t->fake), "kubelet", "n1");
    t->pod = object_relaxed(RES_PODS, "{metadata: {namespace: x, name: p, uid: u1, resourceVersion: '7'}}");
}

static void tear_down(struct fixture *t)
{
    event_recorder_free(t->recorder);
    object_unref(t->pod);
    fake_client_free(t->fake);
}

static void settle(void)
{
    for (int i = 0; i < 200; i++)
        fiber_yield();
}

FIBER_TEST(an_event_names_its_object_and_source)
{
    struct fixture t;
    set_up(&t);
    event_record(t.recorder, t.pod->res, t.pod->val, true, "BackOff", "restarting %s", "web");
    settle();
    assert_int_equal(fake_count(t.fake, RES_EVENTS), 1);
    const struct val *e = fake_at(t.fake, RES_EVENTS, 0)->val;
    assert_true(str_starts(obj_name(e), STR("p.")));
    assert_str(obj_namespace(e), "x");
    assert_str(val_str(val_at(e, N_involvedObject, N_kind)), "Pod");
    assert_str(val_str(val_at(e, N_involvedObject, N_uid)), "u1");
    assert_str(val_str(val_at(e, N_involvedObject, N_apiVersion)), "v1");
    assert_str(val_str(val_at(e, N_source, N_host)), "n1");
    assert_str(val_getstr(e, N_reportingComponent), "kubelet");
    assert_str(val_getstr(e, N_message), "restarting web");
    assert_str(val_getstr(e, N_type), "Warning");
    assert_int_equal(val_int(val_get(e, N_count), 0), 1);
    tear_down(&t);
}

FIBER_TEST(annotations_tell_programs_more)
{
    struct fixture t;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *notes = val_new(&a, VAL_MAP);
    set_up(&t);
    val_put_str(&a, notes, STR("starved_resource"), STR("memory"));
    event_record_noted(t.recorder, t.pod->res, t.pod->val, notes, true, "Evicted", "why");
    settle();
    assert_str(obj_annotation(fake_at(t.fake, RES_EVENTS, 0)->val, STR("starved_resource")), "memory");
    tear_down(&t);
}

FIBER_TEST(the_same_again_only_counts)
{
    struct fixture t;
    set_up(&t);
    for (int i = 0; i < 3; i++)
        event_record(t.recorder, t.pod->res, t.pod->val, false, "Pulled", "same");
    settle();
    assert_int_equal(fake_count(t.fake, RES_EVENTS), 1);
    assert_int_equal(val_int(val_get(fake_at(t.fake, RES_EVENTS, 0)->val, N_count), 0), 3);
    const struct object *e = fake_at(t.fake, RES_EVENTS, 0);
    char *name = str_dup(e->name);
    fake_remove(t.fake, RES_EVENTS, "x", name); /* expired on the server */
    free(name);
    event_record(t.recorder, t.pod->res, t.pod->val, false, "Pulled", "same");
    settle();
    assert_int_equal(val_int(val_get(fake_at(t.fake, RES_EVENTS, 0)->val, N_count), 0), 4);
    tear_down(&t);
}

FIBER_TEST(many_texts_of_one_reason_are_combined)
{
    struct fixture t;
    set_up(&t);
    for (int i = 0; i < 15; i++)
        event_record(t.recorder, t.pod->res, t.pod->val, false, "Odd", "text %d", i);
    settle();
    assert_int_equal(fake_count(t.fake, RES_EVENTS), 10);
    int combined = 0;
    for (size_t i = 0; i < 10; i++) {
        const struct val *e = fake_at(t.fake, RES_EVENTS, i)->val;
        if (str_starts(val_getstr(e, N_message), STR("(combined from similar events): text"))) {
            combined++;
            assert_int_equal(val_int(val_get(e, N_count), 0), 6);
        }
    }
    assert_int_equal(combined, 1);
    tear_down(&t);
}

FIBER_TEST(a_burst_about_one_object_is_limited)
{
    struct fixture t;
    set_up(&t);
    for (int i = 0; i < 40; i++)
        event_record(t.recorder, t.pod->res, t.pod->val, false, "Same", "same");
    settle();
    assert_int_equal(val_int(val_get(fake_at(t.fake, RES_EVENTS, 0)->val, N_count), 0), 25);
    tear_down(&t);
}

FIBER_TEST(a_reference_may_stand_for_the_object)
{
    struct fixture t;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    set_up(&t);
    struct val *ref =
        val_relaxed(&a, NULL, "{kind: Pod, namespace: x, name: p, fieldPath: 'spec.containers{web}'}");
    struct val *obj = val_new(&a, VAL_OBJ);
    static const name_id names[] = {N_kind, N_namespace, N_name, N_fieldPath};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        val_set_ref(&a, obj, names[i], val_get(ref, names[i]));
    event_record(t.recorder, &resources[RES_PODS], obj, false, "Started", "container web");
    settle();
    const struct val *e = fake_at(t.fake, RES_EVENTS, 0)->val;
    assert_str(val_str(val_at(e, N_involvedObject, N_fieldPath)), "spec.containers{web}");
    tear_down(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_names_its_object_and_source),
        cmocka_unit_test(annotations_tell_programs_more),
        cmocka_unit_test(the_same_again_only_counts),
        cmocka_unit_test(many_texts_of_one_reason_are_combined),
        cmocka_unit_test(a_burst_about_one_object_is_limited),
        cmocka_unit_test(a_reference_may_stand_for_the_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
