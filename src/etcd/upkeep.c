/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store-internal.h"

#include "base/log.h"
#include "base/os.h"

#define PULSE SECONDS(10)
#define NUDGE MILLISECONDS(20)

/* ---- moving watches on --------------------------------------------------------------------------------------
 * Revisions that watches see nothing of (keys of others) keep them from knowing that they have seen everything. etcd can be asked
 * for a notice, but members before 3.4.25 and 3.5.8 send it too early. An event of our own cannot come too early. */

static int write_progress(struct etcd_store *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *put = val_new(&a, VAL_OBJ);
    const struct val *answer;
    val_set(&a, put, N_key, val_of_bytes(arena_printf(&a, "%s/cube/progress", s->prefix)));
    return etcd_ask(s, G_etcdserverpb_KV_Put, put, &a, &answer);
}

static void nudger(void *arg)
{
    struct etcd_store *s = arg;
    for (;;) {
        while (etcd_watches_reached(s, s->wanted))
            if (waitq_wait(&s->nudge, MONO_NEVER) < 0)
                return;
        int64_t wanted = s->wanted;
        if (fiber_sleep(NUDGE) < 0)
            return;
        if (etcd_watches_reached(s, wanted))
            continue;
        if (write_progress(s) == -ECANCELED || fiber_sleep(NUDGE) < 0)
            return;
    }
}

/* ---- whether it answers ------------------------------------------------------------------------------------- */

static void pulse(void *arg)
{
    struct etcd_store *s = arg;
    do {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        const struct val *answer;
        int r = etcd_ask(s, G_etcdserverpb_Maintenance_Status, val_new(&a, VAL_OBJ), &a, &answer);
        if (r == -ECANCELED)
            return;
        if (r)
            continue;
        s->disk_bytes = (uint64_t)val_int(val_get(answer, N_dbSize), 0);
        s->full = false;
        VAL_EACH (val_get(answer, N_errors), text)
            s->full |= str_contains(val_str(text), STR("NOSPACE"));
    } while (fiber_sleep(PULSE) == 0);
}

/* ---- compaction -----------------------------------------------------------------------------------------------
 * As upstream's API servers do it, so that they and ours can share an etcd: the version of one key is the time that all agree on;
 * who moves it on compacts to the revision that was the latest when it was moved on before. */

int etcd_compact(struct store *base, revision upto)
{
    struct etcd_store *s = etcd_store_of(base);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *request = val_new(&a, VAL_OBJ);
    const struct val *answer;
    val_set_int(&a, request, N_revision, upto.n);
    int r = etcd_ask(s, G_etcdserverpb_KV_Compact, request, &a, &answer);
    if (r == 0)
        s->compacted = MAX(s->compacted, upto.n);
    return r;
}

struct turn {
    int64_t time, revision; /* the key's version, and the store's revision when it was seen */
};

static int take_turn(struct etcd_store *s, struct turn *t)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *txn = val_new(&a, VAL_OBJ);
    struct val key = val_of_bytes(STR("compact_rev_key"));
    const struct val *answer;
    struct val *compare = val_add_obj(&a, val_sub_list(&a, txn, N_compare));
    val_set_int(&a, compare, N_target, E_etcdserverpb_Compare_VERSION);
    val_set(&a, compare, N_key, key);
    val_set_int(&a, compare, N_version, t->time);
    struct val *put = val_sub_obj(&a, val_add_obj(&a, val_sub_list(&a, txn, N_success)), N_request_put);
    val_set(&a, put, N_key, key);
    val_set(&a, put, N_value, val_of_bytes(arena_printf(&a, "%lld", (long long)t->revision)));
    val_set(&a, val_sub_obj(&a, val_add_obj(&a, val_sub_list(&a, txn, N_failure)), N_request_range), N_key, key);
    int r = etcd_ask(s, G_etcdserverpb_KV_Txn, txn, &a, &answer);
    if (r)
        return r;
    int64_t upto = t->revision;
    t->revision = val_int(val_at(answer, N_header, N_revision), 0);
    if (!val_bool(val_get(answer, N_succeeded), false)) { /* somebody else did */
        const struct val *kv = val_item(val_at(val_item(val_get(answer, N_responses), 0), N_response_range, N_kvs), 0);
        t->time = val_int(val_get(kv, N_version), 0);
        return 0;
    }
    t->time++;
    return upto ? etcd_compact(&s->base, (revision){upto}) : 0;
}

static void compactor(void *arg)
{
    struct etcd_store *s = arg;
    struct turn t = {0};
    while (fiber_sleep(s->compaction_interval) == 0) {
        int r = take_turn(s, &t);
        if (r == -ECANCELED)
            return;
        if (r && r != STORE_COMPACTED)
            log_warn(LOG, "old revisions are not compacted: %s", r < 0 ? strerror(-r) : "etcd refuses");
    }
}

void etcd_upkeep_start(struct etcd_store *s)
{
    group_spawn(&s->fibers, "etcd progress", nudger, s);
    group_spawn(&s->fibers, "etcd pulse", pulse, s);
    if (s->compaction_interval > 0)
        group_spawn(&s->fibers, "etcd compaction", compactor, s);
}
