/* SPDX-License-Identifier: Apache-2.0 */
/* Ending the pods of a runtime without a kubelet, which would tell the API that they are gone: they only
 * pause. */
#include "adm/cluster.h"

#include "base/fiber.h"
#include "base/os.h"
#include "names.h"
#include "node/runtime.h"

#include <stdio.h>

struct stop {
    struct runtime *runtime;
    const struct val *pod, *container; /* one is set */
};

/* One that will not go (its network namespace is held elsewhere, say) must not keep the others; its processes
 * end with their shim. */
static void complain_of(const char *what, struct str name, const struct err *e)
{
    fprintf(stderr, "cube: %s " STR_FMT ": %s\n", what, STR_ARG(name), e->text);
}

static int64_t grace_of(const struct val *container)
{
    int64_t seconds;
    struct str note = val_str(val_key(val_get(container, N_annotations), STR(CRI_NOTE_GRACE)));
    return str_to_i64(note, &seconds) == 0 && seconds >= 0 ? seconds : 30;
}

static void stop_container(void *arg)
{
    struct stop *s = arg;
    struct err e = {0};
    if (runtime_stop_container(s->runtime, val_getstr(s->container, N_id), grace_of(s->container), &e) > 0)
        complain_of("container", val_str(val_at(s->container, N_metadata, N_name)), &e);
}

static void stop_pod(void *arg)
{
    struct stop *s = arg;
    struct err e = {0};
    int r = runtime_stop_sandbox(s->runtime, val_getstr(s->pod, N_id), &e);
    if (r == 0)
        r = runtime_remove_sandbox(s->runtime, val_getstr(s->pod, N_id), &e);
    if (r > 0)
        complain_of("pod", val_str(val_at(s->pod, N_metadata, N_name)), &e);
}

static int stop_all(struct runtime *rt, struct arena *a, bool orderly, struct err *e)
{
    struct group g = {0};
    const struct val *pods = NULL, *containers = NULL;
    int r = runtime_list(rt, STR_NULL, a, &pods, &containers, e);
    if (r)
        return r;
    VAL_EACH (orderly ? containers : NULL, v)
        if (val_int(val_get(v, N_state), RT_CREATED) == RT_RUNNING) {
            struct stop *s = ARENA_NEW(a, struct stop);
            *s = (struct stop){.runtime = rt, .container = v};
            group_spawn(&g, "stop", stop_container, s);
        }
    r = group_wait(&g, MONO_NEVER);
    VAL_EACH (r == 0 ? pods : NULL, v) {
        struct stop *s = ARENA_NEW(a, struct stop);
        *s = (struct stop){.runtime = rt, .pod = v};
        group_spawn(&g, "stop", stop_pod, s);
    }
    if (r == 0)
        r = group_wait(&g, MONO_NEVER);
    group_stop(&g);
    return r;
}

int cri_stop_pods(const char *socket, bool orderly, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int fd = os_connect(arena_printf(&a, "unix:%s", socket).p, mono_add(os_mono(), SECONDS(1)));
    if (fd < 0)
        return 0; /* no runtime, no pods */
    os_close(fd);
    struct runtime *rt = runtime_cri_new(socket, NULL);
    int r = stop_all(rt, &a, orderly, e);
    runtime_free(rt);
    return r > 0 ? err_wrap(e, -EIO, "cannot list the pods of %s", socket) : r;
}
