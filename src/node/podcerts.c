/* SPDX-License-Identifier: Apache-2.0 */
#include "node/podcerts.h"

#include "auth/crypto.h"
#include "auth/x509.h"
#include "node/kubelet-internal.h"

#define RETRY SECONDS(5)        /* after trouble with the API */
#define RETRY_MAX SECONDS(300)
#define ABANDON SECONDS(600)    /* a request that nobody sees for so long was deleted */
#define OVERDUE SECONDS(600)    /* so long after it should have been renewed an event says so */
#define SPREAD SECONDS(300)     /* requests of many Pods are not made at once */

struct pod_cert {
    struct worker *w;
    char *volume;
    size_t index;
    struct arena source_arena;
    const struct val *source;
    struct group fiber; /* one: asks, waits, asks again */
    struct str key, chain; /* malloc'd; what containers have now */
    struct wall not_after, refresh;
    struct waitq changed;
    enum pod_cert_state state;
    char *refusal;
    bool told_overdue, told_expired;
};

/* ---- pure -------------------------------------------------------------------------------------------------- */

enum pod_cert_state pod_cert_state_of(const struct val *request, const struct val **ret_condition)
{
    static const struct {
        const char *type;
        enum pod_cert_state state;
    } known[] = {{"Denied", POD_CERT_DENIED}, {"Failed", POD_CERT_FAILED}, {"Issued", POD_CERT_ISSUED}};
    VAL_EACH (val_at(request, N_status, N_conditions), c)
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
            if (str_is(val_getstr(c, N_type), known[i].type)) {
                *ret_condition = c;
                return known[i].state;
            }
    return POD_CERT_PENDING;
}

static int add_block(void *buf, struct str label UNUSED, struct str der)
{
    pem_encode(buf, "CERTIFICATE", der);
    return 0;
}

struct str pod_cert_clean_chain(struct arena *a, struct str chain)
{
    struct buf b = BUF_INIT;
    pem_blocks(chain, add_block, &b);
    struct str r = arena_str(a, buf_str(&b));
    buf_done(&b);
    return r;
}

struct val *pod_cert_request(struct arena *a, const struct val *pod, const struct val *source, struct str node, struct str node_uid,
                             struct str account_uid, struct str der)
{
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata), *spec, *owner;
    struct str account = val_str(val_at(pod, N_spec, N_serviceAccountName));
    val_set_str(a, meta, N_generateName, STR("req-"));
    val_set_str(a, meta, N_namespace, obj_namespace(pod));
    owner = val_add_obj(a, val_sub_list(a, meta, N_ownerReferences));
    val_set_str(a, owner, N_apiVersion, STR("v1"));
    val_set_str(a, owner, N_kind, STR("Pod"));
    val_set_str(a, owner, N_name, obj_name(pod));
    val_set_str(a, owner, N_uid, obj_uid(pod));
    spec = val_sub_obj(a, v, N_spec);
    val_set_str(a, spec, N_signerName, val_getstr(source, N_signerName));
    val_set_str(a, spec, N_podName, obj_name(pod));
    val_set_str(a, spec, N_podUID, obj_uid(pod));
    val_set_str(a, spec, N_serviceAccountName, account.n ? account : STR("default"));
    val_set_str(a, spec, N_serviceAccountUID, account_uid);
    val_set_str(a, spec, N_nodeName, node);
    val_set_str(a, spec, N_nodeUID, node_uid);
    val_set_ref(a, spec, N_maxExpirationSeconds, val_get(source, N_maxExpirationSeconds));
    val_set(a, spec, N_stubPKCS10Request, val_of_bytes(arena_str(a, der)));
    val_set_ref(a, spec, N_unverifiedUserAnnotations, val_get(source, N_userAnnotations));
    return v;
}

/* ---- following requests ------------------------------------------------------------------------------------ */

static void on_request(void *arg, const struct resource *res UNUSED, const struct object *old, const struct object *new_)
{
    struct kubelet *k = arg;
    struct worker *w = worker_find(k, val_str(val_at((new_ ? new_ : old)->val, N_spec, N_podUID)));
    for (size_t i = 0; w && i < w->n_certs; i++)
        waitq_wake_all(&w->certs[i]->changed);
}

/* Those of this node: the API shows a kubelet no others. Most nodes have no Pod that wants one. */
static struct replica *requests_of(struct kubelet *k)
{
    if (!k->cert_requests) {
        struct replica_kind kind = {.res = &resources[RES_PODCERTIFICATEREQUESTS],
                                    .field_selector = arena_printf(&k->arena, "spec.nodeName=%s", k->cfg.node_name)};
        k->cert_requests = replica_new(k->client, &kind, 1);
        replica_on_change(k->cert_requests, on_request, k);
        replica_start(k->cert_requests);
    }
    return k->cert_requests;
}

void pod_certs_stop(struct kubelet *k)
{
    replica_free(k->cert_requests);
    k->cert_requests = NULL;
}

/* ---- asking -------------------------------------------------------------------------------------------------- */

struct making {
    enum x509_key_kind kind;
    struct buf *pem, *der;
    struct err *e;
    int r;
};

/* Thousands of milliseconds for RSA: not on the loop. */
static void make_key(void *arg)
{
    struct making *m = arg;
    struct x509_key *key = NULL;
    m->r = x509_key_make(m->kind, &key, m->e);
    if (m->r == 0)
        m->r = x509_csr_make_der(&(const struct x509_names){.cn = NULL}, key, m->der, m->e);
    if (m->r == 0)
        x509_key_pkcs8_pem(key, m->pem);
    x509_key_unref(key);
}

static int account_uid(struct kubelet *k, const struct val *pod, struct arena *a, struct str *ret, struct err *e)
{
    struct str account = val_str(val_at(pod, N_spec, N_serviceAccountName));
    const struct val *v;
    struct status s;
    status_init(&s, a);
    int r = client_get(k->client, CALL(.res = &resources[RES_SERVICEACCOUNTS], .ns = obj_namespace(pod), .name = account.n ? account : STR("default")),
                       a, &v, &s);
    if (r != 0)
        return r < 0 ? r : err_set(e, -EIO, "while fetching service account: " STR_FMT, STR_ARG(s.message));
    *ret = obj_uid(v);
    return 0;
}

/* Makes key and request; *ret_name is malloc'd. */
static int ask(struct pod_cert *c, const struct val *pod, struct buf *key, char **ret_name, struct err *e)
{
    struct kubelet *k = c->w->k;
    struct arena a = ARENA_INIT;
    struct buf der CLEANUP_BUF = BUF_INIT;
    struct making m = {x509_key_kind_named(val_getstr(c->source, N_keyType)), key, &der, e, 0};
    struct str account = STR_NULL;
    const struct object *node = k->world ? replica_get(k->world, &resources[RES_NODES], STR_NULL, str_of(k->cfg.node_name)) : NULL;
    struct str node_uid = node ? arena_str(&a, obj_uid(node->val)) : STR_NULL;
    const struct val *made;
    struct status s;
    status_init(&s, &a);
    int r = node_uid.n ? account_uid(k, pod, &a, &account, e) : err_set(e, -EAGAIN, "while getting node object from local cache: not found");
    if (r == 0) {
        fiber_offload(make_key, &m);
        r = m.r;
    }
    if (r == 0)
        r = client_create(k->client, CALL(.res = &resources[RES_PODCERTIFICATEREQUESTS], .ns = obj_namespace(pod)),
                          pod_cert_request(&a, pod, c->source, str_of(k->cfg.node_name), node_uid, account, buf_str(&der)), &a, &made, &s);
    if (r > 0)
        r = err_set(e, -EIO, "while creating PodCertificateRequest: " STR_FMT, STR_ARG(s.message));
    if (r == 0)
        *ret_name = str_dup(obj_name(made));
    arena_done(&a);
    return r;
}

static void clear_text(struct str *s)
{
    if (s->p)
        secret_wipe((char *)s->p, s->n);
    free((char *)s->p);
    *s = STR_NULL;
}

static void set_text(struct str *to, struct str from)
{
    clear_text(to);
    *to = str_n(str_dup(from), from.n);
}

static void take(struct pod_cert *c, const struct val *request, struct str key)
{
    struct arena a = ARENA_INIT;
    const struct val *status = val_get(request, N_status);
    set_text(&c->key, key);
    set_text(&c->chain, pod_cert_clean_chain(&a, val_getstr(status, N_certificateChain)));
    c->not_after = val_time(val_get(status, N_notAfter));
    c->refresh.ns = val_time(val_get(status, N_beginRefreshAt)).ns + (int64_t)os_random_below((uint64_t)SPREAD);
    c->state = POD_CERT_ISSUED;
    c->told_overdue = c->told_expired = false;
    arena_done(&a);
    worker_set_volumes_dirty(c->w);
}

static void refuse(struct pod_cert *c, const struct val *pod, const struct object *request, const struct val *condition)
{
    struct str reason = val_getstr(condition, N_reason), message = val_getstr(condition, N_message);
    bool denied = c->state == POD_CERT_DENIED;
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, "PodCertificateRequest was permanently %s: reason=\"" STR_FMT "\" message=\"" STR_FMT "\"", denied ? "denied" : "failed",
               STR_ARG(reason), STR_ARG(message));
    c->refusal = str_dup(buf_str(&b));
    pod_event(c->w->k, pod, true, denied ? "Denied" : "Failed", "PodCertificateRequest " STR_FMT "/" STR_FMT " %s, reason=\"" STR_FMT "\", message=\"" STR_FMT "\"",
              STR_ARG(obj_namespace(pod)), STR_ARG(request->name), denied ? "was denied" : "failed", STR_ARG(reason), STR_ARG(message));
    worker_set_volumes_dirty(c->w);
}

/* Says once that containers have a certificate that should have been renewed, or is none any more. */
static void tell_late(struct pod_cert *c, const struct val *pod)
{
    int64_t now = os_wall().ns;
    if (c->state != POD_CERT_ISSUED)
        return;
    if (!c->told_overdue && now > c->refresh.ns + OVERDUE) {
        c->told_overdue = true;
        pod_event(c->w->k, pod, true, "CertificateOverdueForRefresh", "PodCertificate refresh overdue");
    }
    if (!c->told_expired && now > c->not_after.ns) {
        c->told_expired = true;
        pod_event(c->w->k, pod, true, "CertificateExpired", "PodCertificate expired");
    }
}

/* Until the request is decided. 0; 1: it is gone, or refused (c->state says which); -ECANCELED. */
static int wait_decided(struct pod_cert *c, const struct val *pod, const char *name, struct str key)
{
    struct kubelet *k = c->w->k;
    struct replica *requests = requests_of(k);
    struct mono abandon = mono_add(os_mono(), ABANDON);
    for (;;) {
        struct object *o CLEANUP_OBJECT = NULL;
        const struct object *seen = replica_get(requests, &resources[RES_PODCERTIFICATEREQUESTS], obj_namespace(pod), str_of(name));
        const struct val *condition = NULL;
        enum pod_cert_state state = POD_CERT_PENDING;
        if (seen) {
            o = object_ref(seen);
            state = pod_cert_state_of(o->val, &condition);
        } else if (os_mono().ns > abandon.ns) {
            return 1;
        }
        if (state == POD_CERT_ISSUED) {
            take(c, o->val, key);
            return 0;
        }
        if (state != POD_CERT_PENDING) {
            c->state = state;
            refuse(c, pod, o, condition);
            return 1;
        }
        tell_late(c, pod);
        if (waitq_wait(&c->changed, mono_add(os_mono(), SECONDS(60))) == -ECANCELED)
            return -ECANCELED;
    }
}

static int once(struct pod_cert *c, const struct val *pod, struct err *e)
{
    struct buf key CLEANUP_BUF = BUF_INIT;
    char *name = NULL;
    int r = ask(c, pod, &key, &name, e);
    if (r == 0)
        r = wait_decided(c, pod, name, buf_str(&key));
    free(name);
    if (key.n)
        secret_wipe(key.p, key.n);
    return r;
}

static void cert_fiber(void *arg)
{
    struct pod_cert *c = arg;
    struct object *pod CLEANUP_OBJECT = object_ref(c->w->pod);
    int64_t pause = RETRY;
    while (c->state == POD_CERT_PENDING || c->state == POD_CERT_ISSUED) {
        struct err e = {{0}};
        int64_t left = c->state == POD_CERT_ISSUED ? c->refresh.ns - os_wall().ns : 0;
        if (left > 0) {
            if (fiber_sleep(MIN(left, SECONDS(60))) < 0) /* clocks are set */
                return;
            continue;
        }
        int r = once(c, pod->val, &e);
        if (r == -ECANCELED || fiber_cancelled())
            return;
        tell_late(c, pod->val);
        if (r < 0) {
            log_warn(LOG, "%s/%s: certificate of volume %s: %s", c->w->ns, c->w->name, c->volume, err_text(&e, r));
            if (fiber_sleep(pause) < 0)
                return;
        }
        pause = r < 0 ? MIN(2 * pause, RETRY_MAX) : RETRY;
        /* Deleted at once, or issued for a time that is over (the signer's clock): no storm of requests. */
        if (r >= 0 && !(c->state == POD_CERT_ISSUED && c->refresh.ns > os_wall().ns) && fiber_sleep(RETRY) < 0)
            return;
    }
}

/* ---- for volumes ----------------------------------------------------------------------------------------------- */

static struct pod_cert *find_cert(struct worker *w, struct str volume, size_t index)
{
    for (size_t i = 0; i < w->n_certs; i++)
        if (w->certs[i]->index == index && str_is(volume, w->certs[i]->volume))
            return w->certs[i];
    return NULL;
}

static struct pod_cert *add_cert(struct worker *w, struct str volume, size_t index, const struct val *source)
{
    struct pod_cert *c = NEW(struct pod_cert);
    c->w = w;
    c->volume = str_dup(volume);
    c->index = index;
    c->source = val_copy(&c->source_arena, source);
    w->certs = xrealloc(w->certs, (w->n_certs + 1) * sizeof(*w->certs));
    w->certs[w->n_certs++] = c;
    group_spawn(&c->fiber, "pod-certificate", cert_fiber, c);
    return c;
}

int pod_cert_get(struct worker *w, const struct val *pod, struct str volume, size_t index, const struct val *source, struct arena *a,
                 struct str *ret_key, struct str *ret_chain, struct err *e)
{
    struct pod_cert *c = find_cert(w, volume, index);
    if (!w->k->client || !w->pod || pod_is_static(pod))
        return err_set(e, -ENOTSUP, "there is nobody to ask for pod certificates");
    if (!c)
        c = add_cert(w, volume, index, source);
    if (c->refusal)
        return err_set(e, -EACCES, "%s", c->refusal);
    if (c->state != POD_CERT_ISSUED)
        return err_set(e, -EAGAIN, "credential bundle is not issued yet");
    *ret_key = arena_str(a, c->key);
    *ret_chain = arena_str(a, c->chain);
    return 0;
}

void pod_certs_free(struct worker *w)
{
    struct pod_cert **certs = w->certs;
    size_t n = w->n_certs;
    w->certs = NULL; /* stopping waits: nobody finds what is freed */
    w->n_certs = 0;
    for (size_t i = 0; i < n; i++) {
        struct pod_cert *c = certs[i];
        group_stop(&c->fiber);
        clear_text(&c->key);
        clear_text(&c->chain);
        arena_done(&c->source_arena);
        free(c->refusal);
        free(c->volume);
        free(c);
    }
    free(certs);
}

void pod_certs_each(const struct worker *w, struct wall now, void (*visit)(void *arg, const char *signer, const char *state), void *arg)
{
    for (size_t i = 0; i < w->n_certs; i++) {
        const struct pod_cert *c = w->certs[i];
        const char *state = c->state == POD_CERT_DENIED    ? "denied"
                            : c->state == POD_CERT_FAILED  ? "failed"
                            : c->state == POD_CERT_PENDING ? "not_yet_issued"
                            : now.ns > c->not_after.ns     ? "expired"
                            : now.ns > c->refresh.ns + OVERDUE ? "overdue_for_refresh"
                                                               : "fresh";
        visit(arg, val_cstr(val_get(c->source, N_signerName)), state);
    }
}
