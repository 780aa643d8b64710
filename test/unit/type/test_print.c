/* SPDX-License-Identifier: Apache-2.0 */
/* Cells of tables; recorded.jsonl has whole tables. */
#include "cases.h"
#include "resources.h"
#include "type/print.h"

static struct arena arena;

struct print_case {
    unsigned resource;
    const char *obj, *want; /* cells with " | " */
};

static struct str cells_of(const struct print_case *c)
{
    const struct resource *r = &resources[c->resource];
    struct wall now;
    struct val *cells = ARENA_ARRAY(&arena, struct val, r->n_columns);
    struct buf b = BUF_INIT;
    assert_int_equal(time_parse(STR("2024-01-01T01:00:00Z"), &now), 0);
    print_cells(r, case_val(&arena, r->type, c->obj), now, &arena, cells);
    for (size_t i = 0; i < r->n_columns; i++) {
        buf_puts(&b, i ? " | " : "");
        if (cells[i].kind == VAL_STR)
            buf_putstr(&b, val_str(&cells[i]));
        else
            json_encode(&b, NULL, &cells[i], 0);
    }
    struct str s = arena_str(&arena, buf_str(&b));
    buf_done(&b);
    return s;
}

static void run_cases(const struct print_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_string_equal(cells_of(&cases[i]).p, cases[i].want);
}

#define META "'metadata':{'name':'x','creationTimestamp':'2024-01-01T00:00:00Z'}"
#define DYING                                                                                                \
    "'metadata':{'name':'x','creationTimestamp':'2024-01-01T00:00:00Z','deletionTimestamp':'2024-01-01T00:"  \
    "00:00Z'}"
#define POD(status) "{" META ",'spec':{'containers':[{'name':'a'},{'name':'b'}]},'status':{" status "}}"

static void test_pods(void **state)
{
    (void)state;
    static const struct print_case cases[] = {
        {RES_PODS, POD("'phase':'Pending'"),
         "x | 0/2 | Pending | 0 | 60m | <none> | <none> | <none> | <none>"},
        {RES_PODS,
         POD("'phase':'Running','podIP':'1.2.3.4','podIPs':[{'ip':'1.2.3.4'}],'containerStatuses':[{'name':'"
             "a','ready':true,"
             "'restartCount':2,'state':{'running':{}},'lastState':{'terminated':{'exitCode':1,"
             "'finishedAt':'2024-01-01T00:58:00Z'}}},{'name':'b','ready':true,'restartCount':1,'state':{'"
             "running':{}}}]"),
         "x | 2/2 | Running | 3 (2m ago) | 60m | 1.2.3.4 | <none> | <none> | <none>"},
        {RES_PODS,
         POD("'phase':'Running','containerStatuses':[{'name':'a','ready':true,'restartCount':0,'state':{'"
             "running':{}}},"
             "{'name':'b','restartCount':4,'state':{'waiting':{'reason':'CrashLoopBackOff'}}}]"),
         "x | 1/2 | CrashLoopBackOff | 4 | 60m | <none> | <none> | <none> | <none>"},
        {RES_PODS,
         POD("'phase':'Failed','containerStatuses':[{'name':'a','state':{'terminated':{'exitCode':1,'reason':"
             "'Error'}}},"
             "{'name':'b','state':{'terminated':{'exitCode':0,'reason':'Completed'}}}]"),
         "x | 0/2 | Error | 0 | 60m | <none> | <none> | <none> | <none>"},
        {RES_PODS, POD("'phase':'Failed','reason':'Evicted'"),
         "x | 0/2 | Evicted | 0 | 60m | <none> | <none> | <none> | <none>"},
        {RES_PODS,
         "{" DYING ",'spec':{'containers':[{'name':'a'}],'nodeName':'n'},'status':{'phase':'Running'}}",
         "x | 0/1 | Terminating | 0 | 60m | <none> | n | <none> | <none>"},
        {RES_PODS,
         "{" META
         ",'spec':{'initContainers':[{'name':'i'},{'name':'j'}],'containers':[{'name':'a'}]},'status':{"
         "'phase':'Pending','initContainerStatuses':[{'name':'i','state':{'terminated':{'exitCode':0}}},"
         "{'name':'j','state':{'running':{}}}]}}",
         "x | 0/1 | Init:1/2 | 0 | 60m | <none> | <none> | <none> | <none>"},
        {RES_PODS,
         "{" META
         ",'spec':{'initContainers':[{'name':'i'}],'containers':[{'name':'a'}]},'status':{'phase':'Pending',"
         "'initContainerStatuses':[{'name':'i','restartCount':3,'state':{'waiting':{'reason':'"
         "CrashLoopBackOff'}}}]}}",
         "x | 0/1 | Init:CrashLoopBackOff | 3 | 60m | <none> | <none> | <none> | <none>"},
    };
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_others(void **state)
{
    (void)state;
    static const struct print_case cases[] = {
        {RES_STORAGECLASSES,
         "{'metadata':{'name':'x','creationTimestamp':'2024-01-01T00:00:00Z','annotations':{'storageclass.kubernetes.io/"
         "is-default-class':'true'}},'provisioner':'p','reclaimPolicy':'Delete','volumeBindingMode':'Immediate'}",
         "x (default) | p | Delete | Immediate | false | 60m"},
        {RES_NODES,
         "{'metadata':{'name':'n','creationTimestamp':'2024-01-01T00:00:00Z','labels':{"
         "'node-role.kubernetes.io/"
         "control-plane':''}},'spec':{'unschedulable':true},'status':{'conditions':[{'type':'Ready',"
         "'status':'True'}],'nodeInfo':{'kubeletVersion':'v1'},'addresses':[{'type':'InternalIP','address':'"
         "10.0.0.1'}]}}",
         "n | Ready,SchedulingDisabled | control-plane | 60m | v1 | 10.0.0.1 | <none> | <unknown> | "
         "<unknown> | <unknown>"},
        {RES_SERVICES,
         "{" META ",'spec':{'type':'NodePort','clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1'],'ports':[{'"
         "port':80,'nodePort':30000,"
         "'protocol':'TCP'},{'port':53,'protocol':'UDP'}],'selector':{'a':'b'}}}",
         "x | NodePort | 10.0.0.1 | <none> | 80:30000/TCP,53/UDP | 60m | a=b"},
        {RES_DEPLOYMENTS,
         "{" META ",'spec':{'replicas':3,'selector':{'matchLabels':{'a':'b'}},'template':{'spec':{'"
         "containers':[{'name':'c',"
         "'image':'i'}]}}},'status':{'readyReplicas':2,'updatedReplicas':1,'availableReplicas':2}}",
         "x | 2/3 | 1 | 2 | 60m | c | i | a=b"},
        {RES_CONFIGMAPS, "{" META ",'data':{'a':'b'},'binaryData':{'c':'YQ=='}}", "x | 2 | 60m"},
        {RES_NAMESPACES, "{" META ",'status':{'phase':'Active'}}", "x | Active | 60m"},
        {RES_JOBS,
         "{" META ",'spec':{'completions':3,'template':{'spec':{'containers':[]}}},'status':{'succeeded':1,"
         "'startTime':'2024-01-01T00:30:00Z'}}",
         "x | Running | 1/3 | 30m | 60m |  |  | <none>"},
        {RES_CRONJOBS,
         "{" META
         ",'spec':{'schedule':'* * * * *','suspend':false,'jobTemplate':{'spec':{'template':{'spec':{}}}}}}",
         "x | * * * * * | <none> | False | 0 | <none> | 60m |  |  | <none>"},
        {RES_ENDPOINTS,
         "{" META ",'subsets':[{'addresses':[{'ip':'1.1.1.1'},{'ip':'1.1.1.2'}],'ports':[{'port':80}]}]}",
         "x | 1.1.1.1:80,1.1.1.2:80 | 60m"},
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pods), cmocka_unit_test(test_others)};
    return cmocka_run_group_tests(tests, NULL, teardown);
}
