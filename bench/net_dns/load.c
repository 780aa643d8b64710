/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a DNS server as fast as it answers: load ADDRESS PORT SECONDS WINDOW NAME...
 * WINDOW questions are under way at any time, over eight sockets, for A records of the names in turn. Prints
 * "queries seconds p50-µs p99-µs lost wrong"; an answer without a record is wrong.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOCKETS = 8, BATCH = 64, IDS = 65536, LOST_AFTER_MS = 500 };

struct socket {
    int fd;
    unsigned under_way;
    uint16_t next;
    int64_t sent[IDS]; /* ns; 0: not under way */
};

static struct socket sockets[SOCKETS];
static char questions[64][300];
static size_t sizes[64], n_questions;
static uint32_t *latencies; /* µs, one a query */
static size_t n_latencies, max_latencies = 20000000;
static uint64_t lost, wrong;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void make_question(const char *name)
{
    char *p = questions[n_questions], *start = p;
    memcpy(p, "\0\0\1\0\0\1\0\0\0\0\0\0", 12);
    p += 12;
    while (*name) {
        size_t n = strcspn(name, ".");
        *p++ = (char)n;
        memcpy(p, name, n);
        p += n;
        name += n + (name[n] == '.');
    }
    memcpy(p, "\0\0\1\0\1", 5);
    sizes[n_questions++] = (size_t)(p + 5 - start);
}

static void ask(struct socket *s, unsigned window)
{
    struct mmsghdr m[BATCH];
    struct iovec v[BATCH];
    static char copies[BATCH][300];
    unsigned n = 0;
    int64_t now = now_ns();
    while (n < BATCH && s->under_way + n < window) {
        size_t q = s->next % n_questions;
        memcpy(copies[n], questions[q], sizes[q]);
        copies[n][0] = (char)(s->next >> 8);
        copies[n][1] = (char)s->next;
        v[n] = (struct iovec){copies[n], sizes[q]};
        m[n] = (struct mmsghdr){.msg_hdr = {.msg_iov = &v[n], .msg_iovlen = 1}};
        if (!s->sent[s->next])
            s->sent[s->next] = now;
        else
            s->sent[s->next] = now, lost++, s->under_way--;
        s->next++;
        n++;
    }
    if (n && sendmmsg(s->fd, m, n, 0) < 0)
        lost += n;
    s->under_way += n;
}

static void hear(struct socket *s)
{
    struct mmsghdr m[BATCH];
    struct iovec v[BATCH];
    static char in[BATCH][512];
    for (int i = 0; i < BATCH; i++) {
        v[i] = (struct iovec){in[i], sizeof(in[i])};
        m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &v[i], .msg_iovlen = 1}};
    }
    int n = recvmmsg(s->fd, m, BATCH, MSG_DONTWAIT, NULL);
    int64_t now = now_ns();
    for (int i = 0; i < n; i++) {
        uint16_t id = (uint16_t)((uint8_t)in[i][0] << 8 | (uint8_t)in[i][1]);
        if (m[i].msg_len < 12 || !s->sent[id])
            continue;
        wrong += !(in[i][6] | in[i][7]) || (in[i][3] & 15);
        if (n_latencies < max_latencies)
            latencies[n_latencies++] = (uint32_t)((now - s->sent[id]) / 1000);
        s->sent[id] = 0;
        s->under_way--;
    }
}

/* What was not answered in time is asked no more. */
static void give_up(struct socket *s)
{
    int64_t limit = now_ns() - (int64_t)LOST_AFTER_MS * 1000000;
    for (int i = 0; i < IDS; i++)
        if (s->sent[i] && s->sent[i] < limit) {
            s->sent[i] = 0;
            s->under_way--;
            lost++;
        }
}

static int order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 2;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    int64_t start = now_ns(), end = start + (int64_t)(atof(argv[3]) * 1e9);
    unsigned window = (unsigned)atoi(argv[4]) / SOCKETS;
    struct pollfd polls[SOCKETS];
    for (int i = 5; i < argc && n_questions < 64; i++)
        make_question(argv[i]);
    latencies = malloc(max_latencies * sizeof(*latencies));
    for (int i = 0; i < SOCKETS; i++) {
        sockets[i].fd = socket(AF_INET, SOCK_DGRAM, 0);
        if (connect(sockets[i].fd, (struct sockaddr *)&to, sizeof(to)) < 0)
            return 1;
        polls[i] = (struct pollfd){sockets[i].fd, POLLIN, 0};
    }
    while (now_ns() < end) {
        for (int i = 0; i < SOCKETS; i++) {
            ask(&sockets[i], window ? window : 1);
            hear(&sockets[i]);
        }
        if (poll(polls, SOCKETS, 50) == 0)
            for (int i = 0; i < SOCKETS; i++)
                give_up(&sockets[i]);
    }
    double seconds = (double)(now_ns() - start) / 1e9;
    qsort(latencies, n_latencies, sizeof(*latencies), order);
    printf("%zu %.3f %u %u %llu %llu\n", n_latencies, seconds, n_latencies ? latencies[n_latencies / 2] : 0,
           n_latencies ? latencies[n_latencies * 99 / 100] : 0, (unsigned long long)lost, (unsigned long long)wrong);
    return 0;
}
