/* SPDX-License-Identifier: Apache-2.0 */
#include "cases.h"
#include "resources.h"
#include "type/defaults.h"

static struct arena arena;

struct warning_case {
    unsigned resource;
    const char *obj, *old; /* old NULL: a create */
    const char *want;      /* lines, in order; "" for none */
};

static void collect(void *arg, struct str text)
{
    buf_printf(arg, "%s" STR_FMT, ((struct buf *)arg)->n ? "\n" : "", STR_ARG(text));
}

static void run_cases(const struct warning_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct buf b = BUF_INIT;
        const struct resource *r = &resources[cases[i].resource];
        const struct val *v = case_val(&arena, r->type, cases[i].obj);
        object_warnings(r, v, cases[i].old ? case_val(&arena, r->type, cases[i].old) : NULL, collect, &b);
        buf_putc(&b, '\0');
        for (size_t j = 0; j < b.n; j++) /* as the cases have it */
            b.p[j] = b.p[j] == '"' ? '\'' : b.p[j];
        assert_string_equal(b.p, cases[i].want);
        buf_done(&b);
    }
}

#define POD(spec) "{'metadata':{'name':'x'},'spec':{" spec "}}"
#define DEPLOYMENT(spec) "{'metadata':{'name':'x'},'spec':{'template':{'spec':{" spec "}}}}"

static void test_pods(void **state)
{
    (void)state;
    static const struct warning_case cases[] = {
        {RES_PODS, POD("'containers':[{'name':'c'}]"), NULL, ""},
        {RES_PODS, "{'metadata':{'name':'x.y'},'spec':{}}", NULL,
         "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS "
         "label is "
         "recommended: [must not contain dots]"},
        {RES_PODS, "{'metadata':{'name':'x.y'},'spec':{}}", "{'metadata':{'name':'x.y'},'spec':{}}", ""},
        {RES_PODS, POD("'nodeSelector':{'beta.kubernetes.io/os':'linux'}"), NULL,
         "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use 'kubernetes.io/os' instead"},
        {RES_PODS, POD("'terminationGracePeriodSeconds':-1"), NULL,
         "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated "
         "as 1"},
        {RES_PODS, POD("'hostAliases':[{'ip':'1.2.3.4'},{'ip':'1.2.3.4'}]"), NULL,
         "spec.hostAliases[1].ip: duplicate ip '1.2.3.4'"},
        {RES_PODS, POD("'imagePullSecrets':[{'name':'a'},{'name':'a'},{}]"), NULL,
         "spec.imagePullSecrets[1].name: duplicate name 'a'\nspec.imagePullSecrets[2].name: invalid empty "
         "name ''"},
        {RES_PODS, POD("'volumes':[{'name':'v','gitRepo':{'repository':'r'}}]"), NULL,
         "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"},
        {RES_PODS, POD("'topologySpreadConstraints':[{'topologyKey':'a'}]"), NULL,
         "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"},
        {RES_PODS,
         POD("'affinity':{'podAntiAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':1,"
             "'podAffinityTerm':{'topologyKey':'a'}}]}}"),
         NULL,
         "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm."
         "labelSelector: "
         "a null labelSelector results in matching no pod"},
        {RES_PODS, POD("'dnsConfig':{'nameservers':['::0001']}"), NULL,
         "spec.dnsConfig.nameservers[0]: IPv6 address '::0001' should be in RFC 5952 canonical format "
         "('::1')"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_containers(void **state)
{
    (void)state;
    static const struct warning_case cases[] = {
        {RES_PODS,
         POD("'containers':[{'name':'c','env':[{'name':'A','value':'1'},{'name':'A','value':'2'}]}]"), NULL,
         "spec.containers[0].env[1]: hides previous definition of 'A', which may be dropped when using "
         "apply"},
        {RES_PODS,
         POD("'containers':[{'name':'c','env':[{'name':'A','value':'1'},{'name':'A','value':'$(A)2'}]}]"),
         NULL, ""},
        {RES_DEPLOYMENTS, DEPLOYMENT("'containers':[{'name':'c','resources':{'limits':{'memory':'100m'}}}]"),
         NULL,
         "spec.template.spec.containers[0].resources.limits[memory]: fractional byte value '100m' is "
         "invalid, must be an "
         "integer"},
        {RES_PODS,
         POD("'containers':[{'name':'a','ports':[{'containerPort':80,'protocol':'TCP'},{'containerPort':80,'"
             "protocol':'TCP'},"
             "{'containerPort':80,'protocol':'UDP'},{'containerPort':80,'hostPort':8,'protocol':'TCP'}]}]"),
         NULL,
         "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]\n"
         "spec.containers[0].ports[3]: overlapping port definition with spec.containers[0].ports[0]\n"
         "spec.containers[0].ports[3]: overlapping port definition with spec.containers[0].ports[1]"},
        {RES_PODS,
         POD("'containers':[{'name':'a','ports':[{'containerPort':1,'hostPort':9},{'containerPort':1,'"
             "hostPort':9,"
             "'hostIP':'1.1.1.1'}]}]"),
         NULL,
         "spec.containers[0].ports[1]: dangerously ambiguous port definition with "
         "spec.containers[0].ports[0]"},
        {RES_PODS,
         POD("'containers':[{'name':'a','ports':[{'name':'p','containerPort':1},{'name':'p','containerPort':"
             "2}]}]"),
         NULL,
         "spec.containers[0].ports[1]: duplicate port name 'p' with spec.containers[0].ports[0], services "
         "and probes that "
         "select ports by name will use spec.containers[0].ports[0]"},
        {RES_PODS,
         POD("'containers':[{'name':'a','ports':[{'containerPort':1,'protocol':'TCP','hostIP':'1.1.1.1'}]}]"),
         NULL,
         "spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:1 "
         "Protocol:TCP "
         "HostIP:1.1.1.1}"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_overlapping_files(void **state)
{
    (void)state;
    static const struct warning_case cases[] = {
        {RES_PODS,
         POD("'volumes':[{'name':'v','configMap':{'name':'m','items':[{'path':'a'},{'path':'a/"
             "b'},{'path':'ab'}]}}]"),
         NULL, "volume 'v' (ConfigMap 'm'): overlapping paths: 'a/b' with 'a'"},
        {RES_PODS,
         POD("'volumes':[{'name':'v','projected':{'sources':[{'secret':{'name':'s','items':[{'path':'t'}]}},"
             "{'serviceAccountToken':{'path':'t/'}},{}]}}]"),
         NULL,
         "volume 'v' (Projected): overlapping paths: 't' (ServiceAccountToken) with 't' (Secret 's')\n"
         "volume 'v' (Projected) has no sources provided"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

/* A template is looked at when it is new or the spec it is in has changed. */
static void test_templates_once(void **state)
{
    (void)state;
    static const char text[] = "spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative "
                               "values are invalid and will be treated as 1";
    static const struct warning_case cases[] = {
        {RES_DEPLOYMENTS, DEPLOYMENT("'terminationGracePeriodSeconds':-1"), NULL, text},
        {RES_DEPLOYMENTS, DEPLOYMENT("'terminationGracePeriodSeconds':-1"), DEPLOYMENT(""), ""},
        {RES_DEPLOYMENTS,
         "{'metadata':{'name':'x','generation':2},'spec':{'template':{'spec':{'terminationGracePeriodSeconds'"
         ":-1}}}}",
         DEPLOYMENT(""), text},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_others(void **state)
{
    (void)state;
    static const struct warning_case cases[] = {
        {RES_SERVICES, "{'spec':{'type':'ClusterIP','clusterIP':'None','sessionAffinity':'ClientIP'}}", NULL,
         "spec.SessionAffinity is ignored for headless services"},
        {RES_SERVICES,
         "{'spec':{'type':'ClusterIP','clusterIP':'10.0.0.1','externalIPs':['1.1.1.1'],'externalName':'a'}}",
         NULL,
         "spec.externalIPs is deprecated and may no longer be implemented in some clusters\n"
         "spec.externalName is ignored when spec.type is not 'ExternalName'"},
        {RES_NODES, "{'spec':{'externalID':'a','podCIDRs':['10.0.0.1/24']}}", NULL,
         "spec.externalID: this field is deprecated, and is unused by Kubernetes\n"
         "spec.podCIDRs[0]: CIDR value '10.0.0.1/24' is ambiguous in this context (should be '10.0.0.0/24' "
         "or "
         "'10.0.0.1/32'?)"},
        {RES_ENDPOINTSLICES, "{'addressType':'FQDN'}", NULL,
         "spec.addressType: FQDN endpoints are deprecated"},
        {RES_PERSISTENTVOLUMECLAIMS, "{'spec':{'resources':{'requests':{'storage':'1500m'}}}}", NULL,
         "spec.resources.requests[storage]: fractional byte value '1500m' is invalid, must be an integer"},
        {RES_PERSISTENTVOLUMES, "{'spec':{'persistentVolumeReclaimPolicy':'Recycle'}}", NULL,
         "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
         "recommended approach is "
         "to use dynamic provisioning."},
        {RES_INGRESSES, "{'metadata':{'annotations':{'kubernetes.io/ingress.class':'a'}}}", NULL,
         "annotation 'kubernetes.io/ingress.class' is deprecated, please use 'spec.ingressClassName' "
         "instead"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pods),
        cmocka_unit_test(test_containers),
        cmocka_unit_test(test_overlapping_files),
        cmocka_unit_test(test_templates_once),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
