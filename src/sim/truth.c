/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/truth.h"

#include <stdio.h>

#include "sim/world.h"

void truth_violated(struct truth *t, const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    sim_trace("VIOLATION " STR_FMT, STR_ARG(buf_str(&b)));
    if (t->violations++ == 0)
        snprintf(t->first, sizeof(t->first), "at %.3f s: " STR_FMT, (double)os_mono().ns / NSEC_PER_SEC,
                 STR_ARG(buf_str(&b)));
}

static void living_free(void *p)
{
    struct living *l = p;
    free(l->uid);
    free(l->ip);
    free(l->pod);
    free(l);
}

struct living *truth_begin(struct truth *t, const char *machine, struct str uid, struct str pod, struct str ip)
{
    struct living *other = map_get(&t->by_uid, uid);
    if (other) {
        truth_violated(t, "pod " STR_FMT " begins on %s and lives on %s", STR_ARG(pod), machine, other->machine);
        return NULL;
    }
    other = map_get(&t->by_ip, ip);
    if (other) {
        truth_violated(t, "pod " STR_FMT " on %s has the address of pod %s on %s: " STR_FMT, STR_ARG(pod), machine,
                       other->pod, other->machine, STR_ARG(ip));
        return NULL;
    }
    other = map_get(&t->by_name, pod);
    if (other) {
        truth_violated(t, "pod " STR_FMT " begins on %s while its namesake lives on %s", STR_ARG(pod), machine,
                       other->machine);
        return NULL;
    }
    struct living *l = NEW(struct living);
    *l = (struct living){str_dup(uid), str_dup(ip), str_dup(pod), machine};
    map_put(&t->by_uid, uid, l);
    map_put(&t->by_ip, ip, l);
    map_put(&t->by_name, pod, l);
    return l;
}

void truth_end(struct truth *t, struct living *l)
{
    if (!l)
        return;
    map_del(&t->by_uid, str_of(l->uid));
    map_del(&t->by_ip, str_of(l->ip));
    map_del(&t->by_name, str_of(l->pod));
    living_free(l);
}

void truth_done(struct truth *t)
{
    map_done(&t->by_ip);
    map_done(&t->by_name);
    map_done_with(&t->by_uid, living_free);
}
