/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upstream's files of its CPU and memory managers, in the kubelet's root folder. They are written so that a kubelet of
 * upstream's, or whoever reads them, finds what was handed out; read they are for what the runtime does not tell.
 */
#pragma once

#include "base/arena.h"
#include "wire/value.h"

struct kubelet;

#define CHECKPOINT_CPUS "cpu_manager_state"
#define CHECKPOINT_MEMORY "memory_manager_state"

/* The file's text: its data once as fields, for older kubelets, and once as a text with its checksum. Pure. */
struct str checkpoint_text(struct arena *a, const struct val *data);
/* The data of such a text; NULL: it is damaged. Pure. */
const struct val *checkpoint_parse(struct arena *a, struct str text);
/* NULL: there is none, or it is damaged (then everything is found out anew). */
const struct val *checkpoint_read(struct kubelet *k, const char *name, struct arena *a);
void checkpoint_touch(struct kubelet *k); /* something was handed out or given back */
/* Until the files say what was handed out by now, or it was tried: after a crash it would be handed out again beneath a
 * container that runs. 0 or -ECANCELED. */
int checkpoint_wait(struct kubelet *k);
void checkpoints_run(void *kubelet);      /* a fiber: writes the files */
