/* SPDX-License-Identifier: Apache-2.0 */
#include "client/leader.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/os.h"
#include "resources.h"
#include "type/meta.h"

struct election {
    struct leader_config config;
    char identity[320];
    struct event_recorder *events;
    char *last;       /* holder and renewal as last seen */
    struct mono seen; /* when that changed */
    bool leading;
    /* the work */
    int (*work)(void *arg, struct err *e);
    void *arg;
    struct err err;
    int result;
    bool ended;
    struct waitq end;
};

/* ---- deciding ---------------------------------------------------------------------------------------- */

enum leader_step leader_decide(const struct val *lease, struct str identity, struct mono seen,
                               int64_t lease_ns, struct mono now)
{
    if (!lease)
        return LEADER_CREATE;
    struct str holder = val_str(val_at(lease, N_spec, N_holderIdentity));
    if (str_eq(holder, identity))
        return LEADER_RENEW;
    /* The other's own promise counts if it is longer than ours. */
    int64_t promised = SECONDS(val_int(val_at(lease, N_spec, N_leaseDurationSeconds), 0));
    bool held = !str_empty(holder) && now.ns < mono_add(seen, MAX(promised, lease_ns)).ns;
    return held ? LEADER_WAIT : LEADER_TAKE;
}

struct val *leader_claim(struct arena *a, enum leader_step step, const struct val *lease,
                         const struct leader_config *c, struct str identity, struct wall now)
{
    char time[TIME_TEXT_MAX];
    struct str text = arena_str(a, str_of(time_format_micro(now, time)));
    struct val *v = lease ? val_copy(a, lease) : val_new(a, VAL_OBJ);
    struct val *meta = val_sub_obj(a, v, N_metadata);
    if (!lease) {
        val_set_str(a, meta, N_name, str_of(c->name));
        val_set_str(a, meta, N_namespace, str_of(c->ns));
    }
    struct val *spec = val_sub_obj(a, v, N_spec);
    int64_t transitions = val_int(val_get(spec, N_leaseTransitions), 0);
    val_set_str(a, spec, N_holderIdentity, identity);
    val_set_int(a, spec, N_leaseDurationSeconds, c->lease_ns / NSEC_PER_SEC);
    val_set_str(a, spec, N_renewTime, text);
    if (step != LEADER_RENEW)
        val_set_str(a, spec, N_acquireTime, text);
    val_set_int(a, spec, N_leaseTransitions, transitions + (step == LEADER_TAKE));
    return v;
}

/* ---- asking and claiming ----------------------------------------------------------------------------- */

static struct call lease_call(const struct election *e)
{
    return (struct call){.res = &resources[RES_LEASES],
                         .ns = str_of(e->config.ns),
                         .name = str_of(e->config.name),
                         .grace_seconds = -1};
}

/* Notes when the claim changes. */
static void observe(struct election *e, const struct val *lease)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text =
        arena_printf(&a, STR_FMT " " STR_FMT, STR_ARG(val_str(val_at(lease, N_spec, N_holderIdentity))),
                     STR_ARG(val_str(val_at(lease, N_spec, N_renewTime))));
    if (e->last && str_is(text, e->last))
        return;
    free(e->last);
    e->last = str_dup(text);
    e->seen = os_mono();
}

static int write_lease(struct election *e, enum leader_step step, const struct val *v, struct arena *a,
                       struct status *s)
{
    struct call call = lease_call(e);
    if (step != LEADER_CREATE)
        return client_update(e->config.client, &call, v, a, NULL, s);
    call.name = STR_NULL;
    return client_create(e->config.client, &call, v, a, NULL, s);
}

/* One try: 0 when we hold the claim now, 1 when somebody else does, or why it could not be settled. */
static int try_claim(struct election *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    const struct val *lease = NULL;
    struct call call = lease_call(e);
    struct str identity = str_of(e->identity);
    status_init(&s, &a);
    int r = client_get(e->config.client, &call, &a, &lease, &s);
    if (r != 0 && r != 404)
        return r;
    if (r == 404)
        lease = NULL;
    else
        observe(e, lease);
    enum leader_step step = leader_decide(lease, identity, e->seen, e->config.lease_ns, os_mono());
    if (step == LEADER_WAIT)
        return 1;
    status_init(&s, &a);
    return write_lease(e, step, leader_claim(&a, step, lease, &e->config, identity, os_wall()), &a, &s);
}

/* Others need not wait until the claim runs out. */
static void give_up(struct election *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    const struct val *lease = NULL;
    struct call call = lease_call(e);
    fiber_shield(true);
    status_init(&s, &a);
    if (client_get(e->config.client, &call, &a, &lease, &s) == 0 &&
        str_is(val_str(val_at(lease, N_spec, N_holderIdentity)), e->identity)) {
        struct leader_config c = e->config;
        c.lease_ns = NSEC_PER_SEC;
        write_lease(e, LEADER_RENEW, leader_claim(&a, LEADER_RENEW, lease, &c, STR(""), os_wall()), &a, &s);
    }
    fiber_shield(false);
}

/* ---- the course of things ---------------------------------------------------------------------------- */

static void tell(struct election *e, const char *what)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *about = val_new(&a, VAL_OBJ);
    val_set_str(&a, about, N_kind, STR("Lease"));
    val_set_str(&a, about, N_namespace, str_of(e->config.ns));
    val_set_str(&a, about, N_name, str_of(e->config.name));
    val_set_str(&a, about, N_apiVersion, STR("coordination.k8s.io/v1"));
    event_record(e->events, &resources[RES_LEASES], about, false, "LeaderElection", "%s %s", e->identity,
                 what);
}

static void do_work(void *arg)
{
    struct election *e = arg;
    e->result = e->work(e->arg, &e->err);
    e->ended = true;
    waitq_wake_all(&e->end);
}

static int64_t jittered(int64_t ns)
{
    return ns + (int64_t)os_random_below((uint64_t)(ns * 12 / 10) + 1);
}

static int acquire(struct election *e)
{
    for (;;) {
        int r = try_claim(e);
        if (r == 0)
            return 0;
        if (r == -ECANCELED || fiber_cancelled())
            return -ECANCELED;
        if (r != 1 && r != 409)
            log_warn(e->config.component, "cannot claim the lease %s/%s (%d)", e->config.ns, e->config.name,
                     r);
        r = fiber_sleep(jittered(e->config.retry_ns));
        if (r < 0)
            return r;
    }
}

/* Renews until the work has ended (0), the claim is lost (-EPIPE), or we are cancelled. */
static int hold(struct election *e)
{
    struct mono renewed = os_mono();
    while (!e->ended) {
        int r = waitq_wait(&e->end, mono_add(os_mono(), e->config.retry_ns));
        if (r == -ECANCELED)
            return r;
        if (e->ended)
            return 0;
        r = try_claim(e);
        if (r == 0)
            renewed = os_mono();
        else if (r == 1 || os_mono().ns > mono_add(renewed, e->config.renew_ns).ns)
            return -EPIPE;
    }
    return 0;
}

static int lead(struct election *e)
{
    struct group g = {0};
    tell(e, "became leader");
    group_spawn(&g, "leader", do_work, e);
    int r = hold(e);
    group_stop(&g);
    if (r == -EPIPE)
        tell(e, "stopped leading");
    return r;
}

static void fill_defaults(struct election *e)
{
    struct leader_config *c = &e->config;
    c->lease_ns = c->lease_ns ? c->lease_ns : SECONDS(15);
    c->renew_ns = c->renew_ns ? c->renew_ns : SECONDS(10);
    c->retry_ns = c->retry_ns ? c->retry_ns : SECONDS(2);
    c->component = c->component ? c->component : c->name;
    if (c->identity) {
        snprintf(e->identity, sizeof(e->identity), "%s", c->identity);
        return;
    }
    char host[256] = "localhost";
    gethostname(host, sizeof(host) - 1);
    snprintf(e->identity, sizeof(e->identity), "%s_%016llx", host, (unsigned long long)os_random_u64());
}

int leader_run(const struct leader_config *config, int (*work)(void *arg, struct err *e), void *arg,
               struct err *err)
{
    struct election e = {.config = *config, .work = work, .arg = arg};
    fill_defaults(&e);
    e.events = event_recorder_new(config->client, e.config.component, NULL);
    int r = acquire(&e);
    if (r == 0) {
        r = lead(&e);
        if (r != -EPIPE)
            give_up(&e);
    }
    event_recorder_free(e.events);
    free(e.last);
    if (r == -EPIPE)
        return err_set(err, r, "lost the lease %s/%s: somebody else leads now", config->ns, config->name);
    if (r == 0 && err)
        *err = e.err;
    return r == 0 ? e.result : r;
}
