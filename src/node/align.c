/* SPDX-License-Identifier: Apache-2.0 */
#include "node/align.h"

#include "node/kubelet-internal.h"
#include "node/memory.h"

enum { MOST_LISTS = 64 };

/* What all of them say about a container, or about the Pod as a whole (NULL). */
static size_t gather(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct numa_hints *lists)
{
    size_t n = devices_hints(w, pod, container, a, lists, MOST_LISTS - 2);
    if (cpus_hint(w, pod, container, a, &lists[n]))
        n++;
    if (memory_hint(w, pod, container, a, &lists[n])) /* the same for each kind of it */
        n++;
    return n;
}

static const char *unexpected(struct arena *a, const struct err *e, struct str *ret_message)
{
    *ret_message = arena_printf(a, "Allocate failed due to %s, which is unexpected", e->text);
    return "UnexpectedAdmissionError";
}

static bool choose(struct kubelet *k, struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct numa_hint *ret,
                   struct str *ret_message)
{
    struct numa_hints lists[MOST_LISTS];
    size_t n = gather(w, pod, container, a, lists);
    if (topology_merge(k->machine, &k->topology, lists, n, ret))
        return true;
    *ret_message = STR("Resources cannot be allocated with Topology locality");
    return false;
}

static int hand_out(struct worker *w, const struct val *pod, const struct val *container, struct numa_hint hint, struct err *e)
{
    int r = devices_allocate(w, pod, container, hint.nodes, e);
    if (r == 0)
        r = cpus_allocate(w, pod, container, hint.nodes, e);
    return r == 0 ? memory_allocate(w, pod, container, hint, e) : r;
}

static const char *align_all(struct kubelet *k, struct worker *w, const struct val *pod, struct arena *a, struct str *ret_message)
{
    struct numa_hint hint = {0};
    struct err e = {{0}};
    if (k->topology.of_pod && !choose(k, w, pod, NULL, a, &hint, ret_message))
        return "TopologyAffinityError";
    for (int kind = CK_INIT; kind <= CK_MAIN; kind++)
        VAL_EACH (pod_containers(pod, (enum container_kind)kind), c) {
            if (!k->topology.of_pod && !choose(k, w, pod, c, a, &hint, ret_message))
                return "TopologyAffinityError";
            if (hand_out(w, pod, c, hint, &e) < 0)
                return unexpected(a, &e, ret_message);
        }
    return NULL;
}

/* Without a policy CPUs and devices are found when a container is made; memory is told apart here. */
static const char *each_for_itself(struct worker *w, const struct val *pod, struct arena *a, struct str *ret_message)
{
    struct err e = {{0}};
    for (int kind = CK_INIT; kind <= CK_MAIN; kind++)
        VAL_EACH (pod_containers(pod, (enum container_kind)kind), c)
            if (memory_allocate(w, pod, c, (struct numa_hint){0}, &e) < 0)
                return unexpected(a, &e, ret_message);
    return NULL;
}

const char *align_admit(struct kubelet *k, struct worker *w, const struct val *pod, struct arena *a, struct str *ret_message)
{
    bool aligned = k->topology.policy != TOPOLOGY_NONE;
    const char *why = cpus_admit(k, w, pod, a, ret_message);
    if (!why && !aligned)
        why = devices_admit(k, w, pod, a, ret_message);
    if (!why)
        why = aligned ? align_all(k, w, pod, a, ret_message) : each_for_itself(w, pod, a, ret_message);
    if (why) {
        devices_release(w);
        cpus_release(w);
        memory_release(w);
    }
    return why;
}
