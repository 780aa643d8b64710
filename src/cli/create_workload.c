/* SPDX-License-Identifier: Apache-2.0 */
/* create deployment, job, cronjob. */
#include "cli/create.h"

#include "auth/crypto.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

static void add_container(struct creation *x, struct val *pod_spec, struct str name, const char *image)
{
    struct arena *a = &x->c->a;
    struct val *k = val_add_obj(a, val_sub_list(a, pod_spec, N_containers));
    val_set_str(a, k, N_name, name);
    val_set_str(a, k, N_image, str_of(image));
    for (size_t i = 0; i < x->n_rest; i++)
        val_add_str(a, val_sub_list(a, k, N_command), str_of(x->rest[i]));
}

/* The image's last part without tag and digest, fit to be a name. */
static struct str container_name(struct cli *c, const char *image)
{
    struct str s = str_of(image), name, more;
    s = str_from(s, (size_t)(str_rfind(s, '/') + 1));
    str_cut(s, ':', &name, &more);
    str_cut(name, '@', &name, &more);
    char *text = arena_cstr(&c->a, name);
    bool changed = false;
    for (size_t i = 0; i < name.n; i++) {
        if (text[i] != '_' && text[i] != '.')
            continue;
        text[i] = '-';
        changed = true;
    }
    return changed ? cli_printf(c, "%s-%s", text, random_name(&c->a, 5)) : name;
}

/* ---- deployment ------------------------------------------------------------------------------------------------------ */

static void set_app(struct creation *x, struct val *obj, name_id name)
{
    val_put_str(&x->c->a, val_sub_map(&x->c->a, obj, name), STR("app"), x->name);
}

int cmd_create_deployment(struct cli *c, int argc, char **argv)
{
    struct creation x = {.c = c, .w = WRITE_INIT};
    struct flag_list images = {0};
    int64_t replicas = 1, port = -1;
    struct arena *a = &c->a;
    struct flag flags[] = {
        CREATE_FLAGS(&x),
        {"image", 0, FLAG_STRINGS, &images, "Image of a container; may be given several times"},
        {"port", 0, FLAG_INT, &port, "Port that the containers listen at"},
        {"replicas", 'r', FLAG_INT, &replicas, "Number of pods"},
        NO_FLAGS,
    };
    int r = create_begin(&x, RES_DEPLOYMENTS, flags, (const char *const[]){"image", NULL}, argc, argv);
    if (r)
        return r;
    if (images.n > 1 && x.n_rest)
        return cli_fail(c, "cannot specify multiple --image options and command");
    set_app(&x, val_sub_obj(a, x.v, N_metadata), N_labels);
    struct val *spec = val_sub_obj(a, x.v, N_spec);
    val_set_int(a, spec, N_replicas, replicas);
    set_app(&x, val_sub_obj(a, spec, N_selector), N_matchLabels);
    struct val *template = val_sub_obj(a, spec, N_template);
    set_app(&x, val_sub_obj(a, template, N_metadata), N_labels);
    struct val *pod = val_sub_obj(a, template, N_spec);
    for (size_t i = 0; i < images.n; i++)
        add_container(&x, pod, container_name(c, images.items[i]), images.items[i]);
    if (port >= 0) {
        struct val *first = (struct val *)val_item(val_get(pod, N_containers), 0);
        val_set_int(a, val_add_obj(a, val_sub_list(a, first, N_ports)), N_containerPort, port);
    }
    return create_end(&x, "failed to create deployment:");
}

/* ---- job ------------------------------------------------------------------------------------------------------------- */

static void set_pod(struct creation *x, struct val *job_spec, const char *image, const char *restart)
{
    struct arena *a = &x->c->a;
    struct val *pod = val_sub_obj(a, val_sub_obj(a, job_spec, N_template), N_spec);
    add_container(x, pod, x->name, image);
    val_set_str(a, pod, N_restartPolicy, str_of(restart));
}

static int job_from(struct creation *x, char *from)
{
    struct cli *c = x->c;
    struct arena *a = &c->a;
    struct info i;
    char *argv[] = {NULL, from, NULL};
    int r = select_one(c, &(struct query){.argc = 2, .argv = argv, .fetch = true, .typed = true}, "from", &i);
    if (r)
        return r;
    if (!i.kind->res || i.kind->res->index != RES_CRONJOBS)
        return cli_fail(c, "unknown object type " STR_FMT, STR_ARG(i.kind->kind));
    const struct val *template = val_at(i.v, N_spec, N_jobTemplate);
    struct val *meta = val_sub_obj(a, x->v, N_metadata);
    struct val *annotations = val_sub_map(a, meta, N_annotations);
    val_put_str(a, annotations, STR("cronjob.kubernetes.io/instantiate"), STR("manual"));
    VAL_EACH_ENTRY(val_get(obj_meta(template), N_annotations), k, v)
    {
        val_put_str(a, annotations, val_str(k), val_str(v));
    }
    if (val_len(obj_labels(template)))
        val_set_ref(a, meta, N_labels, obj_labels(template));
    struct val *owner = val_add_obj(a, val_sub_list(a, meta, N_ownerReferences));
    val_set_str(a, owner, N_apiVersion, i.kind->api_version);
    val_set_str(a, owner, N_kind, i.kind->kind);
    val_set_str(a, owner, N_name, i.name);
    val_set_str(a, owner, N_uid, obj_uid(i.v));
    val_set_bool(a, owner, N_controller, true);
    val_set_ref(a, x->v, N_spec, val_get(template, N_spec));
    return 0;
}

int cmd_create_job(struct cli *c, int argc, char **argv)
{
    struct creation x = {.c = c, .w = WRITE_INIT};
    const char *image = "", *from = "";
    struct flag flags[] = {
        CREATE_FLAGS(&x),
        {"from", 0, FLAG_STRING, &from, "The cron job to take it from: cronjob/NAME"},
        {"image", 0, FLAG_STRING, &image, "Image to run"},
        NO_FLAGS,
    };
    int r = create_begin(&x, RES_JOBS, flags, NULL, argc, argv);
    if (r)
        return r;
    if (!image[0] == !from[0])
        return cli_fail(c, "either --image or --from must be specified");
    if (x.n_rest && from[0])
        return cli_fail(c, "cannot specify --from and command");
    if (image[0])
        set_pod(&x, val_sub_obj(&c->a, x.v, N_spec), image, "Never");
    else
        r = job_from(&x, arena_cstr(&c->a, str_of(from)));
    return r ? r : create_end(&x, "failed to create job:");
}

int cmd_create_cronjob(struct cli *c, int argc, char **argv)
{
    struct creation x = {.c = c, .w = WRITE_INIT};
    const char *image = "", *schedule = "", *restart = "OnFailure";
    struct arena *a = &c->a;
    struct flag flags[] = {
        CREATE_FLAGS(&x),
        {"image", 0, FLAG_STRING, &image, "Image to run"},
        {"restart", 0, FLAG_STRING, &restart, "Restart policy: OnFailure or Never"},
        {"schedule", 0, FLAG_STRING, &schedule, "When to run, in the format of cron"},
        NO_FLAGS,
    };
    int r = create_begin(&x, RES_CRONJOBS, flags, (const char *const[]){"image", "schedule", NULL}, argc, argv);
    if (r)
        return r;
    struct val *spec = val_sub_obj(a, x.v, N_spec);
    val_set_str(a, spec, N_schedule, str_of(schedule));
    struct val *template = val_sub_obj(a, spec, N_jobTemplate);
    val_set_str(a, val_sub_obj(a, template, N_metadata), N_name, x.name);
    set_pod(&x, val_sub_obj(a, template, N_spec), image, restart[0] ? restart : "OnFailure");
    return create_end(&x, "failed to create cronjob:");
}
