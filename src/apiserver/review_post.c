/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/review_post.h"

#include "base/fiber.h"
#include "base/os.h"
#include "client/kubeconfig.h"
#include "names.h"
#include "wire/json.h"

enum { TRIES = 5, ANSWER_MAX = 3 << 20 };

struct review_hook {
    struct client *client;
};

int review_hook_open(const char *kubeconfig, struct review_hook **ret, struct err *e)
{
    struct client *client;
    int r = kubeconfig_client(kubeconfig, "kube-apiserver", &client, e);
    if (r < 0)
        return err_wrap(e, r, "%s", kubeconfig);
    struct review_hook *h = NEW(struct review_hook);
    h->client = client;
    *ret = h;
    return 0;
}

void review_hook_close(struct review_hook *h)
{
    if (!h)
        return;
    client_free(h->client);
    free(h);
}

static bool worth_another_try(int r, int code, bool wait_said)
{
    return r == -ECONNRESET || r == -EPIPE || code == 429 || code == 500 || code == 504 || wait_said;
}

/* The HTTP code, or negative; *ret_text in the arena. */
static int post(struct review_hook *h, struct arena *a, struct str body, struct mono deadline, struct str *ret_text, bool *ret_wait,
                struct err *e)
{
    struct http_call *call = NULL;
    struct https_raw q = {.method = "POST", .path = "", .accept = "application/json, */*", .body = body};
    struct str text = STR("");
    int r = https_raw(h->client, &q, deadline, &call, e);
    if (r == 0 && (r = http_call_read_all(call, ANSWER_MAX, deadline, &text)) < 0)
        err_set(e, r, r == -EFBIG ? "the answer is too large" : "%s", strerror(-r));
    if (r == 0) {
        *ret_text = arena_str(a, text);
        *ret_wait = http_header(&call->headers, "retry-after").n > 0;
        r = call->status;
    }
    http_call_free(call);
    return r;
}

static int take(struct arena *a, const struct type *t, const struct val *asked, int code, struct str text, struct val **ret, struct err *e)
{
    enum { SHOWN = 200 };
    struct val *v = NULL;
    if (code < 200 || code > 299)
        return err_set(e, -EREMOTEIO, "the webhook answered %d: " STR_FMT, code, STR_ARG(str_slice(str_trim(text), 0, SHOWN)));
    int r = json_decode(a, t, text, 0, NULL, &v, e);
    if (r < 0)
        return err_wrap(e, -EREMOTEIO, "the webhook's answer");
    if (!str_eq(val_getstr(v, N_kind), val_getstr(asked, N_kind)) || !str_eq(val_getstr(v, N_apiVersion), val_getstr(asked, N_apiVersion)))
        return err_set(e, -EREMOTEIO, "the webhook answered with a " STR_FMT " " STR_FMT ", expected " STR_FMT " " STR_FMT,
                       STR_ARG(val_getstr(v, N_apiVersion)), STR_ARG(val_getstr(v, N_kind)), STR_ARG(val_getstr(asked, N_apiVersion)),
                       STR_ARG(val_getstr(asked, N_kind)));
    *ret = v;
    return 0;
}

int review_hook_ask(struct review_hook *h, struct arena *a, const struct type *t, const struct val *asked, struct str body,
                    int64_t timeout_ns, struct val **ret, struct err *e)
{
    CLEANUP_BUF struct buf typed = BUF_INIT;
    struct str text = STR("");
    int64_t pause = MILLISECONDS(500);
    int r = 0;
    if (!body.p) {
        json_encode(&typed, t, asked, 0);
        body = buf_str(&typed);
    }
    for (int i = 0; i < TRIES; i++, pause += pause / 2) {
        bool wait_said = false;
        if (i && fiber_sleep(pause) < 0)
            return err_set(e, -ECANCELED, "the server is stopping");
        r = post(h, a, body, mono_add(os_mono(), timeout_ns), &text, &wait_said, e);
        if (!worth_another_try(MIN(r, 0), MAX(r, 0), wait_said))
            break;
    }
    return r < 0 ? r : take(a, t, asked, r, text, ret, e);
}
