/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"
#include "cli/rules.h"

#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/quantity.h"

/* ---- what pods take --------------------------------------------------------------------------------------------- */

/* A few resources by name, and their sums. */
struct amount {
    struct str name;
    struct quantity q;
};
struct amounts {
    struct amount items[32];
    size_t n;
};

static struct quantity *amount_of(struct amounts *a, struct str name)
{
    static struct quantity nowhere;
    for (size_t i = 0; i < a->n; i++)
        if (str_eq(a->items[i].name, name))
            return &a->items[i].q;
    if (a->n == ARRAY_SIZE(a->items))
        return &nowhere;
    a->items[a->n] = (struct amount){.name = name};
    return &a->items[a->n++].q;
}

static void add_list(struct amounts *a, const struct val *list)
{
    VAL_EACH_ENTRY(list, k, v)
    {
        struct quantity *q = amount_of(a, val_str(k));
        *q = quantity_add(*q, quantity_or_zero(val_str(v)));
    }
}

static void add_amounts(struct amounts *a, const struct amounts *more)
{
    for (size_t i = 0; i < more->n; i++) {
        struct quantity *q = amount_of(a, more->items[i].name);
        *q = quantity_add(*q, more->items[i].q);
    }
}

static void take_larger(struct amounts *a, const struct amounts *other)
{
    for (size_t i = 0; i < other->n; i++) {
        struct quantity *q = amount_of(a, other->items[i].name);
        if (quantity_cmp(other->items[i].q, *q) > 0)
            *q = other->items[i].q;
    }
}

/* Sum of the containers and sidecars, or the largest init container with the sidecars that started before it; what the
 * pod itself asks for goes before that; and the overhead (KEP-753, KEP-2837). */
static void pod_takes(const struct val *pod, name_id which, struct amounts *ret)
{
    const struct val *spec = val_get(pod, N_spec);
    struct amounts *sum = ret, init = {.n = 0}, sidecars = {.n = 0};
    sum->n = 0;
    VAL_EACH(val_get(spec, N_containers), c)
    {
        add_list(sum, val_at(c, N_resources, which));
    }
    VAL_EACH(val_get(spec, N_initContainers), c)
    {
        bool stays = str_is(val_getstr(c, N_restartPolicy), "Always");
        struct amounts one = {.n = 0};
        add_list(&one, val_at(c, N_resources, which));
        if (stays)
            add_amounts(&sidecars, &one);
        else
            add_amounts(&one, &sidecars);
        if (!stays)
            take_larger(&init, &one);
    }
    add_amounts(sum, &sidecars);
    take_larger(sum, &init);
    VAL_EACH_ENTRY(val_at(spec, N_resources, which), k, v)
    {
        *amount_of(sum, val_str(k)) = quantity_or_zero(val_str(v));
    }
    add_list(sum, val_get(spec, N_overhead));
}

static int64_t percent(struct quantity part, struct str whole)
{
    struct quantity w = quantity_or_zero(whole);
    return w.nano > 0 ? (int64_t)(quantity_float(part) / quantity_float(w) * 100) : 0;
}

static struct str text_of(struct desc *d, struct quantity q)
{
    char text[QUANTITY_TEXT_MAX];
    return arena_str(&d->c->a, str_of(quantity_text(q, text)));
}

static struct str share(struct desc *d, struct amounts *a, const char *name, const struct val *allocatable)
{
    struct quantity q = *amount_of(a, str_of(name));
    return cli_printf(d->c, STR_FMT " (%lld%%)", STR_ARG(text_of(d, q)),
                      (long long)percent(q, val_str(val_key(allocatable, str_of(name)))));
}

static bool is_standard(struct str name)
{
    static const char *const standard[] = {"cpu", "memory", "ephemeral-storage", "pods"};
    for (size_t i = 0; i < ARRAY_SIZE(standard); i++)
        if (str_is(name, standard[i]))
            return true;
    return false;
}

static void put_totals(struct desc *d, struct amounts *requests, struct amounts *limits, const struct val *allocatable)
{
    static const char *const always[] = {"cpu", "memory", "ephemeral-storage"};
    desc_put(d, 0, "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)\n");
    desc_put(d, 1, "Resource\tRequests\tLimits\n");
    desc_put(d, 1, "--------\t--------\t------\n");
    for (size_t i = 0; i < ARRAY_SIZE(always); i++)
        desc_put(d, 1, "%s\t" STR_FMT "\t" STR_FMT "\n", always[i], STR_ARG(share(d, requests, always[i], allocatable)),
                 STR_ARG(share(d, limits, always[i], allocatable)));
    DESC_EACH_KEY(allocatable, k)
    {
        if (str_starts(val_str(k), STR("hugepages-")))
            desc_put(d, 1, STR_FMT "\t" STR_FMT "\t" STR_FMT "\n", STR_ARG(val_str(k)),
                     STR_ARG(share(d, requests, val_cstr(k), allocatable)), STR_ARG(share(d, limits, val_cstr(k), allocatable)));
    }
    DESC_EACH_KEY(allocatable, k)
    {
        if (!is_standard(val_str(k)) && !str_starts(val_str(k), STR("hugepages-")))
            desc_put(d, 1, STR_FMT "\t" STR_FMT "\t" STR_FMT "\n", STR_ARG(val_str(k)),
                     STR_ARG(text_of(d, *amount_of(requests, val_str(k)))), STR_ARG(text_of(d, *amount_of(limits, val_str(k)))));
    }
}

static void put_pod(struct desc *d, const struct val *pod, const struct val *allocatable, struct amounts *requests,
                    struct amounts *limits)
{
    struct amounts *req = ARENA_NEW(&d->c->a, struct amounts), *lim = ARENA_NEW(&d->c->a, struct amounts);
    pod_takes(pod, N_requests, req);
    pod_takes(pod, N_limits, lim);
    add_amounts(requests, req);
    add_amounts(limits, lim);
    desc_put(d, 1, STR_FMT "\t" STR_FMT "\t\t" STR_FMT "\t" STR_FMT "\t" STR_FMT "\t" STR_FMT "\t" STR_FMT "\n",
             STR_ARG(obj_namespace(pod)), STR_ARG(obj_name(pod)), STR_ARG(share(d, req, "cpu", allocatable)),
             STR_ARG(share(d, lim, "cpu", allocatable)), STR_ARG(share(d, req, "memory", allocatable)),
             STR_ARG(share(d, lim, "memory", allocatable)), STR_ARG(desc_age(d, val_at(pod, N_metadata, N_creationTimestamp))));
}

static void put_pods(struct desc *d, const struct info *i)
{
    struct status s;
    struct val *list = NULL;
    struct amounts *requests = ARENA_NEW(&d->c->a, struct amounts), *limits = ARENA_NEW(&d->c->a, struct amounts);
    const struct val *allocatable = val_at(i->v, N_status, N_allocatable);
    struct str fields = cli_printf(d->c, "spec.nodeName=" STR_FMT ",status.phase!=Succeeded,status.phase!=Failed", STR_ARG(i->name));
    if (!val_len(allocatable))
        allocatable = val_at(i->v, N_status, N_capacity);
    if (request_list(d->c, kind_at(d->c, RES_PODS), STR(""), query_with(d->c, STR_NULL, "fieldSelector", fields), &list, &s)) {
        desc_put(d, 0, "Pods:\tnot authorized\n");
        return;
    }
    desc_put(d, 0, "Non-terminated Pods:\t(%zu in total)\n", val_len(val_get(list, N_items)));
    desc_put(d, 1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge\n");
    desc_put(d, 1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---\n");
    VAL_EACH(val_get(list, N_items), pod)
    {
        put_pod(d, pod, allocatable, requests, limits);
    }
    put_totals(d, requests, limits, allocatable);
}

/* ---- the node ------------------------------------------------------------------------------------------------------ */

static struct str roles_of(struct desc *d, const struct val *node)
{
    const struct val *labels = obj_labels(node);
    struct str *all = ARENA_ARRAY(&d->c->a, struct str, val_len(labels) + 1), prefix = STR("node-role.kubernetes.io/");
    size_t n = 0;
    VAL_EACH_ENTRY(labels, k, v)
    {
        if (str_starts(val_str(k), prefix) && val_str(k).n > prefix.n)
            all[n++] = str_from(val_str(k), prefix.n);
        else if (str_is(val_str(k), "kubernetes.io/role") && val_str(v).n)
            all[n++] = val_str(v);
    }
    str_sort(all, n);
    return n ? arena_join(&d->c->a, all, n, STR(",")) : STR("<none>");
}

static void put_lease(struct desc *d, struct str name)
{
    struct status s;
    struct val *lease = NULL;
    static const struct desc_row rows[] = {{1, "HolderIdentity:", ROW_TEXT, AT(N_spec, N_holderIdentity), "<unset>"},
                                           {1, "AcquireTime:", ROW_TIME, AT(N_spec, N_acquireTime), "<unset>"},
                                           {1, "RenewTime:", ROW_TIME, AT(N_spec, N_renewTime), "<unset>"},
                                           {0}};
    if (request_get(d->c, kind_at(d->c, RES_LEASES), STR("kube-node-lease"), name, NULL, &lease, &s)) {
        desc_put(d, 0, "Lease:\tFailed to get lease: " STR_FMT "\n", STR_ARG(s.message));
        return;
    }
    desc_put(d, 0, "Lease:\n");
    desc_rows(d, lease, rows);
}

static void put_conditions(struct desc *d, const struct val *conditions)
{
    if (!val_len(conditions))
        return;
    desc_put(d, 0, "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage\n");
    desc_put(d, 1, "----\t------\t-----------------\t------------------\t------\t-------\n");
    VAL_EACH(conditions, c)
    {
        desc_put(d, 1, STR_FMT " \t" STR_FMT " \t" STR_FMT " \t" STR_FMT " \t" STR_FMT " \t" STR_FMT "\n",
                 STR_ARG(val_getstr(c, N_type)), STR_ARG(val_getstr(c, N_status)),
                 STR_ARG(desc_time(d, val_get(c, N_lastHeartbeatTime))), STR_ARG(desc_time(d, val_get(c, N_lastTransitionTime))),
                 STR_ARG(val_getstr(c, N_reason)), STR_ARG(val_getstr(c, N_message)));
    }
}

static const struct desc_row info_rows[] = {
    {1, "Machine ID:", ROW_TEXT, AT(N_machineID), ""},
    {1, "System UUID:", ROW_TEXT, AT(N_systemUUID), ""},
    {1, "Boot ID:", ROW_TEXT, AT(N_bootID), ""},
    {1, "Kernel Version:", ROW_TEXT, AT(N_kernelVersion), ""},
    {1, "OS Image:", ROW_TEXT, AT(N_osImage), ""},
    {1, "Operating System:", ROW_TEXT, AT(N_operatingSystem), ""},
    {1, "Architecture:", ROW_TEXT, AT(N_architecture), ""},
    {1, "Container Runtime Version:", ROW_TEXT, AT(N_containerRuntimeVersion), ""},
    {1, "Kubelet Version:", ROW_TEXT, AT(N_kubeletVersion), ""},
    {0},
};
static const struct desc_row spec_rows[] = {
    {0, "PodCIDR:", ROW_TEXT, AT(N_podCIDR), NULL},
    {0, "PodCIDRs:", ROW_JOIN, AT(N_podCIDRs), NULL},
    {0, "ProviderID:", ROW_TEXT, AT(N_providerID), NULL},
    {0},
};

static void describe_node(struct desc *d, const struct info *i)
{
    static const struct {
        const char *title;
        name_id name;
    } lists[] = {{"Capacity", N_capacity}, {"Allocatable", N_allocatable}};
    const struct val *v = i->v, *status = val_get(v, N_status);
    desc_put(d, 0, "Name:\t" STR_FMT "\n", STR_ARG(i->name));
    desc_put(d, 0, "Roles:\t" STR_FMT "\n", STR_ARG(roles_of(d, v)));
    desc_labels(d, "", "Labels", obj_labels(v));
    desc_annotations(d, "Annotations", val_at(v, N_metadata, N_annotations));
    desc_put(d, 0, "CreationTimestamp:\t" STR_FMT "\n", STR_ARG(desc_time(d, val_at(v, N_metadata, N_creationTimestamp))));
    desc_taints(d, val_at(v, N_spec, N_taints));
    desc_put(d, 0, "Unschedulable:\t%s\n", val_bool(val_at(v, N_spec, N_unschedulable), false) ? "true" : "false");
    put_lease(d, i->name);
    put_conditions(d, val_get(status, N_conditions));
    desc_put(d, 0, "Addresses:\n");
    VAL_EACH(val_get(status, N_addresses), a)
    {
        desc_put(d, 1, STR_FMT ":\t" STR_FMT "\n", STR_ARG(val_getstr(a, N_type)), STR_ARG(val_getstr(a, N_address)));
    }
    for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
        if (val_len(val_get(status, lists[k].name)))
            desc_put(d, 0, "%s:\n", lists[k].title);
        desc_resource_list(d, 1, val_get(status, lists[k].name));
    }
    desc_put(d, 0, "System Info:\n");
    desc_rows(d, val_get(status, N_nodeInfo), info_rows);
    desc_rows(d, val_get(v, N_spec), spec_rows);
    put_pods(d, i);
    desc_events(d, i);
}

/* ---- RBAC --------------------------------------------------------------------------------------------------------- */

static void describe_role(struct desc *d, const struct info *i)
{
    struct rule_lines l = {.c = d->c};
    desc_put(d, 0, "Name:\t" STR_FMT "\n", STR_ARG(i->name));
    desc_labels(d, "", "Labels", obj_labels(i->v));
    desc_annotations(d, "Annotations", val_at(i->v, N_metadata, N_annotations));
    desc_put(d, 0, "PolicyRule:\n");
    desc_put(d, 1, "Resources\tNon-Resource URLs\tResource Names\tVerbs\n");
    desc_put(d, 1, "---------\t-----------------\t--------------\t-----\n");
    VAL_EACH(val_get(i->v, N_rules), rule)
    {
        rules_add(&l, rule);
    }
    rules_sort(&l);
    for (size_t k = 0; k < l.n; k++)
        desc_put(d, 1, STR_FMT "\t[" STR_FMT "]\t[" STR_FMT "]\t[" STR_FMT "]\n", STR_ARG(l.items[k].what),
                 STR_ARG(l.items[k].urls), STR_ARG(l.items[k].names), STR_ARG(buf_str(&l.items[k].verbs)));
    rules_done(&l);
}

static void describe_binding(struct desc *d, const struct info *i)
{
    static const struct desc_row rows[] = {{0, "Role:", ROW_TITLE, AT(N_roleRef), ""},
                                           {1, "Kind:", ROW_TEXT, AT(N_roleRef, N_kind), ""},
                                           {1, "Name:", ROW_TEXT, AT(N_roleRef, N_name), ""},
                                           {0}};
    desc_put(d, 0, "Name:\t" STR_FMT "\n", STR_ARG(i->name));
    desc_labels(d, "", "Labels", obj_labels(i->v));
    desc_annotations(d, "Annotations", val_at(i->v, N_metadata, N_annotations));
    desc_rows(d, i->v, rows);
    desc_put(d, 0, "Subjects:\n");
    desc_put(d, 1, "Kind\tName\tNamespace\n");
    desc_put(d, 1, "----\t----\t---------\n");
    VAL_EACH(val_get(i->v, N_subjects), s)
    {
        desc_put(d, 1, STR_FMT "\t" STR_FMT "\t" STR_FMT "\n", STR_ARG(val_getstr(s, N_kind)), STR_ARG(val_getstr(s, N_name)),
                 STR_ARG(val_getstr(s, N_namespace)));
    }
}

const struct describer describe_cluster[] = {
    {RES_NODES, describe_node},
    {RES_ROLES, describe_role},
    {RES_CLUSTERROLES, describe_role},
    {RES_ROLEBINDINGS, describe_binding},
    {RES_CLUSTERROLEBINDINGS, describe_binding},
    {0},
};
