/* SPDX-License-Identifier: Apache-2.0 */
/* cordon, uncordon, drain. */
#include "cli/commands.h"
#include "cli/printer.h"
#include "cli/request.h"
#include "cli/select.h"

#include "base/fiber.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/selector.h"

struct drain {
    struct cli *c;
    struct printer printer; /* its kind is none: "node/x drained" */
    const char *labels, *pod_labels, *dry;
    bool force, ignore_daemonsets, delete_local, no_eviction;
    int64_t grace, timeout, skip_after;
    int dry_run;
    struct selection nodes;
    struct mono deadline;
};

static void say_did(struct drain *d, const struct val *v, const char *did)
{
    printer_put(d->c, &d->printer, NULL, v, dry_run_word(d->c, did, d->dry_run));
    cli_flush(d->c);
}

/* ---- the nodes ---------------------------------------------------------------------------------------------------------- */

static int select_nodes(struct drain *d, int argc, char **argv)
{
    static char nodes[] = "nodes";
    struct cli *c = d->c;
    bool labels = d->labels && d->labels[0];
    if (argc < 2 && !d->labels)
        return cli_usage(c, "USAGE: %s NODE [flags]", c->command->name);
    if (argc > 1 && labels)
        return cli_usage(c, "cannot specify both a node name and a --selector option");
    char **args = ARENA_ARRAY(&c->a, char *, (size_t)argc + 2);
    args[1] = nodes;
    for (int i = 1; i < argc; i++)
        args[i + 1] = argv[i];
    struct query q = {.argc = argc + 1, .argv = args, .labels = d->labels, .fetch = true, .list_types = labels};
    int r = select_objects(c, &q, &d->nodes);
    return r ? r : d->nodes.code;
}

static int set_unschedulable(struct drain *d, const struct info *i, bool desired)
{
    struct cli *c = d->c;
    struct status s;
    if (val_bool(val_at(i->v, N_spec, N_unschedulable), false) == desired) {
        say_did(d, i->v, desired ? "already cordoned" : "already uncordoned");
        return 0;
    }
    struct str patch = desired ? STR("{\"spec\":{\"unschedulable\":true}}") : STR("{\"spec\":{\"unschedulable\":null}}");
    if (d->dry_run != DRY_CLIENT &&
        request_patch(c, i->kind, STR(""), i->name, NULL, query_write(c, NULL, d->dry_run == DRY_SERVER, NULL),
                      PATCH_STRATEGIC, patch, NULL, &s)) {
        cli_note(c, "error: unable to %s node \"" STR_FMT "\": " STR_FMT, desired ? "cordon" : "uncordon", STR_ARG(i->name),
                 STR_ARG(s.message));
        return 1;
    }
    say_did(d, i->v, desired ? "cordoned" : "uncordoned");
    return 0;
}

static int set_all(struct drain *d, bool desired)
{
    int code = 0;
    for (size_t i = 0; i < d->nodes.n; i++)
        code |= set_unschedulable(d, &d->nodes.items[i], desired);
    return code;
}

static int cordon(struct cli *c, int argc, char **argv, bool desired)
{
    struct drain d = {.c = c};
    struct flag flags[] = {
        DRY_RUN_FLAG(&d.dry),
        {"selector", 'l', FLAG_STRING, &d.labels, "Labels of the nodes"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = dry_run_parse(c, d.dry, &d.dry_run);
    if (r == 0)
        r = select_nodes(&d, argc, argv);
    return r ? r : set_all(&d, desired);
}

int cmd_cordon(struct cli *c, int argc, char **argv)
{
    return cordon(c, argc, argv, true);
}

int cmd_uncordon(struct cli *c, int argc, char **argv)
{
    return cordon(c, argc, argv, false);
}

/* ---- which pods go ------------------------------------------------------------------------------------------------------- */

enum verdict_kind { STAYS, GOES, REFUSED };

struct verdict {
    enum verdict_kind kind;
    struct str text; /* what is warned of, or why not; empty: nothing */
};

static bool is_over(const struct val *pod)
{
    struct str phase = val_str(val_at(pod, N_status, N_phase));
    return str_is(phase, "Succeeded") || str_is(phase, "Failed");
}

static bool has_local_data(const struct val *pod)
{
    VAL_EACH(val_at(pod, N_spec, N_volumes), v)
    {
        if (val_get(v, N_emptyDir))
            return true;
    }
    return false;
}

static bool deleted_long_ago(const struct drain *d, const struct val *pod)
{
    const struct val *t = val_get(obj_meta(pod), N_deletionTimestamp);
    return d->skip_after > 0 && t && os_wall().ns - val_time(t).ns > SECONDS(d->skip_after);
}

/* NULL, or what is the matter with the DaemonSet that owns the pod. */
static struct verdict judge_daemon(struct drain *d, const struct val *pod, const struct val *owner)
{
    struct status s;
    struct cli *c = d->c;
    if (request_get(c, kind_at(c, RES_DAEMONSETS), obj_namespace(pod), val_getstr(owner, N_name), NULL, NULL, &s)) {
        bool orphan = refused_as(&s, "NotFound") && d->force;
        return (struct verdict){orphan ? GOES : REFUSED, s.message};
    }
    if (!d->ignore_daemonsets)
        return (struct verdict){REFUSED, STR("DaemonSet-managed Pods (use --ignore-daemonsets to ignore)")};
    return (struct verdict){STAYS, STR("ignoring DaemonSet-managed Pods")};
}

static struct verdict judge(struct drain *d, const struct val *pod)
{
    const struct val *owner = obj_controller(pod);
    bool daemon = owner && str_is(val_getstr(owner, N_kind), "DaemonSet") && str_is(val_getstr(owner, N_apiVersion), "apps/v1");
    if (deleted_long_ago(d, pod))
        return (struct verdict){STAYS, STR_NULL};
    if (daemon && !is_over(pod)) {
        struct verdict v = judge_daemon(d, pod, owner);
        if (v.kind != GOES)
            return v;
    }
    if (val_key(val_get(obj_meta(pod), N_annotations), STR("kubernetes.io/config.mirror")))
        return (struct verdict){STAYS, STR_NULL};
    if (is_over(pod))
        return (struct verdict){GOES, STR_NULL};
    if (has_local_data(pod) && !d->delete_local)
        return (struct verdict){REFUSED, STR("Pods with local storage (use --delete-emptydir-data to override)")};
    if (owner)
        return (struct verdict){GOES, STR_NULL};
    if (d->force)
        return (struct verdict){GOES, STR("deleting Pods that declare no controller")};
    return (struct verdict){REFUSED, STR("Pods that declare no controller (use --force to override)")};
}

/* Texts, each with the pods it is said of. */
struct remark {
    struct str text;
    struct buf pods;
};

struct remarks {
    struct remark items[8];
    size_t n;
};

static void remark(struct remarks *r, struct str text, const struct val *pod)
{
    size_t i = 0;
    while (i < r->n && !str_eq(r->items[i].text, text))
        i++;
    if (i == ARRAY_SIZE(r->items))
        return;
    if (i == r->n)
        r->items[r->n++] = (struct remark){.text = text};
    struct buf *b = &r->items[i].pods;
    buf_printf(b, "%s" STR_FMT "/" STR_FMT, b->n ? ", " : "", STR_ARG(obj_namespace(pod)), STR_ARG(obj_name(pod)));
}

/* "cannot delete A: x, y" or "[cannot delete A: x, cannot delete B: y]" */
static struct str remarks_text(struct cli *c, struct remarks *r, const char *before, const char *between, bool brackets)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < r->n; i++) {
        buf_printf(&b, "%s%s" STR_FMT ": " STR_FMT, i ? between : "", before, STR_ARG(r->items[i].text),
                   STR_ARG(buf_str(&r->items[i].pods)));
        buf_done(&r->items[i].pods);
    }
    if (brackets && r->n > 1)
        return cli_printf(c, "[" STR_FMT "]", STR_ARG(buf_str(&b)));
    return arena_str(&c->a, buf_str(&b));
}

/* The pods of the node that go, as a LIST of MAPs. 0, or 1 with the reason in *ret_why. */
static int pods_to_go(struct drain *d, struct str node, struct val **ret, struct str *ret_why)
{
    struct cli *c = d->c;
    struct status s;
    struct val *list, *pods = val_new(&c->a, VAL_LIST);
    struct remarks *warned = ARENA_NEW(&c->a, struct remarks), *refused = ARENA_NEW(&c->a, struct remarks);
    struct str query = query_with(c, STR_NULL, "fieldSelector", cli_printf(c, "spec.nodeName=" STR_FMT, STR_ARG(node)));
    query = query_with(c, query, "labelSelector", str_of(d->pod_labels));
    if (request_list(c, kind_at(c, RES_PODS), STR(""), query, &list, &s)) {
        *ret_why = s.message;
        return 1;
    }
    VAL_EACH(val_get(list, N_items), pod)
    {
        struct verdict v = judge(d, pod);
        if (v.text.n)
            remark(v.kind == REFUSED ? refused : warned, v.text, pod);
        if (v.kind == GOES)
            val_add(&c->a, pods, *pod);
    }
    *ret = pods;
    *ret_why = remarks_text(c, refused, "cannot delete ", ", ", true);
    struct str warning = remarks_text(c, warned, "", "; ", false);
    if (!ret_why->n && warning.n)
        cli_warn(c, warning);
    return ret_why->n > 0;
}

/* ---- getting rid of one ---------------------------------------------------------------------------------------------------- */

struct departure {
    struct drain *d;
    const struct val *pod;
    struct str failed; /* why; empty: it is gone */
};

static struct str timeout_text(struct drain *d)
{
    char text[TIME_TEXT_MAX];
    return arena_str(&d->c->a, str_of(duration_format(d->timeout, text)));
}

static bool out_of_time(const struct drain *d)
{
    return d->timeout > 0 && os_mono().ns >= d->deadline.ns;
}

static struct str delete_options(struct drain *d)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_putc(&b, '{');
    if (d->grace >= 0)
        buf_printf(&b, "\"gracePeriodSeconds\":%lld", (long long)d->grace);
    if (d->dry_run == DRY_SERVER)
        buf_printf(&b, "%s\"dryRun\":[\"All\"]", b.n > 1 ? "," : "");
    buf_putc(&b, '}');
    return arena_str(&d->c->a, buf_str(&b));
}

static void say_pod(struct departure *x, const char *did)
{
    struct cli *c = x->d->c;
    cli_print(c, "pod/" STR_FMT " %s\n", STR_ARG(obj_name(x->pod)), did);
    cli_flush(c);
}

static void wait_gone(struct departure *x, bool evicted)
{
    struct drain *d = x->d;
    struct cli *c = d->c;
    struct str ns = obj_namespace(x->pod), name = obj_name(x->pod);
    for (;;) {
        struct status s;
        struct val *now = NULL;
        int code = request_get(c, kind_at(c, RES_PODS), ns, name, NULL, &now, &s);
        if (refused_as(&s, "NotFound") || (!code && !str_eq(obj_uid(now), obj_uid(x->pod)))) {
            say_pod(x, evicted ? "evicted" : "deleted");
            return;
        }
        if (code) {
            say_pod(x, evicted ? "eviction failed" : "deletion failed");
            x->failed = s.message;
        } else if (deleted_long_ago(d, now)) {
            cli_print(c, "pod \"" STR_FMT "\" has DeletionTimestamp older than %lld seconds, skipping\n", STR_ARG(name),
                      (long long)d->skip_after);
            return;
        } else if (out_of_time(d)) {
            x->failed = cli_printf(c, "global timeout reached: " STR_FMT, STR_ARG(timeout_text(d)));
        }
        if (x->failed.n) {
            x->failed = cli_printf(c, "error when waiting for pod \"" STR_FMT "\" in namespace \"" STR_FMT "\" to terminate: " STR_FMT,
                                   STR_ARG(name), STR_ARG(ns), STR_ARG(x->failed));
            return;
        }
        fiber_sleep(SECONDS(1));
    }
}

/* Its namespace is about to go: the server refuses evictions there, the pod goes all the same. */
static bool is_namespace_going(const struct status *s)
{
    static const char words[] = "being terminated";
    return refused_as(s, "Forbidden") && memmem(s->message.p, s->message.n, words, strlen(words));
}

enum { EVICTED, AGAIN, OVER };

static int try_eviction(struct departure *x)
{
    struct drain *d = x->d;
    struct cli *c = d->c;
    struct status s;
    struct str ns = obj_namespace(x->pod), name = obj_name(x->pod);
    struct str body = cli_printf(c, "{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"" STR_FMT
                                    "\",\"namespace\":\"" STR_FMT "\"},\"deleteOptions\":" STR_FMT "}", STR_ARG(name),
                                 STR_ARG(ns), STR_ARG(delete_options(d)));
    cli_print(c, "evicting pod " STR_FMT "/" STR_FMT "%s\n", STR_ARG(ns), STR_ARG(name),
              d->dry_run == DRY_SERVER ? " (server dry run)" : "");
    cli_flush(c);
    if (out_of_time(d)) {
        x->failed = cli_printf(c, "error when evicting pods/\"" STR_FMT "\" -n \"" STR_FMT "\": global timeout reached: " STR_FMT,
                               STR_ARG(name), STR_ARG(ns), STR_ARG(timeout_text(d)));
        return OVER;
    }
    if (!request_create(c, kind_at(c, RES_PODS), ns, name, "eviction", STR_NULL, body, NULL, &s))
        return EVICTED;
    if (refused_as(&s, "NotFound"))
        return OVER;
    if (is_namespace_going(&s) && obj_deleting(x->pod))
        return EVICTED;
    if (s.code == 429 || is_namespace_going(&s)) {
        cli_note(c, "error when evicting pods/\"" STR_FMT "\" -n \"" STR_FMT "\" (will retry after 5s): " STR_FMT, STR_ARG(name),
                 STR_ARG(ns), STR_ARG(s.message));
        return AGAIN;
    }
    x->failed = cli_printf(c, "error when evicting pods/\"" STR_FMT "\" -n \"" STR_FMT "\": " STR_FMT, STR_ARG(name), STR_ARG(ns),
                           STR_ARG(s.message));
    return OVER;
}

static void evict(void *arg)
{
    struct departure *x = arg;
    struct cli *c = x->d->c;
    int r;
    while ((r = try_eviction(x)) == AGAIN) {
        struct status s;
        struct val *now = NULL;
        fiber_sleep(SECONDS(5));
        if (!request_get(c, kind_at(c, RES_PODS), obj_namespace(x->pod), obj_name(x->pod), NULL, &now, &s))
            x->pod = now;
    }
    if (r == EVICTED && x->d->dry_run == DRY_NONE)
        wait_gone(x, true);
}

static void delete_pod(void *arg)
{
    struct departure *x = arg;
    struct drain *d = x->d;
    struct status s;
    if (request_delete(d->c, kind_at(d->c, RES_PODS), obj_namespace(x->pod), obj_name(x->pod), delete_options(d), NULL, &s) &&
        !refused_as(&s, "NotFound"))
        x->failed = s.message;
    else if (d->dry_run == DRY_NONE)
        wait_gone(x, false);
}

/* ---- a whole node ----------------------------------------------------------------------------------------------------------- */

static struct str failures(struct cli *c, const struct departure *all, size_t n)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (all[i].failed.n)
            buf_printf(&b, "%s" STR_FMT, count++ ? ", " : "", STR_ARG(all[i].failed));
    return count > 1 ? cli_printf(c, "[" STR_FMT "]", STR_ARG(buf_str(&b))) : arena_str(&c->a, buf_str(&b));
}

static void say_pending(struct drain *d, struct str node, struct str why)
{
    struct str more;
    struct val *left = NULL;
    if (pods_to_go(d, node, &left, &more) || !val_len(left))
        return;
    cli_note(d->c, "There are pending pods in node \"" STR_FMT "\" when an error occurred: " STR_FMT, STR_ARG(node), STR_ARG(why));
    VAL_EACH(left, pod)
    {
        cli_note(d->c, "pod/" STR_FMT, STR_ARG(obj_name(pod)));
    }
}

/* 0, or 1 with the reason. */
static int drain_node(struct drain *d, const struct info *i, struct str *ret_why)
{
    struct cli *c = d->c;
    struct val *pods = NULL;
    struct group g = {.n = 0};
    size_t n = 0;
    if (pods_to_go(d, i->name, &pods, ret_why))
        return 1;
    struct departure *all = ARENA_ARRAY(&c->a, struct departure, val_len(pods) + 1);
    VAL_EACH(pods, pod)
    {
        if (d->dry_run == DRY_CLIENT) {
            cli_print(c, "evicting pod " STR_FMT "/" STR_FMT " (dry run)\n", STR_ARG(obj_namespace(pod)), STR_ARG(obj_name(pod)));
            continue;
        }
        all[n] = (struct departure){.d = d, .pod = pod};
        group_spawn(&g, "drain", d->no_eviction ? delete_pod : evict, &all[n++]);
    }
    group_wait(&g, MONO_NEVER);
    *ret_why = failures(c, all, n);
    if (ret_why->n)
        say_pending(d, i->name, *ret_why);
    return ret_why->n > 0;
}

static int drain_all(struct drain *d)
{
    struct cli *c = d->c;
    struct buf pending CLEANUP_BUF = BUF_INIT, reasons CLEANUP_BUF = BUF_INIT;
    set_all(d, true);
    for (size_t i = 0; i < d->nodes.n; i++) {
        struct str why;
        const struct info *node = &d->nodes.items[i];
        d->deadline = mono_add(os_mono(), d->timeout);
        if (drain_node(d, node, &why) == 0) {
            say_did(d, node->v, "drained");
            continue;
        }
        cli_note(c, "error: unable to drain node \"" STR_FMT "\" due to error: " STR_FMT ", continuing command...", STR_ARG(node->name),
                 STR_ARG(why));
        buf_printf(&pending, "\n " STR_FMT, STR_ARG(node->name));
        buf_printf(&reasons, "%s" STR_FMT, reasons.n ? "\n" : "", STR_ARG(why));
    }
    if (!pending.n)
        return 0;
    cli_note(c, "There are pending nodes to be drained:" STR_FMT, STR_ARG(buf_str(&pending)));
    cli_note(c, STR_FMT, STR_ARG(buf_str(&reasons)));
    return 1;
}

int cmd_drain(struct cli *c, int argc, char **argv)
{
    struct drain d = {.c = c, .grace = -1};
    struct selector parsed;
    struct err e = {0};
    struct flag flags[] = {
        DRY_RUN_FLAG(&d.dry),
        {"chunk-size", 0, FLAG_IGNORED, NULL, NULL},
        {"delete-emptydir-data", 0, FLAG_BOOL, &d.delete_local, "Also pods with emptyDir volumes, whose data goes with them"},
        {"disable-eviction", 0, FLAG_BOOL, &d.no_eviction, "Delete instead of evicting: disruption budgets do not count"},
        {"force", 0, FLAG_BOOL, &d.force, "Also pods that nothing will make anew elsewhere"},
        {"grace-period", 0, FLAG_INT, &d.grace, "Seconds for the pods to end in; negative: as each pod says"},
        {"ignore-daemonsets", 0, FLAG_BOOL, &d.ignore_daemonsets, "Leave pods of DaemonSets where they are"},
        {"pod-selector", 0, FLAG_STRING, &d.pod_labels, "Labels of the pods"},
        {"selector", 'l', FLAG_STRING, &d.labels, "Labels of the nodes"},
        {"skip-wait-for-delete-timeout", 0, FLAG_INT, &d.skip_after, "Do not wait for pods deleted longer ago than these seconds"},
        {"timeout", 0, FLAG_DURATION, &d.timeout, "How long to try; 0: without end"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = dry_run_parse(c, d.dry, &d.dry_run);
    if (r)
        return r;
    if (d.pod_labels && selector_parse(&c->a, str_of(d.pod_labels), &parsed, &e) < 0)
        return cli_fail(c, "--pod-selector=<pod_selector> must be a valid label selector");
    r = select_nodes(&d, argc, argv);
    return r ? r : drain_all(&d);
}
