/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that many objects have alike, kept once: the field sets of managedFields are a third of a pod and the same in all pods that
 * the same managers wrote. For any thread.
 */
#pragma once

#include "base/str.h"

/* The kept text (NUL-terminated) with those bytes, one reference more. */
const char *shared_text(struct str s);
void shared_text_unref(const char *text);
size_t shared_texts(void); /* how many there are */
