/* SPDX-License-Identifier: Apache-2.0 */
#include "client/zpages.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/os.h"
#include "net/http.h"
#include "wire/json.h"

#define PLAIN "text/plain; charset=utf-8"
#define VERSION "v1.37.2"
#define WARNING_TEXT                                                                                                               \
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging" \
    " purposes only.\n"

/* ---- which form ---------------------------------------------------------------------------------------- */

enum form { FORM_NONE, FORM_TEXT, FORM_STRUCTURE, FORM_OLD_STRUCTURE };

/* One clause of Accept: "application/json;v=v1beta1;g=config.k8s.io;as=Statusz". */
static enum form form_of(struct str clause, const char *kind, const char **ret_type)
{
    struct str type, rest, one, k, v, version = STR_NULL, group = STR_NULL, as = STR_NULL;
    str_cut(clause, ';', &type, &rest);
    type = str_trim(type);
    while (rest.p && str_next(&rest, ';', &one)) {
        if (!str_cut(str_trim(one), '=', &k, &v))
            continue;
        if (str_is(k, "v"))
            version = v;
        else if (str_is(k, "g"))
            group = v;
        else if (str_is(k, "as"))
            as = v;
    }
    if (str_is(type, "text/plain") || str_is(type, "text/*") || (str_is(type, "*/*") && !as.n))
        return FORM_TEXT;
    bool yaml = str_is(type, "application/yaml");
    if ((!yaml && !str_is(type, "application/json")) || !str_is(group, "config.k8s.io") || !str_is(as, kind))
        return FORM_NONE;
    *ret_type = yaml ? "application/yaml" : "application/json"; /* JSON is YAML */
    return str_is(version, "v1beta1") ? FORM_STRUCTURE : str_is(version, "v1alpha1") ? FORM_OLD_STRUCTURE : FORM_NONE;
}

static enum form choose(struct str accept, const char *kind, const char **ret_type)
{
    struct str one;
    enum form f = str_trim(accept).n ? FORM_NONE : FORM_TEXT;
    while (f == FORM_NONE && str_next(&accept, ',', &one))
        f = form_of(str_trim(one), kind, ret_type);
    return f;
}

/* ---- statusz ------------------------------------------------------------------------------------------- */

static struct wall begun(const struct zpages *z)
{
    return (struct wall){os_wall().ns - (os_mono().ns - z->started.ns)};
}

static void statusz_text(const struct zpages *z, struct buf *b)
{
    char time[TIME_TEXT_MAX];
    long long up = (long long)((os_mono().ns - z->started.ns) / NSEC_PER_SEC);
    buf_printf(b, "\n%s statusz\n" WARNING_TEXT "\nStarted: %s\nUp: %lld hr %02lld min %02lld sec\nGo version: none\nBinary version: " VERSION
                  "\nEmulation version: 1.37\nPaths:",
               z->component, time_format(begun(z), time), up / 3600, up / 60 % 60, up % 60);
    for (size_t i = 0; z->paths && z->paths[i]; i++)
        buf_printf(b, " %s", z->paths[i]);
    buf_puts(b, "\n");
}

static void head(const struct zpages *z, const char *kind, bool old, struct buf *b)
{
    buf_printf(b, "{\"kind\":\"%s\",\"apiVersion\":\"config.k8s.io/%s\",\"metadata\":{\"name\":\"%s\"},", kind, old ? "v1alpha1" : "v1beta1",
               z->component);
}

static void statusz_json(const struct zpages *z, bool old, struct buf *b)
{
    char time[TIME_TEXT_MAX];
    head(z, "Statusz", old, b);
    buf_printf(b, "\"startTime\":\"%s\",\"uptimeSeconds\":%lld,\"goVersion\":\"none\",\"binaryVersion\":\"" VERSION "\",\"emulationVersion\":\"1.37\",\"paths\":[",
               time_format(begun(z), time), (long long)((os_mono().ns - z->started.ns) / NSEC_PER_SEC));
    for (size_t i = 0; z->paths && z->paths[i]; i++)
        buf_printf(b, "%s\"%s\"", i ? "," : "", z->paths[i]);
    buf_puts(b, "]}");
}

/* ---- flagz --------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct flag_text *)a)->name, ((const struct flag_text *)b)->name);
}

const struct flag_text *zpages_flags(struct arena *a, const struct flag *flags)
{
    size_t n = 0;
    for (const struct flag *f = flags; f->name; f++)
        n++;
    struct flag_text *all = ARENA_ARRAY(a, struct flag_text, n + 1);
    for (size_t i = 0; i < n; i++) {
        CLEANUP_BUF struct buf b = BUF_INIT;
        flag_value(&flags[i], &b);
        all[i] = (struct flag_text){arena_cstr(a, str_of(flags[i].name)), arena_cstr(a, buf_str(&b))};
    }
    all[n] = (struct flag_text){0};
    if (n)
        qsort(all, n, sizeof(*all), by_name);
    return all;
}

static void flagz_text(const struct zpages *z, struct buf *b)
{
    buf_printf(b, "\n%s flagz\n" WARNING_TEXT, z->component);
    for (const struct flag_text *f = z->flags; f && f->name; f++)
        buf_printf(b, "%s=%s\n", f->name, f->value);
}

static void flagz_json(const struct zpages *z, bool old, struct buf *b)
{
    head(z, "Flagz", old, b);
    buf_puts(b, "\"flags\":{");
    for (const struct flag_text *f = z->flags; f && f->name; f++) {
        buf_printf(b, "%s\"%s\":", f == z->flags ? "" : ",", f->name);
        json_encode_str(b, str_of(f->value), 0);
    }
    buf_puts(b, "}}");
}

/* ---- serving ------------------------------------------------------------------------------------------- */

static struct zpage plain(int code, struct str text)
{
    return (struct zpage){.code = code, .content_type = PLAIN, .body = text};
}

static struct zpage zpage_of(const struct zpages *z, bool flags, struct str accept, struct arena *a)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    const char *kind = flags ? "Flagz" : "Statusz", *type = PLAIN;
    enum form f = choose(accept, kind, &type);
    if (f == FORM_NONE)
        return plain(406, arena_printf(a, "only text/plain and application/json;v=v1beta1;g=config.k8s.io;as=%s are served\n", kind));
    if (f == FORM_TEXT && flags)
        flagz_text(z, &b);
    else if (f == FORM_TEXT)
        statusz_text(z, &b);
    else if (flags)
        flagz_json(z, f == FORM_OLD_STRUCTURE, &b);
    else
        statusz_json(z, f == FORM_OLD_STRUCTURE, &b);
    return (struct zpage){.code = 200, .content_type = type, .body = arena_str(a, buf_str(&b)),
                          .warning = f != FORM_OLD_STRUCTURE ? NULL
                                     : flags ? "299 - \"This version of the flagz endpoint is deprecated. Please use a newer version.\""
                                             : "299 - \"This version of the statusz endpoint is deprecated. Please use a newer version.\""};
}

static struct zpage change_verbosity(struct str method, struct str body, struct arena *a)
{
    int64_t v;
    body = str_trim(body);
    if (!str_is(method, "PUT"))
        return plain(406, STR("unsupported http method"));
    if (str_to_i64(body, &v) < 0 || v < INT32_MIN || v > INT32_MAX)
        return plain(400, arena_printf(a, "failed set klog.logging.verbosity %.*s: it is no number", STR_ARG(body)));
    log_set_verbosity(v);
    return plain(200, arena_printf(a, "successfully set klog.logging.verbosity to %lld", (long long)v));
}

static bool below(struct str path, const char *page)
{
    return str_starts(path, str_of(page)) && (path.n == strlen(page) || path.p[strlen(page)] == '/');
}

static bool has(const struct zpages *z, struct str path)
{
    return str_is(path, "/statusz") || str_is(path, "/flagz") || (!z->no_debug && (below(path, "/debug/flags") || below(path, "/debug/pprof")));
}

bool zpages_serve(const struct zpages *z, struct str method, struct str path, struct str accept, struct str body, struct arena *a,
                  struct zpage *ret)
{
    if (!has(z, path))
        return false;
    if (str_is(path, "/debug/flags/v"))
        *ret = change_verbosity(method, body, a);
    else if (below(path, "/debug/flags"))
        *ret = plain(str_is(path, "/debug/flags") || str_is(path, "/debug/flags/") ? 200 : 404,
                     arena_printf(a, "v=%lld\n\nPUT a number to /debug/flags/v to change it.\n", (long long)log_verbosity()));
    else if (below(path, "/debug/pprof"))
        *ret = plain(501, STR("This program is not written in Go and has no profiler of its own: perf(1) looks at it from outside.\n"));
    else
        *ret = zpage_of(z, str_is(path, "/flagz"), accept, a);
    return true;
}

bool zpages_answer(const struct zpages *z, struct http_exchange *x)
{
    enum { BODY_MAX = 64 };
    struct zpage p;
    struct str body = STR_NULL;
    if (!has(z, x->path))
        return false;
    if (str_is(x->method, "PUT") && http_read_all(x, BODY_MAX, mono_add(os_mono(), SECONDS(10)), &body) < 0)
        body = STR_NULL;
    zpages_serve(z, x->method, x->path, http_header(&x->headers, "accept"), body, &x->arena, &p);
    if (p.warning)
        http_add_header(x, "Warning", str_of(p.warning));
    http_respond(x, p.code, p.content_type, p.body);
    return true;
}
