/* SPDX-License-Identifier: Apache-2.0 */
/* Rules, beside those that recorded answers show (recorded.jsonl): updates and status above all. */
#include "cases.h"
#include "resources.h"
#include "type/defaults.h"

static struct arena arena;

struct validate_case {
    unsigned resource;
    const char *sub, *obj, *old; /* old NULL: a create */
    const char *want;            /* "field Reason" lines; "" when nothing is wrong */
};

static struct str run(const struct validate_case *c, bool messages)
{
    const struct resource *r = &resources[c->resource];
    const struct val *v = case_val(&arena, r->type, c->obj);
    struct status s;
    struct buf b = BUF_INIT;
    status_init(&s, &arena);
    if (c->old)
        validate_update(r, c->sub, v, case_val(&arena, r->type, c->old), &s);
    else
        validate_create(r, v, &s);
    for (size_t i = 0; i < s.n_causes; i++)
        buf_printf(&b, "%s" STR_FMT " " STR_FMT, i ? "\n" : "", STR_ARG(s.causes[i].field),
                   STR_ARG(messages ? s.causes[i].message
                                    : str_from(str_of(s.causes[i].reason), strlen("FieldValue"))));
    struct str text = arena_str(&arena, buf_str(&b));
    buf_done(&b);
    return text;
}

static void run_cases(const struct validate_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct str got = run(&cases[i], false);
        if (!str_is(got, cases[i].want))
            fail_msg("%s\nwant: %s\ngot:  " STR_FMT, cases[i].obj, cases[i].want,
                     STR_ARG(run(&cases[i], true)));
    }
}

#define META "'metadata':{'name':'x','namespace':'d','uid':'u','resourceVersion':'1'}"
#define STATUS(s) "{" META ",'status':{" s "}}"
#define JOB(spec, s) "{" META ",'spec':{" spec "},'status':{" s "}}"
#define COND(type) "{'type':'" type "','status':'True'}"

static void test_counts(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {RES_DEPLOYMENTS, "status", STATUS("'replicas':2,'readyReplicas':1,'availableReplicas':1"),
         STATUS(""), ""},
        {RES_DEPLOYMENTS, "status", STATUS("'replicas':1,'readyReplicas':2"), STATUS(""),
         "status.readyReplicas Invalid"},
        {RES_DEPLOYMENTS, "status", STATUS("'replicas':1,'availableReplicas':1"), STATUS(""),
         "status.availableReplicas Invalid"},
        {RES_DEPLOYMENTS, "status", STATUS("'collisionCount':1"), STATUS("'collisionCount':2"),
         "status.collisionCount Invalid"},
        {RES_DEPLOYMENTS, "status", STATUS(""), STATUS("'collisionCount':2"),
         "status.collisionCount Invalid"},
        {RES_REPLICASETS, "status", STATUS("'replicas':-1"), STATUS(""), "status.replicas Invalid"},
        {RES_REPLICASETS, "status", STATUS("'replicas':1,'fullyLabeledReplicas':3"), STATUS(""),
         "status.fullyLabeledReplicas Invalid"},
        {RES_STATEFULSETS, "status", STATUS("'replicas':1,'currentReplicas':3"), STATUS(""),
         "status.currentReplicas Invalid"},
        {RES_DAEMONSETS, "status", STATUS("'numberReady':-1"), STATUS(""), "status.numberReady Invalid"},
        {RES_PODDISRUPTIONBUDGETS, "status", STATUS("'disruptionsAllowed':-1"), STATUS(""),
         "status.disruptionsAllowed Invalid"},
        {RES_PODDISRUPTIONBUDGETS, "status",
         STATUS("'conditions':[{'type':'A','status':'True','reason':'a "
                "b','lastTransitionTime':'2024-01-01T00:00:00Z'},"
                "{'type':'A','status':'Yes'}]"),
         STATUS(""),
         "status.conditions[0].reason Invalid\nstatus.conditions[1] Duplicate\nstatus.conditions[1].status "
         "NotSupported\n"
         "status.conditions[1].lastTransitionTime Required\nstatus.conditions[1].reason Required"},
        /* Upstream's controller, as ours, gives no reason for a range that is ready. */
        {RES_SERVICECIDRS, "status",
         STATUS("'conditions':[{'type':'Ready','status':'True','reason':'','lastTransitionTime':'2024-01-01T00:00:00Z'}]"),
         STATUS(""), ""},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_pod_status(void **state)
{
    (void)state;
#define ENDED "'containerStatuses':[{'name':'c','state':{'terminated':{'exitCode':1}}}]"
#define RUNS "'containerStatuses':[{'name':'c','state':{'running':{}}}]"
#define POD(spec, s) "{" META ",'spec':{'containers':[{'name':'c'}]," spec "},'status':{" s "}}"
    static const struct validate_case cases[] = {
        {RES_PODS, "status", POD("'restartPolicy':'Always'", RUNS), POD("'restartPolicy':'Always'", ENDED),
         ""},
        {RES_PODS, "status", POD("'restartPolicy':'OnFailure'", RUNS),
         POD("'restartPolicy':'OnFailure'", ENDED), ""},
        {RES_PODS, "status", POD("'restartPolicy':'Never'", RUNS), POD("'restartPolicy':'Never'", ENDED),
         "status.containerStatuses[0].state Forbidden"},
        {RES_PODS, "status", STATUS("'podIP':'1.1.1.1'"), STATUS(""), "status.podIPs Invalid"},
        {RES_PODS, "status", STATUS("'podIP':'1.1.1.1','podIPs':[{'ip':'1.1.1.2'}]"), STATUS(""),
         "status.podIPs[0].ip Invalid"},
        {RES_PODS, "status", STATUS("'podIP':'1.1.1.1','podIPs':[{'ip':'1.1.1.1'},{'ip':'1.1.1.2'}]"),
         STATUS(""), "status.podIPs Invalid"},
        {RES_PODS, "status", STATUS("'podIP':'1.1.1.1','podIPs':[{'ip':'1.1.1.1'},{'ip':'::1'}]"), STATUS(""),
         ""},
        {RES_PODS, "status", STATUS("'hostIP':'1.1.1.1','hostIPs':[{'ip':'1.1.1.2'}]"), STATUS(""),
         "status.hostIPs[0].ip Invalid"},
        {RES_PODS, "status", STATUS("'qosClass':'Burstable'"), STATUS("'qosClass':'BestEffort'"),
         "status.qosClass Invalid"},
        {RES_PODS, "status", STATUS("'conditions':[{'type':'a b','status':'True'}]"), STATUS(""),
         "status.conditions[0].Type Invalid"},
        {RES_PODS, "status", POD("'nodeName':'n'", "'nominatedNodeName':'m'"), POD("'nodeName':'n'", ""),
         "status.nominatedNodeName Forbidden"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
#undef POD
}

/* What upstream's server said beside ours (test/peer/api_diff.py). */
static void test_beside_upstream(void **state)
{
    (void)state;
#define FLOW(spec) "{'metadata':{'name':'x'},'spec':{'matchingPrecedence':5,'priorityLevelConfiguration':{'name':'p'},'rules':[" spec "]}}"
    static const struct validate_case cases[] = {
        /* behind a pointer and in a list empty text is a value */
        {RES_CSIDRIVERS, NULL, "{'metadata':{'name':'a.b'},'spec':{'fsGroupPolicy':''}}", NULL, "spec.fsGroupPolicy NotSupported"},
        {RES_CSIDRIVERS, NULL, "{'metadata':{'name':'a.b'},'spec':{'volumeLifecycleModes':['']}}", NULL, "spec.volumeLifecycleModes NotSupported"},
        /* a name that is judged by its form even when it is not there */
        {RES_DEVICETAINTRULES, NULL, "{'metadata':{'name':'x'},'spec':{'taint':{'effect':'NoExecute'}}}", NULL,
         "spec.taint.key Invalid\nspec.taint.key Invalid"},
        {RES_RESOURCECLAIMTEMPLATES, NULL, "{'metadata':{'name':'x','namespace':'d'},'spec':{'metadata':{'name':'a','uid':'b','labels':{'c':'d'}}}}", NULL,
         "spec.metadata.name Forbidden\nspec.metadata.uID Forbidden"},
        {RES_INGRESSES, NULL, "{" META ",'spec':{}}", "{" META "}", "spec Invalid"},
        {RES_CONFIGMAPS, NULL, "{'metadata':{'name':'x','namespace':'d','uid':'u','resourceVersion':'1','finalizers':['x']}}", "{" META "}",
         "metadata.finalizers[0] Invalid"},
        {RES_FLOWSCHEMAS, NULL, FLOW("{'subjects':[{'kind':'User','user':{'name':'a'},'group':{'name':'b'}}],'nonResourceRules':[{'verbs':['get','frob'],'nonResourceURLs':['a']}]}"),
         NULL, "spec.rules[0].subjects[0].group Forbidden\nspec.rules[0].nonResourceRules[0].verbs NotSupported\nspec.rules[0].nonResourceRules[0].nonResourceURLs[0] Invalid"},
        {RES_FLOWSCHEMAS, NULL, FLOW("{'subjects':[{'kind':'User','user':{'name':'a'}}],'resourceRules':[{'verbs':['*'],'apiGroups':['*','b'],'resources':['*']}]}"), NULL,
         "spec.rules[0].resourceRules[0].apiGroups Invalid\nspec.rules[0].resourceRules[0].namespaces Required"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_job_status(void **state)
{
    (void)state;
#define START "'startTime':'2024-01-01T00:00:00Z'"
#define END "'completionTime':'2024-01-01T00:00:01Z'"
#define DONE "'conditions':[" COND("SuccessCriteriaMet") "," COND("Complete") "]"
    static const struct validate_case cases[] = {
        {RES_JOBS, "status", JOB("", START "," END "," DONE), JOB("", START), ""},
        {RES_JOBS, "status", JOB("", START "," END ",'conditions':[" COND("Complete") "]"), JOB("", START),
         "status.conditions Invalid"},
        {RES_JOBS, "status", JOB("", START "," DONE), JOB("", START), "status.completionTime Required"},
        {RES_JOBS, "status", JOB("", END "," DONE), JOB("", ""), "status.startTime Required"},
        {RES_JOBS, "status", JOB("", START "," END), JOB("", START), "status.completionTime Invalid"},
        {RES_JOBS, "status", JOB("", START "," END "," DONE ",'active':1"), JOB("", START),
         "status.active Invalid"},
        {RES_JOBS, "status", JOB("", START ",'conditions':[" COND("Failed") "]"), JOB("", START),
         "status.conditions Invalid"},
        {RES_JOBS, "status", JOB("", START ",'conditions':[" COND("FailureTarget") "," COND("Failed") "]"),
         JOB("", START), ""},
        {RES_JOBS, "status", JOB("", START),
         JOB("", START ",'conditions':[" COND("FailureTarget") "," COND("Failed") "]"),
         "status.conditions Invalid\nstatus.conditions Invalid"},
        {RES_JOBS, "status", JOB("", "'failed':1"), JOB("", "'failed':2"), "status.failed Invalid"},
        {RES_JOBS, "status", JOB("", "'succeeded':1"), JOB("", "'succeeded':2"), "status.succeeded Invalid"},
        {RES_JOBS, "status",
         JOB("'completionMode':'Indexed','completions':1,'parallelism':1", "'succeeded':1"),
         JOB("", "'succeeded':2"), ""},
        {RES_JOBS, "status", JOB("", "'ready':2,'active':1"), JOB("", ""), "status.ready Invalid"},
        {RES_JOBS, "status", JOB("", "'uncountedTerminatedPods':{'succeeded':['a'],'failed':['a','']}"),
         JOB("", ""),
         "status.uncountedTerminatedPods.failed[0] Duplicate\nstatus.uncountedTerminatedPods.failed[1] "
         "Invalid"},
        {RES_JOBS, "status", JOB("'completions':3", "'completedIndexes':'0'"), JOB("", ""),
         "status.completedIndexes Invalid"},
        {RES_JOBS, "status", JOB("'completions':3,'completionMode':'Indexed'", "'completedIndexes':'0,2'"),
         JOB("", ""), ""},
        {RES_JOBS, "status", JOB("'completions':3,'completionMode':'Indexed'", "'completedIndexes':'0-3'"),
         JOB("", ""), "status.completedIndexes Invalid"},
        {RES_JOBS, "status", JOB("'completions':3,'completionMode':'Indexed'", "'completedIndexes':'2,1'"),
         JOB("", ""), "status.completedIndexes Invalid"},
        {RES_JOBS, "status",
         JOB("'completions':9,'completionMode':'Indexed','backoffLimitPerIndex':1",
             "'completedIndexes':'0-3,5','failedIndexes':'4-5'"),
         JOB("", ""), "status.failedIndexes Invalid"},
        {RES_JOBS, "status", JOB("", "'startTime':'2024-01-01T00:00:05Z'"), JOB("", START),
         "status.startTime Invalid"},
        {RES_JOBS, "status", JOB("'suspend':true", ""), JOB("", START), ""},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

/* What of a suspended Job's template may change, and when (KEP-2926, KEP-5440). */
static void test_job_template(void **state)
{
    (void)state;
#define POD_OF(more, resources)                                                                              \
    "'selector':{'matchLabels':{'a':'b'}},'manualSelector':true,'completions':1,'parallelism':1,"            \
    "'completionMode':'NonIndexed','template':{'metadata':{'labels':{'a':'b'" more                           \
    ",'restartPolicy':'Never','dnsPolicy':'Default','terminationGracePeriodSeconds':1,"                      \
    "'containers':[{'name':'c','image':'i','imagePullPolicy':'Always','terminationMessagePath':'/t',"        \
    "'terminationMessagePolicy':'File'" resources "}]}}"
#define SUSPENDED(more, resources) "'suspend':true," POD_OF(more, resources)
#define PLAIN "}},'spec':{'schedulerName':'s'"
#define CPU(n) ",'resources':{'requests':{'cpu':'" n "'}}"
#define IS_SUSPENDED "'conditions':[" COND("Suspended") "]"
    static const struct validate_case cases[] = {
        {RES_JOBS, NULL, JOB(SUSPENDED(PLAIN ",'nodeSelector':{'x':'y'}", ""), ""), JOB(SUSPENDED(PLAIN, ""), ""), ""},
        {RES_JOBS, NULL, JOB(SUSPENDED(PLAIN ",'schedulingGates':[{'name':'x'}]", ""), ""), JOB(SUSPENDED(PLAIN, ""), ""),
         ""},
        {RES_JOBS, NULL, JOB(SUSPENDED(",'c':'d'" PLAIN, ""), ""), JOB(SUSPENDED(PLAIN, ""), ""), ""},
        {RES_JOBS, NULL, JOB(SUSPENDED(PLAIN, CPU("2")), ""), JOB(SUSPENDED(PLAIN, CPU("1")), ""), ""},
        {RES_JOBS, NULL, JOB(SUSPENDED(PLAIN, CPU("2")), ""), JOB(SUSPENDED(PLAIN, CPU("1")), START), "spec.template Invalid"},
        {RES_JOBS, NULL, JOB(SUSPENDED(PLAIN, CPU("2")), ""), JOB(SUSPENDED(PLAIN, CPU("1")), START "," IS_SUSPENDED), ""},
        {RES_JOBS, NULL, JOB(SUSPENDED(PLAIN, CPU("2")), ""), JOB(SUSPENDED(PLAIN, CPU("1")), "'active':1," IS_SUSPENDED),
         "spec.template Invalid"},
        {RES_JOBS, NULL, JOB(POD_OF(PLAIN, CPU("2")), ""), JOB(POD_OF(PLAIN, CPU("1")), ""), "spec.template Invalid"},
        {RES_JOBS, NULL, JOB(SUSPENDED(PLAIN ",'hostname':'h'", ""), ""), JOB(SUSPENDED(PLAIN, ""), ""),
         "spec.template.spec Invalid"},
        {RES_JOBS, NULL,
         JOB(SUSPENDED(PLAIN ",'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{"
                             "'nodeSelectorTerms':[{'matchExpressions':[{'key':'k','operator':'Exists'}]}]}}}", ""), ""),
         JOB(SUSPENDED(PLAIN, ""), ""), ""},
        {RES_JOBS, NULL, JOB(SUSPENDED(PLAIN, ""), ""),
         JOB(SUSPENDED(PLAIN ",'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{"
                             "'nodeSelectorTerms':[{'matchExpressions':[{'key':'k','operator':'Exists'}]}]}}}", ""), ""), ""},
        {RES_JOBS, NULL,
         JOB(SUSPENDED(PLAIN ",'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{'labelSelector':"
                             "{'matchLabels':{'a':'b'}},'topologyKey':'k'}]}}", ""), ""),
         JOB(SUSPENDED(PLAIN, ""), ""), "spec.template.spec Invalid"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_other_status(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {RES_NAMESPACES, "status",
         "{'metadata':{'name':'x','resourceVersion':'1'},'status':{'phase':'Terminating'}}",
         "{'metadata':{'name':'x','resourceVersion':'1'}}", "status.Phase Invalid"},
        {RES_NODES, "status",
         "{'metadata':{'name':'x','resourceVersion':'1'},'status':{'capacity':{'cpu':'-1'}}}",
         "{'metadata':{'name':'x','resourceVersion':'1'}}", "status.capacity.cpu Invalid"},
        {RES_NODES, "status",
         "{'metadata':{'name':'x','resourceVersion':'1'},'status':{'addresses':[{'type':'A','address':'b'},{'"
         "type':'A',"
         "'address':'b'}]}}",
         "{'metadata':{'name':'x','resourceVersion':'1'}}", "status.addresses[1] Duplicate"},
        {RES_SERVICES, "status",
         "{" META ",'spec':{'type':'ClusterIP'},'status':{'loadBalancer':{'ingress':[{'ip':'1.1.1.1'}]}}}",
         STATUS(""), "status.loadBalancer.ingress Forbidden"},
        {RES_SERVICES, "status",
         "{" META
         ",'spec':{'type':'LoadBalancer'},'status':{'loadBalancer':{'ingress':[{'ip':'1.1.1.1'},{'ip':'x',"
         "'ipMode':'VIP'},{'hostname':'1.1.1.1'}]}}}",
         STATUS(""),
         "status.loadBalancer.ingress[0].ipMode Required\nstatus.loadBalancer.ingress[1].ip Invalid\n"
         "status.loadBalancer.ingress[2].hostname Invalid"},
        {RES_RESOURCEQUOTAS, "status", STATUS("'used':{'what':'1'}"), STATUS(""),
         "status.used[what] Invalid\nstatus.used[what] Invalid"},
        {RES_PERSISTENTVOLUMECLAIMS, "status", STATUS("'allocatedResources':{'cpu':'1'}"), STATUS(""),
         "status.allocatedResources NotSupported"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

#define POD(spec)                                                                                            \
    "{" META ",'spec':{'restartPolicy':'Always','dnsPolicy':'Default','schedulerName':'s'," spec "}}"
#define C(image)                                                                                             \
    "'containers':[{'name':'c','image':'" image                                                              \
    "','imagePullPolicy':'Always','terminationMessagePolicy':'File'}]"

#define CERTIFICATE(more)                                                                                    \
    POD(C("a") ",'volumes':[{'name':'v','projected':{'sources':[{'podCertificate':{'keyType':'ED25519'," more "}}]}}]")
#define AT_CERTIFICATE "spec.volumes[0].projected.sources[0].podCertificate"

static void test_pod_certificates(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {RES_PODS, NULL, CERTIFICATE("'signerName':'e.org/s','keyPath':'k','maxExpirationSeconds':7862400"), NULL, ""},
        {RES_PODS, NULL, CERTIFICATE("'signerName':'e.org/s','keyPath':'k','maxExpirationSeconds':3599"), NULL,
         AT_CERTIFICATE ".maxExpirationSeconds Invalid"},
        {RES_PODS, NULL, CERTIFICATE("'signerName':'e.org/s','keyPath':'k','maxExpirationSeconds':7862401"), NULL,
         AT_CERTIFICATE ".maxExpirationSeconds Invalid"},
        {RES_PODS, NULL, CERTIFICATE("'signerName':'kubernetes.io/s','keyPath':'k','maxExpirationSeconds':86401"), NULL,
         AT_CERTIFICATE ".maxExpirationSeconds Invalid"},
        {RES_PODS, NULL, CERTIFICATE("'signerName':'e.org/s'"), NULL, AT_CERTIFICATE " Required"},
        {RES_PODS, NULL, CERTIFICATE("'signerName':'e.org/s','keyPath':'k','certificateChainPath':'k'"), NULL,
         "spec.volumes[0].projected Invalid"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_pod_update(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {RES_PODS, NULL, POD(C("b")), POD(C("a")), ""},
        {RES_PODS, NULL, POD(C("a") ",'activeDeadlineSeconds':5"), POD(C("a")), ""},
        {RES_PODS, NULL, POD(C("a") ",'activeDeadlineSeconds':5"), POD(C("a") ",'activeDeadlineSeconds':4"),
         "spec.activeDeadlineSeconds Invalid"},
        {RES_PODS, NULL, POD(C("a") ",'tolerations':[{'key':'a','operator':'Exists'}]"), POD(C("a")), ""},
        {RES_PODS, NULL, POD(C("a")), POD(C("a") ",'tolerations':[{'key':'a','operator':'Exists'}]"),
         "spec.tolerations Forbidden"},
        {RES_PODS, NULL, POD(C("a") ",'nodeName':'n'"), POD(C("a")), "spec Forbidden"},
        {RES_PODS, NULL, POD(C("a") ",'hostname':'n'"), POD(C("a")), "spec Forbidden"},
        {RES_PODS, NULL, POD(C("a") ",'schedulingGates':[{'name':'g'}]"), POD(C("a")),
         "spec.schedulingGates[0].name Forbidden"},
        {RES_PODS, NULL, POD(C("a")), POD(C("a") ",'schedulingGates':[{'name':'g'}]"), ""},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_immutable(void **state)
{
    (void)state;
#define DEPLOYMENT(label)                                                                                    \
    "{" META ",'spec':{'replicas':1,'selector':{'matchLabels':{'a':'" label                                  \
    "'}},'template':{'metadata':{'labels':{'a':'" label                                                      \
    "'}},'spec':{'restartPolicy':'Always','dnsPolicy':'Default','schedulerName':'s'," C(                     \
        "i") "}},'strategy':{'type':'Recreate'}}}"
    static const struct validate_case cases[] = {
        {RES_DEPLOYMENTS, NULL, DEPLOYMENT("b"), DEPLOYMENT("a"), "spec.selector Invalid"},
        {RES_DEPLOYMENTS, NULL, DEPLOYMENT("a"), DEPLOYMENT("a"), ""},
        {RES_CONFIGMAPS, NULL, "{" META ",'data':{'a':'b'},'immutable':true}", "{" META ",'immutable':true}",
         "data Forbidden"},
        {RES_CONFIGMAPS, NULL, "{" META "}", "{" META ",'immutable':true}", "immutable Forbidden"},
        {RES_SECRETS, NULL, "{" META ",'type':'b'}", "{" META ",'type':'a'}", "type Invalid"},
        {RES_CONFIGMAPS, NULL, "{'metadata':{'name':'y','namespace':'d','uid':'v','resourceVersion':'1'}}",
         "{" META "}", "metadata.name Invalid\nmetadata.uid Invalid"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_metadata(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {RES_CONFIGMAPS, NULL, "{'metadata':{'name':'a','namespace':'d'}}", NULL, ""},
        {RES_CONFIGMAPS, NULL, "{'metadata':{'namespace':'d'}}", NULL, "metadata.name Required"},
        {RES_CONFIGMAPS, NULL, "{'metadata':{'name':'A','namespace':'d'}}", NULL, "metadata.name Invalid"},
        {RES_CONFIGMAPS, NULL, "{'metadata':{'name':'a'}}", NULL, "metadata.namespace Required"},
        {RES_NAMESPACES, NULL, "{'metadata':{'name':'a','namespace':'b'}}", NULL,
         "metadata.namespace Forbidden"},
        {RES_CONFIGMAPS, NULL, "{'metadata':{'name':'a','namespace':'d','labels':{'a b':'c d'}}}", NULL,
         "metadata.labels Invalid\nmetadata.labels Invalid"},
        {RES_CONFIGMAPS, NULL, "{'metadata':{'name':'a','namespace':'d','finalizers':['x']}}", NULL,
         "metadata.finalizers[0] Invalid"},
        {RES_CONFIGMAPS, NULL,
         "{'metadata':{'name':'a','namespace':'d','ownerReferences':[{'apiVersion':'v1','kind':'Pod'}]}}",
         NULL, "metadata.ownerReferences[0].name Required\nmetadata.ownerReferences[0].uid Required"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

#define CRD(name, spec)                                                                                      \
    "{'metadata':{'name':'" name                                                                             \
    "'},'spec':{'group':'a.b','scope':'Cluster','names':{'plural':'cs','singular':'c','kind':'C',"           \
    "'listKind':'CList'}," spec "}}"
#define VERSION(name, storage, schema)                                                                       \
    "{'name':'" name "','served':true,'storage':" storage                                                    \
    ",'schema':{'openAPIV3Schema':{'type':'object'," schema "}}}"
#define ONE(schema) CRD("cs.a.b", "'versions':[" VERSION("v1", "true", schema) "]")

static void test_crd(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL, ONE("'properties':{'spec':{'type':'object'}}"), NULL, ""},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL,
         CRD("x.a.b", "'versions':[" VERSION("v1", "true", "'title':'t'") "]"), NULL,
         "metadata.name Invalid"},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL,
         CRD("cs.a.b", "'versions':[" VERSION("v1", "true", "'title':'t'") "," VERSION("v1", "true",
                                                                                       "'title':'t'") "]"),
         NULL, "spec.versions Invalid\nspec.versions Invalid"},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL, ONE("'properties':{'a':{}}"), NULL,
         "spec.validation.openAPIV3Schema.properties[a].type Required"},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL, ONE("'properties':{'a':{'x-kubernetes-int-or-string':true}}"),
         NULL, ""},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL, ONE("'properties':{'a':{'type':'array'}}"), NULL,
         "spec.validation.openAPIV3Schema.properties[a].items Required"},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL,
         ONE("'properties':{'a':{'type':'object','properties':{'b':{'type':'string'}},'additionalProperties':"
             "{'type':'string'}}}"),
         NULL, "spec.validation.openAPIV3Schema.properties[a].additionalProperties Forbidden"},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL,
         ONE("'properties':{'a':{'type':'integer','anyOf':[{'type':'integer'}]}}"), NULL,
         "spec.validation.openAPIV3Schema.properties[a].anyOf[0].type Forbidden"},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL,
         ONE("'properties':{'a':{'x-kubernetes-int-or-string':true,'anyOf':[{'type':'integer'},{'type':'"
             "string'}]}}"),
         NULL, ""},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL, ONE("'anyOf':[{'properties':{'z':{'minLength':1}}}]"), NULL,
         "spec.validation.openAPIV3Schema.properties[z] Required"},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL,
         ONE("'properties':{'metadata':{'type':'object','properties':{'labels':{'type':'object'}}}}"), NULL,
         "spec.validation.openAPIV3Schema.properties[metadata] Forbidden"},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL,
         ONE("'properties':{'a':{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':["
             "'k','m'],'items':{"
             "'type':'object','properties':{'k':{'type':'string'}}}}}"),
         NULL,
         "spec.validation.openAPIV3Schema.properties[a].items.properties[k].default Required\n"
         "spec.validation.openAPIV3Schema.properties[a].x-kubernetes-list-map-keys[1] Invalid"},
        {RES_CUSTOMRESOURCEDEFINITIONS, NULL,
         CRD("cs.a.b", "'versions':[" VERSION("v1", "true", "'title':'t'") "," VERSION(
                           "v2", "false", "'properties':{'a':{}}") "]"),
         NULL, "spec.versions[1].schema.openAPIV3Schema.properties[a].type Required"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

/* A Service's port may be called "80-8080" (kubectl create service does so): its slice, too. */
static void test_slice_ports(void **state)
{
    (void)state;
#define SLICE(name) "{" META ",'addressType':'IPv4','ports':[{'name':'" name "','protocol':'TCP','port':80}]}"
    static const struct validate_case cases[] = {
        {RES_ENDPOINTSLICES, NULL, SLICE("80-8080"), NULL, ""},
        {RES_ENDPOINTSLICES, NULL, SLICE("a-name-longer-than-a-port-name"), NULL, ""},
        {RES_ENDPOINTSLICES, NULL, SLICE("no_label"), NULL, "ports[0].name Invalid"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

/* Nobody's loopback or link is an endpoint, however it is spelt (kubernetes#104720). */
static void test_special_endpoints(void **state)
{
    (void)state;
#define TO(family, ip) "{" META ",'addressType':'" family "','ports':[],'endpoints':[{'addresses':['" ip "']}]}"
    static const struct validate_case cases[] = {
        {RES_ENDPOINTSLICES, NULL, TO("IPv4", "10.0.0.1"), NULL, ""},
        {RES_ENDPOINTSLICES, NULL, TO("IPv6", "fd00::1"), NULL, ""},
        {RES_ENDPOINTSLICES, NULL, TO("IPv6", "fe00::1"), NULL, ""},
        {RES_ENDPOINTSLICES, NULL, TO("IPv4", "127.8.8.8"), NULL, "endpoints[0].addresses[0] Invalid"},
        {RES_ENDPOINTSLICES, NULL, TO("IPv4", "169.254.169.254"), NULL, "endpoints[0].addresses[0] Invalid"},
        {RES_ENDPOINTSLICES, NULL, TO("IPv6", "0:0:0:0:0:0:0:1"), NULL, "endpoints[0].addresses[0] Invalid"},
        {RES_ENDPOINTSLICES, NULL, TO("IPv6", "FEBF::1"), NULL, "endpoints[0].addresses[0] Invalid"},
        {RES_ENDPOINTSLICES, NULL, TO("IPv6", "::ffff:127.0.0.1"), NULL, "endpoints[0].addresses[0] Invalid"},
        {RES_ENDPOINTSLICES, NULL, TO("IPv6", "::ffff:a9fe:a9fe"), NULL, "endpoints[0].addresses[0] Invalid"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

/* ---- devices (resource.k8s.io) --------------------------------------------------------------------------------- */

#define CLAIM(devices) "{'metadata':{'name':'x','namespace':'d'},'spec':{'devices':{" devices "}}}"
#define EXACT "'exactly':{'deviceClassName':'c','allocationMode':'ExactCount','count':1}"
#define DEVICE_SLICE(spec) "{'metadata':{'name':'x'},'spec':{'driver':'d','pool':{'name':'p','resourceSliceCount':1}," spec "}}"
#define GIVEN "'allocation':{'devices':{'results':[{'request':'r','driver':'d','pool':'p','device':'g'}]}}"
#define CLAIM_STATUS(s) "{" META ",'spec':{'devices':{'requests':[{'name':'r'," EXACT "}]}},'status':{" s "}}"

static void test_devices(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {RES_RESOURCECLAIMS, NULL, CLAIM("'requests':[{'name':'r'," EXACT "}]"), NULL, ""},
        {RES_RESOURCECLAIMS, NULL, CLAIM("'requests':[{'name':'r'}]"), NULL, "spec.devices.requests[0] Required"},
        {RES_RESOURCECLAIMS, NULL, CLAIM("'requests':[{'name':'r'," EXACT ",'firstAvailable':[{'name':'s','deviceClassName':'c','allocationMode':'All'}]}]"), NULL,
         "spec.devices.requests[0] Invalid"},
        {RES_RESOURCECLAIMS, NULL, CLAIM("'requests':[{'name':'r'," EXACT "},{'name':'r'," EXACT "}]"), NULL, "spec.devices.requests[1] Duplicate"},
        {RES_RESOURCECLAIMS, NULL, CLAIM("'requests':[{'name':'r','firstAvailable':[{'name':'s','deviceClassName':'c','allocationMode':'All'},{'name':'s','deviceClassName':'c','allocationMode':'All'}]}]"), NULL,
         "spec.devices.requests[0].firstAvailable[1] Duplicate"},
        {RES_RESOURCECLAIMS, NULL, CLAIM("'requests':[{'name':'r','exactly':{'deviceClassName':'c','allocationMode':'All','count':2}}]"), NULL,
         "spec.devices.requests[0].exactly.count Invalid"},
        {RES_RESOURCECLAIMS, NULL, CLAIM("'requests':[{'name':'r','exactly':{'deviceClassName':'c','allocationMode':'All','tolerations':[{'key':'k','operator':'Exists','value':'v'}]}}]"), NULL,
         "spec.devices.requests[0].exactly.tolerations[0].value Invalid"},
        {RES_RESOURCECLAIMS, NULL, CLAIM("'requests':[{'name':'r'," EXACT "}],'constraints':[{'requests':['q'],'matchAttribute':'d/a'},{}]"), NULL,
         "spec.devices.constraints[0].requests[0] Invalid\nspec.devices.constraints[1] Required"},
        {RES_RESOURCECLAIMS, NULL, CLAIM("'requests':[{'name':'r'," EXACT "}],'constraints':[{'matchAttribute':'a'}]"), NULL,
         "spec.devices.constraints[0].matchAttribute Invalid"},
        {RES_RESOURCECLAIMS, NULL, CLAIM("'requests':[{'name':'r'," EXACT "}],'config':[{'requests':['r/s']}]"), NULL,
         "spec.devices.config[0].requests[0] Invalid\nspec.devices.config[0].opaque Required"},
        {RES_RESOURCECLAIMS, NULL, CLAIM("'requests':[{'name':'r'," EXACT "}],'config':[{'opaque':{'driver':'d','parameters':[1]}}]"), NULL,
         "spec.devices.config[0].opaque.parameters Invalid"},
        {RES_DEVICECLASSES, NULL, "{'metadata':{'name':'x'},'spec':{'extendedResourceName':'cpu'}}", NULL, "spec.extendedResourceName Invalid"},
        {RES_DEVICECLASSES, NULL, "{'metadata':{'name':'x'},'spec':{'extendedResourceName':'a.b/gpu'}}", NULL, ""},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_slices(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','devices':[{'name':'a'}]"), NULL, ""},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'devices':[{'name':'a'}]"), NULL, "spec Required"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','allNodes':true"), NULL, "spec Invalid"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeSelector':{'nodeSelectorTerms':[{'matchExpressions':[{'key':'a','operator':'Exists'}]},{'matchExpressions':[{'key':'b','operator':'Exists'}]}]}"), NULL,
         "spec.nodeSelector.nodeSelectorTerms Invalid"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','devices':[{'name':'a'},{'name':'a'}]"), NULL, "spec.devices[1] Duplicate"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','devices':[{'name':'a','nodeName':'m'}]"), NULL, "spec.devices[0] Invalid"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'perDeviceNodeSelection':true,'devices':[{'name':'a'}]"), NULL, "spec.devices[0] Required"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','devices':[{'name':'a','attributes':{'k':{},'l-m':{'int':1}}}]"), NULL,
         "spec.devices[0].attributes Invalid\nspec.devices[0].attributes[k] Invalid"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','devices':[{'name':'a','attributes':{'k':{'version':'1.0'},'l':{'version':'1.0.0-rc.1+b.01'},'m':{'int':1,'bool':true}}}]"), NULL,
         "spec.devices[0].attributes[k].version Invalid\nspec.devices[0].attributes[m] Invalid"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','devices':[{'name':'a','bindingConditions':['x','x']}]"), NULL,
         "spec.devices[0].bindingConditions[1] Duplicate\nspec.devices[0].bindingFailureConditions Invalid"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','devices':[{'name':'a','capacity':{'m':{'value':'4','requestPolicy':{'default':'1'}}}}]"), NULL,
         "spec.devices[0].capacity[m].requestPolicy Forbidden"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','devices':[{'name':'a','allowMultipleAllocations':true,'capacity':{'m':{'value':'4','requestPolicy':{'default':'1','validRange':{'min':'1','max':'8','step':'2'}}}}}]"), NULL,
         "spec.devices[0].capacity[m].requestPolicy.validRange.max Invalid\nspec.devices[0].capacity[m].requestPolicy.validRange.step Invalid"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','devices':[{'name':'a','allowMultipleAllocations':true,'capacity':{'m':{'value':'4','requestPolicy':{'default':'3','validValues':['2','1','2']}}}}]"), NULL,
         "spec.devices[0].capacity[m].requestPolicy.validValues[1] Invalid\nspec.devices[0].capacity[m].requestPolicy.validValues[2] Duplicate\nspec.devices[0].capacity[m].requestPolicy.validValues Invalid"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','sharedCounters':[{'name':'c','counters':{'A':{'value':'1'}}}]"), NULL,
         "spec.sharedCounters[0].counters Invalid"},
        {RES_RESOURCESLICES, NULL, DEVICE_SLICE("'nodeName':'n','sharedCounters':[{'name':'c','counters':{'a':{'value':'1'}}}],'devices':[{'name':'a'}]"), NULL, "spec Invalid"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_claim_status(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {RES_RESOURCECLAIMS, "status", CLAIM_STATUS(GIVEN ",'reservedFor':[{'resource':'pods','name':'p','uid':'1'}]"), CLAIM_STATUS(""), ""},
        {RES_RESOURCECLAIMS, "status", CLAIM_STATUS("'reservedFor':[{'resource':'pods','name':'p','uid':'1'}]"), CLAIM_STATUS(""), "status.reservedFor Forbidden"},
        {RES_RESOURCECLAIMS, "status", CLAIM_STATUS(GIVEN ",'reservedFor':[{'resource':'pods','name':'p','uid':'1'},{'resource':'pods','name':'q','uid':'1'}]"),
         CLAIM_STATUS(GIVEN), "status.reservedFor[1] Duplicate"},
        {RES_RESOURCECLAIMS, "status", CLAIM_STATUS("'allocation':{'devices':{}}"), CLAIM_STATUS(GIVEN), "status.allocation Invalid"},
        {RES_RESOURCECLAIMS, "status", CLAIM_STATUS(""), CLAIM_STATUS(GIVEN), ""},
        {RES_RESOURCECLAIMS, "status", CLAIM_STATUS("'allocation':{'devices':{'results':[{'request':'q','driver':'d','pool':'p','device':'g','shareID':'X'}]}}"), CLAIM_STATUS(""),
         "status.allocation.devices.results[0].request Invalid\nstatus.allocation.devices.results[0].shareID Invalid"},
        {RES_RESOURCECLAIMS, "status", CLAIM_STATUS(GIVEN ",'devices':[{'driver':'d','pool':'p','device':'other'}]"), CLAIM_STATUS(GIVEN), "status.devices[0] Invalid"},
        {RES_RESOURCECLAIMS, "status", CLAIM_STATUS(GIVEN ",'devices':[{'driver':'d','pool':'p','device':'g'},{'driver':'d','pool':'p','device':'g'}]"), CLAIM_STATUS(GIVEN),
         "status.devices[1] Duplicate"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts), cmocka_unit_test(test_devices), cmocka_unit_test(test_slices), cmocka_unit_test(test_claim_status),     cmocka_unit_test(test_pod_status),
        cmocka_unit_test(test_beside_upstream),
        cmocka_unit_test(test_job_status), cmocka_unit_test(test_job_template), cmocka_unit_test(test_other_status),
        cmocka_unit_test(test_pod_certificates),
        cmocka_unit_test(test_pod_update), cmocka_unit_test(test_immutable),
        cmocka_unit_test(test_metadata),   cmocka_unit_test(test_slice_ports), cmocka_unit_test(test_special_endpoints),
        cmocka_unit_test(test_crd),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
