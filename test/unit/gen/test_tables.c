/* SPDX-License-Identifier: Apache-2.0 */
/* The generated tables as the C side sees them: order, indices and references that everything else leans on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "type/resource.h"
#include "names.h"
#include "types.h"
#include "resources.h"
#include "grpc.h"

extern const struct str name_table[];
extern const unsigned n_names;

static void names_are_sorted(void **state)
{
    (void)state;
    assert_int_equal(name_table[0].n, 0);
    for (unsigned i = 1; i < n_names; i++)
        assert_true(strcmp(name_table[i - 1].p, name_table[i].p) < 0);
    assert_string_equal(name_table[N_metadata].p, "metadata");
    assert_string_equal(name_table[N_certificate_authority_data].p, "certificate-authority-data");
    assert_string_equal(name_table[N__ref].p, "$ref");
}

static void check_field(const struct field *f)
{
    assert_true(f->kind >= K_BOOL && f->kind <= K_ANY);
    assert_true(f->name > 0 && f->name < n_names);
    assert_true(f->type < n_types);
    assert_true((f->type != 0) == (f->kind == K_MESSAGE || f->kind == K_JSON_OR || f->kind == K_RAW));
    if (f->kind == K_MESSAGE)
        assert_false(types[f->type].flags & (TYPE_LEAF | TYPE_OR));
    assert_true(!(f->flags & FIELD_NOPROTO) == (f->number != 0));
    assert_false(f->flags & FIELD_INLINE);
}

static void types_are_sound(void **state)
{
    (void)state;
    for (unsigned i = 1; i < n_types; i++) {
        const struct type *t = &types[i];
        assert_true(strcmp(types[i - 1].name, t->name) < 0);
        assert_int_equal(t->index, i);
        for (unsigned k = 0; k < t->n_fields; k++)
            check_field(&t->fields[k]);
        for (unsigned k = 1; k < t->n_proto_fields; k++)
            assert_true(t->proto_fields[k - 1].number < t->proto_fields[k].number);
        if (t->flags & TYPE_ROOT) {
            assert_int_equal(t->fields[0].name, N_kind);
            assert_int_equal(t->fields[1].name, N_apiVersion);
        }
    }
}

static const struct field *field(unsigned type, name_id name)
{
    for (unsigned i = 0; i < types[type].n_fields; i++)
        if (types[type].fields[i].name == name)
            return &types[type].fields[i];
    fail_msg("%s has no field %s", types[type].name, name_table[name].p);
    return NULL;
}

static void fields_say_what_the_api_says(void **state)
{
    (void)state;
    const struct field *f = field(T_apps_v1_DeploymentSpec, N_replicas);
    assert_int_equal(f->kind, K_INT32);
    assert_int_equal(f->number, 1);
    assert_true(f->flags & FIELD_PTR);
    assert_string_equal(type_extras[f->extra].default_json, "1");
    assert_int_equal(type_extras[f->extra].min, 0);
    assert_true(type_extras[f->extra].max == INT64_MAX);
    assert_non_null(f->doc);

    f = field(T_core_v1_PodSpec, N_containers);
    assert_int_equal(f->card, CARD_LIST);
    assert_int_equal(f->type, T_core_v1_Container);
    assert_true(f->flags & FIELD_LISTMAP && f->flags & FIELD_PATCH_MERGE && f->flags & FIELD_REQUIRED);
    assert_false(f->flags & FIELD_OMITEMPTY);
    assert_string_equal(type_extras[f->extra].patch_key, "name");
    assert_string_equal(type_extras[f->extra].list_keys[0], "name");
    assert_null(type_extras[f->extra].list_keys[1]);

    f = field(T_core_v1_ContainerPort, N_protocol);
    assert_string_equal(type_extras[f->extra].default_json, "\"TCP\"");
    assert_string_equal(type_extras[f->extra].enums[0], "SCTP");

    assert_false(field(T_core_v1_Pod, N_status)->flags & FIELD_OMITEMPTY); /* a struct: Go always writes it */
    assert_true(field(T_meta_v1_ObjectMeta, N_creationTimestamp)->flags & FIELD_OMITEMPTY); /* omitzero */
    assert_int_equal(field(T_authentication_v1_UserInfo, N_extra)->kind, K_STRINGS);
    assert_int_equal(field(T_meta_v1_APIResource, N_verbs)->kind, K_STRINGS);
}

static void inlined_structs_are_flat_in_json_only(void **state)
{
    (void)state;
    const struct type *volume = &types[T_core_v1_Volume];
    assert_int_equal(field(T_core_v1_Volume, N_emptyDir)->number, 0);
    assert_int_equal(volume->n_proto_fields, 2);
    assert_true(volume->proto_fields[1].flags & FIELD_INLINE);
    assert_int_equal(volume->proto_fields[1].type, T_core_v1_VolumeSource);
    assert_int_equal(volume->proto_fields[1].name, 0);
}

static void forms_without_tag_have_protobuf_fields_only(void **state)
{
    (void)state;
    const struct type *t = &types[T_apiextensions_v1_JSONSchemaPropsOrBool];
    assert_true(t->flags & TYPE_OR);
    assert_int_equal(t->n_fields, 0);
    assert_int_equal(t->n_proto_fields, 2);
    assert_int_equal(t->proto_fields[0].kind, K_BOOL);
    assert_int_equal(t->proto_fields[1].type, T_apiextensions_v1_JSONSchemaProps);
    assert_int_equal(field(T_apiextensions_v1_JSONSchemaProps, N_additionalProperties)->kind, K_JSON_OR);
    assert_int_equal(field(T_apiextensions_v1_JSONSchemaProps, N_default)->type, T_apiextensions_v1_JSON);
}

static void resources_are_sound(void **state)
{
    (void)state;
    for (unsigned i = 1; i < n_resources; i++) {
        const struct resource *r = &resources[i];
        assert_int_equal(r->index, i);
        assert_true(r->storage > 0 && r->storage < n_resources);
        assert_true(r->type && r->type->flags & TYPE_ROOT);
        assert_true(!(r->verbs & VERB_LIST) == !r->list_type);
        assert_non_null(r->short_names);
        assert_non_null(r->categories);
        for (unsigned k = 1; k < r->n_subresources; k++)
            assert_true(strcmp(r->subresources[k - 1].name, r->subresources[k].name) < 0);
    }
}

static void shared_names_have_ids_of_their_own(void **state)
{
    (void)state;
    assert_string_equal(resources[RES_EVENTS].group, "");
    assert_string_equal(resources[RES_EVENTS_EVENTS_K8S_IO].group, "events.k8s.io");
    assert_int_equal(resources[RES_EVENTS_EVENTS_K8S_IO].storage, RES_EVENTS);
    assert_string_equal(resources[RES_HORIZONTALPODAUTOSCALERS].version, "v2");
    assert_int_equal(resources[RES_HORIZONTALPODAUTOSCALERS_V1].storage, RES_HORIZONTALPODAUTOSCALERS);
    assert_int_equal(resources[RES_PODS].storage, RES_PODS);
    assert_false(resources[RES_TOKENREVIEWS].stored);
    assert_string_equal(resources[RES_DEPLOYMENTS].short_names[0], "deploy");
}

static void group_versions_are_in_order(void **state)
{
    (void)state;
    assert_string_equal(group_versions[0].group, "");
    for (unsigned i = 1; i < n_group_versions; i++)
        assert_true(group_versions[i - 1].group_priority >= group_versions[i].group_priority);
}

static void grpc_methods_are_sound(void **state)
{
    (void)state;
    const struct grpc_method *m = &grpc_methods[G_runtime_v1_RuntimeService_Version];
    assert_string_equal(m->path, "/runtime.v1.RuntimeService/Version");
    assert_int_equal(m->request->index, T_runtime_v1_VersionRequest);
    assert_true(grpc_methods[G_etcdserverpb_Watch_Watch].client_stream);
    assert_string_equal(grpc_methods[G_deviceplugin_v1beta1_Registration_Register].path,
                        "/v1beta1.Registration/Register");
    assert_int_equal(E_runtime_v1_CONTAINER_RUNNING, 1);
    for (unsigned i = 1; i < n_grpc_methods; i++)
        assert_true(grpc_methods[i].request->flags & grpc_methods[i].response->flags & TYPE_PROTO3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_sorted),
        cmocka_unit_test(types_are_sound),
        cmocka_unit_test(fields_say_what_the_api_says),
        cmocka_unit_test(inlined_structs_are_flat_in_json_only),
        cmocka_unit_test(forms_without_tag_have_protobuf_fields_only),
        cmocka_unit_test(resources_are_sound),
        cmocka_unit_test(shared_names_have_ids_of_their_own),
        cmocka_unit_test(group_versions_are_in_order),
        cmocka_unit_test(grpc_methods_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
