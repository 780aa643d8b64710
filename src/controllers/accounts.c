/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/accounts.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/https.h"
#include "resources.h"
#include "type/meta.h"

enum { LIFE_SECONDS = 3600, RETRY_SECONDS = 2 };

struct account {
    char *name;
    struct client *client;
    struct mono renewed, renew_at;
};

struct accounts {
    struct client *base;
    struct account **list; /* the first has the connections that all share */
    size_t n;
    struct group fibers;
    struct waitq changed;
};

/* ---- tokens ------------------------------------------------------------------------------------------ */

static int make_account(struct client *c, const char *name, struct arena *a, struct status *s)
{
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata);
    val_set_str(a, meta, N_name, str_of(name));
    val_set_str(a, meta, N_namespace, STR("kube-system"));
    int r = client_create(c, CALL(.res = &resources[RES_SERVICEACCOUNTS], .ns = STR("kube-system")), v, a,
                          NULL, s);
    return r == 409 ? 0 : r;
}

static int ask_token(struct client *c, const char *name, struct arena *a, struct str *ret, struct status *s)
{
    const struct val *got = NULL;
    struct val *v = val_new(a, VAL_OBJ);
    val_set_int(a, val_sub_obj(a, v, N_spec), N_expirationSeconds, LIFE_SECONDS);
    const struct call *call = CALL(.res = &resources[RES_SERVICEACCOUNTS], .ns = STR("kube-system"),
                                   .name = str_of(name), .subresource = "token");
    int r = client_create(c, call, v, a, &got, s);
    if (r == 404) {
        status_init(s, a);
        r = make_account(c, name, a, s);
        r = r ? r : client_create(c, call, v, a, &got, s);
    }
    if (r == 0)
        *ret = val_str(val_at(got, N_status, N_token));
    return r;
}

static int renew(struct accounts *as, struct account *account)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str token = STR_NULL;
    struct status s;
    struct err e = {0};
    status_init(&s, &a);
    int r = ask_token(as->base, account->name, &a, &token, &s);
    if (r) {
        log_warn("kube-controller-manager", "no token for kube-system/%s: " STR_FMT " (%d)", account->name,
                 STR_ARG(s.message), r);
        return r;
    }
    if (account->client)
        https_client_set_token(account->client, token);
    else
        r = https_client_as(as->n > 0 && as->list[0]->client ? as->list[0]->client : as->base, token,
                            account->name, &account->client, &e);
    account->renewed = os_mono();
    account->renew_at = mono_add(account->renewed, SECONDS(LIFE_SECONDS) * 8 / 10);
    return r;
}

/* ---- keeping them ------------------------------------------------------------------------------------ */

static struct account *next_due(struct accounts *as)
{
    struct account *next = NULL;
    for (size_t i = 0; i < as->n; i++)
        if (!next || as->list[i]->renew_at.ns < next->renew_at.ns)
            next = as->list[i];
    return next;
}

static void keeper(void *arg)
{
    struct accounts *as = arg;
    for (;;) {
        struct account *next = next_due(as);
        int r = waitq_wait(&as->changed, next ? next->renew_at : MONO_NEVER);
        if (r == -ECANCELED)
            return;
        if (r == -ETIMEDOUT && next && renew(as, next))
            next->renew_at = mono_add(os_mono(), SECONDS(RETRY_SECONDS));
    }
}

struct accounts *accounts_new(struct client *base)
{
    struct accounts *as = NEW(struct accounts);
    as->base = base;
    group_spawn(&as->fibers, "accounts", keeper, as);
    return as;
}

struct client *accounts_client(struct accounts *as, const char *name)
{
    for (size_t i = 0; i < as->n; i++)
        if (strcmp(as->list[i]->name, name) == 0)
            return as->list[i]->client;
    struct account *account = NEW(struct account);
    account->name = xstrdup(name);
    while (renew(as, account))
        if (fiber_sleep(SECONDS(RETRY_SECONDS)) < 0)
            break;
    as->list = xrealloc(as->list, (as->n + 1) * sizeof(struct account *));
    as->list[as->n++] = account;
    waitq_wake_all(&as->changed);
    return account->client ? account->client : as->base; /* cancelled: nobody will write any more */
}

void accounts_refused(struct accounts *as, const struct client *c)
{
    for (size_t i = 0; i < as->n; i++) {
        struct account *account = as->list[i];
        if (account->client == c && os_mono().ns - account->renewed.ns > SECONDS(RETRY_SECONDS)) {
            account->renew_at = os_mono();
            waitq_wake_all(&as->changed);
        }
    }
}

void accounts_free(struct accounts *as)
{
    if (!as)
        return;
    group_stop(&as->fibers);
    for (size_t i = as->n; i > 0; i--) { /* the first last */
        client_free(as->list[i - 1]->client);
        free(as->list[i - 1]->name);
        free(as->list[i - 1]);
    }
    free(as->list);
    free(as);
}
