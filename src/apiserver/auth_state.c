/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, following and closing what authentication and authorisation are configured by. */
#include "apiserver/auth_state.h"

#include "auth/crypto.h"
#include "base/log.h"
#include "base/os.h"

enum { FILE_MAX = 16 << 20, TOKENS_KEPT = 16384 };

#define LOOK_EVERY SECONDS(10)
#define READY_WITHIN SECONDS(60)

/* ---- headers of front proxies --------------------------------------------------------------------------- */

static void set_headers(struct flag_texts *t, const char *list, const char *usual)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char *lower = arena_cstr(&a, str_of(list ? list : usual));
    for (char *p = lower; *p; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    flag_texts_set(t, lower);
}

/* Certificates of one authority could then name themselves anybody: upstream's rule. */
static int check_front_proxy(const struct apiserver_config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str clients, proxies;
    if (!c->front_proxy_ca || !c->client_ca || (c->front_proxy_names && *c->front_proxy_names))
        return 0;
    if (os_read_file(&a, c->client_ca, FILE_MAX, &clients) < 0 || os_read_file(&a, c->front_proxy_ca, FILE_MAX, &proxies) < 0)
        return 0; /* told where they are read */
    if (!x509_bundles_overlap(clients, proxies))
        return 0;
    return err_set(e, -EINVAL, "--requestheader-client-ca-file and --client-ca-file contain overlapping certificates; "
                   "--requestheader-allowed-names must be specified to ensure regular client certificates cannot set authenticating "
                   "proxy headers for arbitrary users");
}

/* ---- files ---------------------------------------------------------------------------------------------- */

static void hash_files(const char *const *files, size_t n, char ret[static 65])
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    CLEANUP_BUF struct buf all = BUF_INIT;
    for (size_t i = 0; i < n; i++) {
        struct str text = STR_NULL;
        if (files[i] && os_read_file(&a, files[i], FILE_MAX, &text) == 0)
            buf_putstr(&all, text);
        buf_putc(&all, '\n');
    }
    sha256_hex(buf_str(&all), ret);
    secret_wipe(all.p, all.n);
}

/* By what they say of who comes in, and of what they may do. */
static void hash_authn(const struct apiserver_config *c, char ret[static 65])
{
    const char *const files[] = {c->authn_config, c->oidc.ca, c->token_file};
    hash_files(files, ARRAY_SIZE(files), ret);
}

static void hash_authz(const struct apiserver_config *c, char ret[static 65])
{
    const char *const files[] = {c->authz_config, c->authz_policy};
    hash_files(files, ARRAY_SIZE(files), ret);
}

static int load_authn(struct apiserver *s, struct authn_config **ret, struct err *e)
{
    int r = authn_config_load(&s->config, (const char *const *)s->sa_issuers.items, ret, e);
    if (r == 0)
        authn_config_start(*ret);
    return r;
}

static int check_version(const char *flag, const struct review_flags *f, struct err *e)
{
    if (!f->version || strcmp(f->version, "v1") == 0 || strcmp(f->version, "v1beta1") == 0)
        return 0;
    return err_set(e, -EINVAL, "--%s: unsupported version \"%s\", supported versions are \"v1\", \"v1beta1\"", flag, f->version);
}

int auth_open(struct apiserver *s, struct err *e)
{
    const struct apiserver_config *c = &s->config;
    struct auth_state *a = s->auth = NEW(struct auth_state);
    a->token_answers.max = TOKENS_KEPT;
    set_headers(&a->user_headers, c->proxy_user_headers, "X-Remote-User");
    set_headers(&a->uid_headers, c->proxy_uid_headers, "X-Remote-Uid");
    set_headers(&a->group_headers, c->proxy_group_headers, "X-Remote-Group");
    set_headers(&a->extra_prefixes, c->proxy_extra_prefixes, "X-Remote-Extra-");
    int r = check_front_proxy(c, e);
    if (!r)
        r = check_version("authentication-token-webhook-version", &c->token_webhook, e);
    if (!r)
        r = check_version("authorization-webhook-version", &c->authz_webhook, e);
    if (!r && c->token_file)
        r = static_tokens_load(c->token_file, &a->static_tokens, e);
    if (!r && c->token_webhook.kubeconfig && (r = review_hook_open(c->token_webhook.kubeconfig, &a->token_hook, e)) < 0)
        err_wrap(e, r, "--authentication-token-webhook-config-file");
    if (!r)
        r = authz_load(c, NULL, &a->authz, e);
    if (!r)
        r = load_authn(s, &a->authn, e);
    hash_authn(c, a->authn_reloads.hash);
    hash_authz(c, a->authz_reloads.hash);
    return r;
}

void auth_close(struct apiserver *s)
{
    struct auth_state *a = s->auth;
    if (!a)
        return;
    authn_config_unref(a->authn);
    authz_unref(a->authz);
    static_tokens_free(&a->static_tokens);
    map_done(&a->verified);
    review_hook_close(a->token_hook);
    answers_done(&a->token_answers);
    struct flag_texts *lists[] = {&a->user_headers, &a->uid_headers, &a->group_headers, &a->extra_prefixes};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        flag_texts_done(lists[i]);
    free(a);
    s->auth = NULL;
}

/* ---- changes -------------------------------------------------------------------------------------------- */

/* Issuers that nobody finds do not take the place of those that work. */
static int wait_ready(const struct authn_config *c, struct err *e)
{
    struct mono until = mono_add(os_mono(), READY_WITHIN);
    while (!authn_config_ready(c, e)) {
        if (os_mono().ns > until.ns)
            return err_wrap(e, -ETIMEDOUT, "waiting for issuers");
        if (fiber_sleep(MILLISECONDS(200)) < 0)
            return -ECANCELED;
    }
    return 0;
}

static int reload_authn(struct apiserver *s, struct err *e)
{
    struct auth_state *a = s->auth;
    struct authn_config *now = NULL;
    int r = s->config.token_file ? static_tokens_load(s->config.token_file, &a->static_tokens, e) : 0;
    if (!r)
        r = load_authn(s, &now, e);
    if (!r)
        r = wait_ready(now, e);
    if (r < 0) {
        authn_config_unref(now);
        return r;
    }
    struct authn_config *was = a->authn;
    a->authn = now;
    authn_config_unref(was);
    return 0;
}

static int reload_authz(struct apiserver *s, struct err *e)
{
    struct authz_chain *now = NULL, *was = s->auth->authz;
    int r = authz_load(&s->config, was, &now, e);
    if (r < 0)
        return r;
    s->auth->authz = now;
    authz_unref(was);
    return 0;
}

static int take_up(struct apiserver *s, struct reload_counts *c, void (*hash)(const struct apiserver_config *, char *),
                   int (*reload)(struct apiserver *, struct err *), struct err *e)
{
    char now[65];
    hash(&s->config, now);
    if (strcmp(now, c->hash) == 0)
        return 0;
    int r = reload(s, e);
    if (r == 0) {
        memcpy(c->hash, now, sizeof(now));
        c->good++;
        c->last_good = os_wall();
        log_info("apiserver", "took up a new configuration of who may come in and what they may do");
    } else {
        c->bad++;
        c->last_bad = os_wall();
    }
    return r;
}

int auth_reload(struct apiserver *s, struct err *e)
{
    int z = take_up(s, &s->auth->authz_reloads, hash_authz, reload_authz, e);
    int n = take_up(s, &s->auth->authn_reloads, hash_authn, reload_authn, e);
    return z < 0 ? z : n;
}

/* A file that cannot be used is told once, not at every look. */
void auth_follow(void *apiserver)
{
    struct apiserver *s = apiserver;
    const struct apiserver_config *c = &s->config;
    char told[2][65] = {"", ""}, now[2][65];
    if (!c->authn_config && !c->oidc.ca && !c->token_file && !c->authz_config && !c->authz_policy)
        return;
    while (fiber_sleep(LOOK_EVERY) == 0) {
        struct err e = {0};
        hash_authn(c, now[0]);
        hash_authz(c, now[1]);
        if (memcmp(told, now, sizeof(told)) == 0)
            continue;
        int r = auth_reload(s, &e);
        if (r < 0 && r != -ETIMEDOUT)
            memcpy(told, now, sizeof(told));
        if (r < 0 && r != -ECANCELED)
            log_error("apiserver", "a changed configuration is not taken up: %s", err_text(&e, r));
    }
}
