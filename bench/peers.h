/*
 * peers.h - what the rows are compared with. Nothing here calls the library.
 *
 * Each sampler has the shape of BENCH_SIDE.Sample. Those of one thread need no context; the others say what they take.
 */
#ifndef PEERS_H
#define PEERS_H

#include "bench.h"

#ifdef KPRCB_HAVE_CK
#define PEER_IF_CK(x) (x)
#else
#define PEER_IF_CK(x) NULL
#endif

/* --- peers.c: one thread --- */

double PeerCasTokenSample(void *Context, double Seconds);    /* lock cmpxchg + xchg on a private line */
double PeerMutexSample(void *Context, double Seconds);       /* pthread_mutex_lock + unlock */
double PeerPthreadSpinSample(void *Context, double Seconds); /* pthread_spin_lock + unlock */

double PeerPthreadReadSample(void *Context, double Seconds);  /* pthread_rwlock_rdlock + unlock */
double PeerPthreadWriteSample(void *Context, double Seconds); /* pthread_rwlock_wrlock + unlock */
/* An entry to the tail of a doubly linked list and one from its head, each under the lock. */
double PeerMutexListSample(void *Context, double Seconds);
double PeerPthreadSpinListSample(void *Context, double Seconds);
#ifdef KPRCB_HAVE_CK
double PeerCkReadSample(void *Context, double Seconds);  /* ck_rwlock_read_lock + unlock */
double PeerCkWriteSample(void *Context, double Seconds); /* ck_rwlock_write_lock + unlock */
#endif

/* --- peers.c: locks of several threads --- */

/*
 * What a pool fights for. The section adds one to Counter, unless Empty. Context: a LOCK_RACE.
 */
typedef struct _LOCK_RACE {
    POOL *Pool;
    POOL_WORK *Work; /* its Operations loop; by LOCK_WORK_LOOP */
} LOCK_RACE;

double LockRaceSample(void *Context, double Seconds);

typedef struct _LOCK_COUNTER {
    uint64_t Value;
} __attribute__((aligned(128))) LOCK_COUNTER;

#define LOCK_BATCH 32 /* operations between two looks at the clock */

/* The body of a POOL_WORK: Acquire, Section, Release until the time is over. */
#define LOCK_WORK_LOOP(Worker, Acquire, Section, Release)                                                              \
    do {                                                                                                               \
        uint64_t Operations = 0;                                                                                       \
        do {                                                                                                           \
            for (int i = 0; i < LOCK_BATCH; i++) {                                                                     \
                Acquire;                                                                                               \
                Section;                                                                                               \
                Release;                                                                                               \
            }                                                                                                          \
            Operations += LOCK_BATCH;                                                                                  \
        } while (!PoolExpired(Worker));                                                                                \
        (Worker)->Operations = Operations;                                                                             \
    } while (0)

static inline void LockCount(LOCK_COUNTER *Counter)
{
    __atomic_store_n(&Counter->Value, __atomic_load_n(&Counter->Value, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

POOL_WORK PeerMutexWork;
POOL_WORK PeerMutexEmptyWork;
POOL_WORK PeerPthreadSpinWork;
POOL_WORK PeerPthreadReadWork;
#ifdef KPRCB_HAVE_CK
POOL_WORK PeerCkMcsWork;
POOL_WORK PeerCkReadWork;
#endif

/* --- peers_wake.c: two threads and more --- */

/* Outstanding operations of the throughput rows, the measured side's too. */
#define PEER_OUTSTANDING 256

/*
 * How long from a post until the other side runs. Post makes it run; it stores BenchNow() in Stamp (release). Between
 * two posts the sampler sleeps long enough for the other side to fall asleep. Context: a PEER_LATENCY. Median of a
 * sample.
 */
typedef struct _PEER_LATENCY {
    void (*Post)(struct _PEER_LATENCY *Latency);
    int Event; /* PeerEventConsumer's */
    uint64_t Stamp __attribute__((aligned(128)));
} PEER_LATENCY;

#define PEER_PACE_NS 400000

double PeerLatencySample(void *Context, double Seconds);
/* A thread on the second CPU, blocked in read of an eventfd, that stamps: PoolPost it with the PEER_LATENCY as context.
 */
POOL_WORK PeerEventConsumer;
void PeerEventPost(PEER_LATENCY *Latency);
/* Ends PeerEventConsumer: PoolStop, then this. */
void PeerEventEnd(PEER_LATENCY *Latency);

/* Context of the following: a pool of one thread on the second CPU. Their times are of one way, half a round trip. */
double PeerSpinFlagSample(void *Context, double Seconds); /* one word handed to and fro, both sides spin */
double PeerSpinPairSample(void *Context, double Seconds); /* a word for each way, on a line of its own */
double PeerEventfdSample(void *Context, double Seconds);  /* two eventfds, both sides block */
/* A list under a mutex whose consumer blocks on an eventfd while it is empty; ns per item. */
double PeerEventListSample(void *Context, double Seconds);

/* Signals every thread of the pool, which spin, and waits for all handlers; ns per broadcast. Context: a POOL. */
double PeerKillSample(void *Context, double Seconds);

/* Two meetings at a pthread_barrier: the thread of the pool is woken, and awaited. ns a round. Context: a POOL of one. */
double PeerBarrierSample(void *Context, double Seconds);

/* --- peers_wake.c: threads --- */

/* Creates Count threads, wakes each once, joins them. Returns ns, or below zero if a thread could not be created. */
double PeerThreadsOnce(int Count);

#endif
