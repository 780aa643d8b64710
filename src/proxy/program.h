/* SPDX-License-Identifier: Apache-2.0 */
/* iptables-restore, iptables-save and ipset: programs with so much to read or to say that pipes and os_run's limit are too small. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

/* Runs it to its end with `input` (empty: none), or kills it after half an hour (50,000 chains take iptables-restore minutes on a slow
 * machine) or when we are cancelled; either way it is gone when this returns. ret_out (may be NULL): all it says, in the arena.
 * 0, or -errno with its name and the last line of its complaint. Waits. */
int program_run(struct arena *a, const char *const *argv, struct str input, struct str *ret_out, struct err *e);
