/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine of the mind: a container runtime (node/runtime.h, CRI v1) and a Linux machine (node/host.h) for the real
 * kubelet. Containers are states that take time and nothing else; files are on the simulated disk, below the machine's
 * own folder. The machine outlives its kubelet; switched off, its containers have ended and its files are still there.
 */
#pragma once

#include "node/host.h"
#include "node/runtime.h"
#include "sim/truth.h"

struct hollow;

/* name and truth outlive it. root: its folder on the simulated disk ("/node-017"). */
struct hollow *hollow_new(const char *name, const char *root, struct truth *truth);
void hollow_free(struct hollow *h); /* NULL is fine */

struct runtime *hollow_runtime(struct hollow *h); /* borrowed; runtime_free is not for it */
struct host *hollow_host(struct hollow *h);

size_t hollow_pods(const struct hollow *h);   /* that live: have a sandbox that is ready */
size_t hollow_containers(const struct hollow *h); /* that run */
void hollow_power_off(struct hollow *h);
void hollow_wipe(struct hollow *h);           /* as new: containers, images and files are gone */
/* One of its running containers, by chance, ends with that code. False when none runs. */
bool hollow_end_container(struct hollow *h, int exit_code);
