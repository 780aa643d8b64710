/* SPDX-License-Identifier: Apache-2.0 */
/* A real etcd, one member, on loopback with data of its own. */
#pragma once

#include <stdbool.h>

struct member {
    char dir[64], url[64], peer_url[64];
    int pid; /* 0: not running */
};

bool member_there(void);                 /* there is an etcd to run */
void member_start(struct member *m);     /* at the same address with the same data, when it ran before */
void member_kill(struct member *m);      /* SIGKILL */
void member_remove(struct member *m);    /* and its data */
