/* SPDX-License-Identifier: Apache-2.0 */
/* Small things several controllers need. All pure. */
#pragma once

#include "controllers/engine.h"

/* Sets a number that is no pointer in Go: zero is absent, as in every decoded object (wire/value.h). */
void set_count(struct arena *a, struct val *obj, name_id name, int64_t n);
void set_flag(struct arena *a, struct val *obj, name_id name, bool b);
void set_text(struct arena *a, struct val *obj, name_id name, struct str s);

/* An IntOrString of a total: a number, or a percentage rounded up or down. absent: for NULL and nonsense. */
int64_t intstr_scaled(const struct val *v, int64_t total, bool round_up, int64_t absent);
/* A user's number of seconds in nanoseconds: never more than can be added to the time. */
int64_t seconds_ns(const struct val *v, int64_t absent);

/* The object with a status of its own to change: both may be written to at their top level. *ret_status too.
 */
struct val *with_status(struct arena *a, const struct object *o, struct val **ret_status);
/* The object with metadata of its own to change; maps and lists in it are still shared. */
struct val *with_meta(struct arena *a, const struct object *o, struct val **ret_meta);
/* The finalizer is among those of metadata that is yours, or is not. */
void put_finalizer(struct arena *a, struct val *meta, struct str finalizer, bool wanted);
/* A map member of an object that is yours (shared before): yours from now on. */
struct val *own_map(struct arena *a, struct val *obj, name_id name);
struct val *own_list(struct arena *a, struct val *obj, name_id name);

/* A *LabelSelector as Go prints it: messages are read by people who know that form. */
struct str selector_as_go(struct arena *a, const struct val *selector);
/* "apps/v1" of a resource, in the arena. */
struct str api_version(struct arena *a, const struct resource *res);
/* The condition types of one kind's list, without one. */
struct val *conditions_without(struct arena *a, const struct val *conditions, struct str type);

struct str short_hash(struct arena *a, struct str text,
                      int64_t salt); /* short, of letters and digits that make no words */
struct str safe_digits(struct arena *a, uint32_t n); /* a number's digits in letters that make no words */
