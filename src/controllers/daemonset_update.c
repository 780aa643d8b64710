/* SPDX-License-Identifier: Apache-2.0 */
/* Rolling a DaemonSet: which old pods may go, and on which nodes a new one may run beside the old one
 * (KEP-1591). */
#include "controllers/daemonset.h"

#include "controllers/util.h"
#include "type/meta.h"

/* The pods of a node that are not on their way out, one of each kind at most. */
struct pair {
    const struct object *old, *updated;
    bool too_many; /* of one kind: they are thinned out first */
};

static struct pair pair_of(const struct daemon *d, const struct stop *stop)
{
    struct pair p = {0};
    for (size_t i = 0; i < stop->n; i++) {
        const struct object *pod = stop->pods[i];
        if (obj_deleting(pod->val))
            continue;
        const struct object **at = daemon_is_updated(d, pod) ? &p.updated : &p.old;
        p.too_many |= *at != NULL;
        *at = pod;
    }
    return p;
}

static int64_t limit(const struct daemon *d, name_id name, int64_t of)
{
    const struct val *rolling = val_at(d->spec, N_updateStrategy, N_rollingUpdate);
    return d->rolling ? intstr_scaled(val_get(rolling, name), of, true, 0) : 0;
}

int64_t daemon_max_surge(const struct daemon *d, int64_t of)
{
    return limit(d, N_maxSurge, of);
}

/* Stops that matter: nodes where a pod belongs, and whatever has pods. */
static bool counts(const struct stop *s)
{
    return s->n > 0 || s->fit.run;
}

/* ---- one pod a node ---------------------------------------------------------------------------------- */

static void replace(struct daemon *d, int64_t max_unavailable)
{
    struct objects candidates = {0};
    int64_t unavailable = 0;
    for (size_t i = 0; i < d->n_stops; i++) {
        if (!counts(&d->stops[i]))
            continue;
        struct pair p = pair_of(d, &d->stops[i]);
        if (p.too_many || !p.old == !p.updated) {
            unavailable++; /* pods come or go here already */
        } else if (p.updated) {
            unavailable += !daemon_is_available(d, p.updated);
        } else if (!daemon_is_available(d, p.old)) {
            daemon_delete(d, p.old); /* nothing is lost */
            unavailable++;
        } else {
            objects_add(d->w->arena, &candidates, p.old);
        }
    }
    for (size_t i = 0; i < candidates.n && unavailable < max_unavailable; i++, unavailable++)
        daemon_delete(d, candidates.items[i]);
}

/* ---- the new one first ------------------------------------------------------------------------------- */

struct surge {
    int64_t surging, available;
    struct objects leaving; /* available, where none belongs any more */
    const struct stop **candidates;
    size_t n_candidates;
};

static void look_at_old(struct daemon *d, struct surge *g, const struct stop *stop, const struct object *old)
{
    bool available = daemon_is_available(d, old);
    if (!stop->fit.run && available)
        objects_add(d->w->arena, &g->leaving, old);
    else if (!stop->fit.run)
        daemon_delete(d, old);
    else if (!available)
        daemon_create(d, stop->name);
    else
        g->candidates[g->n_candidates++] = stop;
}

static void look_at_stop(struct daemon *d, struct surge *g, const struct stop *stop)
{
    struct pair p = pair_of(d, stop);
    if (p.too_many) {
        g->surging++;
        return;
    }
    const struct object *serving = p.old ? p.old : p.updated;
    g->available += serving && daemon_is_available(d, serving);
    if (!p.old)
        return;
    if (!p.updated)
        look_at_old(d, g, stop, p.old);
    else if (daemon_is_available(d, p.updated))
        daemon_delete(d, p.old);
    else
        g->surging++;
}

/* Where pods no longer belong, available ones stay until there are enough elsewhere. */
static void let_leave(struct daemon *d, const struct surge *g)
{
    int64_t spare = g->available - d->wanted;
    for (size_t i = 0; i < g->leaving.n && spare > 0; i++, spare--)
        daemon_delete(d, g->leaving.items[i]);
}

static void surge(struct daemon *d, int64_t max_surge)
{
    struct surge g = {.candidates = ARENA_ARRAY(d->w->arena, const struct stop *, d->n_stops)};
    for (size_t i = 0; i < d->n_stops; i++)
        if (d->stops[i].n > 0)
            look_at_stop(d, &g, &d->stops[i]);
    let_leave(d, &g);
    for (size_t i = 0; i < g.n_candidates && g.surging < max_surge; i++, g.surging++)
        daemon_create(d, g.candidates[i]->name);
}

void daemon_roll(struct daemon *d)
{
    int64_t max_surge = daemon_max_surge(d, d->wanted),
            max_unavailable = limit(d, N_maxUnavailable, d->wanted);
    if (!d->rolling)
        return;
    if (max_surge == 0 && max_unavailable == 0)
        max_unavailable = 1; /* else nothing could ever move */
    if (max_surge == 0)
        replace(d, max_unavailable);
    else
        surge(d, max_surge);
}
