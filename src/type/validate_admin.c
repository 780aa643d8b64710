/* SPDX-License-Identifier: Apache-2.0 */
/* What administrators set up: webhooks and policies of admission, aggregated APIs, flow control, trust,
 * devices. Flow control: validate_flow.c. */
#include "type/validate-internal.h"

/* ---- admission ----------------------------------------------------------------------------------------- */

void check_webhook_path(struct validation *x, const struct vpath *p, const struct val *path)
{
    struct str s = val_str(path), rest, step;
    struct arena *a = x->s->arena;
    if (!s.n || str_is(s, "/"))
        return;
    if (s.p[0] != '/')
        say_invalid(x, p, path, "must start with a '/'");
    rest = str_from(s, 1);
    if (rest.n > 1 && rest.p[rest.n - 1] == '/')
        rest.n--;
    for (size_t i = 0; str_next(&rest, '/', &step); i++) {
        struct check c = {0};
        check_subdomain(&c, step);
        if (!step.n || str_is(step, "/"))
            say_invalid(x, p, path, arena_printf(a, "segment[%zu] may not be empty", i).p);
        else
            for (unsigned j = 0; j < c.n; j++)
                say_invalid(x, p, path, arena_printf(a, "segment[%zu]: %s", i, c.texts[j]).p);
    }
}

/* ---- aggregated APIs ----------------------------------------------------------------------------------- */

/* A name that the spec decides, and the beginning of one that will be made. */
static void check_name_is(struct validation *x, const struct val *v, struct str wanted, const char *detail)
{
    static const struct vpath root = {0};
    const struct vpath *at = AT(&root, N_metadata);
    struct str made = val_getstr(obj_meta(v), N_generateName);
    struct check c = {0};
    check_path_segment(&c, obj_name(v));
    if (made.n)
        say_invalid_str(x, AT(at, N_generateName), made, detail);
    if (c.n)
        check_text(x, AT(at, N_name), obj_name(v), check_path_segment);
    else if (obj_name(v).n && !str_eq(obj_name(v), wanted))
        say_invalid_str(x, AT(at, N_name), obj_name(v), detail);
}

static void rule_api_service(struct validation *x, const struct vpath *p, const struct val *v,
                             const struct val *old)
{
    const struct val *spec = val_get(v, N_spec), *service = val_get(spec, N_service);
    const struct vpath *at = AT(p, N_spec);
    struct str group = val_getstr(spec, N_group), version = val_getstr(spec, N_version);
    struct arena *a = x->s->arena;
    struct str name = arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(version), STR_ARG(group));
    (void)old;
    check_name_is(
        x, v, name,
        arena_printf(a, "must be `spec.version+\".\"+spec.group`: \"" STR_FMT "\"", STR_ARG(name)).p);
    if (!group.n && !str_is(version, "v1"))
        say_required(x, AT(at, N_group), "only v1 may have an empty group and it better be legacy kube");
    if (group.n)
        check_text(x, AT(at, N_group), group, check_subdomain);
    check_text(x, AT(at, N_version), version, check_label_of_dns1035);
    if (!service) {
        if (val_str(val_get(spec, N_caBundle)).n)
            say_invalid_str(x, AT(at, N_caBundle),
                            arena_printf(a, "%zu bytes", val_getstr(spec, N_caBundle).n),
                            "local APIServices may not have a caBundle");
        if (val_bool(val_get(spec, N_insecureSkipTLSVerify), false))
            say_invalid(x, AT(at, N_insecureSkipTLSVerify), val_get(spec, N_insecureSkipTLSVerify),
                        "local APIServices may not have insecureSkipTLSVerify");
        return;
    }
    static const name_id wanted[] = {N_namespace, N_name};
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        if (!val_getstr(service, wanted[i]).n)
            say_required(x, AT(AT(at, N_service), wanted[i]), NULL);
    if (val_bool(val_get(spec, N_insecureSkipTLSVerify), false) && val_getstr(spec, N_caBundle).n)
        say_invalid(x, AT(at, N_insecureSkipTLSVerify), val_get(spec, N_insecureSkipTLSVerify),
                    "may not be true if caBundle is present");
}

static void check_priority(struct validation *x, const struct vpath *p, const struct val *v, int64_t most)
{
    int64_t n = val_int(v, 0);
    if (n <= 0 || n > most)
        say_invalid(x, p, v ? v : &(const struct val){.kind = VAL_INT},
                    arena_printf(x->s->arena, "must be positive and less than %lld", (long long)most).p);
}

static void rule_api_service_spec(struct validation *x, const struct vpath *p, const struct val *v,
                                  const struct val *old)
{
    (void)old;
    check_priority(x, AT(p, N_groupPriorityMinimum), val_get(v, N_groupPriorityMinimum), 20000);
    check_priority(x, AT(p, N_versionPriority), val_get(v, N_versionPriority), 1000);
}

/* ---- trust --------------------------------------------------------------------------------------------- */

static const char not_a_signer[] =
    "must be a fully qualified domain and path of the form 'example.com/signer-name'";

static void rule_trust_bundle(struct validation *x, const struct vpath *p, const struct val *v,
                              const struct val *old)
{
    const struct vpath *spec_at = AT(p, N_spec);
    const struct val *spec = val_get(v, N_spec), *bundle = val_get(spec, N_trustBundle);
    struct str signer = val_getstr(spec, N_signerName), name = obj_name(v), prefix = STR("");
    struct check c = {0};
    if (signer.n) {
        char *s = arena_cstr(x->s->arena, arena_printf(x->s->arena, STR_FMT ":", STR_ARG(signer)));
        for (char *q = s; *q; q++)
            *q = *q == '/' ? ':' : *q;
        prefix = str_of(s);
    }
    check_subdomain(&c, str_from(name, prefix.n));
    struct str made = val_getstr(obj_meta(v), N_generateName);
    struct check of_made = {0};
    check_subdomain(&of_made, str_ends(made, STR("-")) && made.n > 1 ? str_slice(made, 0, made.n - 1) : made);
    if (made.n && (of_made.n || !str_starts(made, prefix)))
        say_invalid_str(x, AT(AT(p, N_metadata), N_generateName), made, of_made.n ? of_made.texts[0] : "must begin with the signer's name");
    if (name.n && !str_starts(name, prefix))
        say_invalid_str(x, AT(AT(p, N_metadata), N_name), name,
                        arena_printf(x->s->arena,
                                     "ClusterTrustBundle for signerName " STR_FMT
                                     " must be named with prefix " STR_FMT,
                                     STR_ARG(signer), STR_ARG(prefix))
                            .p);
    else if (name.n && c.n)
        say_invalid_str(x, AT(AT(p, N_metadata), N_name), name, c.texts[0]);
    if (signer.n && !is_signer_name(signer))
        say_invalid(x, AT(spec_at, N_signerName), val_get(spec, N_signerName), not_a_signer);
    if (old && val_equal(bundle, val_at(old, N_spec, N_trustBundle)))
        return;
    const char *fault = certificate_fault(x->s->arena, val_str(bundle));
    if (fault)
        say_invalid_str(x, AT(spec_at, N_trustBundle), STR("<value omitted>"), fault);
}

static void check_uid(struct validation *x, const struct vpath *p, const struct val *uid)
{
    enum { UID_MAX_BYTES = 128 };
    if (!val_str(uid).n)
        say_invalid_str(x, p, STR(""), "must not be empty");
    if (val_str(uid).n > UID_MAX_BYTES)
        say_too_long(x, p, UID_MAX_BYTES);
}

static void rule_pod_certificate(struct validation *x, const struct vpath *p, const struct val *v,
                                 const struct val *old)
{
    enum { HOUR = 3600, DAY = 24 * HOUR };
    static const name_id names[] = {N_podName, N_serviceAccountName, N_nodeName},
                         uids[] = {N_podUID, N_serviceAccountUID, N_nodeUID};
    struct str signer = val_getstr(v, N_signerName);
    if (old) {
        check_same(x, p, v, old);
        return;
    }
    if (!is_signer_name(signer))
        say_invalid_str(x, AT(p, N_signerName), signer, not_a_signer);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        check_text(x, AT(p, names[i]), val_getstr(v, names[i]), check_subdomain);
    for (size_t i = 0; i < ARRAY_SIZE(uids); i++)
        check_uid(x, AT(p, uids[i]), val_get(v, uids[i]));
    if (!val_get(v, N_maxExpirationSeconds)) {
        say_required(x, AT(p, N_maxExpirationSeconds), "must be set");
        return;
    }
    struct str domain, rest;
    bool ours = str_cut(signer, '/', &domain, &rest) &&
                (str_is(domain, "kubernetes.io") || str_ends(domain, STR(".kubernetes.io")));
    int64_t seconds = val_int(val_get(v, N_maxExpirationSeconds), 0), most = ours ? DAY : 91 * DAY;
    if (seconds < HOUR || seconds > most)
        say_invalid(x, AT(p, N_maxExpirationSeconds), val_get(v, N_maxExpirationSeconds),
                    arena_printf(x->s->arena, "must be in the range [%d, %lld]", HOUR, (long long)most).p);
    if (!val_getstr(v, N_stubPKCS10Request).n)
        say_invalid(x, p, NULL,
                    "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set");
}

/* ---- migration of stored versions ---------------------------------------------------------------------- */

static void rule_migration(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    const struct val *r = val_at(v, N_spec, N_resource);
    const struct vpath *at = AT(AT(p, N_spec), N_resource);
    (void)old;
    if (!val_getstr(r, N_resource).n)
        say_required(x, AT(at, N_resource), "resource is required to be set");
    else
        check_text(x, AT(at, N_resource), val_getstr(r, N_resource), check_label_of_dns1035);
    if (val_getstr(r, N_group).n)
        check_text(x, AT(at, N_group), val_getstr(r, N_group), check_subdomain);
}

const struct rule rules_admin[] = {
    {T_apiregistration_v1_APIService, 0, rule_api_service},
    {T_apiregistration_v1_APIServiceSpec, RULE_OWN, rule_api_service_spec},
    {T_certificates_v1_ClusterTrustBundle, 0, rule_trust_bundle},
    {T_certificates_v1_ClusterTrustBundleSpec, RULE_OWN, NULL},
    {T_certificates_v1_PodCertificateRequestSpec, RULE_OWN, rule_pod_certificate},
    {T_storagemigration_v1_StorageVersionMigration, 0, rule_migration},
    {0, 0, NULL},
};
