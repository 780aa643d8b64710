/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/audit.h"

#include <ctype.h>

#include "apiserver/audit_policy.h"
#include "apiserver/audit_sink.h"
#include "apiserver/state.h"
#include "apiserver/uuid.h"
#include "base/log.h"
#include "base/os.h"
#include "names.h"
#include "types.h"
#include "wire/json.h"

enum { SINKS = 2, AGENT_MAX = 1024, POLICY_MAX = 8 << 20 };

struct audit {
    const struct val *policy; /* NULL: none */
    struct arena arena;       /* of the policy */
    struct audit_sink *sinks[SINKS];
    size_t n_sinks;
    uint64_t events, refused, levels[AUDIT_LEVELS];
};

/* What is known of a request for its events; r->audit, NULL: nothing is noted. */
struct request_audit {
    struct audit_choice choice;
    struct request *r;
    const char *agent;             /* of a request from inside this process */
    struct str sent;               /* JSON; empty below AUDIT_REQUEST */
    struct str name, ns, uid, rev; /* as sent */
    bool started;
};

/* ---- opening ------------------------------------------------------------------------------------------- */

static int load_policy(struct audit *u, const char *path, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text, warning = STR_NULL;
    int r = os_read_file(&a, path, POLICY_MAX, &text);
    if (r < 0)
        return err_set(e, r, "--audit-policy-file %s: %s", path, strerror(-r));
    r = audit_policy_read(&u->arena, text, &u->policy, &warning, e);
    if (r < 0)
        return err_wrap(e, r, "--audit-policy-file %s", path);
    if (warning.n)
        log_warn("apiserver", "%s: %.*s; passed over", path, STR_ARG(warning));
    return 0;
}

static int open_sinks(struct audit *u, const struct audit_config *c, struct err *e)
{
    enum audit_mode mode = AUDIT_BLOCKING;
    int r = 0;
    if (c->log.path) {
        if (c->log_mode)
            r = audit_mode_parse("audit-log-mode", c->log_mode, &mode, e);
        if (r == 0)
            r = audit_log_open(&c->log, mode, &c->log_batching, &u->sinks[u->n_sinks], e);
        u->n_sinks += r == 0;
    }
    if (r == 0 && c->webhook.kubeconfig) {
        mode = AUDIT_BATCH;
        if (c->webhook_mode)
            r = audit_mode_parse("audit-webhook-mode", c->webhook_mode, &mode, e);
        if (r == 0)
            r = audit_webhook_open(&c->webhook, mode, &c->webhook_batching, &u->sinks[u->n_sinks], e);
        u->n_sinks += r == 0;
    }
    return r;
}

int audit_open(struct apiserver *s, struct err *e)
{
    const struct audit_config *c = &s->config.audit;
    if (!c->log.path && !c->webhook.kubeconfig)
        return 0;
    s->audit = NEW(struct audit);
    int r = c->policy ? load_policy(s->audit, c->policy, e) : 0;
    return r ? r : open_sinks(s->audit, c, e);
}

void audit_close(struct apiserver *s)
{
    if (!s->audit)
        return;
    for (size_t i = 0; i < s->audit->n_sinks; i++)
        audit_sink_close(s->audit->sinks[i]);
    arena_done(&s->audit->arena);
    free(s->audit);
    s->audit = NULL;
}

/* ---- parts of an event --------------------------------------------------------------------------------- */

static struct val *event_object(const struct request_audit *u)
{
    struct request *r = u->r;
    const struct request_info *in = &r->info;
    struct str name = in->name.n ? in->name : u->name, ns = in->ns.n ? in->ns : u->ns;
    const struct {
        name_id at;
        struct str text;
    } parts[] = {{N_resource, in->resource}, {N_namespace, ns},          {N_name, name},
                 {N_uid, u->uid},            {N_apiGroup, in->group},    {N_apiVersion, in->version},
                 {N_resourceVersion, u->rev}, {N_subresource, in->subresource}};
    struct val *o = val_new(r->arena, VAL_OBJ);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (parts[i].text.n)
            val_set_str(r->arena, o, parts[i].at, parts[i].text);
    return o;
}

static bool is_address(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isxdigit((unsigned char)s.p[i]) && s.p[i] != '.' && s.p[i] != ':')
            return false;
    return s.n > 0;
}

/* "10.0.0.1:2345" and "[fd00::1]:2345" without their ports. */
static struct str peer_address(const char *peer)
{
    struct str host = str_of(peer);
    ssize_t colon = str_rfind(host, ':');
    host = colon > 0 ? str_n(host.p, (size_t)colon) : host;
    return str_starts(host, STR("[")) && host.n > 2 ? str_n(host.p + 1, host.n - 2) : host;
}

/* Who is said to have sent it, and last who did. */
static void add_sources(struct request *r, struct val *event)
{
    struct val *list = val_sub_list(r->arena, event, N_sourceIPs);
    struct str chain = http_header(&r->x->headers, "x-forwarded-for"), one, last = STR_NULL;
    struct str real = str_trim(http_header(&r->x->headers, "x-real-ip")), peer = peer_address(r->x->peer);
    bool has_real = false;
    while (chain.p && str_next(&chain, ',', &one)) {
        one = str_trim(one);
        if (!is_address(one))
            continue;
        val_add_str(r->arena, list, last = one);
        has_real |= str_eq(one, real);
    }
    if (is_address(real) && !has_real)
        val_add_str(r->arena, list, last = real);
    if (!str_eq(peer, last))
        val_add_str(r->arena, list, peer);
}

static struct str user_agent(const struct request_audit *u)
{
    struct request *r = u->r;
    if (!r->x)
        return str_of(u->agent);
    struct str agent = http_header(&r->x->headers, "user-agent");
    return agent.n <= AGENT_MAX ? agent : arena_printf(r->arena, "%.*s...TRUNCATED", AGENT_MAX, agent.p);
}

static struct str micro(struct request *r, struct wall t)
{
    char text[TIME_TEXT_MAX];
    return arena_str(r->arena, str_of(time_format_micro(t, text)));
}

static int answered_code(const struct request *r)
{
    if (r->status.code)
        return r->status.code;
    return r->answer.code ? r->answer.code : r->x ? r->x->status : 0;
}

static const struct val *response_status(struct request *r)
{
    struct val *v = r->status.code ? val_copy(r->arena, status_to_val(&r->status, r->arena)) : val_new(r->arena, VAL_OBJ);
    val_del(v, N_kind);
    val_del(v, N_apiVersion);
    val_sub_obj(r->arena, v, N_metadata);
    if (answered_code(r))
        val_set_int(r->arena, v, N_code, answered_code(r));
    return v;
}

/* ---- objects ------------------------------------------------------------------------------------------- */

static void drop_managed(struct val *v)
{
    struct val *meta = val_mut(v, N_metadata);
    if (val_is(meta, VAL_MAP))
        val_unput(meta, STR("managedFields"));
}

/* JSON without metadata.managedFields, of the object or of the items of a list (or rows of a Table). */
static struct str without_managed(struct arena *a, struct str json)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct val *v = NULL;
    if (!str_contains(json, STR("\"managedFields\"")) || json_decode(a, NULL, json, 0, NULL, &v, NULL) < 0)
        return json;
    drop_managed(v);
    VAL_EACH(val_get(v, N_items), item)
        drop_managed((struct val *)item);
    VAL_EACH(val_get(v, N_rows), row)
        drop_managed(val_mut((struct val *)row, N_object));
    json_encode(&b, NULL, v, 0);
    return arena_str(a, buf_str(&b));
}

void audit_sent_patch(struct request *r, struct str text)
{
    struct request_audit *u = r->audit;
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct val *v = NULL;
    if (!u || u->choice.level < AUDIT_REQUEST || json_decode(r->arena, NULL, text, 0, NULL, &v, NULL) < 0)
        return;
    json_encode(&b, NULL, v, 0);
    u->sent = arena_str(r->arena, buf_str(&b));
}

void audit_sent(struct request *r, const struct type *t, const struct val *v)
{
    struct request_audit *u = r->audit;
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (!u)
        return;
    const struct val *meta = val_get(v, N_metadata);
    u->name = arena_str(r->arena, val_getstr(meta, N_name));
    u->ns = arena_str(r->arena, val_getstr(meta, N_namespace));
    u->uid = arena_str(r->arena, val_getstr(meta, N_uid));
    u->rev = arena_str(r->arena, val_getstr(meta, N_resourceVersion));
    if (u->choice.level < AUDIT_REQUEST)
        return;
    json_encode(&b, t, v, 0);
    u->sent = arena_str(r->arena, buf_str(&b));
    if (u->choice.omit_managed)
        u->sent = without_managed(r->arena, u->sent);
}

static struct str answered(const struct request_audit *u)
{
    struct request *r = u->r;
    CLEANUP_BUF struct buf b = BUF_INIT;
    enum media media = r->media;
    r->media = MEDIA_JSON;
    answer_encode(r, &b);
    r->media = media;
    struct str json = arena_str(r->arena, buf_str(&b));
    return u->choice.omit_managed ? without_managed(r->arena, json) : json;
}

static void set_raw(struct request *r, struct val *event, name_id at, struct str json)
{
    struct val *raw = ARENA_NEW(r->arena, struct val);
    *raw = val_of_raw(json);
    if (json.n)
        val_set_ref(r->arena, event, at, raw);
}

void audit_note(struct request *r, struct str key, struct str text)
{
    if (!r->audit)
        return;
    if (!r->annotations)
        r->annotations = val_new(r->arena, VAL_MAP);
    if (!val_key(r->annotations, key))
        val_put_str(r->arena, r->annotations, arena_str(r->arena, key), arena_str(r->arena, text));
}

/* ---- events -------------------------------------------------------------------------------------------- */

static void who(const struct request_audit *u, struct val *v)
{
    struct request *r = u->r;
    bool acting = r->acting_for.name.n > 0;
    val_set_ref(r->arena, v, N_user, user_to_val(r->arena, acting ? &r->acting_for : &r->user));
    if (acting)
        val_set_ref(r->arena, v, N_impersonatedUser, user_to_val(r->arena, &r->user));
    if (acting && r->impersonated_by)
        val_set_str(r->arena, val_sub_obj(r->arena, v, N_authenticationMetadata), N_impersonationConstraint,
                    arena_printf(r->arena, "impersonate:%s", r->impersonated_by));
}

static struct val *event(const struct request_audit *u, enum audit_stage stage)
{
    struct request *r = u->r;
    struct arena *a = r->arena;
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_kind, STR("Event"));
    val_set_str(a, v, N_apiVersion, STR("audit.k8s.io/v1"));
    val_set_str(a, v, N_level, str_of(audit_levels[u->choice.level]));
    val_set_str(a, v, N_auditID, r->audit_id);
    val_set_str(a, v, N_stage, str_of(audit_stages[stage]));
    val_set_str(a, v, N_requestURI, r->x ? r->x->target : r->info.path);
    val_set_str(a, v, N_verb, r->info.verb);
    who(u, v);
    if (r->x)
        add_sources(r, v);
    if (user_agent(u).n)
        val_set_str(a, v, N_userAgent, user_agent(u));
    if (r->info.is_resource)
        val_set_ref(a, v, N_objectRef, event_object(u));
    if (stage != AUDIT_RECEIVED)
        val_set_ref(a, v, N_responseStatus, response_status(r));
    set_raw(r, v, N_requestObject, u->sent);
    if (stage == AUDIT_COMPLETE && u->choice.level == AUDIT_RESPONSE)
        set_raw(r, v, N_responseObject, answered(u));
    if (r->annotations)
        val_set_ref(a, v, N_annotations, r->annotations);
    val_set_str(a, v, N_requestReceivedTimestamp, micro(r, r->now));
    val_set_str(a, v, N_stageTimestamp, micro(r, os_wall()));
    return v;
}

/* To all sinks; negative when one insists and failed. */
static int emit(const struct request_audit *u, enum audit_stage stage)
{
    struct audit *all = u->r->server->audit;
    CLEANUP_BUF struct buf b = BUF_INIT;
    int worst = 0;
    if (u->choice.omitted & (1u << stage))
        return 0;
    json_encode(&b, &types[T_audit_v1_Event], event(u, stage), 0);
    all->events++;
    for (size_t i = 0; i < all->n_sinks; i++) {
        struct err e = {0};
        int r = audit_sink_put(all->sinks[i], buf_str(&b), &e);
        worst = MIN(worst, r);
    }
    return worst;
}

static struct request_audit *choose(struct request *r, bool known)
{
    struct audit *all = r->server->audit;
    const struct request_info *in = &r->info;
    struct attributes at = {.user = known ? &r->user : NULL, .verb = in->verb, .resource_request = in->is_resource, .ns = in->ns,
                            .group = in->group, .version = in->version, .resource = in->resource, .subresource = in->subresource,
                            .name = in->name, .path = in->path};
    struct audit_choice choice = audit_policy_choose(all->policy, &at);
    all->levels[choice.level]++;
    if (choice.level == AUDIT_NONE)
        return NULL;
    struct request_audit *u = ARENA_NEW(r->arena, struct request_audit);
    *u = (struct request_audit){.choice = choice, .r = r};
    return u;
}

int audit_begin(struct request *r)
{
    if (!r->server->audit)
        return 0;
    r->audit = choose(r, true);
    if (!r->audit)
        return 0;
    if (emit(r->audit, AUDIT_RECEIVED) < 0) {
        r->audit = NULL;
        r->server->audit->refused++;
        return status_internal(&r->status, "failed to store audit event");
    }
    if (request_long_running(r)) {
        r->x->user = r->audit;
        r->x->started = audit_started;
    }
    return 0;
}

int audit_begin_local(struct request *r, const char *agent)
{
    const struct audit *all = r->server->audit;
    char text[UUID_TEXT];
    if (!all || !all->policy)
        return 0;
    r->audit = choose(r, true);
    if (!r->audit)
        return 0;
    uuid_new(text);
    r->audit_id = arena_str(r->arena, str_of(text));
    r->audit->agent = agent;
    return emit(r->audit, AUDIT_RECEIVED) < 0 ? status_internal(&r->status, "failed to store audit event") : 0;
}

void audit_started(struct http_exchange *x)
{
    struct request_audit *u = x->user;
    if (u->started)
        return;
    u->started = true;
    emit(u, AUDIT_STARTED);
}

void audit_done(struct request *r)
{
    if (!r->server->audit)
        return;
    if (!r->audit && r->status.code == 401 && !r->user.name.n) { /* nobody knows who: this one event, as upstream has it */
        r->audit = choose(r, false);
        if (r->audit)
            emit(r->audit, AUDIT_STARTED);
    } else if (r->audit) {
        emit(r->audit, AUDIT_COMPLETE);
    }
    r->audit = NULL;
}

void audit_metrics(struct apiserver *s, struct buf *b)
{
    const struct audit *u = s->audit;
    uint64_t lost = 0;
    if (!u)
        return;
    for (size_t i = 0; i < u->n_sinks; i++)
        lost += audit_sink_counts(u->sinks[i]).lost;
    buf_puts(b, "# HELP apiserver_audit_event_total Audit events generated.\n# TYPE apiserver_audit_event_total counter\n");
    buf_printf(b, "apiserver_audit_event_total %llu\n", (unsigned long long)u->events);
    buf_puts(b, "# HELP apiserver_audit_error_total Audit events lost.\n# TYPE apiserver_audit_error_total counter\n");
    buf_printf(b, "apiserver_audit_error_total{plugin=\"all\"} %llu\n", (unsigned long long)lost);
    buf_puts(b, "# HELP apiserver_audit_requests_rejected_total Requests refused since they could not be noted.\n"
                "# TYPE apiserver_audit_requests_rejected_total counter\n");
    buf_printf(b, "apiserver_audit_requests_rejected_total %llu\n", (unsigned long long)u->refused);
    buf_puts(b, "# HELP apiserver_audit_level_total Requests by the level of their policy.\n# TYPE apiserver_audit_level_total counter\n");
    for (int i = 0; i < AUDIT_LEVELS; i++)
        buf_printf(b, "apiserver_audit_level_total{level=\"%s\"} %llu\n", audit_levels[i], (unsigned long long)u->levels[i]);
}
