/*
 * stress_rwspinlock.c - EX_SPIN_LOCK under contention: readers, writers and readers that convert, in all forms.
 *
 * Readers find what the lock guards consistent and nobody writing; writers find nobody else inside; at the end no
 * increment is lost.
 */
#include <stdio.h>

#include "ki.h"
#include "support/support.h"

#define THREADS 8
#define LINES 3

static DECLSPEC_ALIGN(KPRCB_CACHE_LINE) EX_SPIN_LOCK RwLock;

/* Guarded by RwLock. */
static struct {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONGLONG Value;
} Guarded[LINES];

static DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile Readers, Writers;
static ULONGLONG volatile Written, Converted;
static ULONG volatile Gate;

typedef struct _RUN {
    ULONG Threads;
    ULONG WriterPart; /* one operation in so many writes */
    BOOLEAN Residents;
    ULONG Share;
} RUN;

typedef struct _WORKER {
    const RUN *Run;
    ULONG Index;
    pthread_t Thread;
} WORKER;

static void Require(BOOLEAN Condition, const char *Text)
{
    if (!Condition) {
        fprintf(stderr, "rwspinlock: %s\n", Text);
        abort();
    }
}

static void Read(void)
{
    ULONGLONG Value;

    __atomic_fetch_add(&Readers, 1, __ATOMIC_RELAXED);
    Require(__atomic_load_n(&Writers, __ATOMIC_RELAXED) == 0, "a writer is inside with a reader");
    Value = Guarded[0].Value;
    for (ULONG Line = 1; Line < LINES; Line += 1) {
        Require(Guarded[Line].Value == Value, "a reader sees a half-done write");
    }
    __atomic_fetch_sub(&Readers, 1, __ATOMIC_RELAXED);
}

static void Write(void)
{
    ULONGLONG Value = Guarded[0].Value;

    Require(__atomic_fetch_add(&Writers, 1, __ATOMIC_RELAXED) == 0, "two writers are inside");
    Require(__atomic_load_n(&Readers, __ATOMIC_RELAXED) == 0, "a reader is inside with a writer");
    for (ULONG Line = 0; Line < LINES; Line += 1) {
        Require(Guarded[Line].Value == Value, "a write was lost");
        Guarded[Line].Value = Value + 1;
    }
    __atomic_fetch_sub(&Writers, 1, __ATOMIC_RELAXED);
}

static void OperateShared(BOOLEAN Raised, BOOLEAN Convert, ULONGLONG *Writes)
{
    KIRQL OldIrql = DISPATCH_LEVEL;
    BOOLEAN Exclusive;

    if (Raised) {
        ExAcquireSpinLockSharedAtDpcLevel(&RwLock);
    } else {
        OldIrql = ExAcquireSpinLockShared(&RwLock);
    }
    Read();
    Exclusive = Convert && ExTryConvertSharedSpinLockExclusive(&RwLock);
    if (Exclusive) {
        Write();
        *Writes += 1;
    }
    if (Raised && Exclusive) {
        ExReleaseSpinLockExclusiveFromDpcLevel(&RwLock);
    } else if (Raised) {
        ExReleaseSpinLockSharedFromDpcLevel(&RwLock);
    } else if (Exclusive) {
        ExReleaseSpinLockExclusive(&RwLock, OldIrql);
    } else {
        ExReleaseSpinLockShared(&RwLock, OldIrql);
    }
}

static void OperateExclusive(BOOLEAN Raised)
{
    KIRQL OldIrql;

    if (Raised) {
        ExAcquireSpinLockExclusiveAtDpcLevel(&RwLock);
        Write();
        ExReleaseSpinLockExclusiveFromDpcLevel(&RwLock);
    } else {
        OldIrql = ExAcquireSpinLockExclusive(&RwLock);
        Write();
        ExReleaseSpinLockExclusive(&RwLock, OldIrql);
    }
}

static void *WorkerThread(void *Context)
{
    WORKER *Worker = Context;
    const RUN *Run = Worker->Run;
    ULONG Random = 0x9E3779B9u * (Worker->Index + 1);
    ULONGLONG Writes = 0, Converts = 0;

    if (Run->Residents && KprcbAttachThread(Worker->Index) != STATUS_SUCCESS) {
        abort();
    }
    MeetAtGate(&Gate, Run->Threads);
    for (ULONG Operation = 0; Operation < Run->Share; Operation += 1) {
        ULONG Choice = NextRandom(&Random);
        BOOLEAN Raised = (Choice >> 8) % 4 == 0;
        KIRQL OldIrql = PASSIVE_LEVEL;

        if (Raised) {
            KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
        }
        if ((Choice >> 16) % Run->WriterPart == 0) {
            OperateExclusive(Raised);
            Writes += 1;
        } else {
            OperateShared(Raised, (Choice >> 12) % 4 == 0, &Converts);
        }
        if (Raised) {
            KeLowerIrql(OldIrql);
        }
    }
    __atomic_fetch_add(&Written, Writes + Converts, __ATOMIC_RELAXED);
    __atomic_fetch_add(&Converted, Converts, __ATOMIC_RELAXED);
    return NULL;
}

static ULONG MachineFlags;

static void Stress(ULONG Processors, ULONG Threads, BOOLEAN Residents, ULONG WriterPart)
{
    RUN Run = {.Threads = Threads, .WriterPart = WriterPart, .Residents = Residents};
    WORKER Workers[THREADS];

    Run.Share = (StressOperations() / 2 + Threads - 1) / Threads;
    Written = Converted = 0;
    Gate = 0;
    for (ULONG Line = 0; Line < LINES; Line += 1) {
        Guarded[Line].Value = 0;
    }
    StartMachine(Processors, MachineFlags);
    for (ULONG Index = 0; Index < Threads; Index += 1) {
        Workers[Index] = (WORKER){.Run = &Run, .Index = Index};
        Workers[Index].Thread = StartThread(WorkerThread, &Workers[Index]);
    }
    for (ULONG Index = 0; Index < Threads; Index += 1) {
        JoinThread(Workers[Index].Thread);
    }
    assert_int_equal(RwLock & ~KPRCB_RW_BIASED, 0);
    assert_true(Guarded[0].Value == Written);
    print_message("%llu writes, %llu of them by convert\n", (unsigned long long)Written, (unsigned long long)Converted);
    StopMachine();
}

static void two_residents_that_mostly_read(void **State)
{
    (void)State;
    Stress(2, 2, TRUE, 64);
}

static void two_residents_that_often_write(void **State)
{
    (void)State;
    Stress(2, 2, TRUE, 2);
}

static void eight_threads_on_two_processors(void **State)
{
    (void)State;
    Stress(2, THREADS, FALSE, 16);
}

static void eight_residents(void **State)
{
    (void)State;
    Stress(THREADS, THREADS, TRUE, 16);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(two_residents_that_mostly_read),
        cmocka_unit_test(two_residents_that_often_write),
        cmocka_unit_test(eight_threads_on_two_processors),
        cmocka_unit_test(eight_residents),
    };
    int Failed;

    MachineFlags = 0;
    KiBiasPart = 0;
    Failed = cmocka_run_group_tests_name("biased to readers whenever one counts", Tests, NULL, NULL);
    KiBiasPart = 16;
    Failed += cmocka_run_group_tests_name("checked, membarrier", Tests, NULL, NULL);
    MachineFlags = KPRCB_FREE_BUILD | KPRCB_NO_MEMBARRIER;
    return Failed + cmocka_run_group_tests_name("free, exchange", Tests, NULL, NULL);
}
