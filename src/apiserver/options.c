/* SPDX-License-Identifier: Apache-2.0 */
/* The command: upstream's flags of kube-apiserver, the embedded store, and an end by signal. */
#include "apiserver/options_store.h"
#include "apiserver/server.h"

#include "apiserver/options_auth.h"

#include <signal.h>
#include <stdio.h>

#include "apiserver/options_upstream.h"
#include "base/fiber.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/os.h"
#include "client/zpages.h"
#include "store/store.h"

#define NAME "kube-apiserver"
#define GRACE SECONDS(2) /* for what apiserver_wind_down has not waited for */

/* What upstream counts in other units. */
struct audit_units {
    int64_t megabytes, days;
    bool log_paced, webhook_paced;
    const char *log_version, *webhook_version, *log_format;
};

#define AUDIT_BATCH_FLAGS(of, b)                                                                                                  \
    {"audit-" of "-batch-buffer-size", 0, FLAG_INT, &(b)->buffer, "events that may wait in batch mode [10000]"},                  \
        {"audit-" of "-batch-max-size", 0, FLAG_INT, &(b)->size, "events sent at once in batch mode [400]"},                      \
        {"audit-" of "-batch-max-wait", 0, FLAG_DURATION, &(b)->wait_ns, "how long the first event of a batch waits [30s]"},      \
        {"audit-" of "-batch-throttle-qps", 0, FLAG_INT, &(b)->qps, "batches a second [10]"},                                     \
        {"audit-" of "-batch-throttle-burst", 0, FLAG_INT, &(b)->burst, "batches at once after a pause [15]"}

#define AUDIT_FLAGS(a, u)                                                                                                         \
    {"audit-policy-file", 0, FLAG_STRING, &(a)->policy, "what to note; without it metadata of requests for resources"},           \
        {"audit-log-path", 0, FLAG_STRING, &(a)->log.path, "file for the audit log, - for standard output"},                      \
        {"audit-log-maxsize", 0, FLAG_INT, &(u)->megabytes, "megabytes of the log before it is rotated; 0: never"},               \
        {"audit-log-maxbackup", 0, FLAG_INT, &(a)->log.max_backups, "rotated logs to keep; 0: all"},                              \
        {"audit-log-maxage", 0, FLAG_INT, &(u)->days, "days to keep rotated logs; 0: for ever"},                                  \
        {"audit-log-mode", 0, FLAG_STRING, &(a)->log_mode, "batch, blocking or blocking-strict [blocking]"},                      \
        {"audit-log-batch-throttle-enable", 0, FLAG_BOOL, &(u)->log_paced, "keep to the batches a second [false]", "true"},        \
        AUDIT_BATCH_FLAGS("log", &(a)->log_batching),                                                                             \
        {"audit-log-version", 0, FLAG_STRING, &(u)->log_version, "audit.k8s.io/v1"},                                              \
        {"audit-log-format", 0, FLAG_STRING, &(u)->log_format, "json"},                                                           \
        {"audit-webhook-config-file", 0, FLAG_STRING, &(a)->webhook.kubeconfig, "kubeconfig file of the webhook for events"},     \
        {"audit-webhook-mode", 0, FLAG_STRING, &(a)->webhook_mode, "batch, blocking or blocking-strict [batch]"},                 \
        {"audit-webhook-initial-backoff", 0, FLAG_DURATION, &(a)->webhook.backoff_ns, "time before the second try [10s]"},        \
        {"audit-webhook-batch-throttle-enable", 0, FLAG_BOOL, &(u)->webhook_paced, "keep to the batches a second [true]", "true"}, \
        {"audit-webhook-version", 0, FLAG_STRING, &(u)->webhook_version, "audit.k8s.io/v1"},                                      \
        AUDIT_BATCH_FLAGS("webhook", &(a)->webhook_batching)

struct options {
    struct apiserver_config config;
    const char *bind, *node_ports, *advertise;
    struct store_flags store;
    int64_t event_ttl, port, max_reads, max_writes, min_timeout;
    struct audit_units audit;
    struct upstream_options upstream;
    struct auth_options auth;
    struct flag_list on, off, service_cidr;
    bool fairness;
    char listen[128], *lists[3];
    int first_port, last_port;
    int exit_code;
};

static char *joined(const struct flag_list *l)
{
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < l->n; i++)
        buf_printf(&b, "%s%s", i ? "," : "", l->items[i]);
    return b.p;
}

static int parse_ports(struct options *o, struct err *e)
{
    int first, last;
    if (!o->node_ports)
        return 0;
    if (sscanf(o->node_ports, "%d-%d", &first, &last) != 2 || first < 1 || last > 65535 || first > last)
        return err_set(e, -EINVAL, "--service-node-port-range: \"%s\" is not a range like 30000-32767",
                       o->node_ports);
    o->config.node_port_first = first;
    o->config.node_port_last = last;
    return 0;
}

/* Only what there is may be asked for. */
static int check_audit(const struct options *o, struct err *e)
{
    const struct audit_units *u = &o->audit;
    const struct audit_config *c = &o->config.audit;
    const struct {
        const char *flag, *value, *only;
    } one_way[] = {{"audit-log-version", u->log_version, "audit.k8s.io/v1"},
                   {"audit-webhook-version", u->webhook_version, "audit.k8s.io/v1"},
                   {"audit-log-format", u->log_format, "json"}};
    for (size_t i = 0; i < ARRAY_SIZE(one_way); i++)
        if (strcmp(one_way[i].value, one_way[i].only))
            return err_set(e, -EINVAL, "--%s: \"%s\" is not there, only %s", one_way[i].flag, one_way[i].value, one_way[i].only);
    if (u->megabytes < 0 || u->megabytes > 1 << 20 || u->days < 0 || u->days > 100000 || c->log.max_backups < 0)
        return err_set(e, -EINVAL, "--audit-log-maxsize, --audit-log-maxage and --audit-log-maxbackup: expected no negative number");
    const struct audit_batching *b[] = {&c->log_batching, &c->webhook_batching};
    for (size_t i = 0; i < ARRAY_SIZE(b); i++)
        if (b[i]->buffer < 0 || b[i]->buffer > 10000000 || b[i]->size < 0 || b[i]->size > 1000000 || b[i]->wait_ns < 0 || b[i]->qps < 0 ||
            b[i]->burst < 0)
            return err_set(e, -EINVAL, "--audit-%s-batch-...: expected positive numbers", i ? "webhook" : "log");
    return 0;
}

static void finish_audit(struct options *o)
{
    struct audit_config *c = &o->config.audit;
    c->log.max_bytes = o->audit.megabytes << 20;
    c->log.max_age_ns = o->audit.days * 24 * 3600 * NSEC_PER_SEC;
    if (!o->audit.log_paced)
        c->log_batching.qps = -1;
    if (!o->audit.webhook_paced)
        c->webhook_batching.qps = -1;
}

static int check_upstream(const struct upstream_options *u, struct apiserver_config *c, struct err *e)
{
    char *end;
    double chance = strtod(u->goaway_chance, &end);
    if (*end || end == u->goaway_chance || !(chance >= 0 && chance <= 0.02))
        return err_set(e, -EINVAL, "--goaway-chance: \"%s\" is not between 0 and 0.02", u->goaway_chance);
    if (u->max_streams < 0 || u->max_streams > 100000)
        return err_set(e, -EINVAL, "--http2-max-streams-per-connection: %lld is not between 0 and 100000", (long long)u->max_streams);
    if (c->request_timeout < 0 || c->shutdown_delay < 0 || c->watch_grace < 0 || c->livez_grace < 0)
        return err_set(e, -EINVAL,
                       "--request-timeout, --shutdown-delay-duration, --shutdown-watch-termination-grace-period and --livez-grace-period: "
                       "expected no negative time");
    if (u->not_ready < 0 || u->unreachable < 0)
        return err_set(e, -EINVAL, "--default-not-ready-toleration-seconds and --default-unreachable-toleration-seconds: expected no negative number");
    c->goaway_chance = chance;
    return log_configure(&u->log, e);
}

static void finish_upstream(struct upstream_options *u, struct apiserver_config *c)
{
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < u->hsts.n; i++)
        buf_printf(&b, "%s%s", i ? "; " : "", u->hsts.items[i]);
    c->hsts = u->hsts_text = b.p;
    c->max_streams = (unsigned)u->max_streams;
    c->tolerate_not_ready = u->not_ready ? u->not_ready : -1;
    c->tolerate_unreachable = u->unreachable ? u->unreachable : -1;
}

static int check(struct options *o, struct err *e)
{
    int r = check_audit(o, e);
    if (!r)
        r = auth_options_check(&o->config, &o->auth, e);
    if (r < 0)
        return r;
    r = store_flags_check(&o->store, e);
    if (r < 0)
        return r;
    if (!o->config.tls_cert || !o->config.tls_key)
        return err_set(e, -EINVAL, "--tls-cert-file and --tls-private-key-file are needed");
    if (o->port < 0 || o->port > 65535)
        return err_set(e, -EINVAL, "--secure-port: %lld is no port", (long long)o->port);
    r = check_upstream(&o->upstream, &o->config, e);
    return r < 0 ? r : parse_ports(o, e);
}

static void finish(struct options *o, const struct flag *flags)
{
    struct apiserver_config *c = &o->config;
    bool v6 = strchr(o->bind, ':') != NULL;
    snprintf(o->listen, sizeof(o->listen), v6 ? "[%s]:%lld" : "%s:%lld", o->bind, (long long)o->port);
    c->listen = o->listen;
    finish_audit(o);
    finish_upstream(&o->upstream, c);
    c->advertise = o->advertise;
    c->admission_on = o->lists[0] = joined(&o->on);
    c->admission_off = o->lists[1] = joined(&o->off);
    c->service_cidr = o->lists[2] = joined(&o->service_cidr);
    auth_options_finish(c, &o->auth, flags);
    c->max_in_flight = (unsigned)o->max_reads;
    c->max_mutating_in_flight = (unsigned)o->max_writes;
    c->min_request_timeout = o->min_timeout;
    c->fairness_off = !o->fairness;
    c->event_ttl = o->event_ttl / NSEC_PER_SEC;
}

/* SIGHUP reads certificates again; the others end the server. */
static void wait_for_end(struct apiserver *s)
{
    int sig;
    while ((sig = os_wait_signal(MONO_NEVER)) == SIGHUP) {
        struct err e = {0};
        int r = apiserver_reload(s, &e);
        if (r < 0)
            log_error("apiserver", "certificates stay as they were: %s", err_text(&e, r));
    }
}

static void run(void *arg)
{
    struct options *o = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    struct store *store = NULL;
    struct apiserver *s = NULL;
    char address[128];
    int r = store_flags_open(&o->store, &a, &store, &e);
    o->config.store = store;
    if (r == 0)
        r = apiserver_start(&o->config, &s, &e);
    if (r == 0) {
        apiserver_address(s, address, sizeof(address));
        log_info("apiserver", "serving on %s", address);
        wait_for_end(s);
        apiserver_wind_down(s);
        apiserver_stop(s, GRACE);
    } else {
        fprintf(stderr, NAME ": %s\n", err_text(&e, r));
        o->exit_code = 1;
    }
    if (store)
        store_close(store);
}

static int parse(struct options *o, struct flag *flags, int argc, char **argv)
{
    struct err e = {0};
    int operands = 0;
    int r = flags_parse(flags, argc, argv, &operands, NULL, &e);
    if (r == FLAGS_HELP) {
        CLEANUP_BUF struct buf b = BUF_INIT;
        flags_help(flags, &b);
        printf("usage: " NAME " [flags]\n\nThe API server of a cluster.\n\n%s", b.p);
        return -1;
    }
    if (r == 0 && o->upstream.version) {
        puts(daemon_version());
        return -1;
    }
    if (r == 0 && operands)
        r = err_set(&e, -EINVAL, "unexpected argument \"%s\"", argv[1]);
    if (r == 0)
        r = check(o, &e);
    if (r < 0) {
        fprintf(stderr, NAME ": %s\n", err_text(&e, r));
        return 2;
    }
    return 0;
}

int apiserver_main(int argc, char **argv)
{
    struct options o = {.bind = "0.0.0.0", .port = 6443, .fairness = true, .auth = AUTH_OPTIONS_INIT, .max_reads = 400,
        .max_writes = 200, .min_timeout = 1800, .store.compaction = SECONDS(300),
        .audit = {.megabytes = 100, .days = 366, .webhook_paced = true, .log_version = "audit.k8s.io/v1",
                  .webhook_version = "audit.k8s.io/v1", .log_format = "json"},
        .config.audit.log.max_backups = 100, .config.request_timeout = SECONDS(60), .upstream = UPSTREAM_OPTIONS};
    struct apiserver_config *c = &o.config;
    struct flag flags[] = {
        {"bind-address", 0, FLAG_STRING, &o.bind, "address to listen on"},
        {"secure-port", 0, FLAG_INT, &o.port, "port to listen on"},
        {"advertise-address", 0, FLAG_STRING, &o.advertise, "address that the kubernetes Service leads to"},
        STORE_FLAGS(&o.store),
        {"tls-cert-file", 0, FLAG_STRING, &c->tls_cert, "serving certificate"},
        {"tls-private-key-file", 0, FLAG_STRING, &c->tls_key, "its key"},
        {"client-ca-file", 0, FLAG_STRING, &c->client_ca, "CA bundle for client certificates"},
        AUTH_FLAGS(c, &o.auth),
        {"enable-admission-plugins", 0, FLAG_STRINGS, &o.on, "admission plugins to add"},
        {"disable-admission-plugins", 0, FLAG_STRINGS, &o.off, "admission plugins to leave out"},
        {"kubelet-certificate-authority", 0, FLAG_STRING, &c->kubelet_ca,
         "CA of kubelet certificates [client-ca-file]"},
        {"kubelet-insecure-skip-tls-verify", 0, FLAG_BOOL, &c->kubelet_insecure,
         "do not verify kubelet certificates (upstream's default)", "true"},
        {"kubelet-client-certificate", 0, FLAG_STRING, &c->kubelet_cert, "certificate towards kubelets"},
        {"kubelet-client-key", 0, FLAG_STRING, &c->kubelet_key, "its key"},
        FLAG_NO_EFFECT("kubelet-preferred-address-types", "InternalIP, ExternalIP, Hostname, InternalDNS, ExternalDNS"),
        {"service-cluster-ip-range", 0, FLAG_STRINGS, &o.service_cidr,
         "range of Service addresses [10.96.0.0/12]"},
        {"service-node-port-range", 0, FLAG_STRING, &o.node_ports,
         "ports of NodePort Services [30000-32767]"},
        {"max-requests-inflight", 0, FLAG_INT, &o.max_reads, "reads worked on at once"},
        {"max-mutating-requests-inflight", 0, FLAG_INT, &o.max_writes, "writes worked on at once"},
        {"enable-priority-and-fairness", 0, FLAG_BOOL, &o.fairness, "share out concurrency by FlowSchemas [true]", "true"},
        {"min-request-timeout", 0, FLAG_INT, &o.min_timeout, "seconds a watch lasts at least"},
        AUDIT_FLAGS(&c->audit, &o.audit),
        {"encryption-provider-config", 0, FLAG_STRING, &c->encryption, "file that says what is encrypted in the store"},
        FLAG_NO_EFFECT_BOOL("encryption-provider-config-automatic-reload", "it is always read again"),
        FLAG_NO_EFFECT_BOOL("allow-privileged", "privileged pods are for PodSecurity to judge"),
        FLAG_NO_EFFECT("runtime-config", "what v1.37 serves by default is served, no more and no less"),
        {"proxy-client-cert-file", 0, FLAG_STRING, &c->proxy_client_cert, "certificate towards extension servers"},
        {"proxy-client-key-file", 0, FLAG_STRING, &c->proxy_client_key, "its key"},
        FLAG_NO_EFFECT_BOOL("enable-aggregator-routing", "extension servers are reached at an endpoint of their Service"),
        FLAG_NO_EFFECT("endpoint-reconciler-type", "leases, as upstream's default"),
        {"event-ttl", 0, FLAG_DURATION, &o.event_ttl, "how long Events are kept [1h]"},
        UPSTREAM_FLAGS(c, &o.upstream),
        {NULL},
    };
    int r = parse(&o, flags, argc, argv);
    if (r == 0) {
        finish(&o, flags);
        c->flags = zpages_flags(&o.upstream.arena, flags);
        loop_run(run, &o);
        r = o.exit_code;
    }
    for (size_t i = 0; i < ARRAY_SIZE(o.lists); i++)
        free(o.lists[i]);
    free(o.upstream.hsts_text);
    arena_done(&o.upstream.arena);
    flag_list_done(&o.upstream.hsts);
    struct flag_list *lists[] = {&o.on, &o.off, &o.service_cidr};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        flag_list_done(lists[i]);
    auth_options_done(&o.auth);
    return MAX(r, 0);
}
