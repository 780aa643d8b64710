/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/logs.h"
#include "cli/pods.h"
#include "cli/request.h"
#include "cli/select.h"

#include "base/fiber.h"
#include "base/os.h"
#include "names.h"
#include "net/url.h"
#include "resources.h"
#include "type/meta.h"

struct log_source {
    struct str ns, pod, container;
};

struct logs {
    struct log_flags f;
    const char *labels;
    bool all_containers, all_pods;
    int64_t max_requests;
    struct log_source *sources;
    size_t n;
};

/* ---- one log ---------------------------------------------------------------------------------------------------- */

static void add_number(struct buf *q, const char *key, int64_t n)
{
    struct buf text CLEANUP_BUF = BUF_INIT;
    buf_printf(&text, "%lld", (long long)n);
    query_add(q, key, buf_str(&text));
}

static struct str make_query(struct cli *c, const struct log_flags *f, struct str container)
{
    struct buf q CLEANUP_BUF = BUF_INIT;
    query_add(&q, "container", container);
    if (f->follow)
        query_add(&q, "follow", STR("true"));
    if (f->insecure)
        query_add(&q, "insecureSkipTLSVerifyBackend", STR("true"));
    if (f->limit_bytes)
        add_number(&q, "limitBytes", f->limit_bytes);
    if (f->previous)
        query_add(&q, "previous", STR("true"));
    if (f->since)
        add_number(&q, "sinceSeconds", (f->since + NSEC_PER_SEC / 2) / NSEC_PER_SEC);
    if (f->since_time)
        query_add(&q, "sinceTime", str_of(f->since_time));
    if (f->tail >= 0)
        add_number(&q, "tailLines", f->tail);
    if (f->timestamps)
        query_add(&q, "timestamps", STR("true"));
    return arena_str(&c->a, buf_str(&q));
}

static void put_line(struct cli *c, const struct log_flags *f, struct str pod, struct str container, struct str line)
{
    if (f->prefix && line.n)
        cli_print(c, "[pod/" STR_FMT "/" STR_FMT "] ", STR_ARG(pod), STR_ARG(container));
    cli_write(c, line);
}

/* Whole lines only, so that several logs do not mix within one. */
static int copy_lines(struct cli *c, const struct log_flags *f, struct http_call *call, struct str pod, struct str container)
{
    enum { PIECE = 32 << 10 };
    struct buf b CLEANUP_BUF = BUF_INIT;
    ssize_t n;
    while ((n = http_call_read(call, buf_grow(&b, PIECE), PIECE, MONO_NEVER)) > 0) {
        b.n += (size_t)n;
        size_t from = 0;
        for (const char *end; (end = memchr(b.p + from, '\n', b.n - from)) != NULL;) {
            size_t len = (size_t)(end - b.p) + 1 - from;
            put_line(c, f, pod, container, str_n(b.p + from, len));
            from += len;
        }
        buf_consume(&b, from);
        if (f->follow)
            cli_flush(c);
    }
    put_line(c, f, pod, container, buf_str(&b));
    return n < 0 ? (int)n : 0;
}

static int try_once(struct cli *c, const struct log_flags *f, const struct log_source *src, struct status *s)
{
    struct http_call *call;
    struct request r = {.path = request_path(c, kind_at(c, RES_PODS), src->ns, src->pod, "log"), .verb = "get",
                        .query = make_query(c, f, src->container), .accept = "application/json, */*",
                        .kind = kind_at(c, RES_PODS), .name = src->pod};
    int code = request_open(c, &r, &call, s);
    if (code)
        return code;
    code = copy_lines(c, f, call, src->pod, src->container);
    http_call_free(call);
    if (code < 0 && code != -EPIPE)
        s->message = cli_printf(c, "error: %s", strerror(-code));
    else if (code < 0)
        s->message = STR("error: unexpected EOF");
    return code < 0 ? (s->reason = "", s->code = REQUEST_LOST) : 0;
}

static int print_one(struct cli *c, const struct log_flags *f, const struct log_source *src)
{
    struct mono deadline = mono_add(os_mono(), f->retry);
    struct status s;
    for (;;) {
        int code = try_once(c, f, src, &s);
        if (code == 0)
            return 0;
        if (f->ignore_errors) {
            cli_print(c, "error: " STR_FMT "\n", STR_ARG(s.message));
            return 0;
        }
        /* A container that is still being made: ask again for a while. */
        if (!f->follow || code < 0 || os_mono().ns + NSEC_PER_SEC > deadline.ns)
            return cli_refused(c, &s);
        fiber_sleep(SECONDS(1));
    }
}

int logs_print(struct cli *c, const struct log_flags *f, struct str ns, struct str pod, struct str container)
{
    return print_one(c, f, &(struct log_source){ns, pod, container});
}

/* ---- which logs --------------------------------------------------------------------------------------------------- */

static void add_source(struct logs *l, const struct val *pod, const struct val *container)
{
    l->sources = xrealloc(l->sources, (l->n + 1) * sizeof(*l->sources));
    l->sources[l->n++] = (struct log_source){obj_namespace(pod), obj_name(pod), val_getstr(container, N_name)};
}

static int add_pod(struct cli *c, struct logs *l, const struct val *pod)
{
    static const name_id lists[] = {N_initContainers, N_containers, N_ephemeralContainers};
    const struct val *container;
    if (!l->all_containers) {
        int r = pod_default_container(c, pod, l->f.container, l->all_pods, &container);
        if (r == 0)
            add_source(l, pod, container);
        return r;
    }
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH(val_at(pod, N_spec, lists[i]), v)
            add_source(l, pod, v);
    return 0;
}

static int add_selected(struct cli *c, struct logs *l)
{
    struct val *list;
    struct status s;
    struct str query = query_with(c, STR_NULL, "labelSelector", str_of(l->labels));
    int code = 0;
    if (request_list(c, kind_at(c, RES_PODS), c->ns, query, &list, &s))
        return cli_refused(c, &s);
    if (!val_len(val_get(list, N_items)))
        cli_note(c, "No resources found in " STR_FMT " namespace.", STR_ARG(c->ns));
    VAL_EACH(val_get(list, N_items), pod)
    {
        code |= add_pod(c, l, pod);
    }
    return code;
}

/* A pod that is not there is said with its namespace, which is what was mistaken mostly. */
static int find_object(struct cli *c, const char *arg, const struct kind **ret_kind, struct val **ret)
{
    struct status s;
    if (strchr(arg, '/'))
        return pod_owner(c, arg, NULL, ret_kind, ret);
    *ret_kind = kind_at(c, RES_PODS);
    int code = request_get(c, *ret_kind, c->ns, str_of(arg), NULL, ret, &s);
    if (code && refused_as(&s, "NotFound"))
        return cli_fail(c, "error from server (NotFound): " STR_FMT " in namespace \"" STR_FMT "\"", STR_ARG(s.message),
                        STR_ARG(c->ns));
    return code ? cli_refused(c, &s) : 0;
}

static int add_named(struct cli *c, struct logs *l, const char *arg)
{
    const struct kind *k;
    struct val *v, *pod;
    const struct val *const *pods;
    size_t n = 1;
    int r = find_object(c, arg, &k, &v);
    if (r)
        return r;
    if (k->res && k->res->index == RES_PODS)
        return add_pod(c, l, v);
    if (!l->all_pods) {
        r = pod_of(c, k, v, POD_LOGS, l->f.retry, "get the logs from", &pod, &n);
        if (r == 0 && n > 1)
            cli_note(c, "Found %zu pods, using pod/" STR_FMT, n, STR_ARG(obj_name(pod)));
        return r ? r : add_pod(c, l, pod);
    }
    r = pods_of(c, k, v, POD_LOGS, l->f.retry, "get the logs from", &pods, &n);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_pod(c, l, pods[i]);
    return r;
}

/* ---- the command ---------------------------------------------------------------------------------------------------- */

struct follower {
    struct cli *c;
    struct logs *l;
    const struct log_source *src;
    int *code;
};

static void follow_one(void *arg)
{
    struct follower *f = arg;
    int r = print_one(f->c, &f->l->f, f->src);
    if (r)
        *f->code = r;
}

static int follow_all(struct cli *c, struct logs *l)
{
    struct group g = {0};
    struct follower *all = ARENA_ARRAY(&c->a, struct follower, l->n);
    int code = 0;
    if ((int64_t)l->n > l->max_requests)
        return cli_fail(c, "you are attempting to follow %zu log streams, but maximum allowed concurrency is %lld, use "
                           "--max-log-requests to increase the limit", l->n, (long long)l->max_requests);
    for (size_t i = 0; i < l->n; i++) {
        all[i] = (struct follower){c, l, &l->sources[i], &code};
        group_spawn(&g, "log", follow_one, &all[i]);
    }
    group_wait(&g, MONO_NEVER);
    return code;
}

static int check(struct cli *c, const struct logs *l, int argc, bool container_given)
{
    const char *usage = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument "
                        "for the logs command";
    if (argc > 3 || (argc < 2 && !l->labels))
        return cli_usage(c, "%s", usage);
    if (argc == 2 && l->labels)
        return cli_usage(c, "only a selector (-l) or a POD name is allowed");
    if (l->f.since_time && l->f.since)
        return cli_fail(c, "at most one of `sinceTime` or `sinceSeconds` may be specified");
    if (l->all_containers && l->f.container)
        return cli_fail(c, "--all-containers=true should not be specified with container name %s", l->f.container);
    if (container_given && argc == 3)
        return cli_fail(c, "only one of -c or an inline [CONTAINER] arg is allowed");
    if (l->f.limit_bytes < 0)
        return cli_fail(c, "--limit-bytes must be greater than 0");
    if (l->f.since < 0)
        return cli_fail(c, "--since must be greater than 0");
    if (l->f.tail < -1)
        return cli_fail(c, "--tail must be greater than or equal to -1");
    return 0;
}

int cmd_logs(struct cli *c, int argc, char **argv)
{
    struct logs l = {.f = {.tail = -1, .retry = SECONDS(20)}, .max_requests = 5};
    struct flag flags[] = {
        {"all-containers", 0, FLAG_BOOL, &l.all_containers, "Of all containers of the pods"},
        {"all-pods", 0, FLAG_BOOL, &l.all_pods, "Of all pods of the workload, with --prefix"},
        {"container", 'c', FLAG_STRING, &l.f.container, "Container; the annotated or the first one unless given"},
        {"follow", 'f', FLAG_BOOL, &l.f.follow, "Go on as it grows"},
        {"ignore-errors", 0, FLAG_BOOL, &l.f.ignore_errors, "A log that cannot be read does not end the command"},
        {"insecure-skip-tls-verify-backend", 0, FLAG_BOOL, &l.f.insecure, "Do not check the kubelet's certificate"},
        {"limit-bytes", 0, FLAG_INT, &l.f.limit_bytes, "Most bytes"},
        {"max-log-requests", 0, FLAG_INT, &l.max_requests, "Most logs to follow at once"},
        {"pod-running-timeout", 0, FLAG_DURATION, &l.f.retry, "How long to wait for a pod"},
        {"prefix", 0, FLAG_BOOL, &l.f.prefix, "Each line with its pod and container"},
        {"previous", 'p', FLAG_BOOL, &l.f.previous, "Of the container's last run"},
        {"selector", 'l', FLAG_STRING, &l.labels, "Labels to select pods by"},
        {"since", 0, FLAG_DURATION, &l.f.since, "Not older than that (5s, 2m, 3h)"},
        {"since-time", 0, FLAG_STRING, &l.f.since_time, "After that time (RFC 3339)"},
        {"tail", 0, FLAG_INT, &l.f.tail, "Last lines only; 10 with a selector unless given"},
        {"timestamps", 0, FLAG_BOOL, &l.f.timestamps, "Each line with its time"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    r = check(c, &l, argc, flags_find(flags, "container")->given);
    if (r == 0)
        r = cli_namespace(c);
    if (r)
        return r;
    if (argc == 3)
        l.f.container = argv[2];
    if (l.labels && !flags_find(flags, "tail")->given)
        l.f.tail = 10;
    l.f.prefix |= l.all_pods;
    r = argc > 1 ? add_named(c, &l, argv[1]) : add_selected(c, &l);
    if (r)
        return r;
    if (l.f.follow && l.n > 1)
        return follow_all(c, &l);
    for (size_t i = 0; r == 0 && i < l.n; i++)
        r = print_one(c, &l.f, &l.sources[i]);
    return r;
}
