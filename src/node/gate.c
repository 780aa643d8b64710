/* SPDX-License-Identifier: Apache-2.0 */
#include "node/gate.h"

#include "base/os.h"

void gate_init(struct gate *g, unsigned most, int64_t patience)
{
    *g = (struct gate){.most = most, .patience = patience};
    list_init(&g->inside);
}

/* Those who count; *ret: when the first of them stops counting. */
static unsigned counted(const struct gate *g, struct mono now, struct mono *ret)
{
    unsigned n = 0;
    *ret = MONO_NEVER;
    LIST_EACH (&g->inside, l) {
        struct mono end = mono_add(LIST_ENTRY(l, struct gate_pass, link)->since, g->patience);
        if (end.ns <= now.ns)
            continue;
        if (!n++)
            *ret = end;
    }
    return n;
}

int gate_enter(struct gate *g, struct gate_pass *p)
{
    struct mono next;
    while (counted(g, os_mono(), &next) >= g->most) {
        int r = waitq_wait(&g->q, next);
        if (r < 0 && r != -ETIMEDOUT)
            return r;
    }
    *p = (struct gate_pass){.gate = g, .since = os_mono()};
    list_push_back(&g->inside, &p->link);
    return 0;
}

void gate_leave(struct gate_pass *p)
{
    if (!p->gate)
        return;
    list_remove(&p->link);
    waitq_wake_all(&p->gate->q);
    p->gate = NULL;
}
