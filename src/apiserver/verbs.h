/* SPDX-License-Identifier: Apache-2.0 */
/* What requests can do: one function a verb, a subresource, a review. All are request_stages. */
#pragma once

#include "apiserver/request.h"

request_stage verb_get, verb_list, verb_watch, verb_create, verb_update, verb_patch, verb_delete,
    verb_deletecollection;

/* The present object that the request names: borrowed, held by the request. 0 or 404. Waits. */
int find_named(struct request *r, const struct object **ret);
/* The selected objects as the answer. */
struct selection;
int list_selected(struct request *r, const struct selection *s, size_t limit);
/* The body as an object of r->res in the stored version, with defaults. */
int decode_object(struct request *r, struct val **ret);
/* The patch of the body applied to a value of type t (not defaulted). */
int patch_value(struct request *r, const struct type *t, const struct val *doc, struct val **ret);
/* The body as the configuration (plain) of a server-side apply onto an object of that version and kind. */
int read_config(struct request *r, struct str api_version, struct str kind, struct val **ret);

/* The Scale of an object (stored form), and what a Scale says back into it. */
struct val *scale_view(struct request *r, const struct val *v);
void scale_store(struct request *r, struct val *v, const struct val *scale);

/* subresources */
request_stage sub_scale_get, sub_scale_update, sub_scale_patch, sub_binding, sub_eviction, sub_log, sub_exec,
    sub_portforward, sub_pod_proxy, sub_service_proxy, sub_node_proxy, sub_finalize, sub_token,
    sub_approval_update, sub_approval_patch;

/* kinds that are not stored */
request_stage review_token, review_access, review_self_access, review_local_access, review_self_rules,
    review_self_subject, component_statuses;
