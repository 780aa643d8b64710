/* SPDX-License-Identifier: Apache-2.0 */
/* Deletes Jobs some time after they have ended, if they say so (KEP-592). */
#include "controllers/cronjob.h"
#include "controllers/job.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

static bool needs_cleaning(const struct val *job)
{
    return val_at(job, N_spec, N_ttlSecondsAfterFinished) && job_finished(job) && !obj_deleting(job);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *job = snapshot_get(world, &resources[RES_JOBS], key.ns, key.name);
    if (!job || !needs_cleaning(job->val))
        return 0;
    struct wall ended = val_time(val_get(job_finished(job->val), N_lastTransitionTime));
    int64_t left =
        ended.ns + seconds_ns(val_at(job->val, N_spec, N_ttlSecondsAfterFinished), 0) - now.ns;
    if (left > 0) {
        writes_again(w, left);
        return 0;
    }
    struct write *x = writes_delete(w, job);
    x->propagation = "Foreground";
    x->revision = arena_printf(w->arena, "%lld", (long long)obj_revision(job->val)); /* its time may just have changed */
    return 0;
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (new_ && needs_cleaning(new_->val))
        sink(arg, (struct key){new_->namespace_, new_->name});
}

const struct controller ttl_after_finished_controller = {
    .name = "ttl-after-finished-controller",
    .alias = "ttl-after-finished",
    .reads = (const uint16_t[]){RES_JOBS, 0},
    .workers = 5,
    .keys_of = keys_of,
    .reconcile = reconcile,
};
