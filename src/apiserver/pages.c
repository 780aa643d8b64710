/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/pages.h"

#include "apiserver/aggregate.h"
#include "apiserver/flow.h"

#include <stdio.h>

#include "apiserver/state.h"
#include "client/zpages.h"
#include "names.h"
#include "types.h"
#include "wire/json.h"

static const struct page {
    const char *path;
    bool below; /* paths under it, too */
    bool any_method;
    request_stage *fn;
} pages[] = {
    {"/", false, true, page_index},
    {"/version", false, false, page_version},
    {"/healthz", true, true, page_healthz},
    {"/livez", true, true, page_livez},
    {"/readyz", true, true, page_readyz},
    {"/metrics", false, true, page_metrics},
    {"/api", true, true, page_api},
    {"/apis", true, true, page_apis},
    {"/debug/api_priority_and_fairness/dump_priority_levels", false, false, page_flow},
    {"/debug/flags", true, true, page_zpage},
    {"/debug/pprof", true, true, page_zpage},
    {"/flagz", false, true, page_zpage},
    {"/statusz", false, true, page_zpage},
    {"/metrics/slis", false, true, page_slis},
    {"/openapi/v2", false, true, page_openapi_v2},
    {"/openapi/v3", true, true, page_openapi_v3},
    {"/.well-known/openid-configuration", false, false, page_openid_configuration},
    {"/openid/v1/jwks", false, false, page_jwks},
};

static bool under(struct str path, const char *page, bool below)
{
    struct str p = str_of(page);
    if (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    if (str_eq(path, p))
        return true;
    return below && str_starts(path, p) && path.p[p.n] == '/';
}

int page_not_allowed(struct request *r)
{
    return status_set(&r->status, 405, "MethodNotAllowed",
                      "the server does not allow this method on the requested resource");
}

int page_serve(struct request *r)
{
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        if (!under(r->info.path, pages[i].path, pages[i].below))
            continue;
        if (!pages[i].any_method && !str_is(r->info.verb, "get"))
            return page_not_allowed(r);
        return pages[i].fn(r);
    }
    answer_text(r, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
    return 0;
}

/* ---- small ones -------------------------------------------------------------------------------------- */

int page_version(struct request *r)
{
    struct val *v = val_new(r->arena, VAL_OBJ);
    const char *git = r->server->config.git_version ? r->server->config.git_version : "v1.37.2+cube";
    static const struct {
        name_id name;
        const char *value;
    } fixed[] = {
        {N_major, "1"},
        {N_minor, "37"},
        {N_emulationMajor, "1"},
        {N_emulationMinor, "37"},
        {N_minCompatibilityMajor, "1"},
        {N_minCompatibilityMinor, "36"},
        {N_gitCommit, "cube-" CUBE_VERSION},
        {N_gitTreeState, "clean"},
        {N_buildDate, "1970-01-01T00:00:00Z"},
        {N_goVersion, "none"},
        {N_compiler, __VERSION__},
        {N_platform, "linux/amd64"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        val_set_str(r->arena, v, fixed[i].name, str_of(fixed[i].value));
    val_set_str(r->arena, v, N_gitVersion, str_of(git));
    CLEANUP_BUF struct buf b = BUF_INIT;
    json_encode(&b, &types[T_version_Info], v, JSON_PRETTY2);
    answer_text(r, 200, "application/json", arena_str(r->arena, buf_str(&b)));
    return 0;
}

int page_metrics(struct request *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    metrics_write(r->server, &b);
    answer_text(r, 200, "text/plain; version=0.0.4; charset=utf-8", arena_str(r->arena, buf_str(&b)));
    return 0;
}

int page_slis(struct request *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    health_metrics(r->server, &b);
    answer_text(r, 200, "text/plain; version=0.0.4; charset=utf-8", arena_str(r->arena, buf_str(&b)));
    return 0;
}

/* Pages that every program has (client/zpages.h). */
int page_zpage(struct request *r)
{
    static const char *const paths[] = {"/debug", "/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version", NULL};
    struct zpages z = {.component = "kube-apiserver", .flags = r->server->config.flags, .started = r->server->started, .paths = paths};
    struct zpage p;
    int e = request_read_body(r);
    if (e || !r->x || !zpages_serve(&z, r->x->method, r->info.path, http_header(&r->x->headers, "accept"), r->body, r->arena, &p))
        return e;
    if (p.warning)
        http_add_header(r->x, "Warning", str_of(p.warning));
    answer_text(r, p.code, p.content_type, p.body);
    return 0;
}

int page_flow(struct request *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    flow_dump_levels(r->server, &b);
    answer_text(r, 200, "text/plain; charset=utf-8", arena_str(r->arena, buf_str(&b)));
    return 0;
}

int page_index(struct request *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_puts(&b, "{\n  \"paths\": [\n    \"/api\",\n    \"/api/v1\",\n    \"/apis\"");
    size_t n;
    const struct served_version *served = aggregate_versions(r->server, r->arena, &n);
    for (size_t i = 0; i < n; i++) {
        const struct served_version *g = &served[i];
        if (!g->group[0])
            continue;
        if (served[i].first)
            buf_printf(&b, ",\n    \"/apis/%s\"", g->group);
        buf_printf(&b, ",\n    \"/apis/%s/%s\"", g->group, g->version);
    }
    for (size_t i = 1; i < ARRAY_SIZE(pages); i++)
        if (strncmp(pages[i].path, "/api", 4) != 0)
            buf_printf(&b, ",\n    \"%s\"", pages[i].path);
    buf_puts(&b, "\n  ]\n}");
    answer_text(r, 200, "application/json", arena_str(r->arena, buf_str(&b)));
    return 0;
}

/* ---- OpenID (KEP-1393): who verifies tokens elsewhere starts here ------------------------------------ */

int page_openid_configuration(struct request *r)
{
    const struct apiserver *s = r->server;
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (!str_starts(str_of(s->sa_issuer), STR("https://"))) /* what OpenID Connect Discovery does not know cannot be discovered */
        return status_set(&r->status, 404, "NotFound", "the server could not find the requested resource");
    buf_puts(&b, "{\"issuer\":");
    json_encode_str(&b, str_of(s->sa_issuer), 0);
    buf_puts(&b, ",\"jwks_uri\":");
    struct str uri = s->config.sa_jwks_uri
                         ? str_of(s->config.sa_jwks_uri)
                         : arena_printf(r->arena, "https://%.*s/openid/v1/jwks", STR_ARG(r->x->host));
    json_encode_str(&b, uri, 0);
    buf_puts(&b, ",\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],"
                 "\"id_token_signing_alg_values_supported\":[\"ES256\",\"RS256\"]}");
    answer_text(r, 200, "application/json", arena_str(r->arena, buf_str(&b)));
    return 0;
}

int page_jwks(struct request *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    jwt_keys_json(&r->server->sa_keys, &b);
    answer_text(r, 200, "application/jwk-set+json", arena_str(r->arena, buf_str(&b)));
    return 0;
}
