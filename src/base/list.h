/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive circular doubly linked list. A zeroed link is "not on a list". */
#pragma once

#include "base/base.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
/* True for a head nobody is on, and for a head never initialised. */
static inline bool list_empty(const struct list *l)
{
    return !l->next || l->next == l;
}
static inline bool list_linked(const struct list *l)
{
    return l->next != NULL;
}
static inline void list_insert_before(struct list *at, struct list *l)
{
    l->prev = at->prev;
    l->next = at;
    at->prev->next = l;
    at->prev = l;
}
static inline void list_push_back(struct list *head, struct list *l)
{
    if (!head->next)
        list_init(head);
    list_insert_before(head, l);
}
static inline void list_push_front(struct list *head, struct list *l)
{
    if (!head->next)
        list_init(head);
    list_insert_before(head->next, l);
}
static inline void list_remove(struct list *l)
{
    if (!l->next)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->next = l->prev = NULL;
}
static inline struct list *list_pop_front(struct list *head)
{
    struct list *l = list_empty(head) ? NULL : head->next;
    if (l)
        list_remove(l);
    return l;
}

#define LIST_ENTRY(l, T, m) CONTAINER_OF(l, T, m)
/* it is a `struct list *`; the SAFE form allows removing it in the body. */
#define LIST_EACH(head, it) for (struct list *it = (head)->next; it && it != (head); it = it->next)
#define LIST_EACH_SAFE(head, it)                                                                             \
    for (struct list *it = (head)->next, *it##_next = it ? it->next : NULL; it && it != (head);              \
         it = it##_next, it##_next = it->next)
