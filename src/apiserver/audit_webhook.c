/* SPDX-License-Identifier: Apache-2.0 */
/* Audit events as EventLists to a webhook that a kubeconfig file names; what it does not take is tried again. */
#include "apiserver/audit_sink-internal.h"

#include "base/os.h"
#include "client/kubeconfig.h"

enum { TRIES = 5 };

struct webhook_sender {
    struct audit_sender base;
    struct client *client;
    int64_t backoff_ns;
};

static bool worth_another_try(int code)
{
    return code < 0 || code == 429 || code >= 500;
}

/* The HTTP code, or negative. */
static int post(struct webhook_sender *w, struct str body, struct err *e)
{
    struct http_call *call = NULL;
    struct https_raw q = {.method = "POST", .path = "", .body = body};
    int r = https_raw(w->client, &q, mono_add(os_mono(), SECONDS(30)), &call, e);
    if (r < 0)
        return r;
    int code = call->status;
    http_call_free(call);
    return code;
}

static int webhook_send(struct audit_sender *s, const struct str *events, size_t n, struct err *e)
{
    struct webhook_sender *w = (struct webhook_sender *)s;
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_puts(&b, "{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},\"items\":[");
    for (size_t i = 0; i < n; i++) {
        buf_puts(&b, i ? "," : "");
        buf_putstr(&b, events[i]);
    }
    buf_puts(&b, "]}");
    int64_t wait = w->backoff_ns;
    int code = 0;
    for (int i = 0; i < TRIES; i++, wait += wait / 2) {
        if (i && fiber_sleep(wait) < 0)
            return err_set(e, -ECANCELED, "the server is stopping");
        code = post(w, buf_str(&b), e);
        if (!worth_another_try(code))
            break;
    }
    if (code < 0)
        return code;
    return code >= 200 && code < 300 ? 0 : err_set(e, -EIO, "the webhook answered %d", code);
}

static void webhook_free(struct audit_sender *s)
{
    struct webhook_sender *w = (struct webhook_sender *)s;
    client_free(w->client);
    free(w);
}

int audit_webhook_open(const struct audit_webhook_config *c, enum audit_mode mode, const struct audit_batching *b,
                       struct audit_sink **ret, struct err *e)
{
    struct client *client;
    int r = kubeconfig_client(c->kubeconfig, "kube-apiserver", &client, e);
    if (r < 0)
        return err_wrap(e, r, "--audit-webhook-config-file");
    struct webhook_sender *w = NEW(struct webhook_sender);
    w->base = (struct audit_sender){.name = "audit webhook", .send = webhook_send, .free = webhook_free};
    w->client = client;
    w->backoff_ns = c->backoff_ns ? c->backoff_ns : SECONDS(10);
    *ret = audit_sink_new(&w->base, mode, b);
    return 0;
}
