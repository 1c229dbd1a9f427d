/*
 * peers.c - the locks and the token that rows are compared with.
 */
#define _GNU_SOURCE
#include "peers.h"

#include <pthread.h>

#ifdef KPRCB_HAVE_CK
#include <ck_rwlock.h>
#include <ck_spinlock.h>
#endif

#define LINE __attribute__((aligned(128)))

static uint64_t Token LINE;
static pthread_mutex_t Mutex LINE = PTHREAD_MUTEX_INITIALIZER;
static pthread_spinlock_t Spin
    LINE; /* 0 is what glibc's pthread_spin_init stores; SpinInitialize does it by the book */
static pthread_rwlock_t RwLock LINE = PTHREAD_RWLOCK_INITIALIZER;
static LOCK_COUNTER Counter;

static void __attribute__((constructor)) SpinInitialize(void)
{
    pthread_spin_init(&Spin, PTHREAD_PROCESS_PRIVATE);
}

static inline void CasToken(void *Context)
{
    uint64_t Free = 0;

    (void)Context;
    if (__builtin_expect(!__atomic_compare_exchange_n(&Token, &Free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED),
                         0)) {
        __builtin_trap();
    }
    __atomic_exchange_n(&Token, 0, __ATOMIC_RELEASE);
}

static inline void MutexPair(void *Context)
{
    (void)Context;
    pthread_mutex_lock(&Mutex);
    pthread_mutex_unlock(&Mutex);
}

static inline void SpinPair(void *Context)
{
    (void)Context;
    pthread_spin_lock(&Spin);
    pthread_spin_unlock(&Spin);
}

double PeerCasTokenSample(void *Context, double Seconds)
{
    return BenchLoop(CasToken, Context, Seconds, 4096);
}

double PeerMutexSample(void *Context, double Seconds)
{
    return BenchLoop(MutexPair, Context, Seconds, 4096);
}

static inline void ReadPair(void *Context)
{
    (void)Context;
    pthread_rwlock_rdlock(&RwLock);
    pthread_rwlock_unlock(&RwLock);
}

static inline void WritePair(void *Context)
{
    (void)Context;
    pthread_rwlock_wrlock(&RwLock);
    pthread_rwlock_unlock(&RwLock);
}

double PeerPthreadReadSample(void *Context, double Seconds)
{
    return BenchLoop(ReadPair, Context, Seconds, 4096);
}

double PeerPthreadWriteSample(void *Context, double Seconds)
{
    return BenchLoop(WritePair, Context, Seconds, 4096);
}

double PeerPthreadSpinSample(void *Context, double Seconds)
{
    return BenchLoop(SpinPair, Context, Seconds, 4096);
}

double LockRaceSample(void *Context, double Seconds)
{
    LOCK_RACE *Race = Context;

    return PoolSample(Race->Pool, Race->Work, Seconds);
}

typedef struct _LINKS {
    struct _LINKS *Next, *Previous;
} LINKS;

static LINKS ListHead LINE = {&ListHead, &ListHead};
static LINKS ListEntry LINE;

/* Out of line, as the library's routines are. */
static __attribute__((noinline)) void ListInsert(LINKS *Head, LINKS *Entry)
{
    LINKS *Last = Head->Previous;

    Entry->Next = Head;
    Entry->Previous = Last;
    Last->Next = Entry;
    Head->Previous = Entry;
}

static __attribute__((noinline)) LINKS *ListRemove(LINKS *Head)
{
    LINKS *First = Head->Next;

    if (First == Head) {
        return NULL;
    }
    Head->Next = First->Next;
    First->Next->Previous = Head;
    return First;
}

static inline void MutexListPair(void *Context)
{
    (void)Context;
    pthread_mutex_lock(&Mutex);
    ListInsert(&ListHead, &ListEntry);
    pthread_mutex_unlock(&Mutex);
    pthread_mutex_lock(&Mutex);
    (void)ListRemove(&ListHead);
    pthread_mutex_unlock(&Mutex);
}

static inline void SpinListPair(void *Context)
{
    (void)Context;
    pthread_spin_lock(&Spin);
    ListInsert(&ListHead, &ListEntry);
    pthread_spin_unlock(&Spin);
    pthread_spin_lock(&Spin);
    (void)ListRemove(&ListHead);
    pthread_spin_unlock(&Spin);
}

double PeerMutexListSample(void *Context, double Seconds)
{
    return BenchLoop(MutexListPair, Context, Seconds, 4096);
}

double PeerPthreadSpinListSample(void *Context, double Seconds)
{
    return BenchLoop(SpinListPair, Context, Seconds, 4096);
}

void PeerMutexWork(POOL_WORKER *Worker)
{
    LOCK_WORK_LOOP(Worker, pthread_mutex_lock(&Mutex), LockCount(&Counter), pthread_mutex_unlock(&Mutex));
}

void PeerMutexEmptyWork(POOL_WORKER *Worker)
{
    LOCK_WORK_LOOP(Worker, pthread_mutex_lock(&Mutex), (void)0, pthread_mutex_unlock(&Mutex));
}

void PeerPthreadSpinWork(POOL_WORKER *Worker)
{
    LOCK_WORK_LOOP(Worker, pthread_spin_lock(&Spin), LockCount(&Counter), pthread_spin_unlock(&Spin));
}

void PeerPthreadReadWork(POOL_WORKER *Worker)
{
    LOCK_WORK_LOOP(Worker, pthread_rwlock_rdlock(&RwLock), (void)0, pthread_rwlock_unlock(&RwLock));
}

#ifdef KPRCB_HAVE_CK

static ck_rwlock_t CkRwLock LINE = CK_RWLOCK_INITIALIZER;

static inline void CkReadPair(void *Context)
{
    (void)Context;
    ck_rwlock_read_lock(&CkRwLock);
    ck_rwlock_read_unlock(&CkRwLock);
}

static inline void CkWritePair(void *Context)
{
    (void)Context;
    ck_rwlock_write_lock(&CkRwLock);
    ck_rwlock_write_unlock(&CkRwLock);
}

double PeerCkReadSample(void *Context, double Seconds)
{
    return BenchLoop(CkReadPair, Context, Seconds, 4096);
}

double PeerCkWriteSample(void *Context, double Seconds)
{
    return BenchLoop(CkWritePair, Context, Seconds, 4096);
}

void PeerCkReadWork(POOL_WORKER *Worker)
{
    LOCK_WORK_LOOP(Worker, ck_rwlock_read_lock(&CkRwLock), (void)0, ck_rwlock_read_unlock(&CkRwLock));
}

static ck_spinlock_mcs_t Queue LINE = CK_SPINLOCK_MCS_INITIALIZER;

void PeerCkMcsWork(POOL_WORKER *Worker)
{
    ck_spinlock_mcs_context_t Node LINE;

    LOCK_WORK_LOOP(Worker, ck_spinlock_mcs_lock(&Queue, &Node), LockCount(&Counter),
                   ck_spinlock_mcs_unlock(&Queue, &Node));
}

#endif
