/* SPDX-License-Identifier: Apache-2.0 */
#include "client/serving.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "auth/x509.h"
#include "base/log.h"
#include "base/os.h"
#include "client/delegate.h"
#include "client/zpages.h"
#include "net/http.h"

#define PLAIN "text/plain; charset=utf-8"
#define METRICS "text/plain; version=0.0.4; charset=utf-8"

enum { FILE_MAX = 1 << 20 };

struct serving {
    struct serving_config config;
    struct arena arena;
    struct delegate delegate;
    struct tls_server *tls;
    struct http_server *http;
    const struct flag_text *flags;
    struct mono started;
};

/* ---- pages --------------------------------------------------------------------------------------------- */

static const char *const health_pages[] = {"/healthz", "/livez", "/readyz", NULL};

static bool under(struct str path, const char *page)
{
    return str_starts(path, str_of(page)) && (path.n == strlen(page) || path.p[strlen(page)] == '/');
}

static bool is_health(struct str path)
{
    for (size_t i = 0; health_pages[i]; i++)
        if (under(path, health_pages[i]))
            return true;
    return false;
}

/* "/x" is that page; with a star at the end, what is below it. */
static bool is_open(const struct serving *s, struct str path)
{
    const struct flag_list *l = &s->config.flags->open;
    if (!l->n)
        return is_health(path);
    for (size_t i = 0; i < l->n; i++) {
        struct str page = str_of(l->items[i]);
        bool below = page.n > 1 && page.p[page.n - 1] == '*';
        if (below ? str_starts(path, str_n(page.p, page.n - 1)) : str_eq(path, page))
            return true;
    }
    return false;
}

static bool allowed(struct serving *s, struct http_exchange *x)
{
    static const char *const verbs[][2] = {{"GET", "get"}, {"PUT", "put"}, {"POST", "post"}, {"HEAD", "head"}, {"DELETE", "delete"}, {"PATCH", "patch"}};
    struct delegate_user u = {0};
    const char *verb = "get";
    if (is_open(s, x->path))
        return true;
    if (!delegate_who(&s->delegate, x, &u)) {
        http_respond(x, 401, PLAIN, STR("Unauthorized"));
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (str_is(x->method, verbs[i][0]))
            verb = verbs[i][1];
    int r = delegate_may_path(&s->delegate, &x->arena, &u, verb, x->path);
    if (r > 0)
        return true;
    if (r < 0)
        http_respond(x, 500, PLAIN, STR("Internal Server Error: the API server cannot be asked"));
    else
        http_respond(x, 403, PLAIN, arena_printf(&x->arena, "forbidden: User \"" STR_FMT "\" cannot %s path \"" STR_FMT "\"", STR_ARG(u.name), verb,
                                                 STR_ARG(x->path)));
    return false;
}

static void put_slis(struct buf *b)
{
    buf_puts(b, "# HELP kubernetes_healthcheck [STABLE] What a health check said last.\n# TYPE kubernetes_healthcheck gauge\n"
                "kubernetes_healthcheck{name=\"ping\",type=\"healthz\"} 1\n");
}

static void handle(void *ctx, struct http_exchange *x)
{
    static const char *const paths[] = {"/debug", "/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", NULL};
    struct serving *s = ctx;
    struct zpages z = {.component = s->config.name, .flags = s->flags, .started = s->started, .paths = paths};
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (!allowed(s, x) || zpages_answer(&z, x))
        return;
    if (is_health(x->path)) {
        http_respond(x, 200, PLAIN, STR("ok"));
    } else if (str_is(x->path, "/metrics")) {
        process_metrics(s->started, &b);
        http_respond(x, 200, METRICS, buf_str(&b));
    } else if (str_is(x->path, "/metrics/slis")) {
        put_slis(&b);
        http_respond(x, 200, METRICS, buf_str(&b));
    } else {
        http_respond(x, 404, PLAIN, STR("404 page not found\n"));
    }
}

/* ---- TLS ----------------------------------------------------------------------------------------------- */

int serving_certificate(const char *cn, const char *const *ips, struct buf *cert_pem, struct buf *key_pem, struct err *e)
{
    const char *dns[] = {cn, "localhost", NULL};
    struct x509_key *key = NULL;
    struct x509_cert *cert = NULL;
    struct wall now = os_wall();
    struct x509_spec spec = {
        .names = {.cn = cn, .dns = dns, .ips = ips},
        .usages = X509_SERVER_AUTH | X509_DIGITAL_SIGNATURE | X509_KEY_ENCIPHERMENT,
        .not_before = {now.ns - SECONDS(3600)},
        .not_after = {now.ns + SECONDS(365 * 86400)},
    };
    int r = x509_key_generate(&key);
    if (r == 0)
        r = x509_issue(&spec, key, NULL, NULL, &cert, e);
    if (r == 0) {
        x509_cert_pem(cert, cert_pem);
        x509_key_pem(key, key_pem);
    }
    x509_cert_unref(cert);
    x509_key_unref(key);
    return r;
}

static int read_file(struct arena *a, const char *path, struct str *ret, struct err *e)
{
    int r = os_read_file(a, path, FILE_MAX, ret);
    return r < 0 ? err_set(e, r, "%s: %s", path, strerror(-r)) : 0;
}

static int make_tls(struct serving *s, struct err *e)
{
    const struct serving_flags *f = s->config.flags;
    CLEANUP_BUF struct buf cert = BUF_INIT;
    CLEANUP_BUF struct buf key = BUF_INIT;
    struct tls_keypair pair = {STR_NULL, STR_NULL};
    struct tls_server_config c = {.keys = &pair, .n_keys = 1, .client_auth = f->client_ca ? TLS_CLIENT_REQUEST : TLS_CLIENT_NONE};
    static const char *const ips[] = {"127.0.0.1", "::1", NULL};
    int r = 0;
    if (f->cert && f->key) {
        r = read_file(&s->arena, f->cert, &pair.cert_pem, e);
        if (r == 0)
            r = read_file(&s->arena, f->key, &pair.key_pem, e);
    } else {
        r = serving_certificate(s->config.name, ips, &cert, &key, e);
        pair = (struct tls_keypair){buf_str(&cert), buf_str(&key)};
    }
    if (r == 0 && f->client_ca)
        r = read_file(&s->arena, f->client_ca, &c.client_ca, e);
    return r < 0 ? r : tls_server_new(&c, &s->tls, e);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static bool asked_for(const struct flag *table)
{
    for (const struct flag *f = table; f && f->name; f++)
        if (!strcmp(f->name, "secure-port"))
            return f->given;
    return true;
}

int serving_start(const struct serving_config *c, struct serving **ret, struct err *e)
{
    struct serving *s = NEW(struct serving);
    char address[128];
    *ret = NULL;
    s->config = *c;
    s->started = os_mono();
    s->delegate = (struct delegate){.client = c->client, .tokens = true, .anonymous = true};
    s->flags = c->table ? zpages_flags(&s->arena, c->table) : NULL;
    if (c->flags->port < 0 || c->flags->port > 65535) {
        serving_stop(s);
        return err_set(e, -EINVAL, "--secure-port: %lld is no port", (long long)c->flags->port);
    }
    if (!c->flags->port && !c->listen) {
        serving_stop(s);
        return 0;
    }
    int r = make_tls(s, e);
    if (r == 0) {
        snprintf(address, sizeof(address), strchr(c->flags->bind, ':') ? "[%s]:%d" : "%s:%d", c->flags->bind, (int)c->flags->port);
        s->http = http_server_new(&(struct http_server_config){.handler = handle, .ctx = s, .tls = s->tls});
        r = http_server_listen(s->http, c->listen ? c->listen : address, e);
    }
    if (r == -EADDRINUSE && !asked_for(c->table)) {
        log_warn(c->name, "health and metrics are not served: %s", err_text(e, r));
        serving_stop(s);
        return 0;
    }
    if (r < 0) {
        serving_stop(s);
        return r;
    }
    *ret = s;
    return 0;
}

int serving_address(const struct serving *s, char *ret, size_t size)
{
    return http_server_address(s->http, ret, size);
}

void serving_stop(struct serving *s)
{
    if (!s)
        return;
    if (s->http) {
        http_server_stop(s->http, mono_add(os_mono(), SECONDS(1)));
        http_server_free(s->http);
    }
    if (s->tls)
        tls_server_unref(s->tls);
    delegate_done(&s->delegate);
    arena_done(&s->arena);
    free(s);
}

/* ---- metrics of the process ---------------------------------------------------------------------------- */

static void put(struct buf *b, const char *name, const char *type, const char *help, double v)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name, v);
}

static double open_files(struct arena *a)
{
    char **names;
    double n = -1; /* the folder itself */
    if (os_list_dir(a, "/proc/self/fd", &names) < 0)
        return 0;
    while (*names++)
        n++;
    return n;
}

void process_metrics(struct mono started, struct buf *b)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct rusage use;
    struct rlimit files;
    struct str statm;
    long long pages = 0, resident = 0;
    if (os_read_file(&a, "/proc/self/statm", 4096, &statm) == 0)
        sscanf(statm.p, "%lld %lld", &pages, &resident);
    getrusage(RUSAGE_SELF, &use);
    getrlimit(RLIMIT_NOFILE, &files);
    put(b, "process_cpu_seconds_total", "counter", "Processor time, of user and system.",
        (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
    put(b, "process_max_fds", "gauge", "Descriptors that there may be.", (double)files.rlim_cur);
    put(b, "process_open_fds", "gauge", "Descriptors that are open.", open_files(&a));
    put(b, "process_resident_memory_bytes", "gauge", "Memory in use.", (double)(resident * sysconf(_SC_PAGESIZE)));
    put(b, "process_virtual_memory_bytes", "gauge", "Address space in use.", (double)(pages * sysconf(_SC_PAGESIZE)));
    put(b, "process_start_time_seconds", "gauge", "When the process began.", (double)(os_wall().ns - (os_mono().ns - started.ns)) / (double)NSEC_PER_SEC);
    buf_puts(b, "# HELP kubernetes_build_info What was built.\n# TYPE kubernetes_build_info gauge\n"
                "kubernetes_build_info{build_date=\"1970-01-01T00:00:00Z\",compiler=\"" __VERSION__ "\",git_commit=\"cube-" CUBE_VERSION
                "\",git_tree_state=\"clean\",git_version=\"v1.37.2+cube\",go_version=\"none\",major=\"1\",minor=\"37\",platform=\"linux/amd64\"} 1\n"
                "# HELP version_info Version of the program and what it behaves as.\n# TYPE version_info gauge\n"
                "version_info{binary=\"1.37.2\",component=\"kube\",emulation=\"1.37\",min_compat=\"1.36\"} 1\n");
}
