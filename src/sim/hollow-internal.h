/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the two faces of a machine of the mind: hollow.c, hollow_host.c. */
#pragma once

#include "base/fiber.h"
#include "sim/hollow.h"

enum { ID_TEXT = 33, IP_TEXT = 16 };

struct sandbox {
    struct list link;
    struct arena arena;
    char id[ID_TEXT], ip[IP_TEXT];
    const struct val *config;
    struct wall created;
    bool ready;
    struct living *living;
};

struct container {
    struct list link;
    struct arena arena;
    char id[ID_TEXT];
    struct sandbox *sandbox;
    const struct val *config;
    int state; /* E_runtime_v1_CONTAINER_xxx */
    struct wall created, started, finished;
    int exit_code, pid;
    const char *reason;
    struct waitq ended;
};

struct hollow {
    struct runtime runtime;
    struct host host;
    const char *name;
    char *root;
    struct truth *truth;
    struct list sandboxes, containers;
    struct map images; /* pulled; by name */
    struct map events; /* uids of pods of which something happened */
    struct waitq event;
    uint32_t net;      /* of the pod CIDR, from the CNI configuration; 0: none yet */
    unsigned last_host;
    int last_pid;
    unsigned boot;     /* counts up */
};

extern const struct host_ops hollow_host_ops;
