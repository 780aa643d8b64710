/* SPDX-License-Identifier: Apache-2.0 */
/* Names of images, and the credentials that go with them. Pure. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "wire/value.h"

/* Is it the name of an image as the distribution project defines them ([domain/]path[:tag][@digest])? 0 or -EINVAL. */
int image_check(struct str image, struct err *e);
/* The name with ":latest" when it has neither tag nor digest. */
struct str image_with_tag(struct arena *a, struct str image);
/* The registry and path that a client would ask: "docker.io/library/busybox" of "busybox". No tag, no digest. */
struct str image_repository(struct arena *a, struct str image);

/* Adds to list (a LIST of CRI AuthConfig OBJs) the entries of a docker configuration (.dockerconfigjson, or with
 * legacy the older .dockercfg) that fit the image, the most specific first. -EINVAL when it is no such text. */
int image_credentials(struct arena *a, struct str json, bool legacy, struct str image, struct val *list, struct err *e);
