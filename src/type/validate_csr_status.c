/* SPDX-License-Identifier: Apache-2.0 */
/* Status of CertificateSigningRequests: conditions, that only approvers set, and the certificate. */
#include "base/base64.h"
#include "type/validate-internal.h"

/* ---- certificates: their wrapping, as this floor knows no cryptography --------------------------------- */

static bool next_line(struct str *rest, struct str *ret)
{
    if (!str_next(rest, '\n', ret))
        return false;
    if (ret->n && ret->p[ret->n - 1] == '\r')
        ret->n--;
    return true;
}

/* One DER SEQUENCE, and nothing after it. */
static bool is_sequence(struct str der)
{
    const unsigned char *p = (const unsigned char *)der.p;
    if (der.n < 2 || p[0] != 0x30)
        return false;
    size_t head = 2, n = p[1];
    if (n & 0x80) {
        size_t bytes = n & 0x7f;
        if (bytes == 0 || bytes > 4 || der.n < 2 + bytes)
            return false;
        n = 0;
        for (size_t i = 0; i < bytes; i++)
            n = n << 8 | p[2 + i];
        head += bytes;
    }
    return der.n == head + n;
}

/* The lines of a block up to its end: NULL when they hold a certificate, else what is wrong. */
static const char *block_fault(struct str *rest)
{
    CLEANUP_BUF struct buf text = BUF_INIT;
    CLEANUP_BUF struct buf der = BUF_INIT;
    struct str line = STR_NULL;
    while (next_line(rest, &line) && !str_starts(line, STR("-----END "))) {
        if (str_find(line, ':') >= 0)
            return "no PEM block headers are permitted";
        buf_putstr(&text, str_trim(line));
    }
    if (!rest->p && !str_starts(line, STR("-----END ")))
        return "must contain at least one CERTIFICATE PEM block";
    if (base64_take(&der, buf_str(&text)) < 0 || !is_sequence(buf_str(&der)))
        return "x509: malformed certificate";
    return NULL;
}

const char *certificate_fault(struct arena *a, struct str pem)
{
    struct str rest = pem, line;
    size_t blocks = 0;
    while (rest.p && next_line(&rest, &line)) {
        if (!str_starts(line, STR("-----BEGIN ")))
            continue;
        struct str type =
            str_slice(line, strlen("-----BEGIN "), line.n - MIN(line.n, strlen("-----BEGIN -----")));
        if (!str_is(type, "CERTIFICATE"))
            return arena_printf(a, "only CERTIFICATE PEM blocks are allowed, found \"" STR_FMT "\"",
                                STR_ARG(type))
                .p;
        const char *fault = block_fault(&rest);
        if (fault)
            return fault;
        blocks++;
    }
    return blocks ? NULL : "must contain at least one CERTIFICATE PEM block";
}

static void check_certificate(struct validation *x, const struct vpath *p, const struct val *status,
                              const struct val *was)
{
    const struct val *now = val_get(status, N_certificate), *old = val_get(was, N_certificate);
    if (val_equal(now, old))
        return;
    const char *fault = val_str(now).n ? certificate_fault(x->s->arena, val_str(now)) : NULL;
    if (fault)
        say_invalid_str(x, AT(p, N_certificate), STR("<certificate data>"), fault);
    if (strcmp(x->subresource, "status") != 0)
        say_forbidden(x, AT(p, N_certificate), "updates may not set certificate content");
    else if (val_str(old).n)
        say_forbidden(x, AT(p, N_certificate), "updates may not modify existing certificate content");
}

/* ---- conditions ---------------------------------------------------------------------------------------- */

static const struct val *find(const struct val *list, struct str type)
{
    return condition_find(list, type);
}

static void check_condition(struct validation *x, const struct vpath *p, const struct val *c)
{
    static const char *const lasting[] = {"Approved", "Denied", "Failed", NULL};
    static const char *const yes[] = {"True", NULL}, *const all[] = {"False", "True", "Unknown", NULL};
    const char *const *values = str_in(val_getstr(c, N_type), lasting) ? yes : all;
    if (!val_getstr(c, N_type).n)
        say_required(x, AT(p, N_type), NULL);
    if (!val_getstr(c, N_status).n)
        say_required(x, AT(p, N_status), NULL);
    else if (!str_in(val_getstr(c, N_status), values))
        say_unsupported(x, AT(p, N_status), val_get(c, N_status), values);
}

static void check_conditions(struct validation *x, const struct vpath *p, const struct val *list)
{
    for (size_t i = 0; i < val_len(list); i++) {
        const struct val *c = val_item(list, i), *type = val_get(c, N_type);
        check_condition(x, ITEM(p, i), c);
        for (size_t j = 0; j < i; j++)
            if (val_equal(val_get(val_item(list, j), N_type), type)) {
                say_duplicate(x, AT(ITEM(p, i), N_type), type);
                break;
            }
    }
    if (find(list, STR("Approved")) && find(list, STR("Denied")))
        say_invalid(x, p, val_get(find(list, STR("Denied")), N_type),
                    "Approved and Denied conditions are mutually exclusive");
}

static void check_change(struct validation *x, const struct vpath *p, const struct val *list,
                         const struct val *old, const char *type)
{
    struct arena *a = x->s->arena;
    const struct val *now = find(list, str_of(type)), *was = find(old, str_of(type));
    bool approves = strcmp(x->subresource, "approval") == 0 || strcmp(type, "Failed") == 0;
    if (was && !now)
        say_forbidden(x, p, arena_printf(a, "updates may not remove a condition of type \"%s\"", type).p);
    else if (!approves && now && !was)
        say_forbidden(x, p, arena_printf(a, "updates may not add a condition of type \"%s\"", type).p);
    else if (!approves && !val_equal(now, was))
        say_forbidden(x, p, arena_printf(a, "updates may not modify a condition of type \"%s\"", type).p);
}

void check_csr_status(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    static const char *const lasting[] = {"Approved", "Denied", "Failed"};
    const struct val *status = val_get(v, N_status), *was = val_get(old, N_status);
    check_conditions(x, AT(p, N_conditions), val_get(status, N_conditions));
    for (size_t i = 0; i < ARRAY_SIZE(lasting); i++)
        check_change(x, AT(p, N_conditions), val_get(status, N_conditions), val_get(was, N_conditions),
                     lasting[i]);
    check_certificate(x, p, status, was);
}
