/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CertificateSigningRequests: those of kubelets for their client certificates are approved when the requester
 * may ask for them, approved ones are signed by the cluster's CA as their signer's rules allow, and old ones
 * are cleared away.
 */
#include "controllers/csr.h"

#include "auth/x509.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define SIGNER "kubernetes.io/"

enum {
    BACKDATE_SECONDS = 300,
    SHORT_SECONDS = 8 * 3600, /* certificates shorter than this are not lengthened by the backdating */
    LEAST_SECONDS = 600,
    YEAR_SECONDS = 365 * 24 * 3600,
    DONE_SECONDS = 3600, /* how long approved, denied and failed requests are kept */
    PENDING_SECONDS = 24 * 3600,
    POD_CERTIFICATE_SECONDS = 15 * 60,
};

/* ---- what is asked ----------------------------------------------------------------------------------- */

static const struct val *conditions_of(const struct object *csr)
{
    return val_at(csr->val, N_status, N_conditions);
}

static bool has(const struct object *csr, const char *type)
{
    const struct val *c = condition_find(conditions_of(csr), str_of(type));
    return c && !str_is(val_getstr(c, N_status), "False");
}

static struct str certificate_of(const struct object *csr)
{
    return val_str(val_at(csr->val, N_status, N_certificate));
}

static bool is_signer(const struct object *csr, const char *name)
{
    return str_is(val_str(val_at(csr->val, N_spec, N_signerName)), name);
}

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

static const struct {
    const char *name;
    unsigned usage;
} usage_names[] = {
    {"signing", X509_DIGITAL_SIGNATURE},
    {"digital signature", X509_DIGITAL_SIGNATURE},
    {"content commitment", X509_CONTENT_COMMITMENT},
    {"key encipherment", X509_KEY_ENCIPHERMENT},
    {"key agreement", X509_KEY_AGREEMENT},
    {"data encipherment", X509_DATA_ENCIPHERMENT},
    {"cert sign", X509_CERT_SIGN},
    {"crl sign", X509_CRL_SIGN},
    {"encipher only", X509_ENCIPHER_ONLY},
    {"decipher only", X509_DECIPHER_ONLY},
    {"any", X509_ANY_USAGE},
    {"server auth", X509_SERVER_AUTH},
    {"client auth", X509_CLIENT_AUTH},
    {"code signing", X509_CODE_SIGNING},
    {"email protection", X509_EMAIL_PROTECTION},
    {"s/mime", X509_EMAIL_PROTECTION},
    {"ocsp signing", X509_OCSP_SIGNING},
};

/* The usages as bits; names that x509.h does not know are left out and *ret_unknown tells one of them. */
static unsigned usages_of(const struct object *csr, struct str *ret_unknown)
{
    unsigned bits = 0;
    VAL_EACH (val_at(csr->val, N_spec, N_usages), u) {
        size_t i = 0;
        while (i < ARRAY_SIZE(usage_names) && !str_is(val_str(u), usage_names[i].name))
            i++;
        if (i < ARRAY_SIZE(usage_names))
            bits |= usage_names[i].usage;
        else
            *ret_unknown = val_str(u);
    }
    return bits;
}

static bool are_usages(unsigned bits, unsigned purpose)
{
    return (bits & ~(unsigned)X509_KEY_ENCIPHERMENT) == (X509_DIGITAL_SIGNATURE | purpose);
}

/* NULL when the request is one of a node for that purpose, else what is wrong. */
static const char *check_node(const struct x509_names *n, unsigned usages, unsigned purpose)
{
    bool server = purpose == X509_SERVER_AUTH;
    if (count(n->orgs) != 1 || strcmp(n->orgs[0], "system:nodes") != 0)
        return "subject organization is not system:nodes";
    if (server && count(n->dns) == 0 && count(n->ips) == 0)
        return "DNS or IP subjectAltName is required";
    if (!server && (count(n->dns) > 0 || count(n->ips) > 0))
        return "DNS and IP subjectAltNames are not allowed";
    if (count(n->emails) > 0 || count(n->uris) > 0)
        return "email and URI subjectAltNames are not allowed";
    if (!n->cn || strncmp(n->cn, "system:node:", 12) != 0)
        return "subject common name does not begin with system:node:";
    return are_usages(usages, purpose) ? NULL : "usages did not match those of a node's certificate";
}

static const char *check_client(unsigned usages)
{
    unsigned rest = usages & ~(unsigned)(X509_DIGITAL_SIGNATURE | X509_KEY_ENCIPHERMENT | X509_CLIENT_AUTH);
    if (rest)
        return "invalid usage for client certificate";
    return usages & X509_CLIENT_AUTH ? NULL : "missing required usage for client certificate: client auth";
}

/* ---- approving --------------------------------------------------------------------------------------- */

static void ask_permission(struct writes *w, const struct object *csr, const char *subresource)
{
    struct arena *a = w->arena;
    const struct val *from = val_get(csr->val, N_spec);
    struct val *review = val_new(a, VAL_OBJ), *spec = val_sub_obj(a, review, N_spec);
    struct val *what = val_sub_obj(a, spec, N_resourceAttributes);
    val_set_str(a, what, N_group, STR("certificates.k8s.io"));
    val_set_str(a, what, N_version, STR("*"));
    val_set_str(a, what, N_resource, STR("certificatesigningrequests"));
    val_set_str(a, what, N_subresource, str_of(subresource));
    val_set_str(a, what, N_verb, STR("create"));
    val_set_str(a, spec, N_user, val_getstr(from, N_username));
    val_set_ref(a, spec, N_groups, val_get(from, N_groups));
    val_set_ref(a, spec, N_extra, val_get(from, N_extra));
    set_text(a, spec, N_uid, val_getstr(from, N_uid));
    writes_add(w, WRITE_CHECK_ALLOWED, &resources[RES_SUBJECTACCESSREVIEWS], STR_NULL, csr->name)->body =
        review;
}

static struct val *add_condition(struct arena *a, const struct object *csr, const char *type,
                                 const char *reason, const char *message, struct wall now)
{
    char time[TIME_TEXT_MAX];
    struct val *status, *v = with_status(a, csr, &status);
    const struct val *old = val_get(status, N_conditions);
    struct val *list = old ? val_copy(a, old) : val_new(a, VAL_LIST), *c = val_add_obj(a, list);
    time_format(now, time);
    val_set_str(a, c, N_type, str_of(type));
    val_set_str(a, c, N_status, STR("True"));
    val_set_str(a, c, N_reason, str_of(reason));
    val_set_str(a, c, N_message, str_of(message));
    val_set_str(a, c, N_lastUpdateTime, str_of(time));
    val_set_str(a, c, N_lastTransitionTime, str_of(time));
    val_set_ref(a, status, N_conditions, list);
    return v;
}

static void approve_if_allowed(struct writes *w, const struct object *csr, bool self, struct wall now)
{
    ask_permission(w, csr, self ? "selfnodeclient" : "nodeclient");
    const char *message = self ? "Auto approving self kubelet client certificate after SubjectAccessReview."
                               : "Auto approving kubelet client certificate after SubjectAccessReview.";
    writes_update(w, csr->res, add_condition(w->arena, csr, "Approved", "AutoApproved", message, now))
        ->subresource = "approval";
}

/* Is it a kubelet's request for a client certificate? *ret_self: for the very name it comes from. */
static bool is_node_client(struct arena *a, const struct object *csr, bool *ret_self)
{
    struct x509_csr x = {0};
    struct str unknown = STR_NULL;
    if (!is_signer(csr, SIGNER "kube-apiserver-client-kubelet") ||
        x509_csr_parse(a, val_str(val_at(csr->val, N_spec, N_request)), &x, NULL) < 0)
        return false;
    bool yes = !check_node(&x.names, usages_of(csr, &unknown), X509_CLIENT_AUTH) && str_empty(unknown);
    *ret_self = x.names.cn && str_is(val_str(val_at(csr->val, N_spec, N_username)), x.names.cn);
    x509_csr_done(&x);
    return yes;
}

static int approve(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *csr =
        snapshot_get(world, &resources[RES_CERTIFICATESIGNINGREQUESTS], STR_NULL, key.name);
    bool self = false;
    if (csr && str_empty(certificate_of(csr)) && !has(csr, "Approved") && !has(csr, "Denied") &&
        is_node_client(w->arena, csr, &self))
        approve_if_allowed(w, csr, self, now);
    return 0;
}

/* Who may not ask for itself may perhaps ask for any node: bootstrap tokens. */
static void approve_refused(const struct snapshot *world, struct key key, const struct write *w,
                            const struct status *s, struct wall now, struct writes *ret)
{
    const struct object *csr =
        snapshot_get(world, &resources[RES_CERTIFICATESIGNINGREQUESTS], STR_NULL, key.name);
    bool self = false;
    if (csr && w->verb == WRITE_CHECK_ALLOWED && s->code == 403 && is_node_client(ret->arena, csr, &self) &&
        self)
        approve_if_allowed(ret, csr, false, now);
}

/* ---- signing ----------------------------------------------------------------------------------------- */

struct authority {
    struct x509_cert *cert;
    struct x509_key *key;
};

static const char *check_request(const struct object *csr, const struct x509_names *names, unsigned usages)
{
    if (is_signer(csr, SIGNER "kubelet-serving"))
        return check_node(names, usages, X509_SERVER_AUTH);
    if (is_signer(csr, SIGNER "kube-apiserver-client-kubelet"))
        return check_node(names, usages, X509_CLIENT_AUTH);
    return is_signer(csr, SIGNER "kube-apiserver-client") ? check_client(usages) : NULL;
}

static bool is_ours(const struct object *csr)
{
    return is_signer(csr, SIGNER "kubelet-serving") ||
           is_signer(csr, SIGNER "kube-apiserver-client-kubelet") ||
           is_signer(csr, SIGNER "kube-apiserver-client") || is_signer(csr, SIGNER "legacy-unknown");
}

static int64_t life_of(const struct object *csr, const struct controllers_config *config)
{
    int64_t most = config->signing_duration ? config->signing_duration : SECONDS((int64_t)YEAR_SECONDS);
    const struct val *asked = val_at(csr->val, N_spec, N_expirationSeconds);
    int64_t life = asked ? MAX(SECONDS(val_int(asked, 0)), SECONDS(LEAST_SECONDS)) : most;
    return MIN(life, most);
}

static int issue(const struct authority *ca, const struct object *csr, const struct x509_csr *x,
                 unsigned usages, int64_t life, struct wall now, struct buf *ret, struct err *e)
{
    int64_t back = SECONDS(BACKDATE_SECONDS);
    struct x509_spec spec = {.names = x->names, .usages = usages};
    spec.not_before.ns = now.ns - back;
    spec.not_after.ns = now.ns + (life > SECONDS(SHORT_SECONDS) ? life - back : life);
    struct x509_cert *cert;
    int r = x509_issue(&spec, x->key, ca->cert, ca->key, &cert, e);
    if (r < 0)
        return r;
    x509_cert_pem(cert, ret);
    x509_cert_unref(cert);
    return 0;
}

static void fail(struct writes *w, const struct object *csr, const char *why, struct wall now)
{
    writes_update_status(w, csr->res,
                         add_condition(w->arena, csr, "Failed", "SignerValidationFailure", why, now));
}

static int sign(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *csr =
        snapshot_get(world, &resources[RES_CERTIFICATESIGNINGREQUESTS], STR_NULL, key.name);
    const struct authority *ca = w->state;
    if (!csr || !is_ours(csr) || !has(csr, "Approved") || has(csr, "Denied") || has(csr, "Failed") ||
        !str_empty(certificate_of(csr)) || !ca->cert)
        return 0;
    struct x509_csr x = {0};
    struct str unknown = STR_NULL;
    struct buf pem CLEANUP_BUF = BUF_INIT;
    struct err e = {0};
    if (x509_csr_parse(w->arena, val_str(val_at(csr->val, N_spec, N_request)), &x, &e) < 0) {
        fail(w, csr, e.text, now);
        return 0;
    }
    unsigned usages = usages_of(csr, &unknown);
    const char *wrong = check_request(csr, &x.names, usages);
    if (!wrong && !str_empty(unknown))
        wrong = arena_cstr(w->arena,
                           arena_printf(w->arena, "unrecognized usage \"" STR_FMT "\"", STR_ARG(unknown)));
    int r = wrong ? 0 : issue(ca, csr, &x, usages, life_of(csr, w->config), now, &pem, &e);
    x509_csr_done(&x);
    if (wrong)
        fail(w, csr, wrong, now);
    if (wrong || r < 0)
        return r;
    struct val *status, *v = with_status(w->arena, csr, &status);
    val_set(w->arena, status, N_certificate, val_of_bytes(arena_str(w->arena, buf_str(&pem))));
    writes_update_status(w, csr->res, v);
    return 0;
}

static void *sign_state(const struct controllers_config *config)
{
    struct authority *ca = NEW(struct authority);
    if (x509_cert_parse(config->signing_cert, &ca->cert, NULL) < 0 ||
        x509_key_parse(config->signing_key, &ca->key, NULL) < 0) {
        x509_cert_unref(ca->cert);
        ca->cert = NULL;
    }
    return ca;
}

static void sign_state_free(void *state)
{
    struct authority *ca = state;
    x509_cert_unref(ca->cert);
    x509_key_unref(ca->key);
    free(ca);
}

static bool sign_enabled(const struct controllers_config *config)
{
    return !str_empty(config->signing_cert) && !str_empty(config->signing_key);
}

/* ---- clearing away ----------------------------------------------------------------------------------- */

static int64_t condition_end(const struct object *csr, const char *type)
{
    const struct val *c = has(csr, type) ? condition_find(conditions_of(csr), str_of(type)) : NULL;
    struct wall t = val_time(val_get(c, N_lastUpdateTime));
    return c && t.ns ? t.ns + SECONDS(DONE_SECONDS) : INT64_MAX;
}

/* When nobody needs it any more. */
static int64_t end_of(const struct object *csr)
{
    int64_t end = MIN(condition_end(csr, "Approved"), condition_end(csr, "Denied"));
    end = MIN(end, condition_end(csr, "Failed"));
    if (end == INT64_MAX)
        end = val_time(val_get(csr->meta, N_creationTimestamp)).ns + SECONDS(PENDING_SECONDS);
    return end;
}

static int clean(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *csr =
        snapshot_get(world, &resources[RES_CERTIFICATESIGNINGREQUESTS], STR_NULL, key.name);
    if (!csr || obj_deleting(csr->val))
        return 0;
    if (end_of(csr) <= now.ns)
        writes_delete(w, csr);
    else
        writes_again(w, end_of(csr) - now.ns);
    return 0;
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (new_)
        sink(arg, (struct key){STR_NULL, new_->name});
}

static const uint16_t reads[] = {RES_CERTIFICATESIGNINGREQUESTS, 0};

const struct controller csr_approving_controller = {
    .name = "certificatesigningrequest-approving-controller",
    .account = "certificate-controller",
    .alias = "csrapproving",
    .reads = reads,
    .keys_of = keys_of,
    .reconcile = approve,
    .refused = approve_refused,
};

const struct controller csr_signing_controller = {
    .name = "certificatesigningrequest-signing-controller",
    .account = "certificate-controller",
    .alias = "csrsigning",
    .reads = reads,
    .keys_of = keys_of,
    .reconcile = sign,
    .state_new = sign_state,
    .state_free = sign_state_free,
    .enabled = sign_enabled,
};

const struct controller csr_cleaner_controller = {
    .name = "certificatesigningrequest-cleaner-controller",
    .account = "certificate-controller",
    .alias = "csrcleaner",
    .reads = reads,
    .keys_of = keys_of,
    .reconcile = clean,
};

/* ---- requests of Pods ---------------------------------------------------------------------------------- */

/* Kubelets are done with theirs sooner than this. */
static int clean_pod_certificate(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *o = snapshot_get(world, &resources[RES_PODCERTIFICATEREQUESTS], key.ns, key.name);
    if (!o || obj_deleting(o->val))
        return 0;
    int64_t left = val_time(val_get(o->meta, N_creationTimestamp)).ns + SECONDS(POD_CERTIFICATE_SECONDS) - now.ns;
    if (left <= 0)
        writes_delete(w, o);
    else
        writes_again(w, left);
    return 0;
}

static void namespaced_keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                               const struct object *new_, key_sink *sink, void *arg)
{
    if (new_)
        sink(arg, (struct key){obj_namespace(new_->val), new_->name});
}

static const uint16_t pod_certificate_reads[] = {RES_PODCERTIFICATEREQUESTS, 0};

const struct controller pod_certificate_cleaner_controller = {
    .name = "podcertificaterequest-cleaner-controller",
    .account = "podcertificaterequestcleaner",
    .reads = pod_certificate_reads,
    .keys_of = namespaced_keys_of,
    .reconcile = clean_pod_certificate,
};
