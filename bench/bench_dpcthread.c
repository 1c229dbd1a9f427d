/*
 * bench_dpcthread.c - threaded DPCs, whose thread spins or has parked, and KeGenericCallDpc.
 */
#define _GNU_SOURCE
#include "peers.h"

#include <kprcb/kprcb.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LINE __attribute__((aligned(128)))

static KDPC Threaded LINE;
static uint64_t Ran LINE; /* by the routine (release); the poster reads (acquire) */

/* The row's thread is the resident of processor 0, DPCs go to processor 1. */
static bool Open(const BENCH_ROW *Row)
{
    if (!BenchNeedCpus(Row, 2) || !BenchStartMachine(Row, 2)) {
        return false;
    }
    if (!NT_SUCCESS(KprcbAttachThread(0))) {
        BenchFail(Row, "KprcbAttachThread");
        BenchStopMachine(Row);
        return false;
    }
    return true;
}

static void Close(const BENCH_ROW *Row)
{
    KeFlushQueuedDpcs();
    BenchStopMachine(Row);
}

static void Prepare(PKDEFERRED_ROUTINE Routine, void *Context)
{
    PROCESSOR_NUMBER Target = {0, 1, 0};

    KeInitializeThreadedDpc(&Threaded, Routine, Context);
    KeSetTargetProcessorDpcEx(&Threaded, &Target);
}

/* --- hot --- */

static VOID CountRoutine(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    (void)Dpc, (void)DeferredContext, (void)SystemArgument1, (void)SystemArgument2;
    __atomic_store_n(&Ran, Ran + 1, __ATOMIC_RELEASE);
}

static inline void Trip(void *Context)
{
    uint64_t *Count = Context;

    KeInsertQueueDpc(&Threaded, NULL, NULL);
    ++*Count;
    while (__atomic_load_n(&Ran, __ATOMIC_ACQUIRE) != *Count) {
    }
}

static double HotSample(void *Context, double Seconds)
{
    uint64_t Count = 0;

    (void)Context;
    Ran = 0;
    for (int i = 0; i < 16; i++) {
        Trip(&Count); /* the DPC thread is there, and spins between two */
    }
    return BenchLoop(Trip, &Count, Seconds, 16) / 2;
}

static void Hot(const BENCH_ROW *Row)
{
    BENCH_PLAN Plan = BenchPlan(2, 2);
    POOL *Partner;

    if (!Open(Row)) {
        return;
    }
    Prepare(CountRoutine, NULL);
    Partner = PoolCreate(1, PoolEnterSecondCpu, NULL, NULL);
    if (Partner != NULL) {
        BENCH_SIDE Sides[] = {{"threaded", HotSample, NULL, NULL},
                              {"eventfd", PeerEventfdSample, Partner, NULL},
                              {"spin_pair", PeerSpinPairSample, Partner, NULL}};

        BenchCompare(Row, &Plan, Sides, 3, NULL);
    }
    PoolDestroy(Partner);
    Close(Row);
}

/* --- parked --- */

static VOID StampRoutine(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    PEER_LATENCY *Latency = DeferredContext;

    (void)Dpc, (void)SystemArgument1, (void)SystemArgument2;
    __atomic_store_n(&Latency->Stamp, BenchNow(), __ATOMIC_RELEASE);
}

static void PostStamp(PEER_LATENCY *Latency)
{
    (void)Latency;
    KeInsertQueueDpc(&Threaded, NULL, NULL);
}

static void Parked(const BENCH_ROW *Row)
{
    BENCH_PLAN Plan = BenchPlan(2, 2);
    PEER_LATENCY Own = {.Post = PostStamp, .Event = -1};
    PEER_LATENCY Peer = {.Post = PeerEventPost, .Event = eventfd(0, EFD_CLOEXEC)};
    BENCH_SIDE Sides[] = {{"threaded", PeerLatencySample, &Own, NULL}, {"eventfd", PeerLatencySample, &Peer, NULL}};
    POOL *Consumer;

    Plan.Gated = false; /* wake-ups of 10 us and more do not show the way of a word */
    if (Peer.Event < 0) {
        BenchFail(Row, "no eventfd");
        return;
    }
    if (Open(Row)) {
        Prepare(StampRoutine, &Own);
        Consumer = PoolCreate(1, PoolEnterSecondCpu, NULL, &Peer);
        if (Consumer != NULL) {
            PoolPost(Consumer, PeerEventConsumer);
            BenchCompare(Row, &Plan, Sides, 2, NULL);
            PoolStop(Consumer);
            PeerEventEnd(&Peer);
            PoolWait(Consumer);
        }
        PoolDestroy(Consumer);
        Close(Row);
    }
    close(Peer.Event);
}

/* --- generic calls --- */

static VOID DoneRoutine(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    (void)Dpc, (void)DeferredContext, (void)SystemArgument2;
    KeSignalCallDpcDone(SystemArgument1);
}

static inline void Call(void *Context)
{
    KeGenericCallDpc(DoneRoutine, Context);
}

static double CallSample(void *Context, double Seconds)
{
    for (int i = 0; i < 16; i++) {
        Call(Context); /* the other processor has left its park */
    }
    return BenchLoop(Call, Context, Seconds, 16);
}

static void Generic(const BENCH_ROW *Row)
{
    BENCH_PLAN Plan = BenchPlan(2, 2);
    POOL *Partner;

    if (!Open(Row)) {
        return;
    }
    Partner = PoolCreate(1, PoolEnterSecondCpu, NULL, NULL);
    if (Partner != NULL) {
        BENCH_SIDE Sides[] = {{"generic", CallSample, NULL, NULL},
                              {"pthread_barrier", PeerBarrierSample, Partner, NULL}};

        BenchCompare(Row, &Plan, Sides, 2, NULL);
    }
    PoolDestroy(Partner);
    Close(Row);
}

const BENCH_ROW BenchDpcThreadRows[] = {{"dpc.threaded.hot",
                                         "one threaded DPC to a DPC thread that still spins, half a round trip",
                                         {{"eventfd", 0.05, 0.02}, {"spin_pair", 0, 0}},
                                         Hot,
                                         0},
                                        {"dpc.threaded.parked",
                                         "one threaded DPC to a DPC thread that sleeps, until it runs",
                                         {{"eventfd", 1.05, 1.0}},
                                         Parked,
                                         0},
                                        {"dpc.generic",
                                         "KeGenericCallDpc over two processors, the other one spins",
                                         {{"pthread_barrier", 1.0, 0.1}},
                                         Generic,
                                         0},
                                        {0}};
