/* SPDX-License-Identifier: Apache-2.0 */
/* certificate approve and deny: a condition of a certificate signing request. */
#include "cli/commands.h"
#include "cli/write.h"

#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

struct decision {
    const char *type, *other, *reason, *message, *did;
};
static const struct decision approval = {"Approved", "Denied", "KubectlApprove", "This CSR was approved by kubectl certificate approve.",
                                         "approved"};
static const struct decision denial = {"Denied", "Approved", "KubectlDeny", "This CSR was denied by kubectl certificate deny.",
                                       "denied"};

/* The request with the condition in it, or NULL when it is there already. */
static struct val *decided(struct cli *c, const struct decision *d, const struct val *v)
{
    struct arena *a = &c->a;
    char now[TIME_TEXT_MAX];
    const struct val *have = val_at(v, N_status, N_conditions);
    if (condition_find(have, str_of(d->type)))
        return NULL;
    struct val *out = val_copy(a, v), *condition = val_new(a, VAL_MAP);
    struct val *status = (struct val *)val_get(out, N_status);
    struct val *list = have ? val_copy(a, have) : val_new(a, VAL_LIST);
    if (!val_is(status, VAL_MAP))
        status = val_put(a, out, STR("status"), *val_new(a, VAL_MAP));
    val_put_str(a, condition, STR("lastUpdateTime"), str_of(time_format(os_wall(), now)));
    val_put_str(a, condition, STR("message"), str_of(d->message));
    val_put_str(a, condition, STR("reason"), str_of(d->reason));
    val_put_str(a, condition, STR("status"), STR("True"));
    val_put_str(a, condition, STR("type"), str_of(d->type));
    val_add(a, list, *condition);
    val_put(a, status, STR("conditions"), *list);
    return out;
}

static int decide_one(struct cli *c, const struct decision *d, struct info *i, bool force)
{
    enum { TRIES = 10 };
    struct status s;
    if (!i->kind->res || i->kind->res->index != RES_CERTIFICATESIGNINGREQUESTS)
        return cli_fail(c, "can only handle CertificateSigningRequest.certificates.k8s.io objects, got " STR_FMT,
                        STR_ARG(i->kind->kind));
    for (int attempt = 0; attempt < TRIES; attempt++) {
        if (condition_find(val_at(i->v, N_status, N_conditions), str_of(d->other)))
            return cli_fail(c, "certificate signing request \"" STR_FMT "\" is already %s", STR_ARG(i->name), d->other);
        struct val *v = decided(c, d, i->v);
        if (!v && !force)
            return 0;
        if (!request_update(c, i->kind, STR(""), i->name, "approval", STR_NULL, json_text(c, NULL, v ? v : i->v), NULL, &s))
            return 0;
        if (!refused_as(&s, "Conflict") || info_get(c, i, &s))
            break;
    }
    return cli_refused(c, &s);
}

static int decide(struct cli *c, const struct decision *d, int argc, char **argv)
{
    static char type[] = "certificatesigningrequests.certificates.k8s.io";
    struct print_flags print = PRINT_FLAGS_INIT;
    struct printer printer;
    struct file_flags files = {0};
    struct selection sel;
    bool force = false;
    struct flag flags[] = {
        PRINT_FLAGS(&print),
        FILE_FLAGS(&files, "that name the requests"),
        {"force", 0, FLAG_BOOL, &force, "Update the request even when it is decided already"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = printer_make(c, &print, false, &printer);
    if (r)
        return r;
    if (argc < 2 && !files.names.n)
        return cli_fail(c, "one or more CSRs must be specified as <name> or -f <filename>");
    char **args = ARENA_ARRAY(&c->a, char *, (size_t)argc + 2);
    args[1] = type;
    for (int i = 1; i < argc; i++)
        args[i + 1] = argv[i];
    struct query q = {.argc = argc > 1 ? argc + 1 : 0, .argv = args, .files = &files, .fetch = true, .latest = true};
    r = select_objects(c, &q, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++) {
        r = decide_one(c, d, &sel.items[i], force);
        sel.code |= r ? r : printer_put(c, &printer, NULL, sel.items[i].v, d->did);
    }
    if (!sel.n && !sel.code)
        cli_print(c, "No resources found\n");
    return sel.code;
}

static int cmd_approve(struct cli *c, int argc, char **argv)
{
    return decide(c, &approval, argc, argv);
}

static int cmd_deny(struct cli *c, int argc, char **argv)
{
    return decide(c, &denial, argc, argv);
}

const struct command certificate_commands[] = {
    {"approve", NULL, "(-f FILE | NAME...) [flags]", "Approve a certificate signing request",
     "Look at what is asked for first: a certificate may give its bearer all of the cluster.\n", cmd_approve, NULL},
    {"deny", NULL, "(-f FILE | NAME...) [flags]", "Deny a certificate signing request", NULL, cmd_deny, NULL},
    {0},
};
