/*
 * pool.c - a pool of threads that are created once and work in rounds, so that no sample contains thread creation.
 *
 * Workers sleep on Command between rounds. In a round they meet at a barrier (the last one to come takes the time and
 * opens Go), so that none runs alone at the start; the first that finds the time over sets Stop for all.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINE __attribute__((aligned(128)))

struct _POOL {
    int Threads;
    POOL_ENTER *Enter;
    POOL_LEAVE *Leave;
    void *Context;
    POOL_WORK *Work;
    uint64_t Limit; /* ns; 0: none */
    bool Quit;
    bool Failed; /* an Enter failed */
    double Share;
    pthread_t *Handles;
    POOL_WORKER *Workers;
    uint32_t Command LINE; /* round number, futex; by the coordinator, which writes what is above before (release) */
    uint32_t Ready LINE;   /* workers that have come to the barrier */
    uint32_t Go LINE;      /* the round that has begun; by the last at the barrier (release) */
    uint64_t Start;        /* by the same, before Go */
    uint32_t Stop LINE;    /* the round is over; by whoever sees the time over, or the coordinator */
    uint64_t End;          /* by the worker that set Stop; read after Done is full */
    uint32_t Done LINE;    /* workers that have ended the round, futex */
};

static void FutexWait(uint32_t *Word, uint32_t Value)
{
    syscall(SYS_futex, Word, FUTEX_WAIT_PRIVATE, Value, NULL, NULL, 0);
}

static void FutexWake(uint32_t *Word)
{
    syscall(SYS_futex, Word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void Arrive(POOL *Pool)
{
    if (__atomic_add_fetch(&Pool->Done, 1, __ATOMIC_ACQ_REL) == (uint32_t)Pool->Threads) {
        FutexWake(&Pool->Done);
    }
}

static void *WorkerMain(void *Argument)
{
    POOL_WORKER *Worker = Argument;
    POOL *Pool = Worker->Pool;
    uint32_t Round = 0;

    BenchUnpin();
    if (Pool->Enter != NULL && !Pool->Enter(Worker)) {
        __atomic_store_n(&Pool->Failed, true, __ATOMIC_RELAXED);
    }
    Arrive(Pool);
    for (;;) {
        uint32_t Command;

        while ((Command = __atomic_load_n(&Pool->Command, __ATOMIC_ACQUIRE)) == Round) {
            FutexWait(&Pool->Command, Round);
        }
        Round = Command;
        if (Pool->Quit) {
            break;
        }
        if (__atomic_add_fetch(&Pool->Ready, 1, __ATOMIC_ACQ_REL) == (uint32_t)Pool->Threads) {
            Pool->Start = BenchNow();
            __atomic_store_n(&Pool->Go, Round, __ATOMIC_RELEASE);
        } else {
            for (int i = 0; __atomic_load_n(&Pool->Go, __ATOMIC_ACQUIRE) != Round; i++) {
                if (i > 2000 || Pool->Threads > BenchCpuCount()) {
                    sched_yield();
                }
            }
        }
        Pool->Work(Worker);
        Arrive(Pool);
    }
    if (Pool->Leave != NULL) {
        Pool->Leave(Worker);
    }
    return NULL;
}

POOL *PoolCreate(int Threads, POOL_ENTER *Enter, POOL_LEAVE *Leave, void *Context)
{
    POOL *Pool = aligned_alloc(128, sizeof(POOL));
    POOL_WORKER *Workers = aligned_alloc(128, sizeof(POOL_WORKER) * (size_t)Threads);
    pthread_t *Handles = calloc((size_t)Threads, sizeof(pthread_t));
    int Created;

    if (Pool == NULL || Workers == NULL || Handles == NULL) {
        free(Pool);
        free(Workers);
        free(Handles);
        return NULL;
    }
    *Pool = (POOL){.Threads = Threads, .Enter = Enter, .Leave = Leave, .Context = Context};
    Pool->Workers = Workers;
    Pool->Handles = Handles;
    for (Created = 0; Created < Threads; Created++) {
        Workers[Created] = (POOL_WORKER){.Pool = Pool, .Index = Created};
        if (pthread_create(&Handles[Created], NULL, WorkerMain, &Workers[Created]) != 0) {
            break;
        }
    }
    if (Created < Threads) {
        Pool->Threads = Created;
        Pool->Failed = true;
    }
    for (uint32_t Done; (Done = __atomic_load_n(&Pool->Done, __ATOMIC_ACQUIRE)) != (uint32_t)Pool->Threads;) {
        if (Created < Threads) {
            sched_yield(); /* the workers may have compared with the old number */
        } else {
            FutexWait(&Pool->Done, Done);
        }
    }
    if (__atomic_load_n(&Pool->Failed, __ATOMIC_RELAXED)) {
        PoolDestroy(Pool);
        return NULL;
    }
    return Pool;
}

void PoolDestroy(POOL *Pool)
{
    if (Pool == NULL) {
        return;
    }
    Pool->Quit = true;
    __atomic_add_fetch(&Pool->Command, 1, __ATOMIC_RELEASE);
    FutexWake(&Pool->Command);
    for (int i = 0; i < Pool->Threads; i++) {
        pthread_join(Pool->Handles[i], NULL);
    }
    free(Pool->Workers);
    free(Pool->Handles);
    free(Pool);
}

void *PoolContext(const POOL_WORKER *Worker)
{
    return Worker->Pool->Context;
}

static void Begin(POOL *Pool, POOL_WORK *Work, uint64_t Limit)
{
    Pool->Work = Work;
    Pool->Limit = Limit;
    Pool->Ready = 0;
    Pool->Stop = 0;
    Pool->Done = 0;
    for (int i = 0; i < Pool->Threads; i++) {
        Pool->Workers[i].Operations = 0;
    }
    __atomic_add_fetch(&Pool->Command, 1, __ATOMIC_RELEASE);
    FutexWake(&Pool->Command);
}

void PoolPost(POOL *Pool, POOL_WORK *Work)
{
    Begin(Pool, Work, 0);
}

void PoolStop(POOL *Pool)
{
    __atomic_store_n(&Pool->Stop, 1, __ATOMIC_RELEASE);
}

bool PoolStopped(const POOL_WORKER *Worker)
{
    return __atomic_load_n(&Worker->Pool->Stop, __ATOMIC_ACQUIRE) != 0;
}

void PoolWait(POOL *Pool)
{
    uint32_t Done;

    while ((Done = __atomic_load_n(&Pool->Done, __ATOMIC_ACQUIRE)) != (uint32_t)Pool->Threads) {
        FutexWait(&Pool->Done, Done);
    }
}

bool PoolExpired(POOL_WORKER *Worker)
{
    POOL *Pool = Worker->Pool;
    uint64_t Now;
    uint32_t Running = 0;

    if (__atomic_load_n(&Pool->Stop, __ATOMIC_RELAXED) != 0) {
        return true;
    }
    Now = BenchNow();
    if (Now - Pool->Start < Pool->Limit) {
        return false;
    }
    if (__atomic_compare_exchange_n(&Pool->Stop, &Running, 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        Pool->End = Now;
    }
    return true;
}

double PoolSample(POOL *Pool, POOL_WORK *Work, double Seconds)
{
    uint64_t Total = 0, Least = UINT64_MAX, Most = 0;

    Begin(Pool, Work, (uint64_t)(Seconds * 1e9));
    PoolWait(Pool);
    for (int i = 0; i < Pool->Threads; i++) {
        uint64_t Operations = Pool->Workers[i].Operations;

        Total += Operations;
        Least = Operations < Least ? Operations : Least;
        Most = Operations > Most ? Operations : Most;
    }
    Pool->Share = Most == 0 ? 0 : (double)Least / (double)Most;
    return (double)(Pool->End - Pool->Start) / (double)(Total == 0 ? 1 : Total);
}

const double *PoolShare(const POOL *Pool)
{
    return &Pool->Share;
}

bool PoolEnterSecondCpu(POOL_WORKER *Worker)
{
    (void)Worker;
    BenchPin(1);
    return true;
}

bool PoolEnterOwnCpu(POOL_WORKER *Worker)
{
    BenchPin(Worker->Index);
    return true;
}

unsigned long PoolThread(const POOL *Pool, int Index)
{
    return (unsigned long)Pool->Handles[Index];
}
