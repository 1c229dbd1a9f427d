/*
 * hashtable.c - tables that are read without a lock: liburcu's cds_lfht, and a thread that gives back what is removed.
 *
 * Flavour: urcu-bp. Threads register at their first read section and leave by themselves as they end, in whichever program
 * they were created; a section costs two plain stores where the host has membarrier. The number of buckets is fixed, so
 * that no table starts liburcu's resizing thread.
 *
 * Removed nodes are given back by a thread of this file, which is there while a table is. liburcu's own, that of call_rcu,
 * can not be joined before 0.15, so that each start of a machine would leave one, and the child of a fork gets another.
 *
 *   word               written by                                     read by
 *   Table.Removed      removers push by compare-exchange (release)    the thread takes all by exchange (acquire)
 *   Node.Next          the remover, before the push; the caller       the thread, before it calls Free
 *                      otherwise
 *   HalpRequest        a remover that found Removed empty adds 1,     the thread, before it looks at the tables (acquire),
 *                      after the push (release), and wakes            and as it parks
 *   HalpStop           who destroys the last table, the same way      the thread
 *   HalpTables, Taken  under HalpLock                                 the same
 *
 * A node is pushed after it has left the table, and taken before the grace period begins: whoever can still see it was in
 * a read section by then, and the grace period waits for that. No wake is lost: the thread reads HalpRequest, takes, and
 * parks only if HalpRequest is still what it was.
 *
 * Fork: liburcu's handlers hold its locks over the fork, and drop the parent's threads from the child. A program that uses
 * urcu-bp itself must not call them once more.
 *
 * ThreadSanitizer does not see into liburcu, and is told what it orders: adding a node before finding it, and the end of a
 * section before what is given back after it.
 *
 * Test: tests/hal/test_hashtable.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include <pthread.h>
#include <stdlib.h>

#include <urcu/urcu-bp.h>
/* After the flavour. */
#include <urcu/rculfhash.h>

#if defined(__SANITIZE_THREAD__)
#define HALP_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HALP_THREAD_SANITIZER 1
#endif
#endif
#ifdef HALP_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#define HALP_RELEASED(Address) __tsan_release(Address)
#define HALP_ACQUIRED(Address) __tsan_acquire(Address)
#else
#define HALP_RELEASED(Address) ((void)0)
#define HALP_ACQUIRED(Address) ((void)0)
#endif

struct _HAL_HASH_TABLE {
    struct cds_lfht *Host;
    HAL_HASH_FREE *Free;
    PVOID Context;
    PHAL_HASH_NODE volatile Removed;
    PHAL_HASH_NODE Taken;
    PHAL_HASH_TABLE Next;
};

typedef struct _HALP_KEY {
    HAL_HASH_MATCH *Match;
    const VOID *Key;
} HALP_KEY;

_Static_assert(offsetof(HAL_HASH_NODE, Next) >= sizeof(struct cds_lfht_node), "liburcu's node fits");
_Static_assert(sizeof(HAL_HASH_ITERATOR) >= sizeof(struct cds_lfht_iter), "liburcu's iterator fits");

static pthread_once_t HalpForksOnce = PTHREAD_ONCE_INIT;
static HAL_MUTEX HalpLifeLock; /* creating and destroying; before HalpLock */
static HAL_MUTEX HalpLock;
static PHAL_HASH_TABLE HalpTables;
static HAL_THREAD HalpReclaimer;
static ULONG volatile HalpRequest;
static BOOLEAN volatile HalpStop;
#ifdef HALP_THREAD_SANITIZER
static char HalpSections; /* whose address stands for the end of sections */
#endif

/* --- The thread that gives nodes back --- */

/* HalpLock held. */
static VOID HalpReclaim(VOID)
{
    BOOLEAN Any = FALSE;

    for (PHAL_HASH_TABLE Table = HalpTables; Table != NULL; Table = Table->Next) {
        Table->Taken = __atomic_exchange_n(&Table->Removed, NULL, __ATOMIC_ACQUIRE);
        Any = Any || Table->Taken != NULL;
    }
    if (!Any) {
        return;
    }
#ifndef KPRCB_BREAK_GRACE_PERIOD
    urcu_bp_synchronize_rcu();
    HALP_ACQUIRED(&HalpSections);
#endif
    for (PHAL_HASH_TABLE Table = HalpTables; Table != NULL; Table = Table->Next) {
        PHAL_HASH_NODE Node;

        while ((Node = Table->Taken) != NULL) {
            Table->Taken = Node->Next;
            Table->Free(Table->Context, Node);
        }
    }
}

static VOID HalpReclaimRoutine(PVOID Context)
{
    (void)Context;
    for (;;) {
        ULONG Request = __atomic_load_n(&HalpRequest, __ATOMIC_ACQUIRE);

        if (__atomic_load_n(&HalpStop, __ATOMIC_ACQUIRE)) {
            return;
        }
        HalAcquireMutex(&HalpLock);
        HalpReclaim();
        HalReleaseMutex(&HalpLock);
        (void)HalPark(&HalpRequest, Request, 0);
    }
}

static VOID HalpWakeReclaimer(VOID)
{
    __atomic_fetch_add(&HalpRequest, 1, __ATOMIC_RELEASE);
    HalWake(&HalpRequest, 1);
}

static VOID HalpReturn(PHAL_HASH_TABLE Table, PHAL_HASH_NODE Node)
{
    PHAL_HASH_NODE First = __atomic_load_n(&Table->Removed, __ATOMIC_RELAXED);

    do {
        Node->Next = First;
    } while (!__atomic_compare_exchange_n(&Table->Removed, &First, Node, TRUE, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    if (First == NULL) {
        HalpWakeReclaimer();
    }
}

/* --- Creating and destroying --- */

static void HalpForkChildOfTables(void)
{
    urcu_bp_after_fork_child();
    HalpLifeLock = (HAL_MUTEX){0};
    HalpLock = (HAL_MUTEX){0};
    HalpTables = NULL;
    HalpStop = FALSE;
}

static void HalpPrepareForks(void)
{
    if (pthread_atfork(urcu_bp_before_fork, urcu_bp_after_fork_parent, HalpForkChildOfTables) != 0) {
        HalPrint("kprcb: the host refuses a fork handler\n");
        HalAbort();
    }
}

VOID HalRegisterReader(VOID)
{
    /* Before liburcu's locks are taken for the first time. */
    (void)pthread_once(&HalpForksOnce, HalpPrepareForks);
    urcu_bp_register_thread();
}

/* HalpLifeLock held. */
static BOOLEAN HalpListTable(PHAL_HASH_TABLE Table)
{
    if (HalpTables == NULL &&
        !NT_SUCCESS(HalCreateThread(&HalpReclaimer, HalpReclaimRoutine, NULL, 0, HAL_ANY_PROCESSOR, "kprcb-reclaim"))) {
        return FALSE;
    }
    HalAcquireMutex(&HalpLock);
    Table->Next = HalpTables;
    HalpTables = Table;
    HalReleaseMutex(&HalpLock);
    return TRUE;
}

/* HalpLifeLock held. */
static VOID HalpUnlistTable(PHAL_HASH_TABLE Table)
{
    PHAL_HASH_TABLE *Link = &HalpTables;

    HalAcquireMutex(&HalpLock);
    while (*Link != Table) {
        Link = &(*Link)->Next;
    }
    *Link = Table->Next;
    HalReleaseMutex(&HalpLock);
    if (HalpTables == NULL) {
        __atomic_store_n(&HalpStop, TRUE, __ATOMIC_RELEASE);
        HalpWakeReclaimer();
        HalJoinThread(&HalpReclaimer);
        HalpStop = FALSE;
    }
}

PHAL_HASH_TABLE HalCreateHashTable(ULONG Buckets, HAL_HASH_FREE *Free, PVOID Context)
{
    PHAL_HASH_TABLE Table = calloc(1, sizeof(*Table));
    BOOLEAN Listed = FALSE;

    if (Table == NULL) {
        return NULL;
    }
    HalRegisterReader();
    Table->Free = Free;
    Table->Context = Context;
    Table->Host = cds_lfht_new_flavor(Buckets, Buckets, Buckets, 0, &urcu_bp_flavor, NULL);
    if (Table->Host != NULL) {
        HalAcquireMutex(&HalpLifeLock);
        Listed = HalpListTable(Table);
        HalReleaseMutex(&HalpLifeLock);
    }
    if (!Listed) {
        if (Table->Host != NULL) {
            (void)cds_lfht_destroy(Table->Host, NULL);
        }
        free(Table);
        Table = NULL;
    }
    return Table;
}

VOID HalDestroyHashTable(PHAL_HASH_TABLE Table)
{
    HAL_HASH_ITERATOR Iterator;

    HalAcquireMutex(&HalpLifeLock);
    HalpUnlistTable(Table);
    HalReleaseMutex(&HalpLifeLock);
    HalBeginRead();
    for (PHAL_HASH_NODE Node = HalFirstInTable(Table, &Iterator); Node != NULL;
         Node = HalNextInTable(Table, &Iterator)) {
        (void)cds_lfht_del(Table->Host, (struct cds_lfht_node *)Node);
    }
    HalEndRead();
    if (cds_lfht_destroy(Table->Host, NULL) != 0) {
        HalPrint("kprcb: a hash table is destroyed while it is used\n");
        HalAbort();
    }
    free(Table);
}

/* --- Reading and changing --- */

VOID HalBeginRead(VOID)
{
    urcu_bp_read_lock();
}

VOID HalEndRead(VOID)
{
    HALP_RELEASED(&HalpSections);
    urcu_bp_read_unlock();
}

static int HalpMatch(struct cds_lfht_node *Node, const void *Key)
{
    const HALP_KEY *Wanted = Key;

    HALP_ACQUIRED(Node);
    return Wanted->Match((const HAL_HASH_NODE *)Node, Wanted->Key);
}

static PHAL_HASH_NODE HalpNodeOf(struct cds_lfht_iter *Iterator)
{
    struct cds_lfht_node *Node = cds_lfht_iter_get_node(Iterator);

    if (Node != NULL) {
        HALP_ACQUIRED(Node);
    }
    return (PHAL_HASH_NODE)Node;
}

PHAL_HASH_NODE HalFindInTable(PHAL_HASH_TABLE Table, ULONG_PTR Hash, HAL_HASH_MATCH *Match, const VOID *Key)
{
    HALP_KEY Wanted = {Match, Key};
    struct cds_lfht_iter Iterator;

    cds_lfht_lookup(Table->Host, Hash, HalpMatch, &Wanted, &Iterator);
    return HalpNodeOf(&Iterator);
}

VOID HalAddToTable(PHAL_HASH_TABLE Table, ULONG_PTR Hash, PHAL_HASH_NODE Node)
{
    cds_lfht_node_init((struct cds_lfht_node *)Node);
    HALP_RELEASED(Node);
    cds_lfht_add(Table->Host, Hash, (struct cds_lfht_node *)Node);
}

BOOLEAN HalRemoveFromTable(PHAL_HASH_TABLE Table, PHAL_HASH_NODE Node)
{
    if (cds_lfht_del(Table->Host, (struct cds_lfht_node *)Node) != 0) {
        return FALSE;
    }
    HalpReturn(Table, Node);
    return TRUE;
}

PHAL_HASH_NODE HalFirstInTable(PHAL_HASH_TABLE Table, PHAL_HASH_ITERATOR Iterator)
{
    cds_lfht_first(Table->Host, (struct cds_lfht_iter *)Iterator);
    return HalpNodeOf((struct cds_lfht_iter *)Iterator);
}

PHAL_HASH_NODE HalNextInTable(PHAL_HASH_TABLE Table, PHAL_HASH_ITERATOR Iterator)
{
    cds_lfht_next(Table->Host, (struct cds_lfht_iter *)Iterator);
    return HalpNodeOf((struct cds_lfht_iter *)Iterator);
}
