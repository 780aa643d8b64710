/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of NUMA nodes for containers of Guaranteed Pods (memory manager, policy "Static", KEP-1769): each gets its memory and
 * huge pages from as few nodes as can be, and its processes are bound to them (cpuset.mems). A node gives either to
 * containers of its own or to those of one group of nodes, never to both.
 */
#pragma once

#include "node/numa.h"
#include "node/pod.h"

struct memory_amount {
    int64_t of[MEMORY_KINDS]; /* bytes, by the machine's kinds */
};

/* What a container, or a Pod's containers together, must have; false: nothing (not Guaranteed, no requests). */
bool memory_wanted(const struct numa_machine *m, const struct val *pod, const struct val *container, struct memory_amount *ret);

struct memory_cell {
    unsigned assignments;
    numa_mask group; /* itself, and those it gives memory together with */
    struct memory_table {
        int64_t total, system, allocatable, reserved, free_;
    } kinds[MEMORY_KINDS];
};
struct memory_state {
    const struct numa_machine *m;
    struct memory_cell cells[NUMA_MOST];
};

/* One container's. */
struct memory_grant {
    char *uid, *container;
    struct memory_amount amount;
    numa_mask nodes;
    bool reusable; /* of an init container: those after it may have the same */
};
struct memory_grants {
    struct memory_grant *items;
    size_t n, cap;
};

/* reserved: by node and kind. */
struct memory_state memory_state_new(const struct numa_machine *m, const struct memory_amount *reserved);
/* With all that was granted. */
struct memory_state memory_state_with(const struct memory_state *empty, const struct memory_grants *g);
/* Of which sets of nodes the amount could come, for a Pod that has reusable of such a set already. The same for all kinds. */
struct numa_hints memory_hints(struct arena *a, const struct memory_state *s, const struct memory_amount *want, const struct memory_grants *g,
                               const char *uid);
/* The nodes for the amount, by the topology manager's hint. -ENOMEM with upstream's sentence. */
int memory_choose(const struct memory_state *s, const struct memory_amount *want, const struct memory_grants *g, const char *uid,
                  struct numa_hint hint, numa_mask *ret, struct err *e);
/* "0:memory=1Gi,hugepages-2Mi=64Mi,1:memory=2Gi", which must add up to what the node as a whole sets aside of each. */
int memory_reserved_parse(const struct numa_machine *m, const char *text, const struct memory_amount *node_reserved, struct memory_amount *ret, struct err *e);

/* ---- the kubelet's ---------------------------------------------------------------------------------------------- */

struct kubelet;
struct worker;
struct memory_manager;

int memory_start(struct kubelet *k, struct err *e); /* k->memory stays NULL with policy "None" */
void memory_stop(struct kubelet *k);
bool memory_hint(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct numa_hints *ret);
int memory_allocate(struct worker *w, const struct val *pod, const struct val *container, struct numa_hint hint, struct err *e);
/* Where the container's memory comes from: "0-1", for cpuset.mems; empty: anywhere. */
struct str memory_nodes_of(const struct kubelet *k, const char *uid, struct str container, struct arena *a);
void memory_recall(struct worker *w);
void memory_release(struct worker *w);
/* ContainerMemory messages of the pod resources API: of a container (uid NULL: all that can be had). */
void memory_report(const struct kubelet *k, struct arena *a, const char *uid, struct str container, struct val *list);
struct val *memory_checkpoint(const struct kubelet *k, struct arena *a); /* as upstream's file has it */
