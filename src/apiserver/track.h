/* SPDX-License-Identifier: Apache-2.0 */
/* managedFields on the way of a write: who writes, as what, and what that changes (type/managed.h). */
#pragma once

#include "apiserver/request.h"
#include "type/managed.h"

/* Who writes, for managedFields: the fieldManager that was asked for, else the name of the client's program. */
struct managed_request track_request(struct request *r);
/* Sets r->managed for v (stored form, as sent) that takes the place of now (NULL: it is new). */
void track_write(struct request *r, const struct object *now, const struct val *v);
/* v with r->managed. */
void track_stamp(struct request *r, struct val *v);

/* A Scale has the managers of spec.replicas of its object: put them into it, and take those that a write of it left back to
 * the object. */
struct managed_request track_scale_request(struct request *r);
void track_scale_before(struct request *r, const struct object *now, struct val *scale);
void track_scale_after(struct request *r, const struct object *now, const struct val *managed);
