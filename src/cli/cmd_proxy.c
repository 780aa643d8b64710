/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include "base/fiber.h"
#include "base/os.h"
#include "net/http.h"
#include "net/resolve.h"

#include <fcntl.h>
#include <regex.h>
#include <sys/stat.h>

struct proxy {
    struct cli *c;
    const char *www, *www_prefix, *api_prefix, *address, *socket;
    const char *accept_hosts, *accept_paths, *reject_paths, *reject_methods;
    regex_t hosts, accept, reject;
    regex_t methods;
    bool has_methods, no_filter, append_path;
    int64_t port;
};

/* ---- what is let through ------------------------------------------------------------------------------------------ */

/* One pattern of several, as Go's regular expressions with ',' between them. */
static int compile(struct cli *c, const char *list, regex_t *ret)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str rest = str_of(list), one;
    while (str_next(&rest, ',', &one))
        buf_printf(&b, "%s(" STR_FMT ")", b.n ? "|" : "", STR_ARG(one));
    if (regcomp(ret, b.n ? b.p : "()", REG_EXTENDED | REG_NOSUB))
        return cli_fail(c, "\"%s\" is no regular expression", list);
    return 0;
}

static bool matches(struct proxy *p, const regex_t *re, struct str s)
{
    return regexec(re, arena_cstr(&p->c->a, s), 0, NULL, 0) == 0;
}

static struct str host_only(struct str host)
{
    ssize_t colon = str_rfind(host, ':');
    if (str_starts(host, STR("[")))
        return str_slice(host, 1, (size_t)MAX(str_find(host, ']') - 1, 0));
    return colon > 0 ? str_slice(host, 0, (size_t)colon) : host;
}

static bool let_through(struct proxy *p, const struct http_exchange *x)
{
    if (p->no_filter)
        return true;
    if (p->has_methods && matches(p, &p->methods, x->method))
        return false;
    return matches(p, &p->hosts, host_only(x->host)) && matches(p, &p->accept, x->path) && !matches(p, &p->reject, x->path);
}

/* ---- static files --------------------------------------------------------------------------------------------------- */

static const char *media_type(struct str path)
{
    static const char *const types_of[][2] = {{".html", "text/html; charset=utf-8"}, {".css", "text/css; charset=utf-8"},
                                              {".js", "text/javascript; charset=utf-8"}, {".json", "application/json"},
                                              {".svg", "image/svg+xml"}, {".png", "image/png"}};
    for (size_t i = 0; i < ARRAY_SIZE(types_of); i++)
        if (str_ends(path, str_of(types_of[i][0])))
            return types_of[i][1];
    return "text/plain; charset=utf-8";
}

static void serve_file(struct proxy *p, struct http_exchange *x, struct str below)
{
    struct str text;
    if (str_contains(below, STR("..")) || memchr(below.p ? below.p : "", '%', below.n)) {
        http_respond(x, 400, "text/plain", STR("bad path\n"));
        return;
    }
    const char *path = arena_printf(&x->arena, "%s/" STR_FMT "%s", p->www, STR_ARG(below),
                                    !below.n || str_ends(below, STR("/")) ? "index.html" : "").p;
    if (os_read_file(&x->arena, path, 64 << 20, &text) < 0)
        http_respond(x, 404, "text/plain", STR("404 page not found\n"));
    else
        http_respond(x, 200, media_type(str_of(path)), text);
}

/* ---- the server ------------------------------------------------------------------------------------------------------ */

static void handle(void *ctx, struct http_exchange *x)
{
    struct proxy *p = ctx;
    struct err e = {0};
    struct http_header *headers;
    struct str prefix = str_of(p->api_prefix), target = x->target;
    if (!let_through(p, x)) {
        http_respond(x, 403, "text/plain", STR("Forbidden\n"));
        return;
    }
    if (p->www && str_starts(x->path, str_of(p->www_prefix))) {
        serve_file(p, x, str_from(x->path, strlen(p->www_prefix)));
        return;
    }
    while (str_ends(prefix, STR("/")))
        prefix.n--;
    if (!str_starts(target, prefix)) {
        http_respond(x, 404, "text/plain", STR("404 page not found\n"));
        return;
    }
    struct str rest = str_from(target, prefix.n);
    const char *path = arena_printf(&x->arena, "%s" STR_FMT, str_starts(rest, STR("/")) ? "" : "/", STR_ARG(rest)).p;
    struct http_proxy to = {.client = https_pool(p->c->client), .url = https_url(p->c->client, &x->arena, path)};
    to.n_headers = https_headers(p->c->client, &x->arena, &headers);
    to.headers = headers;
    if (http_proxy(x, &to, &e) < 0 && !x->status)
        http_respond(x, 502, "text/plain", str_of(e.text));
}

static int prepare(struct cli *c, struct proxy *p)
{
    int r = compile(c, p->accept_hosts, &p->hosts);
    if (r == 0)
        r = compile(c, p->accept_paths, &p->accept);
    if (r == 0)
        r = compile(c, p->reject_paths, &p->reject);
    p->has_methods = strcmp(p->reject_methods, "^$") != 0;
    if (r == 0 && p->has_methods)
        r = compile(c, p->reject_methods, &p->methods);
    return r ? r : cli_client(c);
}

int cmd_proxy(struct cli *c, int argc, char **argv)
{
    struct proxy p = {.c = c, .address = "127.0.0.1", .port = 8001, .api_prefix = "/", .www_prefix = "/static/",
                      .accept_hosts = "^localhost$,^127\\.0\\.0\\.1$,^::1$", .accept_paths = "^.*",
                      .reject_paths = "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach", .reject_methods = "^$"};
    struct err e = {0};
    char address[80];
    struct flag flags[] = {
        {"accept-hosts", 0, FLAG_STRING, &p.accept_hosts, "Patterns of hosts to accept"},
        {"accept-paths", 0, FLAG_STRING, &p.accept_paths, "Patterns of paths to accept"},
        {"address", 0, FLAG_STRING, &p.address, "Address to serve at"},
        {"api-prefix", 0, FLAG_STRING, &p.api_prefix, "Path that the API stands under"},
        {"append-server-path", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        {"disable-filter", 0, FLAG_BOOL, &p.no_filter, "Let everything through; dangerous"},
        {"keepalive", 0, FLAG_IGNORED, NULL, NULL},
        {"port", 'p', FLAG_INT, &p.port, "Port to serve at; 0: any"},
        {"reject-methods", 0, FLAG_STRING, &p.reject_methods, "Patterns of methods to reject"},
        {"reject-paths", 0, FLAG_STRING, &p.reject_paths, "Patterns of paths to reject"},
        {"unix-socket", 'u', FLAG_STRING, &p.socket, "Unix socket to serve at instead"},
        {"www", 'w', FLAG_STRING, &p.www, "Folder of files to serve, too"},
        {"www-prefix", 'P', FLAG_STRING, &p.www_prefix, "Path that the files stand under"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = prepare(c, &p);
    if (r)
        return r;
    struct http_server *s = http_server_new(&(struct http_server_config){.handler = handle, .ctx = &p});
    const char *at = p.socket ? cli_printf(c, "unix:%s", p.socket).p : net_join(&c->a, p.address, (uint16_t)p.port);
    r = http_server_listen(s, at, &e);
    if (r < 0)
        return cli_fail(c, "listen %s: %s", at, err_text(&e, r));
    if (p.no_filter)
        cli_note(c, "Request filter disabled, your proxy is vulnerable to XSRF attacks, please be cautious");
    http_server_address(s, address, sizeof(address));
    cli_print(c, "Starting to serve on %s\n", p.socket ? p.socket : address);
    cli_flush(c);
    os_wait_signal(MONO_NEVER);
    return 0;
}
