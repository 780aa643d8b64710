/* SPDX-License-Identifier: Apache-2.0 */
/* The table of create's subcommands, what they share, and the short ones. */
#include "cli/create.h"

#include "cli/commands.h"

#include "names.h"
#include "resources.h"
#include "type/selector.h"
#include "wire/quantity.h"

#include <unistd.h>

/* ---- shared -------------------------------------------------------------------------------------------------------- */

static int check_required(struct cli *c, struct flag *flags, const char *const *required)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (; required && *required; required++)
        if (!flags_find(flags, *required)->given)
            buf_printf(&b, "%s\"%s\"", b.n ? ", " : "", *required);
    return b.n ? cli_fail(c, "required flag(s) " STR_FMT " not set", STR_ARG(buf_str(&b))) : 0;
}

int create_begin(struct creation *x, unsigned res, struct flag *flags, const char *const *required, int argc, char **argv)
{
    struct cli *c = x->c;
    int dash, r = cli_parse(c, flags, &argc, argv, &dash);
    if (r)
        return r;
    if (dash < 0)
        dash = argc;
    r = check_required(c, flags, required);
    if (r == 0)
        r = write_one_name(c, dash, argv, &x->name);
    if (r == 0)
        r = write_prepare(c, &x->w, "kubectl-create");
    if (r)
        return r;
    x->rest = argv + dash;
    x->n_rest = (size_t)(argc - dash);
    x->kind = kind_at(c, res);
    if (!x->name.n)
        return cli_fail(c, "name must be specified");
    x->v = gen_object(c, x->kind, x->name);
    return 0;
}

int create_end(struct creation *x, const char *failed)
{
    x->w.failed = failed;
    return write_object_create(x->c, &x->w, x->kind, x->kind->type, x->v, x->save, "created");
}

/* ---- the short ones ------------------------------------------------------------------------------------------------ */

static int create_bare(struct cli *c, unsigned res, const char *failed, int argc, char **argv)
{
    struct creation x = {.c = c, .w = WRITE_INIT};
    struct flag flags[] = {CREATE_FLAGS(&x), NO_FLAGS};
    int r = create_begin(&x, res, flags, NULL, argc, argv);
    return r ? r : create_end(&x, failed);
}

int cmd_create_namespace(struct cli *c, int argc, char **argv)
{
    return create_bare(c, RES_NAMESPACES, NULL, argc, argv);
}

int cmd_create_serviceaccount(struct cli *c, int argc, char **argv)
{
    return create_bare(c, RES_SERVICEACCOUNTS, "failed to create serviceaccount:", argc, argv);
}

static int set_hard(struct creation *x, struct val *spec, const char *text)
{
    struct cli *c = x->c;
    struct str rest = str_of(text), part, name, amount, canonical;
    char buf[QUANTITY_TEXT_MAX];
    struct err e = {0};
    struct val *hard = val_sub_map(&c->a, spec, N_hard);
    while (rest.p && str_next(&rest, ',', &part)) {
        if (!str_cut(part, '=', &name, &amount) || str_find(amount, '=') >= 0)
            return cli_fail(c, "Invalid argument syntax " STR_FMT ", expected <resource>=<value>", STR_ARG(part));
        if (quantity_canonical(amount, buf, &canonical, &e) < 0)
            return cli_fail(c, "%s", e.text);
        val_put_str(&c->a, hard, name, canonical);
    }
    return 0;
}

int cmd_create_quota(struct cli *c, int argc, char **argv)
{
    struct creation x = {.c = c, .w = WRITE_INIT};
    const char *hard = NULL, *scopes = NULL;
    struct flag flags[] = {
        CREATE_FLAGS(&x),
        {"hard", 0, FLAG_STRING, &hard, "Bounds: RESOURCE=QUANTITY,..."},
        {"scopes", 0, FLAG_STRING, &scopes, "Scopes that an object must all match, with commas"},
        NO_FLAGS,
    };
    int r = create_begin(&x, RES_RESOURCEQUOTAS, flags, NULL, argc, argv);
    if (r)
        return r;
    struct val *spec = val_sub_obj(&c->a, x.v, N_spec);
    struct str rest = str_of(scopes), scope;
    if (hard && hard[0] && (r = set_hard(&x, spec, hard)) != 0)
        return r;
    while (scopes && scopes[0] && str_next(&rest, ',', &scope)) {
        if (!scope.n)
            return cli_fail(c, "invalid resource quota scope \"\"");
        val_add_str(&c->a, val_sub_list(&c->a, spec, N_scopes), scope);
    }
    return create_end(&x, "failed to create quota:");
}

int cmd_create_priorityclass(struct cli *c, int argc, char **argv)
{
    struct creation x = {.c = c, .w = WRITE_INIT};
    int64_t value = 0;
    bool is_default = false;
    const char *description = "", *policy = "PreemptLowerPriority";
    struct flag flags[] = {
        CREATE_FLAGS(&x),
        {"description", 0, FLAG_STRING, &description, "What the class is for"},
        {"global-default", 0, FLAG_BOOL, &is_default, "Pods without a class get this one"},
        {"preemption-policy", 0, FLAG_STRING, &policy, "PreemptLowerPriority or Never"},
        {"value", 0, FLAG_INT, &value, "The priority"},
        NO_FLAGS,
    };
    int r = create_begin(&x, RES_PRIORITYCLASSES, flags, NULL, argc, argv);
    if (r)
        return r;
    val_set_int(&c->a, x.v, N_value, value);
    if (is_default)
        val_set_bool(&c->a, x.v, N_globalDefault, true);
    if (description[0])
        val_set_str(&c->a, x.v, N_description, str_of(description));
    val_set_str(&c->a, x.v, N_preemptionPolicy, str_of(policy));
    return create_end(&x, "failed to create priorityclass:");
}

/* Digits, perhaps with a percent sign. */
static bool is_budget(const char *text)
{
    size_t n = strspn(text, "0123456789");
    return n && (!text[n] || !strcmp(text + n, "%"));
}

static int set_selector(struct creation *x, struct val *spec, const char *text)
{
    static const char *const operators[] = {[SEL_IN] = "In", [SEL_NOT_IN] = "NotIn", [SEL_EXISTS] = "Exists",
                                            [SEL_NOT_EXISTS] = "DoesNotExist", [SEL_LT] = NULL};
    struct selector s;
    struct err e = {0};
    struct cli *c = x->c;
    struct arena *a = &c->a;
    if (selector_parse(a, str_of(text), &s, &e) < 0)
        return cli_fail(c, "couldn't parse the selector string \"%s\": %s", text, e.text);
    struct val *v = val_sub_obj(a, spec, N_selector);
    for (size_t i = 0; i < s.n; i++) {
        const struct requirement *q = &s.reqs[i];
        if (q->op == SEL_EQ) {
            val_put_str(a, val_sub_map(a, v, N_matchLabels), q->key, q->values[0]);
            continue;
        }
        if (!operators[q->op])
            return cli_fail(c, "couldn't parse the selector string \"%s\": the operator is not supported here", text);
        struct val *expression = val_add_obj(a, val_sub_list(a, v, N_matchExpressions));
        val_set_str(a, expression, N_key, q->key);
        val_set_str(a, expression, N_operator, str_of(operators[q->op]));
        for (size_t k = 0; k < q->n_values; k++)
            val_add_str(a, val_sub_list(a, expression, N_values), q->values[k]);
    }
    return 0;
}

int cmd_create_pdb(struct cli *c, int argc, char **argv)
{
    struct creation x = {.c = c, .w = WRITE_INIT};
    const char *selector = "", *least = "", *most = "";
    struct flag flags[] = {
        CREATE_FLAGS(&x),
        {"max-unavailable", 0, FLAG_STRING, &most, "Number or share of pods that may be away"},
        {"min-available", 0, FLAG_STRING, &least, "Number or share of pods that must be there"},
        {"selector", 0, FLAG_STRING, &selector, "Labels of the pods"},
        NO_FLAGS,
    };
    int r = create_begin(&x, RES_PODDISRUPTIONBUDGETS, flags, NULL, argc, argv);
    if (r)
        return r;
    if (!selector[0])
        return cli_fail(c, "a selector must be specified");
    if (!least[0] && !most[0])
        return cli_fail(c, "one of min-available or max-unavailable must be specified");
    if (least[0] && most[0])
        return cli_fail(c, "min-available and max-unavailable cannot be both specified");
    if (!is_budget(least[0] ? least : most))
        return cli_fail(c, "invalid format specified for %s", least[0] ? "min-available" : "max-unavailable");
    struct val *spec = val_sub_obj(&c->a, x.v, N_spec);
    val_set(&c->a, spec, least[0] ? N_minAvailable : N_maxUnavailable, gen_port(c, str_of(least[0] ? least : most)));
    r = set_selector(&x, spec, selector);
    return r ? r : create_end(&x, "failed to create poddisruptionbudgets:");
}

/* ---- token ---------------------------------------------------------------------------------------------------------- */

struct token {
    struct print_flags print;
    struct flag_list audiences;
    const char *kind, *name, *uid;
    int64_t duration;
};

static int check_token(struct cli *c, const struct token *t)
{
    static const char *const kinds[] = {"Node", "Pod", "Secret"};
    bool known = false;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        known |= t->kind && !strcmp(t->kind, kinds[i]);
    if (t->duration < 0)
        return cli_fail(c, "--duration must be greater than or equal to 0");
    if (t->duration % SECONDS(1))
        return cli_fail(c, "--duration cannot be expressed in units less than seconds");
    for (size_t i = 0; i < t->audiences.n; i++)
        if (!t->audiences.items[i][0])
            return cli_fail(c, "--audience must not be an empty string");
    if (!t->kind && t->name)
        return cli_fail(c, "--bound-object-name can only be set if --bound-object-kind is provided");
    if (!t->kind && t->uid)
        return cli_fail(c, "--bound-object-uid can only be set if --bound-object-kind is provided");
    if (t->kind && !known)
        return cli_fail(c, "supported --bound-object-kind values are Node, Pod, Secret");
    if (t->kind && !t->name)
        return cli_fail(c, "--bound-object-name is required if --bound-object-kind is provided");
    return 0;
}

static struct str token_request(struct cli *c, const struct token *t)
{
    struct arena *a = &c->a;
    struct val *v = val_new(a, VAL_MAP), *spec = val_new(a, VAL_MAP), *audiences = val_new(a, VAL_LIST);
    for (size_t i = 0; i < t->audiences.n; i++)
        val_add_str(a, audiences, str_of(t->audiences.items[i]));
    if (audiences->n)
        val_put(a, spec, STR("audiences"), *audiences);
    if (t->duration)
        val_put(a, spec, STR("expirationSeconds"), val_of_int(t->duration / SECONDS(1)));
    if (t->kind) {
        struct val *ref = val_new(a, VAL_MAP);
        val_put_str(a, ref, STR("kind"), str_of(t->kind));
        val_put_str(a, ref, STR("apiVersion"), STR("v1"));
        val_put_str(a, ref, STR("name"), str_of(t->name));
        if (t->uid)
            val_put_str(a, ref, STR("uid"), str_of(t->uid));
        val_put(a, spec, STR("boundObjectRef"), *ref);
    }
    val_put_str(a, v, STR("apiVersion"), STR("authentication.k8s.io/v1"));
    val_put_str(a, v, STR("kind"), STR("TokenRequest"));
    val_put(a, v, STR("spec"), *spec);
    return json_text(c, NULL, v);
}

int cmd_create_token(struct cli *c, int argc, char **argv)
{
    struct token t = {.print = PRINT_FLAGS_INIT};
    struct printer printer;
    struct status s;
    struct val *answer;
    struct str name;
    struct flag flags[] = {
        PRINT_FLAGS(&t.print),
        {"audience", 0, FLAG_ARRAY, &t.audiences, "Who the token is for; may be given several times"},
        {"bound-object-kind", 0, FLAG_STRING, &t.kind, "Node, Pod or Secret: the token ends with that object"},
        {"bound-object-name", 0, FLAG_STRING, &t.name, "Its name"},
        {"bound-object-uid", 0, FLAG_STRING, &t.uid, "Its UID"},
        {"duration", 0, FLAG_DURATION, &t.duration, "How long the token should be good for"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_one_name(c, argc, argv, &name);
    if (r == 0)
        r = printer_make(c, &t.print, false, &printer);
    if (r == 0)
        r = check_token(c, &t);
    if (r == 0)
        r = cli_client(c);
    if (r)
        return r;
    if (request_create(c, kind_at(c, RES_SERVICEACCOUNTS), c->ns, name, "token", STR_NULL, token_request(c, &t), &answer, &s))
        return s.code > 0 ? cli_fail(c, "failed to create token: " STR_FMT, STR_ARG(s.message)) : cli_refused(c, &s);
    struct str token = val_str(val_at(answer, N_status, N_token));
    if (!token.n)
        return cli_fail(c, "failed to create token: no token in server response");
    if (printer.kind != PRINT_NONE)
        return printer_put(c, &printer, NULL, answer, "created");
    cli_print(c, STR_FMT "%s", STR_ARG(token), isatty(STDOUT_FILENO) ? "\n" : "");
    return 0;
}

/* ---- the table ------------------------------------------------------------------------------------------------------ */

static const struct command secret_commands[] = {
    {"docker-registry", NULL, "NAME --docker-username=USER --docker-password=PASSWORD [--docker-server=URL] [flags]",
     "Create a secret with access to an image registry", NULL, cmd_create_secret_docker, NULL},
    {"generic", NULL, "NAME [--type=TYPE] [--from-file=[KEY=]FILE] [--from-literal=KEY=VALUE] [flags]",
     "Create a secret from files, folders or values", NULL, cmd_create_secret_generic, NULL},
    {"tls", NULL, "NAME --cert=FILE --key=FILE [flags]", "Create a secret with a certificate and its key", NULL,
     cmd_create_secret_tls, NULL},
    {0},
};

static const struct command service_commands[] = {
    {"clusterip", NULL, "NAME [--tcp=PORT:TARGET] [flags]", "Create a ClusterIP service", NULL, cmd_create_service_clusterip,
     NULL},
    {"externalname", NULL, "NAME --external-name=NAME [flags]", "Create an ExternalName service", NULL,
     cmd_create_service_externalname, NULL},
    {"loadbalancer", NULL, "NAME [--tcp=PORT:TARGET] [flags]", "Create a LoadBalancer service", NULL,
     cmd_create_service_loadbalancer, NULL},
    {"nodeport", NULL, "NAME [--tcp=PORT:TARGET] [flags]", "Create a NodePort service", NULL, cmd_create_service_nodeport,
     NULL},
    {0},
};

const struct command create_commands[] = {
    {"clusterrole", NULL, "NAME --verb=VERB --resource=TYPE[.GROUP][/PART] [flags]", "Create a cluster role",
     "Examples:\n  kubectl create clusterrole reader --verb=get,list,watch --resource=pods,deployments.apps\n"
     "  kubectl create clusterrole metrics --verb=get --non-resource-url=/metrics\n",
     cmd_create_clusterrole, NULL},
    {"clusterrolebinding", NULL, "NAME --clusterrole=NAME [--user=NAME] [--group=NAME] [--serviceaccount=NAMESPACE:NAME] [flags]",
     "Create a cluster role binding", NULL, cmd_create_clusterrolebinding, NULL},
    {"configmap", "cm", "NAME [--from-file=[KEY=]FILE] [--from-literal=KEY=VALUE] [flags]",
     "Create a config map from files, folders or values", NULL, cmd_create_configmap, NULL},
    {"cronjob", "cj", "NAME --image=IMAGE --schedule='0/5 * * * ?' [-- COMMAND [ARGS...]] [flags]", "Create a cron job", NULL,
     cmd_create_cronjob, NULL},
    {"deployment", "deploy", "NAME --image=IMAGE [-- COMMAND [ARGS...]] [flags]", "Create a deployment",
     "Examples:\n  kubectl create deployment web --image=nginx --replicas=3 --port=80\n", cmd_create_deployment, NULL},
    {"ingress", "ing", "NAME --rule=HOST/PATH=SERVICE:PORT[,tls[=SECRET]] [flags]", "Create an ingress",
     "Examples:\n  kubectl create ingress web --rule=example.org/*=web:80,tls=certificate\n"
     "\nA path that ends with '*' is a prefix.\n",
     cmd_create_ingress, NULL},
    {"job", NULL, "NAME (--image=IMAGE [-- COMMAND [ARGS...]] | --from=cronjob/NAME) [flags]", "Create a job", NULL,
     cmd_create_job, NULL},
    {"namespace", "ns", "NAME [flags]", "Create a namespace", NULL, cmd_create_namespace, NULL},
    {"poddisruptionbudget", "pdb", "NAME --selector=LABELS (--min-available=N | --max-unavailable=N) [flags]",
     "Create a pod disruption budget", NULL, cmd_create_pdb, NULL},
    {"priorityclass", "pc", "NAME --value=VALUE [flags]", "Create a priority class", NULL, cmd_create_priorityclass, NULL},
    {"quota", "resourcequota", "NAME [--hard=RESOURCE=QUANTITY,...] [--scopes=SCOPE,...] [flags]", "Create a resource quota", NULL,
     cmd_create_quota, NULL},
    {"role", NULL, "NAME --verb=VERB --resource=TYPE[.GROUP][/PART] [flags]", "Create a role", NULL, cmd_create_role, NULL},
    {"rolebinding", NULL,
     "NAME (--clusterrole=NAME | --role=NAME) [--user=NAME] [--group=NAME] [--serviceaccount=NAMESPACE:NAME] [flags]",
     "Create a role binding", NULL, cmd_create_rolebinding, NULL},
    {"secret", NULL, "SUBCOMMAND [flags]", "Create a secret of a certain type", NULL, NULL, secret_commands},
    {"service", "svc", "SUBCOMMAND [flags]", "Create a service of a certain type", NULL, NULL, service_commands},
    {"serviceaccount", "sa", "NAME [flags]", "Create a service account", NULL, cmd_create_serviceaccount, NULL},
    {"token", NULL, "SERVICE_ACCOUNT [flags]", "Ask for a service account's token", NULL, cmd_create_token, NULL},
    {0},
};
