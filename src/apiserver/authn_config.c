/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authn_config.h"

#include "apiserver/config_file.h"
#include "apiserver/issuer_keys.h"
#include "auth/jwt.h"
#include "apiserver/server.h"
#include "base/os.h"
#include "names.h"
#include "types.h"

enum { CA_MAX = 4 << 20, ISSUERS_MAX = 64 };

/* ---- from flags ----------------------------------------------------------------------------------------- */

static int check_flags(const struct oidc_flags *f, struct err *e)
{
    struct str rest = str_of(f->algs ? f->algs : ""), one;
    if (!f->issuer != !f->client)
        return err_set(e, -EINVAL, "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set");
    while (str_next(&rest, ',', &one))
        if (one.n && !jwt_alg_known(str_trim(one)))
            return err_set(e, -EINVAL, "--oidc-signing-algs: unsupported signing alg: \"" STR_FMT "\"", STR_ARG(one));
    return 0;
}

/* Names of others than by e-mail are told apart by whose they are, unless it is said otherwise. */
static struct str name_prefix(struct arena *a, const struct oidc_flags *f, const char *claim)
{
    if (f->username_prefix && strcmp(f->username_prefix, "-") == 0)
        return STR("");
    if (f->username_prefix && *f->username_prefix)
        return str_of(f->username_prefix);
    return strcmp(claim, "email") ? arena_printf(a, "%s#", f->issuer) : STR("");
}

static int add_required(struct arena *a, struct val *jwt, const char *text, struct err *e)
{
    struct str key, value;
    if (!str_cut(str_of(text), '=', &key, &value) || !key.n)
        return err_set(e, -EINVAL, "--oidc-required-claim: \"%s\" is no key=value", text);
    struct val *rule = val_add_obj(a, val_sub_list(a, jwt, N_claimValidationRules));
    val_set_str(a, rule, N_claim, key);
    val_set_str(a, rule, N_requiredValue, value);
    return 0;
}

static void map_claim(struct arena *a, struct val *to, const char *claim, struct str prefix)
{
    val_set_str(a, to, N_claim, str_of(claim));
    val_set(a, to, N_prefix, val_of_str(arena_str(a, prefix)));
}

/* The same as the file would say it. */
static int from_flags(struct arena *a, const struct oidc_flags *f, struct val **ret, struct err *e)
{
    struct val *v = val_new(a, VAL_OBJ);
    int r = check_flags(f, e);
    *ret = v;
    if (r || !f->issuer)
        return r;
    const char *claim = f->username_claim ? f->username_claim : "sub";
    struct val *jwt = val_add_obj(a, val_sub_list(a, v, N_jwt));
    struct val *issuer = val_sub_obj(a, jwt, N_issuer);
    val_set_str(a, issuer, N_url, str_of(f->issuer));
    val_add_str(a, val_sub_list(a, issuer, N_audiences), str_of(f->client));
    map_claim(a, val_sub_obj(a, val_sub_obj(a, jwt, N_claimMappings), N_username), claim, name_prefix(a, f, claim));
    if (f->groups_claim)
        map_claim(a, val_sub_obj(a, val_sub_obj(a, jwt, N_claimMappings), N_groups), f->groups_claim,
                  str_of(f->groups_prefix ? f->groups_prefix : ""));
    for (size_t i = 0; f->required && f->required[i] && !r; i++)
        r = add_required(a, jwt, f->required[i], e);
    struct str ca;
    if (!r && f->ca) {
        r = os_read_file(a, f->ca, CA_MAX, &ca);
        if (r < 0)
            return err_set(e, r, "--oidc-ca-file %s: %s", f->ca, strerror(-r));
        val_set_str(a, val_sub_obj(a, jwt, N_issuer), N_certificateAuthority, ca);
    }
    return r;
}

/* ---- reading -------------------------------------------------------------------------------------------- */

static void check_doubles(struct status *st, struct arena *a, const struct val *list, size_t i, name_id name, const char *text)
{
    const struct val *mine = val_at(val_item(list, i), N_issuer, name);
    for (size_t k = 0; k < i && val_str(mine).n; k++)
        if (str_eq(val_str(val_at(val_item(list, k), N_issuer, name)), val_str(mine))) {
            cause_duplicate(st, arena_printf(a, "jwt[%zu].issuer.%s", i, text), mine);
            return;
        }
}

static void compile_issuers(struct authn_config *c, const struct val *list, const char *const *own, struct status *st)
{
    struct issuer_env env;
    size_t n = val_len(list);
    if (n > ISSUERS_MAX) {
        cause_too_many(st, STR("jwt"), n, ISSUERS_MAX);
        return;
    }
    issuer_env_init(&env);
    c->issuers = ARENA_ARRAY(&c->arena, struct issuer, n);
    for (c->n = 0; c->n < n; c->n++) {
        issuer_compile(&c->arena, &env, val_item(list, c->n), arena_printf(&c->arena, "jwt[%zu]", c->n), own, st, &c->issuers[c->n]);
        check_doubles(st, &c->arena, list, c->n, N_url, "url");
        check_doubles(st, &c->arena, list, c->n, N_discoveryURL, "discoveryURL");
    }
    issuer_env_done(&env);
}

static int take_anonymous(struct authn_config *c, const struct val *v, const struct apiserver_config *flags, struct status *st, struct err *e)
{
    const struct val *anonymous = val_get(v, N_anonymous), *paths = val_get(anonymous, N_conditions);
    c->anonymous = !flags->anonymous_off;
    if (!anonymous)
        return 0;
    if (flags->anonymous_given)
        return err_set(e, -EINVAL, "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in "
                       "authentication configuration file");
    c->anonymous = val_bool(val_get(anonymous, N_enabled), false);
    c->paths = val_len(paths) ? paths : NULL;
    if (!c->anonymous && c->paths)
        cause_invalid(st, STR("anonymous.conditions"), paths, "enabled should be set to true when conditions are defined");
    return 0;
}

static int take(struct authn_config *c, const struct val *v, const struct apiserver_config *flags, const char *const *own, struct err *e)
{
    struct status st;
    status_init(&st, &c->arena);
    compile_issuers(c, val_get(v, N_jwt), own, &st);
    int r = take_anonymous(c, v, flags, &st, e);
    if (!r && status_invalid(&st, STR("apiserver.config.k8s.io"), STR("AuthenticationConfiguration"), STR("")))
        r = err_set(e, -EINVAL, STR_FMT, STR_ARG(st.message));
    const char *algs = flags->authn_config ? NULL : flags->oidc.algs ? flags->oidc.algs : "RS256";
    for (size_t i = 0; i < c->n && !r; i++)
        r = issuer_keys_new(val_get(c->issuers[i].v, N_issuer), algs, &c->issuers[i].keys, e);
    return r;
}

int authn_config_load(const struct apiserver_config *flags, const char *const *own, struct authn_config **ret, struct err *e)
{
    struct authn_config *c = NEW(struct authn_config);
    struct val *v = NULL;
    int r = 0;
    c->refs = 1;
    if (flags->authn_config && (flags->oidc.issuer || flags->oidc.client))
        r = err_set(e, -EINVAL, "authentication-config file and oidc-* flags are mutually exclusive");
    else if (flags->authn_config)
        r = config_file_read(&c->arena, flags->authn_config, &types[T_apiserver_v1_AuthenticationConfiguration], "AuthenticationConfiguration",
                             "v1,v1beta1,v1alpha1", NULL, &v, e);
    else
        r = from_flags(&c->arena, &flags->oidc, &v, e);
    if (!r)
        r = take(c, v, flags, own, e);
    if (r < 0) {
        authn_config_unref(c);
        return flags->authn_config ? err_wrap(e, r, "--authentication-config %s", flags->authn_config) : r;
    }
    *ret = c;
    return 0;
}

/* ---- life ----------------------------------------------------------------------------------------------- */

struct authn_config *authn_config_ref(struct authn_config *c)
{
    c->refs++;
    return c;
}

void authn_config_unref(struct authn_config *c)
{
    if (!c || --c->refs)
        return;
    for (size_t i = 0; i < c->n; i++) {
        issuer_keys_free(c->issuers[i].keys);
        issuer_done(&c->issuers[i]);
    }
    arena_done(&c->arena);
    free(c);
}

void authn_config_start(struct authn_config *c)
{
    for (size_t i = 0; i < c->n; i++)
        issuer_keys_start(c->issuers[i].keys);
}

bool authn_config_ready(const struct authn_config *c, struct err *why)
{
    for (size_t i = 0; i < c->n; i++)
        if (!issuer_keys_ready(c->issuers[i].keys, why))
            return false;
    return true;
}

bool authn_config_anonymous(const struct authn_config *c, struct str path)
{
    VAL_EACH (c->paths, v)
        if (str_eq(val_getstr(v, N_path), path))
            return c->anonymous;
    return c->anonymous && !c->paths;
}
