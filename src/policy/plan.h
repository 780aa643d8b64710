/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel of one node should hold for all NetworkPolicies, kept up to date change by change, and the text that
 * brings the kernel there. Pure: no kernel here.
 *
 * Lay-out of the table (family inet):
 *   set p<n>-4, p<n>-6   addresses of the pods that one selection of peers means, cluster-wide
 *   set q<n>-4, q<n>-6   (address, port) of the pods that have a container port of one name and protocol
 *   chain r<n>-in, -out  what one policy lets through; ends by returning
 *   chain s<n>           one for each list of policies that some pod of this node is under: a jump to each, then drop
 *   map in-4, out-4 ...  address of an isolated pod of this node -> its chain s<n>
 *   set known-4 ...      pods of this node that were looked at; what else has an address of the node's range waits outside
 *   set self-4 ...       (address, same address) of isolated pods: a pod may always talk to itself
 * So one pod's change costs elements, and one policy's change its two chains.
 */
#pragma once

#include "policy/spec.h"
#include "type/object.h"

struct plan;

struct plan *plan_new(const char *node_name);
void plan_free(struct plan *p);

/* One object has appeared (old NULL), changed or gone (new NULL): NetworkPolicies, Pods, Namespaces, and the own Node. The
 * sentence is about a policy that is not understood in parts. */
int plan_change(struct plan *p, const struct object *old, const struct object *new_, struct err *e);
/* Addresses that a pod of this node was given, known before its status tells. Addresses are comma separated. Holds until
 * the pod's status has some, or the pod goes. 0, or -ENOENT: no such pod here. */
int plan_placed(struct plan *p, struct str ns, struct str name, struct str uid, struct str addresses);
size_t plan_policies(const struct plan *p);

/* Appends the transaction that brings the kernel from what was given out before to what is wanted now; nothing when there
 * is no difference. It counts as done: who could not apply it calls plan_forget. */
void plan_text(struct plan *p, const char *table, struct buf *b);
/* The kernel has nothing any more, or nobody knows what: the next text makes the whole table anew. */
void plan_forget(struct plan *p);
/* The text that removes the table, there or not. */
void plan_remove_text(const char *table, struct buf *b);

/* Everything wanted, sorted and without our numbers: two plans of the same world print the same. */
void plan_print(const struct plan *p, struct buf *b);
