/*
 * test_segment.c - kprcb_segment.h: the KPCR by offset, as code for x86 and x64 reads it.
 */
#include <intrin.h>
#include <wdm.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>

/* As the public descriptions of the KPRCB write them, but for their names. */

static KPRCB *SampleGetCurrentPrcb(VOID)
{
    return (KPRCB *)__readfsdword(FIELD_OFFSET(KPCR, Prcb));
}

static KTHREAD *SampleGetCurrentThread(VOID)
{
    return (KTHREAD *)__readfsdword(FIELD_OFFSET(KPCR, PrcbData.CurrentThread));
}

static void Start(ULONG Processors)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = Processors};

    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
}

static void TheTextsRoutinesWork(void **State)
{
    (void)State;
    Start(3);
    for (ULONG Index = 0; Index < 3; Index++) {
        KAFFINITY Previous = KeSetSystemAffinityThreadEx((KAFFINITY)1 << Index);
        KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

        assert_ptr_equal(SampleGetCurrentPrcb(), KeGetCurrentPrcb());
        assert_int_equal(SampleGetCurrentPrcb()->Number, Index);
        assert_ptr_equal(SampleGetCurrentThread(), KeGetCurrentThread());
        assert_ptr_equal(SampleGetCurrentThread(), SampleGetCurrentPrcb()->CurrentThread);
        KeLowerIrql(OldIrql);
        KeRevertToUserAffinityThreadEx(Previous);
    }
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
}

/* Without a machine the first read starts one. */
static void TheFirstReadStartsTheMachine(void **State)
{
    (void)State;
    assert_non_null(SampleGetCurrentThread());
    assert_ptr_equal((PKPCR)__readfsdword(FIELD_OFFSET(KPCR, Self)), KeGetPcr());
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
    assert_non_null(SampleGetCurrentPrcb());
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
}

/* --- threads that share a processor see themselves --- */

#define THREADS 4
#define ROUNDS 3000

static ULONG Others;
static ULONG Arrived;

static void *ReadMyself(void *Context)
{
    KTHREAD *Myself = KeGetCurrentThread();

    (void)Context;
    /* More threads than processors: not each can be its processor's CurrentThread. */
    __atomic_fetch_add(&Arrived, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&Arrived, __ATOMIC_ACQUIRE) < THREADS) {
        YieldProcessor();
    }
    for (ULONG Round = 0; Round < ROUNDS; Round++) {
        KIRQL OldIrql;

        if (SampleGetCurrentThread() != Myself) {
            __atomic_fetch_add(&Others, 1, __ATOMIC_RELAXED);
        }
        OldIrql = KeRaiseIrqlToDpcLevel();
        if (SampleGetCurrentThread() != Myself || SampleGetCurrentPrcb()->CurrentThread != Myself) {
            __atomic_fetch_add(&Others, 1, __ATOMIC_RELAXED);
        }
        KeLowerIrql(OldIrql);
    }
    return NULL;
}

static void AThreadReadsItselfWhereverItIs(void **State)
{
    pthread_t Threads[THREADS];

    (void)State;
    Start(2);
    for (ULONG Index = 0; Index < THREADS; Index++) {
        assert_int_equal(pthread_create(&Threads[Index], NULL, ReadMyself, NULL), 0);
    }
    for (ULONG Index = 0; Index < THREADS; Index++) {
        assert_int_equal(pthread_join(Threads[Index], NULL), 0);
    }
    assert_int_equal(Others, 0);
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
}

/* --- widths --- */

static void MembersOfEachWidthAreRead(void **State)
{
    KIRQL OldIrql;
    PKPRCB Prcb;

    (void)State;
    Start(2);
    OldIrql = KeRaiseIrqlToDpcLevel();
    Prcb = KeGetCurrentPrcb();
    assert_int_equal(__readfsbyte(FIELD_OFFSET(KPCR, PrcbData.LegacyNumber)), Prcb->LegacyNumber);
    assert_int_equal(__readfsbyte(FIELD_OFFSET(KPCR, PrcbData.VendorString) + 1), Prcb->VendorString[1]);
    assert_int_equal(__readfsword(FIELD_OFFSET(KPCR, PrcbData.MajorVersion)), PRCB_MAJOR_VERSION);
    assert_int_equal(__readfsword(FIELD_OFFSET(KPCR, PrcbData.MinorVersion)), PRCB_MINOR_VERSION);
    assert_int_equal(__readfsword(FIELD_OFFSET(KPCR, PrcbData.BuildType)), PRCB_BUILD_DEBUG);
    assert_true(__readfsdword(FIELD_OFFSET(KPCR, PrcbData.Number)) == Prcb->Number);
    assert_true(__readfsdword(FIELD_OFFSET(KPCR, PrcbData.MHz)) == Prcb->MHz); /* nothing of its neighbour */
    assert_true(__readfsdword(FIELD_OFFSET(KPCR, PrcbData.CFlushSize)) == Prcb->CFlushSize);
    assert_true(__readfsdword(FIELD_OFFSET(KPCR, PrcbData.FeatureBits)) == (ULONG)Prcb->FeatureBits);
    assert_true(__readfsdword(FIELD_OFFSET(KPCR, PrcbData.GroupSetMember)) == Prcb->GroupSetMember);
    assert_true(__readfsdword(FIELD_OFFSET(KPCR, PrcbData.LockQueue[5].Lock)) == (ULONG_PTR)Prcb->LockQueue[5].Lock);
    assert_true(__readfsdword(FIELD_OFFSET(KPCR, PrcbData.IdleThread)) == (ULONG_PTR)Prcb->IdleThread);
#ifdef _WIN64
    assert_true(__readgsbyte(FIELD_OFFSET(KPCR, PrcbData.LegacyNumber)) == Prcb->LegacyNumber);
    assert_true(__readgsword(FIELD_OFFSET(KPCR, PrcbData.BuildType)) == PRCB_BUILD_DEBUG);
    assert_true(__readgsdword(FIELD_OFFSET(KPCR, PrcbData.MHz)) == Prcb->MHz);
    assert_true(__readgsqword(FIELD_OFFSET(KPCR, PrcbData.FeatureBits)) == Prcb->FeatureBits);
    assert_true((PKPRCB)__readgsqword(FIELD_OFFSET(KPCR, Prcb)) == Prcb);
    assert_true((PKTHREAD)__readgsqword(FIELD_OFFSET(KPCR, PrcbData.CurrentThread)) == KeGetCurrentThread());
    assert_true(__readgsdword(FIELD_OFFSET(KPCR, PrcbData.IdleThread)) == (ULONG)(ULONG_PTR)Prcb->IdleThread);
#endif
    KeLowerIrql(OldIrql);
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
}

static void MembersOfEachWidthAreWritten(void **State)
{
    const ULONG Count = FIELD_OFFSET(KPCR, PrcbData.InterruptCount);
    const ULONG Byte = FIELD_OFFSET(KPCR, PrcbData.VendorString) + 4;
    const ULONG Stack = FIELD_OFFSET(KPCR, PrcbData.DpcStack);
    ULONG_PTR Wide = (ULONG_PTR)0x1234567890ABCDEFULL;
    KPRCB Before;
    KIRQL OldIrql;
    PKPRCB Prcb;

    (void)State;
    Start(1);
    OldIrql = KeRaiseIrqlToDpcLevel();
    Prcb = KeGetCurrentPrcb();
    memcpy(&Before, Prcb, sizeof(Before));
    __writefsbyte(Byte, 'x');
    assert_int_equal(Prcb->VendorString[4], 'x');
    __addfsbyte(Byte, 255);
    __incfsbyte(Byte);
    assert_int_equal(Prcb->VendorString[4], 'x');
    __writefsword(Byte, 0x2121);
    __addfsword(Byte, 0xFFFF);
    __incfsword(Byte);
    assert_int_equal(__readfsword(Byte), 0x2121);
    __writefsdword(Count, 41);
    __incfsdword(Count);
    __addfsdword(Count, 0xFFFFFFFF);
    __addfsdword(Count, 1);
    assert_int_equal(Prcb->InterruptCount, 42);
    __writefsdword(Stack, Wide);
    assert_ptr_equal(Prcb->DpcStack, (PVOID)Wide);
    assert_true(__readfsdword(Stack) == Wide);
#ifdef _WIN64
    __writegsdword(Stack, 7);
    assert_true(__readgsqword(Stack) == 0x1234567800000007);
    __writegsqword(Stack, MAXULONG64);
    __incgsqword(Stack);
    __addgsqword(Stack, 3);
    assert_true(__readgsqword(Stack) == 3);
    __writegsbyte(Byte, 1);
    __incgsbyte(Byte);
    __addgsbyte(Byte, 1);
    __writegsword(Byte + 2, 0x0101);
    __incgsword(Byte + 2);
    __addgsword(Byte + 2, 1);
    assert_true(__readgsdword(Byte) == (0x01030003 | (ULONG)__readgsbyte(Byte + 1) << 8));
    __incgsdword(Count);
    __addgsdword(Count, 7);
    assert_int_equal(Prcb->InterruptCount, 50);
#endif
    /* And nothing beside them. */
    memcpy(Prcb->VendorString, Before.VendorString, sizeof(Before.VendorString));
    Prcb->InterruptCount = Before.InterruptCount;
    Prcb->DpcStack = Before.DpcStack;
    assert_memory_equal(&Before, Prcb, sizeof(Before));
    KeLowerIrql(OldIrql);
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
}

/* Counters of threads that share a processor lose nothing. */
static void *CountMany(void *Context)
{
    (void)Context;
    for (ULONG Round = 0; Round < 20000; Round++) {
        __incfsdword(FIELD_OFFSET(KPCR, PrcbData.InterruptCount));
    }
    return NULL;
}

static void CountsAreNotLost(void **State)
{
    pthread_t Threads[THREADS];

    (void)State;
    Start(1);
    __writefsdword(FIELD_OFFSET(KPCR, PrcbData.InterruptCount), 0);
    for (ULONG Index = 0; Index < THREADS; Index++) {
        assert_int_equal(pthread_create(&Threads[Index], NULL, CountMany, NULL), 0);
    }
    for (ULONG Index = 0; Index < THREADS; Index++) {
        assert_int_equal(pthread_join(Threads[Index], NULL), 0);
    }
    assert_int_equal(KeGetCurrentPrcb()->InterruptCount, THREADS * 20000);
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TheTextsRoutinesWork),           cmocka_unit_test(TheFirstReadStartsTheMachine),
        cmocka_unit_test(AThreadReadsItselfWhereverItIs), cmocka_unit_test(MembersOfEachWidthAreRead),
        cmocka_unit_test(MembersOfEachWidthAreWritten),   cmocka_unit_test(CountsAreNotLost),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
