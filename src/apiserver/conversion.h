/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions of custom kinds that a webhook turns into each other (apiextensions.k8s.io/v1 ConversionReview). Who needs an object
 * in another version asks for it ahead, which waits and may fail; convert.c then finds it. What was turned once is
 * remembered by its content (all but the metadata that no webhook may change), since one request needs it several times
 * and readers again and again.
 */
#pragma once

#include "apiserver/request.h"

struct conversions;

/* Are versions of r's kind turned into each other by a webhook? */
bool conversion_by_webhook(const struct resource *r);
/* Is it of another version of the kind than r? */
bool conversion_needed(const struct resource *r, const struct val *v);
/* Makes sure that n objects of the kind can be had in version `to` (conversion_take) until the next wait. 0, or 500 with
 * what the webhook did wrong. Waits; what v points to must outlast that. NULL among the objects is fine. */
int conversion_ahead(struct request *r, const struct resource *to, const struct val *const *v, size_t n);
/* In that version, in the arena; nothing but metadata when it was not asked for ahead. */
struct val *conversion_take(struct arena *a, const struct resource *to, const struct val *v);
void conversions_free(struct conversions *c); /* NULL is fine */

/* The two together, for one object. */
int conversion_from_stored(struct request *r, const struct resource *to, const struct val *v, const struct val **ret);
int conversion_to_stored(struct request *r, const struct resource *from, struct val *v, struct val **ret);
/* The same for what the client sent; and later v as it was sent, with v's metadata, if v is still what came of it; else
 * NULL. Rules look at that, not at what a webhook makes of what it made. */
int conversion_of_body(struct request *r, struct val *v, struct val **ret);
const struct val *conversion_as_sent(struct request *r, const struct val *v);
/* The answer of the request as it was asked for. */
int conversion_of_answer(struct request *r);

/* The texts, pure. objects: n JSON texts. */
struct str conversion_review_text(struct arena *a, struct str version, struct str uid, struct str desired, const struct str *objects,
                                  size_t n);
/* 0 with the objects (plain values), as many as were sent; -EINVAL with what is wrong. */
int conversion_review_read(struct arena *a, struct str version, struct str uid, struct str text, size_t n, struct val **ret,
                           struct err *e);
