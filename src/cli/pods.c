/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pods.h"

#include "base/fiber.h"
#include "base/os.h"
#include "cli/request.h"
#include "cli/select.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/selector.h"

/* ---- containers ------------------------------------------------------------------------------------------------ */

static const struct val *find_in(const struct val *list, struct str name)
{
    VAL_EACH(list, v)
    {
        if (str_eq(val_getstr(v, N_name), name))
            return v;
    }
    return NULL;
}

static const name_id container_lists[] = {N_containers, N_initContainers, N_ephemeralContainers};

const struct val *pod_container(const struct val *pod, struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(container_lists); i++) {
        const struct val *v = find_in(val_at(pod, N_spec, container_lists[i]), name);
        if (v)
            return v;
    }
    return NULL;
}

bool pod_container_is_ephemeral(const struct val *pod, struct str name)
{
    return find_in(val_at(pod, N_spec, N_ephemeralContainers), name) != NULL;
}

struct str pod_container_names(struct cli *c, const struct val *pod)
{
    static const struct {
        name_id list;
        const char *mark;
    } parts[] = {{N_containers, ""}, {N_ephemeralContainers, " (ephem)"}, {N_initContainers, " (init)"}};
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        VAL_EACH(val_at(pod, N_spec, parts[i].list), v)
            buf_printf(&b, "%s" STR_FMT "%s", b.n ? ", " : "", STR_ARG(val_getstr(v, N_name)), parts[i].mark);
    return arena_str(&c->a, buf_str(&b));
}

int pod_default_container(struct cli *c, const struct val *pod, const char *name, bool quiet, const struct val **ret)
{
    const struct val *containers = val_at(pod, N_spec, N_containers);
    struct str wanted = name && name[0] ? str_of(name) : obj_annotation(pod, STR("kubectl.kubernetes.io/default-container"));
    if (!val_len(containers))
        return cli_fail(c, "pod " STR_FMT "/" STR_FMT " does not have any containers", STR_ARG(obj_namespace(pod)),
                        STR_ARG(obj_name(pod)));
    if (wanted.n) {
        *ret = pod_container(pod, wanted);
        return *ret ? 0 : cli_fail(c, "container " STR_FMT " is not valid for pod " STR_FMT " out of: " STR_FMT, STR_ARG(wanted),
                                   STR_ARG(obj_name(pod)), STR_ARG(pod_container_names(c, pod)));
    }
    *ret = val_item(containers, 0);
    size_t others = val_len(containers) - 1 + val_len(val_at(pod, N_spec, N_initContainers)) +
                    val_len(val_at(pod, N_spec, N_ephemeralContainers));
    if (!quiet && others)
        cli_note(c, "Defaulted container \"" STR_FMT "\" out of: " STR_FMT, STR_ARG(val_getstr(*ret, N_name)),
                 STR_ARG(pod_container_names(c, pod)));
    return 0;
}

/* ---- the best pod ---------------------------------------------------------------------------------------------- */

bool pods_is_ready(const struct val *pod)
{
    return condition_is(val_at(pod, N_status, N_conditions), STR("Ready"), "True");
}

static int phase_rank(const struct val *pod)
{
    static const char *const ranks[] = {"Running", "Unknown", "Pending"};
    for (size_t i = 0; i < ARRAY_SIZE(ranks); i++)
        if (str_is(val_str(val_at(pod, N_status, N_phase)), ranks[i]))
            return (int)i;
    return 0;
}

static int64_t ready_since(const struct val *pod)
{
    return val_time(val_get(condition_find(val_at(pod, N_status, N_conditions), STR("Ready")), N_lastTransitionTime)).ns;
}

static int64_t restarts(const struct val *pod)
{
    int64_t most = 0;
    VAL_EACH(val_at(pod, N_status, N_containerStatuses), v)
    {
        most = MAX(most, val_int(val_get(v, N_restartCount), 0));
    }
    return most;
}

/* Each member: less is better. */
struct rank {
    int64_t unassigned, phase, unready, deleting, ready_since, restarts, created;
};

static struct rank rank_of(const struct val *pod, enum pod_use use)
{
    bool ready = pods_is_ready(pod), logs = use == POD_LOGS;
    return (struct rank){.unassigned = !val_str(val_at(pod, N_spec, N_nodeName)).n,
                         .phase = phase_rank(pod),
                         .unready = !ready,
                         .deleting = !logs && obj_deleting(pod),
                         .ready_since = ready ? ready_since(pod) : INT64_MAX,
                         .restarts = logs ? -restarts(pod) : restarts(pod),
                         .created = val_time(val_at(pod, N_metadata, N_creationTimestamp)).ns};
}

static int better_for(const void *x, const void *y, enum pod_use use)
{
    struct rank a = rank_of(*(const struct val *const *)x, use), b = rank_of(*(const struct val *const *)y, use);
    const int64_t pairs[][2] = {{a.unassigned, b.unassigned},   {a.phase, b.phase},       {a.unready, b.unready},
                                {a.deleting, b.deleting},       {a.ready_since, b.ready_since},
                                {a.restarts, b.restarts},       {a.created, b.created}};
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] < pairs[i][1] ? -1 : 1;
    return 0;
}

static int better_for_logs(const void *x, const void *y)
{
    return better_for(x, y, POD_LOGS);
}

static int better_for_attach(const void *x, const void *y)
{
    return better_for(x, y, POD_ATTACH);
}

int pod_selector(struct cli *c, const struct kind *k, const struct val *v, const char *what, struct str *ret)
{
    struct selector s;
    struct err e = {0};
    const struct val *own = val_at(v, N_spec, N_selector);
    bool map = k->res && (k->res->index == RES_SERVICES || k->res->index == RES_REPLICATIONCONTROLLERS);
    if (k->res && k->res->index == RES_SERVICES && !val_len(own))
        return cli_fail(c, "cannot %s *v1.Service: invalid service '" STR_FMT "': Service is defined without a selector", what,
                        STR_ARG(obj_name(v)));
    if (!own || !k->res)
        return cli_fail(c, "cannot %s " STR_FMT ": it selects no pods", what, STR_ARG(k->kind));
    if (map)
        selector_from_map(&c->a, own, &s);
    else if (selector_from_val(&c->a, own, &s, &e) < 0)
        return cli_fail(c, "cannot %s " STR_FMT ": invalid label selector: %s", what, STR_ARG(k->kind), e.text);
    *ret = selector_print(&c->a, &s);
    return 0;
}

int pods_of(struct cli *c, const struct kind *k, const struct val *v, enum pod_use use, int64_t timeout, const char *what,
            const struct val *const **ret, size_t *ret_n)
{
    struct mono deadline = mono_add(os_mono(), timeout);
    struct str labels;
    int r = pod_selector(c, k, v, what, &labels);
    for (;;) {
        struct val *list = NULL;
        struct status s;
        if (r)
            return r;
        struct str query = query_with(c, STR_NULL, "labelSelector", labels);
        if (request_list(c, kind_at(c, RES_PODS), obj_namespace(v), query, &list, &s))
            return cli_refused(c, &s);
        const struct val *items = val_get(list, N_items);
        if (val_len(items)) {
            const struct val **all = ARENA_ARRAY(&c->a, const struct val *, val_len(items));
            *ret_n = 0;
            VAL_EACH(items, pod)
            {
                all[(*ret_n)++] = pod;
            }
            qsort(all, *ret_n, sizeof(const struct val *), use == POD_LOGS ? better_for_logs : better_for_attach);
            *ret = all;
            return 0;
        }
        if (os_mono().ns >= deadline.ns)
            return cli_fail(c, "timed out waiting for the condition");
        fiber_sleep(MILLISECONDS(200));
    }
}

int pod_of(struct cli *c, const struct kind *k, struct val *v, enum pod_use use, int64_t timeout, const char *what,
           struct val **ret, size_t *ret_n)
{
    const struct val *const *pods;
    size_t n = 1;
    if (k->res && k->res->index == RES_PODS) {
        *ret = v;
    } else {
        int r = pods_of(c, k, v, use, timeout, what, &pods, &n);
        if (r)
            return r;
        *ret = (struct val *)pods[0];
    }
    if (ret_n)
        *ret_n = n;
    return 0;
}

int pod_owner(struct cli *c, const char *type_or_name, const char *name, const struct kind **ret_kind, struct val **ret)
{
    struct info i;
    static char pods[] = "pods";
    char *args[4] = {NULL, pods, (char *)type_or_name, NULL};
    struct query q = {.argc = 3, .argv = args, .fetch = true};
    if (name) {
        args[1] = (char *)type_or_name;
        args[2] = (char *)name;
    } else if (strchr(type_or_name, '/')) {
        args[1] = (char *)type_or_name;
        q.argc = 2;
    }
    int r = select_one(c, &q, "expected a resource", &i);
    if (r)
        return r;
    *ret_kind = i.kind;
    *ret = i.v;
    return 0;
}
