/* SPDX-License-Identifier: Apache-2.0 */
/* The user's terminal: raw mode that is always undone, its size, and waiting for input. */
#pragma once

#include "base/time.h"

#include <stdbool.h>
#include <sys/types.h>

bool tty_is(int fd);
/* Raw mode on stdin until tty_restore(), or until a signal ends the process. False when it is no terminal. */
bool tty_raw(void);
void tty_restore(void);
/* False when stdout (or stdin) has no size. */
bool tty_size(unsigned short *ret_width, unsigned short *ret_height);
/* Waits until the terminal's size changes. 0 or -errno. */
int tty_wait_resize(struct mono deadline);
/* Waits for and reads from stdin: bytes, 0 at its end, -errno. */
ssize_t tty_read(void *p, size_t n, struct mono deadline);
