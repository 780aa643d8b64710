/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of others: static ones, issuers by flags and by configuration, webhooks; and who may come without any. */
#include "hookserver.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/jwt.h"
#include "base/base64.h"
#include "base/os.h"

struct world {
    struct fixture f;
    struct hookserver h; /* the issuer, or the webhook */
    char dir[64];
    struct x509_key *key;
    struct jwt_key *signer;
    struct jwt_keys keys; /* what the issuer publishes */
};

static struct world *world; /* for the provider's answers */

static const char *path_of(struct world *w, const char *name)
{
    return arena_printf(&w->h.arena, "%s/%s", w->dir, name).p;
}

static const char *write_file(struct world *w, const char *name, const char *text)
{
    const char *path = path_of(w, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    return path;
}

static struct str provider(struct hookserver *h, struct str path, const struct val *review)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (str_ends(path, STR("openid-configuration")) || str_is(path, "/elsewhere"))
        return arena_printf(&h->arena, "{\"issuer\":\"https://%s%s\",\"jwks_uri\":\"https://%s/keys\"}", h->address,
                            str_starts(path, STR("/realm")) ? "/realm" : str_is(path, "/liar/.well-known/openid-configuration") ? "/truth" : "", h->address);
    if (!str_is(path, "/keys"))
        return STR_NULL;
    jwt_keys_json(&world->keys, &b);
    return arena_str(&h->arena, buf_str(&b));
}

static void new_key(struct world *w)
{
    CLEANUP_BUF struct buf pem = BUF_INIT;
    struct err e = {0};
    jwt_keys_done(&w->keys);
    jwt_key_free(w->signer);
    x509_key_unref(w->key);
    assert_int_equal(x509_key_generate(&w->key), 0);
    w->signer = jwt_key_new(w->key);
    x509_key_public_pem(w->key, &pem);
    assert_int_equal(jwt_keys_add(&w->keys, buf_str(&pem), &e), 0);
}

static void begin(struct world *w, hook_answer *answer)
{
    *w = (struct world){.dir = "/tmp/cube-authn-XXXXXX"};
    assert_non_null(mkdtemp(w->dir));
    world = w;
    hookserver_start(&w->h, NULL, answer);
    new_key(w);
}

static void end(struct world *w)
{
    char command[128];
    fixture_stop(&w->f);
    hookserver_stop(&w->h);
    jwt_keys_done(&w->keys);
    jwt_key_free(w->signer);
    x509_key_unref(w->key);
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
}

static struct str ca_pem(struct world *w)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    assert_int_equal(base64_take(&b, w->h.ca), 0);
    return arena_str(&w->h.arena, buf_str(&b));
}

/* As a block of YAML under a key that is indented so far. */
static const char *ca_block(struct world *w, int indent)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str rest = ca_pem(w), line;
    buf_puts(&b, "|\n");
    while (str_next(&rest, '\n', &line))
        if (line.n)
            buf_printf(&b, "%*s%.*s\n", indent, "", STR_ARG(line));
    return arena_cstr(&w->h.arena, buf_str(&b));
}

/* A token with these members besides iss, exp; lifetime in seconds. */
static const char *token(struct world *w, const char *realm, int64_t lives, const char *members)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct err e = {0};
    struct val *v = NULL;
    struct str json = arena_printf(&w->h.arena, "{\"iss\":\"https://%s%s\",\"exp\":%lld%s%s}", w->h.address, realm,
                                   (long long)(os_wall().ns / NSEC_PER_SEC + lives), *members ? "," : "", members);
    assert_int_equal(json_decode(&w->h.arena, NULL, json, 0, NULL, &v, &e), 0);
    assert_int_equal(jwt_sign(w->signer, v, &b, &e), 0);
    return arena_cstr(&w->h.arena, buf_str(&b));
}

static struct reply who(struct world *w, const char *bearer)
{
    return ask(&w->f, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}",
               arena_printf(&w->f.arena, "Authorization: Bearer %s", bearer).p);
}

/* Until the issuer was found: then tokens are no longer refused. */
static struct reply who_at_last(struct world *w, const char *bearer)
{
    struct reply r = who(w, bearer);
    for (int i = 0; i < 200 && r.code == 401; i++) {
        fiber_sleep(MILLISECONDS(20));
        r = who(w, bearer);
    }
    return r;
}

static void start(struct world *w, struct apiserver_config c)
{
    struct hookserver h = w->h;
    if (!c.authorization)
        c.authorization = "AlwaysAllow";
    fixture_start(&w->f, &c);
    w->h = h;
}

/* What the server says when it does not start with this configuration. */
static const char *fault_of(struct world *w, struct apiserver_config c)
{
    struct err e = {0};
    struct apiserver *s = NULL;
    struct store *store = NULL;
    if (!c.authorization)
        c.authorization = "AlwaysAllow";
    assert_int_equal(store_open_memory(&(struct store_options){.durable = false}, &store), 0);
    c.store = store;
    int r = apiserver_start(&c, &s, &e);
    if (r == 0)
        apiserver_stop(s, 0);
    store_close(store);
    return r == 0 ? "" : arena_cstr(&w->h.arena, str_of(err_text(&e, r)));
}

/* ---- static tokens -------------------------------------------------------------------------------------- */

FIBER_TEST(static_tokens_are_users)
{
    struct world w;
    begin(&w, provider);
    const char *file = write_file(&w, "tokens.csv", "abc,jane,u1,\"dev,ops\"\n\n\"d\"\"ef\",bob,u2\r\n,nobody,u3\n");
    start(&w, (struct apiserver_config){.token_file = file});
    struct reply r = who(&w, "abc");
    assert_at(&w.f, r, "status.userInfo.username", "jane");
    assert_at(&w.f, r, "status.userInfo.uid", "u1");
    assert_at(&w.f, r, "status.userInfo.groups.1", "ops");
    assert_at(&w.f, r, "status.userInfo.groups.2", "system:authenticated");
    assert_at(&w.f, who(&w, "d\"ef"), "status.userInfo.username", "bob");
    assert_code(who(&w, "ab"), 401);
    write_file(&w, "tokens.csv", "xyz,jane,u1\n"); /* and a change holds */
    struct err e = {0};
    assert_int_equal(apiserver_reload(w.f.server, &e), 0);
    assert_code(who(&w, "abc"), 401);
    assert_at(&w.f, who(&w, "xyz"), "status.userInfo.username", "jane");
    write_file(&w, "tokens.csv", "only,two\n");
    assert_int_equal(apiserver_reload(w.f.server, &e), -EINVAL);
    assert_non_null(strstr(e.text, "at least 3 columns"));
    assert_at(&w.f, who(&w, "xyz"), "status.userInfo.username", "jane");
    write_file(&w, "bad.csv", "\"abc,jane,u1\n");
    assert_non_null(strstr(fault_of(&w, (struct apiserver_config){.token_file = path_of(&w, "bad.csv")}), "a quote is not closed"));
    end(&w);
}

/* ---- issuers -------------------------------------------------------------------------------------------- */

static struct apiserver_config oidc_flags(struct world *w)
{
    const char *url = arena_printf(&w->h.arena, "https://%s", w->h.address).p;
    return (struct apiserver_config){.oidc = {.issuer = url, .client = "me", .ca = write_file(w, "ca.pem", ca_pem(w).p), .algs = "ES256",
                                              .groups_claim = "groups", .groups_prefix = "oidc:"}};
}

FIBER_TEST(an_issuer_by_flags)
{
    static const char *const required[] = {"team=red", NULL};
    struct world w;
    begin(&w, provider);
    struct apiserver_config c = oidc_flags(&w);
    c.oidc.required = required;
    start(&w, c);
    const char *good = token(&w, "", 60, "\"aud\":[\"you\",\"me\"],\"sub\":\"jane\",\"groups\":[\"dev\"],\"team\":\"red\",\"jti\":\"7\"");
    struct reply r = who_at_last(&w, good);
    assert_code(r, 201);
    assert_string_equal(at(&w.f, r.v, "status.userInfo.username"), arena_printf(&w.f.arena, "https://%s#jane", w.h.address).p);
    assert_at(&w.f, r, "status.userInfo.groups.0", "oidc:dev");
    assert_true(str_contains(r.text, STR("JTI=7")));
    static const char *const bad[] = {
        "\"aud\":\"you\",\"sub\":\"jane\",\"team\":\"red\"",  /* meant for somebody else */
        "\"aud\":\"me\",\"sub\":\"jane\",\"team\":\"blue\"",  /* not what is required */
        "\"aud\":\"me\",\"sub\":\"jane\"",
        "\"aud\":\"me\",\"team\":\"red\"",                    /* nobody */
        "\"aud\":\"me\",\"sub\":7,\"team\":\"red\"",
        "\"aud\":\"me\",\"sub\":\"jane\",\"team\":\"red\",\"groups\":[1]",
        "\"aud\":\"me\",\"sub\":\"jane\",\"team\":\"red\",\"nbf\":9000000000",
        "\"aud\":\"me\",\"sub\":\"jane\",\"team\":\"red\",\"_claim_names\":{\"groups\":\"elsewhere\"}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_code(who(&w, token(&w, "", 60, bad[i])), 401);
    assert_code(who(&w, token(&w, "", -1, "\"aud\":\"me\",\"sub\":\"jane\",\"team\":\"red\"")), 401);      /* too late */
    assert_code(who(&w, token(&w, "/else", 60, "\"aud\":\"me\",\"sub\":\"jane\",\"team\":\"red\"")), 401); /* from another */
    assert_code(who(&w, good), 201);
    end(&w);
}

FIBER_TEST(algorithms_are_those_that_were_named)
{
    struct world w;
    begin(&w, provider);
    struct apiserver_config c = oidc_flags(&w);
    c.oidc.algs = "RS256,PS512";
    start(&w, c);
    const char *t = token(&w, "", 60, "\"aud\":\"me\",\"sub\":\"jane\"");
    for (int i = 0; i < 100 && w.h.calls < 1; i++)
        fiber_sleep(MILLISECONDS(20));
    assert_int_equal(w.h.calls, 1); /* the issuer was found, its keys could be had */
    assert_code(who(&w, t), 401);
    c.oidc.algs = "HS256";
    assert_non_null(strstr(fault_of(&w, c), "unsupported signing alg"));
    c.oidc = (struct oidc_flags){.issuer = "https://x"};
    assert_non_null(strstr(fault_of(&w, c), "must be specified together"));
    end(&w);
}

FIBER_TEST(keys_of_an_issuer_change)
{
    struct world w;
    begin(&w, provider);
    start(&w, oidc_flags(&w));
    const char *members = "\"aud\":\"me\",\"sub\":\"jane\"", *old = token(&w, "", 60, members);
    assert_code(who_at_last(&w, old), 201);
    new_key(&w);
    assert_code(who(&w, old), 201); /* nothing to look for yet */
    struct reply r = who_at_last(&w, token(&w, "", 60, members));
    assert_code(r, 201);
    assert_code(who(&w, old), 401); /* the issuer has it no longer */
    r = get(&w.f, "/metrics");
    assert_true(str_contains(r.text, STR("apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds{")));
    assert_true(str_contains(r.text, STR("authentication_attempts{result=\"failure\"}")));
    end(&w);
}

static const char *structured(struct world *w, const char *name, const char *more)
{
    return write_file(w, name, arena_printf(&w->h.arena,
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n"
        "- issuer:\n    url: https://%s/realm\n    discoveryURL: https://%s/realm/of/its/own/openid-configuration\n"
        "    audiences: [me, you]\n    audienceMatchPolicy: MatchAny\n    certificateAuthority: %s"
        "  claimValidationRules:\n  - expression: 'claims.exp - claims.nbf <= 86400'\n    message: lives too long\n"
        "  - claim: hd\n    requiredValue: example.com\n"
        "  claimMappings:\n    username: {expression: 'claims.email_verified ? claims.email + \":x\" : \"\"'}\n"
        "    groups: {expression: 'claims.roles__dot__all.split(\",\")'}\n"
        "    uid: {claim: oid}\n"
        "    extra:\n    - {key: example.com/tenant, valueExpression: claims.deep.x__slash__y}\n"
        "    - {key: example.com/none, valueExpression: 'claims.?absent.orValue(\"\")'}\n"
        "  userValidationRules:\n  - {expression: '!user.username.startsWith(\"system:\")', message: reserved}\n"
        "  - {expression: 'user.groups.all(g, g != \"root\") && user.extra[\"example.com/tenant\"].size() == 1 && user.uid != \"\"'}\n%s",
        w->h.address, w->h.address, ca_block(w, 6), more).p);
}

FIBER_TEST(an_issuer_by_configuration)
{
    struct world w;
    begin(&w, provider);
    start(&w, (struct apiserver_config){.authn_config = structured(&w, "authn.yaml", "")});
    int64_t now_s = os_wall().ns / NSEC_PER_SEC;
    struct reply r = who_at_last(&w, token(&w, "/realm", 60, arena_printf(&w.h.arena, "\"nbf\":%lld,%s", (long long)now_s,
        "\"aud\":\"you\",\"email\":\"jane@example.com\",\"email_verified\":true,\"hd\":\"example.com\",\"oid\":\"o1\","
        "\"roles.all\":\"dev,ops\",\"deep\":{\"x/y\":\"t1\"}").p));
    assert_code(r, 201);
    assert_at(&w.f, r, "status.userInfo.username", "jane@example.com:x");
    assert_at(&w.f, r, "status.userInfo.uid", "o1");
    assert_at(&w.f, r, "status.userInfo.groups.1", "ops");
    assert_true(str_contains(r.text, STR("\"example.com/tenant\":[\"t1\"]")));
    assert_false(str_contains(r.text, STR("example.com/none")));
    static const char *const bad[] = {
        "\"nbf\":1,\"email\":\"jane@example.com\",\"email_verified\":true,\"hd\":\"example.com\",\"roles.all\":\"dev\"",  /* lives too long */
        "\"nbf\":NOW,\"email\":\"jane@example.com\",\"email_verified\":false,\"hd\":\"example.com\",\"roles.all\":\"dev\"", /* an empty name */
        "\"nbf\":NOW,\"email\":\"jane@example.com\",\"email_verified\":true,\"hd\":\"else.com\",\"roles.all\":\"dev\"",
        "\"nbf\":NOW,\"email\":\"system:jane\",\"email_verified\":true,\"hd\":\"example.com\",\"roles.all\":\"dev\"", /* a user that is not permitted */
        "\"nbf\":NOW,\"email\":\"jane@example.com\",\"email_verified\":true,\"hd\":\"example.com\",\"roles.all\":\"root\"",
        "\"nbf\":NOW,\"email\":\"jane@example.com\",\"email_verified\":true,\"hd\":\"example.com\"",                   /* no such claim */
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct str head, tail, text = str_of(bad[i]);
        ssize_t now = str_find(text, 'N'); /* NOW */
        if (now >= 0) {
            head = str_slice(text, 0, (size_t)now);
            tail = str_from(text, (size_t)now + 3);
            text = arena_printf(&w.h.arena, STR_FMT "%lld" STR_FMT, STR_ARG(head), (long long)now_s, STR_ARG(tail));
        }
        r = who(&w, token(&w, "/realm", 60, arena_printf(&w.h.arena, STR_FMT ",\"aud\":\"me\",\"oid\":\"o1\",\"deep\":{\"x/y\":\"t1\"}", STR_ARG(text)).p));
        if (r.code != 401)
            fail_msg("case %zu: %d", i, r.code);
    }
    end(&w);
}

FIBER_TEST(an_issuer_must_be_who_it_is_taken_for)
{
    struct world w;
    begin(&w, provider);
    struct apiserver_config c = oidc_flags(&w);
    c.oidc.issuer = arena_printf(&w.h.arena, "https://%s/liar", w.h.address).p;
    start(&w, c);
    for (int i = 0; i < 100 && w.h.calls < 1; i++)
        fiber_sleep(MILLISECONDS(20));
    assert_int_equal(w.h.calls, 1);
    assert_code(who(&w, token(&w, "/liar", 60, "\"aud\":\"me\",\"sub\":\"jane\"")), 401);
    assert_int_equal(w.h.calls, 1); /* its keys were not even asked for */
    end(&w);
}

FIBER_TEST(configurations_that_are_refused)
{
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"jwt: [{issuer: {url: 'http://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "URL scheme must be https"},
        {"jwt: [{issuer: {url: 'https://u:p@x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "username or password"},
        {"jwt: [{issuer: {url: 'https://x?a=b', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "must not contain a query"},
        {"jwt: [{issuer: {url: 'https://x'}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "jwt[0].issuer.audiences: Required value"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a, b]}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "audienceMatchPolicy must be MatchAny"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a, a], audienceMatchPolicy: MatchAny}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "Duplicate value"},
        {"jwt: [{issuer: {url: 'https://x', discoveryURL: 'https://x/', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "must be different from URL"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a], egressSelectorType: cluster}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "no egress selectors"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a], certificateAuthority: nonsense}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "certificateAuthority"},
        {"jwt: [{issuer: {url: 'https://kubernetes.default.svc.cluster.local', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "disallowed issuers"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub}}}]", "prefix is required when claim is set"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a]}}]", "jwt[0].claimMappings.username: Required value: claim or expression is required"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {expression: 'claims.'}}}]", "compilation failed"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {expression: 'claims.email'}}}]", "claims.email_verified must be used"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {expression: 'claims.?email.orValue(\"\")'}}}]", "claims.email_verified must be used"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}, extra: [{key: tenant, valueExpression: 'claims.x'}]}}]", "domain-prefixed path"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}, extra: [{key: a.k8s.io/x, valueExpression: 'claims.x'}]}}]", "reserved for Kubernetes use"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}, claimValidationRules: [{expression: 'claims.x'}]}]", "must evaluate to bool"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}, claimValidationRules: [{claim: x, message: m}]}]", "may not be specified when claim is set"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}, userValidationRules: [{expression: 'user.nonsense == \"\"'}]}]", "undefined field 'nonsense'"},
        {"jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}, {issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "jwt[1].issuer.url: Duplicate value"},
        {"anonymous: {enabled: false, conditions: [{path: /livez}]}", "enabled should be set to true when conditions are defined"},
        {"jwtx: []", "unknown field"},
    };
    struct world w;
    begin(&w, provider);
    start(&w, (struct apiserver_config){.anonymous_off = false});
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *text = arena_printf(&w.h.arena, "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n%s\n", cases[i].text).p;
        const char *fault = fault_of(&w, (struct apiserver_config){.authn_config = write_file(&w, "bad.yaml", text)});
        if (!strstr(fault, cases[i].fault))
            fail_msg("case %zu: wanted \"%s\", got \"%s\"", i, cases[i].fault, fault);
    }
    const char *anonymous = write_file(&w, "anonymous.yaml", "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true}\n");
    assert_non_null(strstr(fault_of(&w, (struct apiserver_config){.authn_config = anonymous, .anonymous_given = true}), "--anonymous-auth flag cannot be set"));
    struct apiserver_config c = oidc_flags(&w);
    c.authn_config = anonymous;
    assert_non_null(strstr(fault_of(&w, c), "mutually exclusive"));
    end(&w);
}

FIBER_TEST(a_configuration_changes_while_it_is_used)
{
    static const char none[] = "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\n";
    struct world w;
    begin(&w, provider);
    const char *file = write_file(&w, "authn.yaml", none);
    start(&w, (struct apiserver_config){.authn_config = file});
    const char *t = token(&w, "/realm", 60, arena_printf(&w.h.arena, "\"nbf\":%lld,\"aud\":\"you\",\"email\":\"j@x\",\"email_verified\":true,"
        "\"hd\":\"example.com\",\"oid\":\"o1\",\"roles.all\":\"dev\",\"deep\":{\"x/y\":\"t1\"}", (long long)(os_wall().ns / NSEC_PER_SEC)).p);
    struct err e = {0};
    assert_code(who(&w, t), 401);
    structured(&w, "authn.yaml", "anonymous: {enabled: true, conditions: [{path: /livez}]}\n");
    assert_int_equal(apiserver_reload(w.f.server, &e), 0);
    assert_code(who(&w, t), 201); /* its keys were there before it was taken up */
    assert_code(get(&w.f, "/livez"), 200);
    assert_code(get(&w.f, "/readyz"), 401);
    assert_code(get(&w.f, "/livez/ping"), 401);
    write_file(&w, "authn.yaml", "nonsense");
    assert_int_equal(apiserver_reload(w.f.server, &e), -EINVAL);
    assert_code(who(&w, t), 201);
    write_file(&w, "authn.yaml", none);
    assert_int_equal(apiserver_reload(w.f.server, &e), 0);
    assert_code(who(&w, t), 401);
    struct reply r = get(&w.f, "/metrics");
    assert_true(str_contains(r.text, STR("apiserver_authentication_config_controller_automatic_reloads_total{")));
    end(&w);
}

/* ---- the webhook ---------------------------------------------------------------------------------------- */

static struct str reviewer(struct hookserver *h, struct str path, const struct val *review)
{
    struct str t = val_str(val_key(val_key(review, STR("spec")), STR("token")));
    const char *version = val_cstr(val_key(review, STR("apiVersion")));
    if (str_is(t, "broken"))
        return STR("{\"kind\":\"Status\"}");
    const char *status = str_is(t, "jane") ? "{\"authenticated\":true,\"user\":{\"username\":\"jane\",\"groups\":[\"dev\"],\"extra\":{\"example.com/x\":[\"1\"]}}}"
                       : str_is(t, "vault") ? "{\"authenticated\":true,\"user\":{\"username\":\"v\"},\"audiences\":[\"vault\",\"other\"]}"
                                            : "{\"authenticated\":false,\"error\":\"no\"}";
    return arena_printf(&h->arena, "{\"kind\":\"TokenReview\",\"apiVersion\":\"%s\",\"status\":%s}", version, status);
}

static const char *kubeconfig(struct world *w)
{
    return write_file(w, "hook.conf", arena_printf(&w->h.arena,
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'https://%s/review', certificate-authority-data: %s}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n", w->h.address, w->h.ca.p).p);
}

static struct reply review(struct world *w, const char *t, const char *audiences)
{
    return post(&w->f, "/apis/authentication.k8s.io/v1/tokenreviews",
                arena_printf(&w->f.arena, "{\"spec\":{\"token\":\"%s\",\"audiences\":[%s]}}", t, audiences).p);
}

FIBER_TEST(a_webhook_knows_tokens)
{
    struct world w;
    begin(&w, reviewer);
    start(&w, (struct apiserver_config){.token_webhook = {.kubeconfig = kubeconfig(&w), .version = "v1"}});
    struct reply r = who(&w, "jane");
    assert_at(&w.f, r, "status.userInfo.username", "jane");
    assert_at(&w.f, r, "status.userInfo.groups.0", "dev");
    assert_string_equal(val_cstr(val_key(w.h.asked, STR("apiVersion"))), "authentication.k8s.io/v1");
    unsigned calls = w.h.calls;
    assert_code(who(&w, "jane"), 201);
    assert_int_equal(w.h.calls, calls); /* it is remembered */
    assert_code(who(&w, "bob"), 401);
    assert_code(who(&w, "broken"), 401);
    assert_code(who(&w, "vault"), 401); /* good for others */
    r = review(&w, "vault", "\"vault\"");
    assert_at(&w.f, r, "status.authenticated", "true");
    assert_at(&w.f, r, "status.audiences.0", "vault");
    r = review(&w, "jane", "\"vault\""); /* one that does not speak of audiences means the server */
    assert_false(str_contains(r.text, STR("\"authenticated\":true")));
    r = review(&w, "jane", "");
    assert_at(&w.f, r, "status.authenticated", "true");
    assert_at(&w.f, r, "status.audiences.0", "https://kubernetes.default.svc.cluster.local");
    fixture_restart(&w.f, &(struct apiserver_config){.authorization = "AlwaysAllow", .token_webhook = {.kubeconfig = kubeconfig(&w), .yes_ttl_ns = -1}});
    calls = w.h.calls;
    assert_code(who(&w, "jane"), 201);
    assert_string_equal(val_cstr(val_key(w.h.asked, STR("apiVersion"))), "authentication.k8s.io/v1beta1");
    assert_code(who(&w, "jane"), 201);
    assert_int_equal(w.h.calls, calls + 2);
    assert_non_null(strstr(fault_of(&w, (struct apiserver_config){.token_webhook = {.kubeconfig = kubeconfig(&w), .version = "v2"}}), "unsupported version"));
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(static_tokens_are_users),
        cmocka_unit_test(an_issuer_by_flags),
        cmocka_unit_test(algorithms_are_those_that_were_named),
        cmocka_unit_test(keys_of_an_issuer_change),
        cmocka_unit_test(an_issuer_by_configuration),
        cmocka_unit_test(an_issuer_must_be_who_it_is_taken_for),
        cmocka_unit_test(configurations_that_are_refused),
        cmocka_unit_test(a_configuration_changes_while_it_is_used),
        cmocka_unit_test(a_webhook_knows_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
