/*
 * interlockedlist.c - work that threads hand to each other through a list, at any IRQL.
 */
#include <kprcb/interlockedlist.h>
#include <pthread.h>
#include <stdio.h>

#define THREADS 4
#define ITEMS 1000

typedef struct _ITEM {
    LIST_ENTRY ListEntry;
    ULONG Number;
} ITEM;

static LIST_ENTRY Head = {&Head, &Head};
static KSPIN_LOCK Lock; /* of the list, and nothing else */
static ULONG volatile Sum;

static void *Work(void *Context)
{
    PLIST_ENTRY Entry;

    (void)Context;
    while ((Entry = ExInterlockedRemoveHeadList(&Head, &Lock)) != NULL) {
        __atomic_fetch_add(&Sum, CONTAINING_RECORD(Entry, ITEM, ListEntry)->Number, __ATOMIC_RELAXED);
    }
    return NULL;
}

int main(void)
{
    static ITEM Items[ITEMS];
    pthread_t Threads[THREADS];

    KeInitializeSpinLock(&Lock);
    for (ULONG i = 0; i < ITEMS; i++) {
        Items[i].Number = i;
        ExInterlockedInsertTailList(&Head, &Items[i].ListEntry, &Lock);
    }
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&Threads[i], NULL, Work, NULL) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(Threads[i], NULL);
    }
    printf("the numbers of %u items add up to %u\n", ITEMS, (unsigned)Sum);
    return Sum != ITEMS * (ITEMS - 1) / 2;
}
