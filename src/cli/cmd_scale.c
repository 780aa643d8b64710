/* SPDX-License-Identifier: Apache-2.0 */
/* scale; autoscale. */
#include "cli/commands.h"
#include "cli/poll.h"
#include "cli/write.h"

#include "base/fiber.h"
#include "base/os.h"
#include "names.h"
#include "type/meta.h"
#include "types.h"
#include "resources.h"

struct scaling {
    struct write w;
    const char *revision;
    int64_t replicas, current, timeout;
};

static struct str scale_patch(struct cli *c, const struct scaling *x)
{
    if (x->revision)
        return cli_printf(c, "{\"metadata\":{\"resourceVersion\":\"%s\"},\"spec\":{\"replicas\":%lld}}", x->revision,
                          (long long)x->replicas);
    return cli_printf(c, "{\"spec\":{\"replicas\":%lld}}", (long long)x->replicas);
}

static int check_current(struct cli *c, const struct scaling *x, const struct info *i)
{
    struct status s;
    struct val *scale = NULL;
    if (x->current < 0)
        return 0;
    if (request_get(c, i->kind, i->ns, i->name, "scale", &scale, &s))
        return cli_refused(c, &s);
    int64_t now = val_int(val_at(scale, N_spec, N_replicas), 0);
    if (now != x->current)
        return cli_fail(c, "Expected replicas to be %lld, was %lld", (long long)x->current, (long long)now);
    return 0;
}

static int reached(void *arg, const struct val *v)
{
    const int64_t *replicas = arg;
    int64_t seen = val_int(val_at(v, N_status, N_observedGeneration), 0);
    return v && val_int(val_at(v, N_status, N_replicas), 0) == *replicas &&
           seen >= val_int(val_at(v, N_metadata, N_generation), 0);
}

static int scale_one(struct cli *c, struct scaling *x, struct info *i)
{
    struct status s;
    struct val *scale;
    int r = 0;
    if (x->w.dry_run != DRY_CLIENT) {
        struct str query = query_with(c, STR_NULL, "dryRun", x->w.dry_run == DRY_SERVER ? STR("All") : STR_NULL);
        r = check_current(c, x, i);
        if (r)
            return r;
        if (request_patch(c, i->kind, i->ns, i->name, "scale", query, PATCH_MERGE, scale_patch(c, x), &scale, &s))
            return cli_refused(c, &s);
        if (x->timeout && x->w.dry_run == DRY_NONE)
            r = poll_object(c, i, mono_add(os_mono(), x->timeout), reached, &x->replicas);
        if (r == POLL_TIMEOUT)
            return cli_fail(c, "timed out waiting for \"" STR_FMT "\" to be synced", STR_ARG(i->name));
        if (r < 0)
            return 1;
    }
    struct val *spec = (struct val *)val_get(i->v, N_spec);
    if (val_is(spec, VAL_MAP) && (!i->kind->group.n || str_is(i->kind->group, "apps")))
        val_put(&c->a, spec, STR("replicas"), val_of_int(x->replicas));
    return write_print(c, &x->w, NULL, i->v, "scaled");
}

int cmd_scale(struct cli *c, int argc, char **argv)
{
    struct scaling x = {.w = WRITE_INIT, .replicas = -1, .current = -1};
    struct file_flags files = {0};
    struct selection sel;
    const char *labels = NULL;
    bool all = false;
    struct flag flags[] = {
        WRITE_FLAGS(&x.w),
        FILE_FLAGS(&files, "that name objects to scale"),
        {"all", 0, FLAG_BOOL, &all, "All objects of the types"},
        {"current-replicas", 0, FLAG_INT, &x.current, "Only if there are that many now"},
        {"replicas", 0, FLAG_INT, &x.replicas, "How many there should be"},
        {"resource-version", 0, FLAG_STRING, &x.revision, "Only if the object has this resourceVersion"},
        {"selector", 'l', FLAG_STRING, &labels, "Labels to select by"},
        {"timeout", 0, FLAG_DURATION, &x.timeout, "How long to wait until there are that many; 0: do not wait"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &x.w, "kubectl-scale");
    if (r)
        return r;
    if (x.replicas < 0)
        return cli_fail(c, "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
    if (x.current < -1)
        return cli_fail(c, "The --current-replicas must specify an integer of -1 or greater");
    r = select_objects(c, &(struct query){.argc = argc, .argv = argv, .files = &files, .labels = labels, .all = all, .fetch = true},
                       &sel);
    if (r)
        return r;
    if (x.revision && sel.n > 1)
        return cli_fail(c, "cannot use --resource-version with multiple resources");
    if (!sel.n)
        return sel.code ? sel.code : cli_fail(c, "no objects passed to scale");
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= scale_one(c, &x, &sel.items[i]);
    return sel.code;
}

/* ---- autoscale ------------------------------------------------------------------------------------------------------ */

struct autoscaling {
    struct write w;
    const char *name, *cpu, *memory;
    int64_t min, max, cpu_percent;
    bool save;
};

/* "80%" of the request, or a quantity on average. */
static void add_metric(struct cli *c, struct val *spec, const char *resource, const char *target)
{
    struct arena *a = &c->a;
    int64_t percent;
    struct str text = str_of(target);
    bool is_percent = str_ends(text, STR("%"));
    bool number = str_to_i64(is_percent ? str_slice(text, 0, text.n - 1) : text, &percent) == 0;
    struct val *metric = val_add_obj(a, val_sub_list(a, spec, N_metrics));
    val_set_str(a, metric, N_type, STR("Resource"));
    struct val *res = val_sub_obj(a, metric, N_resource);
    val_set_str(a, res, N_name, str_of(resource));
    struct val *t = val_sub_obj(a, res, N_target);
    if (is_percent && number) {
        val_set_str(a, t, N_type, STR("Utilization"));
        val_set_int(a, t, N_averageUtilization, percent);
    } else {
        val_set_str(a, t, N_type, STR("AverageValue"));
        val_set_str(a, t, N_averageValue, text);
    }
}

static int autoscale_one(struct cli *c, struct autoscaling *x, const struct info *i)
{
    struct arena *a = &c->a;
    const struct kind *k = kind_at(c, RES_HORIZONTALPODAUTOSCALERS);
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_kind, k->kind);
    val_set_str(a, v, N_apiVersion, k->api_version);
    struct val *meta = val_sub_obj(a, v, N_metadata);
    val_set_str(a, meta, N_name, x->name ? str_of(x->name) : i->name);
    if (!str_eq(i->ns, c->ns))
        val_set_str(a, meta, N_namespace, i->ns);
    struct val *spec = val_sub_obj(a, v, N_spec), *target = val_sub_obj(a, spec, N_scaleTargetRef);
    val_set_str(a, target, N_kind, i->kind->kind);
    val_set_str(a, target, N_name, i->name);
    val_set_str(a, target, N_apiVersion, i->kind->api_version);
    if (x->min > 0)
        val_set_int(a, spec, N_minReplicas, x->min);
    val_set_int(a, spec, N_maxReplicas, x->max);
    if (x->cpu_percent >= 0)
        add_metric(c, spec, "cpu", cli_printf(c, "%lld%%", (long long)x->cpu_percent).p);
    if (x->cpu)
        add_metric(c, spec, "cpu", x->cpu);
    if (x->memory)
        add_metric(c, spec, "memory", x->memory);
    return write_object_create(c, &x->w, k, k->type, v, x->save, "autoscaled");
}

int cmd_autoscale(struct cli *c, int argc, char **argv)
{
    struct autoscaling x = {.w = WRITE_INIT, .min = -1, .max = -1, .cpu_percent = -1};
    struct file_flags files = {0};
    struct selection sel;
    struct flag flags[] = {
        WRITE_FLAGS(&x.w),
        FILE_FLAGS(&files, "that name the workload"),
        {"cpu", 0, FLAG_STRING, &x.cpu, "CPU to aim for: 80% of the request, or 500m on average"},
        {"cpu-percent", 0, FLAG_INT, &x.cpu_percent, "CPU to aim for, in percent of the request (use --cpu)"},
        {"max", 0, FLAG_INT, &x.max, "Most pods"},
        {"memory", 0, FLAG_STRING, &x.memory, "Memory to aim for: 60% of the request, or 200Mi on average"},
        {"min", 0, FLAG_INT, &x.min, "Fewest pods"},
        {"name", 0, FLAG_STRING, &x.name, "Name of the autoscaler; the workload's unless given"},
        {"save-config", 0, FLAG_BOOL, &x.save, "Keep the configuration in an annotation, for a later apply"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &x.w, "kubectl-autoscale");
    if (r)
        return r;
    if (x.cpu_percent >= 0)
        cli_note(c, "Flag --cpu-percent has been deprecated, Use --cpu with percentage or resource quantity format (e.g., '70%%' for "
                    "utilization or '500m' for milliCPU).");
    if (x.max == -1)
        return cli_fail(c, "required flag(s) \"max\" not set");
    if (x.max < 1)
        return cli_fail(c, "--max=MAXPODS is required and must be at least 1, max: %lld", (long long)x.max);
    if (x.max < x.min)
        return cli_fail(c, "--max=MAXPODS must be larger or equal to --min=MINPODS, max: %lld, min: %lld", (long long)x.max,
                        (long long)x.min);
    r = select_objects(c, &(struct query){.argc = argc, .argv = argv, .files = &files, .fetch = true}, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= autoscale_one(c, &x, &sel.items[i]);
    if (!sel.n && !sel.code)
        return cli_fail(c, "no objects passed to autoscale");
    return sel.code;
}
