/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test includes: cmocka with its required headers, and a run-in-a-loop helper. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fiber.h"
#include "base/os.h"

#define assert_str(s, lit)                                                                                   \
    do {                                                                                                     \
        struct str assert_s_ = (s);                                                                          \
        const char *assert_want_ = (lit);                                                                    \
        assert_int_equal(assert_s_.n, strlen(assert_want_));                                                 \
        assert_memory_equal(assert_s_.p ? assert_s_.p : "", assert_want_, assert_s_.n);                      \
    } while (0)

/* Declares a cmocka test whose body runs as the first fiber of a loop of the real world. */
#define FIBER_TEST(name)                                                                                     \
    static void name##_body(void *arg);                                                                      \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        loop_run(name##_body, NULL);                                                                         \
    }                                                                                                        \
    static void name##_body(void *arg UNUSED)
