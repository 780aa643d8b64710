/* SPDX-License-Identifier: Apache-2.0 */
/* Helper threads of the real door: private to base/. */
#pragma once

#include "base/base.h"

void offload_run(void (*fn)(void *arg), void *arg); /* see fiber_offload */
int offload_event_fd(void);                         /* readable when a call of this thread has ended */
void offload_finish(void);                          /* wakes the fibers of ended calls */
