/* SPDX-License-Identifier: Apache-2.0 */
/* All controllers together against the API server of the mind, with a kubelet of a few lines: what users see.
 */
#include "controllers/engine.h"

#include <stdio.h>

#include "client/fake_client.h"
#include "testing.h"
#include "type/meta.h"

struct cluster {
    struct fake_client *fake;
    struct group group;
    struct controllers_config config;
    struct err err;
};

static void run_controllers(void *arg)
{
    struct cluster *c = arg;
    controllers_run_with(fake_client_as(c->fake), &c->config, &c->err);
}

static void start(struct cluster *c)
{
    *c = (struct cluster){.fake = fake_client_new(),
                          .config = {.root_ca = STR("PEM"), .cluster_cidr = "10.244.0.0/16"}};
    fake_put_text(c->fake, RES_NAMESPACES,
                  "{metadata: {name: x}, spec: {finalizers: [kubernetes]}, status: {phase: Active}}");
    fake_put_text(c->fake, RES_NODES,
                  "{metadata: {name: n1}, status: {conditions: [{type: Ready, status: 'True'}]}}");
    group_spawn(&c->group, "controllers", run_controllers, c);
}

static void stop(struct cluster *c)
{
    group_stop(&c->group);
    assert_string_equal(c->err.text, "");
    fake_client_free(c->fake);
}

/* A kubelet and a scheduler: pods get a node, run and are ready; those being deleted go. */
static void play_nodes(struct cluster *c)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (size_t i = 0; i < fake_count(c->fake, RES_PODS); i++) {
        struct object *o CLEANUP_OBJECT = object_ref(fake_at(c->fake, RES_PODS, i));
        if (obj_deleting(o->val)) {
            fake_remove(c->fake, RES_PODS, arena_cstr(&a, o->namespace_), arena_cstr(&a, o->name));
            return;
        }
        if (!str_empty(val_str(val_at(o->val, N_status, N_phase))))
            continue;
        struct val *v = val_copy(&a, o->val);
        val_set_str(&a, val_sub_obj(&a, v, N_spec), N_nodeName, STR("n1"));
        struct val *status = val_new(&a, VAL_OBJ);
        val_set_str(&a, status, N_phase, STR("Running"));
        struct str ip = arena_printf(&a, "10.244.0.%zu", i + 2);
        val_set_str(&a, status, N_podIP, ip);
        condition_set(&a, val_sub_list(&a, status, N_conditions), STR("Ready"), "True", "", STR_NULL,
                      os_wall());
        val_set_ref(&a, v, N_status, status);
        fake_put(c->fake, o->res, v);
    }
}

typedef bool condition_fn(struct cluster *c);

static bool eventually(struct cluster *c, condition_fn *holds)
{
    for (int i = 0; i < 3000; i++) {
        if (holds(c))
            return true;
        play_nodes(c);
        fiber_sleep(MILLISECONDS(1));
    }
    return false;
}

#define DEPLOYMENT(image)                                                                                    \
    "{metadata: {namespace: x, name: web, generation: " #image                                               \
    "}, spec: {replicas: 3, selector: {matchLabels: {app: web}}, "                                           \
    "strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}, "                     \
    "progressDeadlineSeconds: 600, "                                                                         \
    "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: v" #image "}]}}}}"

static bool is_rolled_out(struct cluster *c, const char *image)
{
    const struct object *d = fake_get(c->fake, RES_DEPLOYMENTS, "x", "web");
    if (val_int(val_at(d->val, N_status, N_availableReplicas), 0) != 3 ||
        val_int(val_at(d->val, N_status, N_updatedReplicas), 0) != 3 || fake_count(c->fake, RES_PODS) != 3)
        return false;
    for (size_t i = 0; i < 3; i++)
        if (!str_is(val_getstr(val_item(val_at(fake_at(c->fake, RES_PODS, i)->val, N_spec, N_containers), 0),
                               N_image),
                    image))
            return false;
    return true;
}

static bool is_at_one(struct cluster *c)
{
    return is_rolled_out(c, "v1");
}

static bool is_at_two(struct cluster *c)
{
    return is_rolled_out(c, "v2");
}

static bool has_three_endpoints(struct cluster *c)
{
    const struct object *s = fake_at(c->fake, RES_ENDPOINTSLICES, 0),
                        *e = fake_get(c->fake, RES_ENDPOINTS, "x", "web");
    return s && val_len(val_get(s->val, N_endpoints)) == 3 && e &&
           val_len(val_get(val_item(val_get(e->val, N_subsets), 0), N_addresses)) == 3;
}

static bool all_is_gone(struct cluster *c)
{
    return fake_count(c->fake, RES_PODS) == 0 && fake_count(c->fake, RES_REPLICASETS) == 0;
}

static bool namespace_is_gone(struct cluster *c)
{
    return !fake_get(c->fake, RES_NAMESPACES, "", "x") && fake_count(c->fake, RES_CONFIGMAPS) == 0;
}

static void delete (struct cluster *c, uint16_t res, const char *ns, const char *name,
                    const char *propagation)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    const struct call *call =
        CALL(.res = &resources[res], .ns = str_of(ns), .name = str_of(name), .propagation = propagation);
    assert_int_equal(client_delete(fake_client_as(c->fake), call, &a, NULL, &s), 0);
}

FIBER_TEST(a_deployment_lives_and_dies)
{
    struct cluster c;
    start(&c);
    fake_put_text(c.fake, RES_SERVICES,
                  "{metadata: {namespace: x, name: web}, spec: {clusterIP: 10.96.0.9, ipFamilies: [IPv4], "
                  "selector: {app: web}, ports: [{port: 80, targetPort: 8080, protocol: TCP}]}}");
    fake_put_text(c.fake, RES_DEPLOYMENTS, DEPLOYMENT(1));
    assert_true(eventually(&c, is_at_one));
    assert_true(eventually(&c, has_three_endpoints));
    fake_put_text(c.fake, RES_DEPLOYMENTS, DEPLOYMENT(2));
    assert_true(eventually(&c, is_at_two));
    assert_int_equal(fake_count(c.fake, RES_REPLICASETS), 2);
    assert_true(eventually(&c, has_three_endpoints));
    delete (&c, RES_DEPLOYMENTS, "x", "web", "Foreground");
    assert_true(eventually(&c, all_is_gone));
    stop(&c);
}

static bool is_furnished(struct cluster *c)
{
    return fake_get(c->fake, RES_SERVICEACCOUNTS, "x", "default") &&
           fake_get(c->fake, RES_CONFIGMAPS, "x", "kube-root-ca.crt") &&
           val_len(val_at(fake_get(c->fake, RES_NODES, "", "n1")->val, N_spec, N_podCIDRs)) == 1;
}

FIBER_TEST(a_namespace_comes_and_goes)
{
    struct cluster c;
    start(&c);
    assert_true(eventually(&c, is_furnished));
    fake_put_text(c.fake, RES_DEPLOYMENTS, DEPLOYMENT(1));
    assert_true(eventually(&c, is_at_one));
    delete (&c, RES_NAMESPACES, "", "x", NULL);
    assert_true(eventually(&c, namespace_is_gone));
    assert_true(all_is_gone(&c));
    stop(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deployment_lives_and_dies),
        cmocka_unit_test(a_namespace_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
