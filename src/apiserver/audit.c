/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/audit.h"

#include <fcntl.h>
#include <unistd.h>

#include "apiserver/auth.h"
#include "apiserver/state.h"
#include "base/os.h"
#include "names.h"
#include "types.h"
#include "wire/json.h"

int audit_open(struct apiserver *s, struct err *e)
{
    s->audit_fd = -1;
    if (!s->config.audit_log)
        return 0;
    if (strcmp(s->config.audit_log, "-") == 0)
        return err_set(e, -EINVAL, "--audit-log-path: \"-\" is not supported, name a file");
    int fd = os_open(s->config.audit_log, O_WRONLY | O_CREAT, 0600);
    if (fd < 0)
        return err_set(e, fd, "audit log %s: %s", s->config.audit_log, strerror(-fd));
    s->audit_fd = fd;
    os_fsize(fd, &s->audit_at);
    return 0;
}

void audit_close(struct apiserver *s)
{
    if (s->audit_fd >= 0)
        os_close(s->audit_fd);
    s->audit_fd = -1;
}

/* What would only drown the rest: probes, discovery, and the server's own watches are not logged. */
static bool worth(const struct request *r)
{
    return r->info.is_resource;
}

static struct val *event_object(struct request *r)
{
    const struct request_info *in = &r->info;
    struct val *o = val_new(r->arena, VAL_OBJ);
    val_set_str(r->arena, o, N_resource, in->resource);
    if (in->ns.n)
        val_set_str(r->arena, o, N_namespace, in->ns);
    if (in->name.n)
        val_set_str(r->arena, o, N_name, in->name);
    if (in->group.n)
        val_set_str(r->arena, o, N_apiGroup, in->group);
    val_set_str(r->arena, o, N_apiVersion, in->version);
    if (in->subresource.n)
        val_set_str(r->arena, o, N_subresource, in->subresource);
    return o;
}

static struct str micro(struct request *r, struct wall t)
{
    char text[TIME_TEXT_MAX];
    return arena_str(r->arena, str_of(time_format_micro(t, text)));
}

static struct val *event(struct request *r)
{
    struct arena *a = r->arena;
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_kind, STR("Event"));
    val_set_str(a, v, N_apiVersion, STR("audit.k8s.io/v1"));
    val_set_str(a, v, N_level, STR("Metadata"));
    val_set_str(a, v, N_auditID, r->audit_id);
    val_set_str(a, v, N_stage, STR("ResponseComplete"));
    val_set_str(a, v, N_requestURI, r->x->target);
    val_set_str(a, v, N_verb, r->info.verb);
    val_set_ref(a, v, N_user, user_to_val(a, r->acting_for.name.n ? &r->acting_for : &r->user));
    if (r->acting_for.name.n)
        val_set_ref(a, v, N_impersonatedUser, user_to_val(a, &r->user));
    struct str host = str_of(r->x->peer);
    ssize_t colon = str_rfind(host, ':');
    val_add_str(a, val_sub_list(a, v, N_sourceIPs), colon > 0 ? str_n(host.p, (size_t)colon) : host);
    struct str agent = http_header(&r->x->headers, "user-agent");
    if (agent.n)
        val_set_str(a, v, N_userAgent, agent);
    val_set_ref(a, v, N_objectRef, event_object(r));
    struct val *status = val_sub_obj(a, v, N_responseStatus);
    val_set_int(a, status, N_code, r->status.code ? r->status.code : r->answer.code);
    if (r->annotations)
        val_set_ref(a, v, N_annotations, r->annotations);
    val_set_str(a, v, N_requestReceivedTimestamp, micro(r, r->now));
    val_set_str(a, v, N_stageTimestamp, micro(r, os_wall()));
    return v;
}

void audit_done(struct request *r)
{
    struct apiserver *s = r->server;
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (s->audit_fd < 0 || !worth(r))
        return;
    json_encode(&b, &types[T_audit_v1_Event], event(r), 0);
    buf_putc(&b, '\n');
    if (os_pwrite(s->audit_fd, b.p, b.n, s->audit_at) > 0)
        s->audit_at += (off_t)b.n;
}
