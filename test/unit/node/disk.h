/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of one's own on a real disk and the host that works below it, for one test program. */
#pragma once

#include "testing.h"

#include "node/host.h"

#include <stdio.h>
#include <unistd.h>

static char dir[64];
static struct host *host;
static struct arena arena;

static int disk_set_up(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/cube-test-XXXXXX");
    host = mkdtemp(dir) ? host_linux_new(dir) : NULL;
    return host ? 0 : -1;
}

static void disk_rest(void *arg)
{
    host->ops->remove_tree(host, dir, NULL);
}

static int disk_tear_down(void **state)
{
    loop_run(disk_rest, NULL);
    host_free(host);
    arena_done(&arena);
    return access(dir, F_OK) == 0 ? -1 : 0;
}

static const char *under(const char *name)
{
    return arena_printf(&arena, "%s/%s", dir, name).p;
}
