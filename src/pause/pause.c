/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container that holds a pod's namespaces: it waits, ends on SIGINT and SIGTERM, and reaps what is left to it when
 * it is PID 1 of a shared process namespace. No libc, so that the image is a few kilobytes.
 */
#include <linux/signal.h>
#include <linux/wait.h>
#include <asm/unistd.h>

static long call(long n, long a, long b, long c, long d)
{
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return r;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#else
#error "pause: system calls of this processor are not known here"
#endif
}

void _start(void);
void _start(void)
{
    unsigned long set = 1ul << (SIGINT - 1) | 1ul << (SIGTERM - 1) | 1ul << (SIGCHLD - 1);
    call(__NR_rt_sigprocmask, SIG_BLOCK, (long)&set, 0, sizeof(set));
    for (;;) {
        long sig = call(__NR_rt_sigtimedwait, (long)&set, 0, 0, sizeof(set));
        while (sig == SIGCHLD && call(__NR_wait4, -1, 0, WNOHANG, 0) > 0)
            ;
        if (sig == SIGINT || sig == SIGTERM)
            call(__NR_exit_group, 0, 0, 0, 0);
    }
}
