/* SPDX-License-Identifier: Apache-2.0 */
/* Helper threads of the real door: private to base/. */
#pragma once

#include "base/base.h"

/* Each lane has threads of its own, so that a name server which does not answer never holds up a sync. */
enum offload_lane { OFFLOAD_ANY, OFFLOAD_SYNC, OFFLOAD_LANES };
void offload_run(enum offload_lane lane, void (*fn)(void *arg), void *arg); /* see fiber_offload */
int offload_event_fd(void);                         /* readable when a call of this thread has ended */
void offload_thread_done(void);                     /* nothing may be under way */
void offload_finish(void);                          /* wakes the fibers of ended calls */
