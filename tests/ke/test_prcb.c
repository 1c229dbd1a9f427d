/*
 * test_prcb.c - KPCR and KPRCB: where members are, what shares a cache line with what, and what the start fills in.
 */
#include "support/support.h"

#include "ki.h"

/*
 * Who writes a member once the machine runs, as prcb.h groups them. Sender: of a packet, which its targets count
 * down. Adder: of another processor.
 */
typedef enum _WRITER {
    Start,
    Owner,
    Locked,
    Threaded,
    Sender,
    Remote,
    Caller,
    Inbox,
    Resident,
    Taker,
    Clock,
    Adder
} WRITER;

typedef struct _PLACE {
    const char *Name;
    size_t Offset, Size;
    WRITER Writer;
} PLACE;

#define AT(Type, Base, Member, Writer)                                                                                 \
    {                                                                                                                  \
#Type "." #Member, (Base) + offsetof(Type, Member), sizeof(((Type *)0)->Member), Writer                        \
    }
#define PCR(Member, Writer) AT(KPCR, 0, Member, Writer)
#define PRCB(Member, Writer) AT(KPRCB, offsetof(KPCR, PrcbData), Member, Writer)

static const PLACE Places[] = {
    PCR(Self, Start),
    PCR(Prcb, Start),
    PCR(HostProcessor, Start),
    PCR(Request, Remote),
    PCR(Mailbox, Remote),
    PCR(DpcInbox, Inbox),
    PCR(Owner, Taker),
    PCR(Resident, Taker),
    PCR(LastOwner, Taker),
    PCR(StaleResidents, Taker),
    PCR(TokenWaiters, Taker),
    PCR(TokenSequence, Taker),
    PCR(TokenWaking, Taker),
    PCR(DpcTaking, Taker),
    PCR(TakesStopped, Taker),
    PCR(FenceTakes, Taker),
    PRCB(MinorVersion, Start),
    PRCB(IdleThread, Start),
    PRCB(BuildType, Start),
    PRCB(Number, Start),
    PRCB(GroupSetMember, Start),
    PRCB(VendorString, Start),
    PRCB(UpdateSignature, Start),
    PRCB(Cache, Start),
    PRCB(CacheSharing, Start),
    PRCB(DpcThread, Start),
    PRCB(ThreadDpcEnable, Start),
    PRCB(LockQueue, Owner),
    PRCB(InterruptCount, Owner),
    PRCB(ResidentIrql, Resident),
    PRCB(SpinLockAcquireCount, Resident),
    PRCB(SharedLock, Resident),
    PRCB(DpcLastCount, Owner),
    PRCB(DpcRequestRate, Owner),
    PRCB(DpcStack, Owner),
    PRCB(DpcRoutineActive, Owner),
    PRCB(ClockOwner, Owner),
    PRCB(DpcData[DPC_NORMAL], Locked),
    PRCB(DpcData[DPC_THREADED], Threaded),
    PRCB(DpcGate, Threaded),
    PRCB(DpcThreadRequested, Threaded),
    PRCB(DpcThreadActive, Threaded),
    PRCB(CurrentPacket, Sender),
    PRCB(WorkerRoutine, Sender),
    PRCB(ReverseStall, Sender),
    PRCB(TargetSets, Sender),
    PRCB(PacketBarrier, Sender),
    PRCB(TargetCount, Sender),
    PRCB(RequestSummary, Remote),
    PRCB(IpiCommands, Remote),
    PRCB(SignalDone, Remote),
    PRCB(RequestMailbox, Remote),
    PRCB(IpiFrozen, Remote),
    PRCB(IpiFrame, Owner),
    PRCB(IpiSendRequestBroadcastCount, Owner),
    PRCB(CallDpc, Caller),
    PRCB(DpcTimeCount, Clock),
    PRCB(DpcWatchdogCount, Clock),
    PRCB(ThreadWatchdogCount, Clock),
    PRCB(DpcWatchdogProfileCurrentEmptyCapture, Clock),
    PRCB(DpcWatchdogSequenceNumber, Clock),
    PRCB(CoreProcessorSet, Adder),
    PRCB(CacheProcessorMask, Adder),
    PRCB(PackageProcessorSet, Adder),
};

static void test_members_of_different_writers_share_no_line(void **State)
{
    (void)State;
    for (ULONG One = 0; One < ARRAYSIZE(Places); One += 1) {
        for (ULONG Two = 0; Two < One; Two += 1) {
            const PLACE *A = &Places[One], *B = &Places[Two];
            size_t FirstA = A->Offset / KPRCB_CACHE_LINE, LastA = (A->Offset + A->Size - 1) / KPRCB_CACHE_LINE;
            size_t FirstB = B->Offset / KPRCB_CACHE_LINE, LastB = (B->Offset + B->Size - 1) / KPRCB_CACHE_LINE;

            if (A->Writer != B->Writer && FirstA <= LastB && FirstB <= LastA) {
                fail_msg("%s shares a line with %s", A->Name, B->Name);
            }
        }
    }
}

static void test_processors_share_no_line_and_no_page(void **State)
{
    (void)State;
    assert_int_equal(sizeof(KPCR) % 4096, 0);
    assert_int_equal(_Alignof(KPCR), 4096);
    assert_int_equal(_Alignof(KPRCB), KPRCB_CACHE_LINE);
    assert_int_equal(sizeof(KPRCB) % KPRCB_CACHE_LINE, 0);
    StartMachine(3, 0);
    for (ULONG Index = 0; Index < 3; Index += 1) {
        assert_int_equal((ULONG_PTR)KiProcessor(Index) % 4096, 0);
    }
    StopMachine();
}

static void test_prcb_is_at_its_place(void **State)
{
    PKPCR Pcr;

    (void)State;
    assert_int_equal(FIELD_OFFSET(KPCR, Prcb), 0x20);
    StartMachine(2, 0);
    Pcr = KeGetPcr();
    assert_ptr_equal(*(PKPRCB *)((PUCHAR)Pcr + FIELD_OFFSET(KPCR, Prcb)), &Pcr->PrcbData);
    assert_ptr_equal(Pcr->Self, Pcr);
    assert_ptr_equal(CONTAINING_RECORD(Pcr->Prcb, KPCR, PrcbData), Pcr);
    StopMachine();
}

static void test_first_lock_queue_ends_a_line_and_the_second_begins_one(void **State)
{
    size_t First = offsetof(KPRCB, LockQueue);

    (void)State;
    assert_int_equal((First + sizeof(KSPIN_LOCK_QUEUE)) % KPRCB_CACHE_LINE, 0);
    assert_int_equal(sizeof(KSPIN_LOCK_QUEUE), 2 * sizeof(void *));
    StartMachine(2, 0);
    assert_int_equal((ULONG_PTR)&KeGetCurrentPrcb()->LockQueue[1] % KPRCB_CACHE_LINE, 0);
    /* No entry straddles two lines. */
    for (ULONG Number = 0; Number < LockQueueMaximumLock; Number += 1) {
        ULONG_PTR Address = (ULONG_PTR)&KeGetCurrentPrcb()->LockQueue[Number];

        assert_int_equal(Address / KPRCB_CACHE_LINE, (Address + sizeof(KSPIN_LOCK_QUEUE) - 1) / KPRCB_CACHE_LINE);
    }
    StopMachine();
}

static void test_lock_queue_points_to_the_numbered_locks(void **State)
{
    (void)State;
    StartMachine(3, 0);
    for (ULONG Number = 0; Number < LockQueueMaximumLock; Number += 1) {
        PKSPIN_LOCK Lock = KiProcessor(0)->PrcbData.LockQueue[Number].Lock;

        assert_non_null(Lock);
        assert_true(KeTestSpinLock(Lock));
        for (ULONG Index = 0; Index < 3; Index += 1) {
            assert_ptr_equal(KiProcessor(Index)->PrcbData.LockQueue[Number].Lock, Lock);
            assert_null(KiProcessor(Index)->PrcbData.LockQueue[Number].Next);
        }
        for (ULONG Other = 0; Other < Number; Other += 1) {
            LONG_PTR Distance = (PUCHAR)Lock - (PUCHAR)KiProcessor(0)->PrcbData.LockQueue[Other].Lock;

            assert_true(Distance >= KPRCB_CACHE_LINE || Distance <= -KPRCB_CACHE_LINE);
        }
    }
    StopMachine();
}

static void test_version_and_build_type(void **State)
{
    (void)State;
    for (ULONG Free = 0; Free < 2; Free += 1) {
        StartMachine(2, Free != 0 ? KPRCB_FREE_BUILD : 0);
        for (ULONG Index = 0; Index < 2; Index += 1) {
            PKPRCB Prcb = KiProcessor(Index)->Prcb;

            assert_int_equal(Prcb->MajorVersion, 1); /* in all versions of NT */
            assert_int_equal(Prcb->MinorVersion, 1);
            assert_int_equal(Prcb->BuildType, Free != 0 ? 0 : 1);
        }
        assert_int_equal(KprcbThread.Checked, FALSE);
        (void)KeGetCurrentThread();
        assert_int_equal(KprcbThread.Checked, Free == 0);
        StopMachine();
    }
}

/* What a driver that knows no groups takes for the number of its processor. */
static void test_legacy_number_is_one_of_group_0(void **State)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 7, .GroupSize = 3};

    (void)State;
    assert_int_equal(PRCB_MAJOR_VERSION, 1);
    assert_int_equal(PRCB_MINOR_VERSION, 1);
    assert_int_equal(PRCB_BUILD_DEBUG, 1);
    assert_int_equal(PRCB_BUILD_UNIPROCESSOR, 2);
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < 7; Index += 1) {
        GROUP_AFFINITY Affinity = {.Group = (USHORT)(Index / 3), .Mask = (KAFFINITY)1 << Index % 3};
        GROUP_AFFINITY Previous;
        KIRQL OldIrql;

        KeSetSystemGroupAffinityThread(&Affinity, &Previous);
        OldIrql = KeRaiseIrqlToDpcLevel();
        assert_int_equal(KeGetCurrentPrcb()->Number, Index);
        assert_int_equal(KeGetCurrentPrcb()->LegacyNumber, KeGetCurrentProcessorNumber());
        assert_true(KeGetCurrentPrcb()->LegacyNumber < KeQueryActiveProcessorCount(NULL));
        KeLowerIrql(OldIrql);
        KeRevertToUserGroupAffinityThread(&Previous);
    }
    StopMachine();
}

static void test_numbers(void **State)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 7, .GroupSize = 3};
    ULONG ClockOwners = 0;

    (void)State;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < 7; Index += 1) {
        PKPRCB Prcb = KiProcessor(Index)->Prcb;

        assert_int_equal(Prcb->Number, Index);
        assert_int_equal(Prcb->Group, Index / 3);
        assert_int_equal(Prcb->GroupIndex, Index % 3);
        assert_int_equal(Prcb->LegacyNumber, Index % 3);
        assert_true(Prcb->GroupSetMember == (KAFFINITY)1 << Index % 3);
        assert_non_null(Prcb->IdleThread);
        assert_ptr_equal(Prcb->CurrentThread, Prcb->IdleThread);
        assert_int_equal(Prcb->NestingLevel, 0);
        assert_true(Prcb->MaximumDpcQueueDepth > 0);
        ClockOwners += Prcb->ClockOwner;
        for (ULONG Other = 0; Other < Index; Other += 1) {
            assert_ptr_not_equal(KiProcessor(Other)->Prcb->IdleThread, Prcb->IdleThread);
        }
    }
    assert_int_equal(ClockOwners, 1);
    StopMachine();
}

static void test_target_set_is_the_first_of_target_sets(void **State)
{
    (void)State;
    assert_int_equal(offsetof(KPRCB, TargetSet), offsetof(KPRCB, TargetSets));
    assert_int_equal(sizeof(((KPRCB *)0)->TargetSets), KPRCB_MAXIMUM_GROUPS * sizeof(KAFFINITY));
    assert_int_equal(KPRCB_MAXIMUM_GROUPS * KPRCB_GROUP_SIZE, 1280);
}

static void test_identification_is_the_same_everywhere(void **State)
{
    PKPRCB First, Last;

    (void)State;
    StartMachine(3, 0);
    First = KiProcessor(0)->Prcb;
    Last = KiProcessor(2)->Prcb;
    assert_memory_equal(First->VendorString, Last->VendorString, sizeof(First->VendorString));
    assert_int_equal(First->VendorString[sizeof(First->VendorString) - 1], 0);
    assert_int_equal(First->CpuVendor, Last->CpuVendor);
    assert_int_equal(First->CpuStep, Last->CpuStep);
    assert_int_equal(First->CpuStep, First->CpuModel << 8 | First->CpuStepping);
    assert_true(First->FeatureBits == Last->FeatureBits);
    assert_int_equal(First->MHz, Last->MHz);
    StopMachine();
}

static void test_level_of_the_processor_is_that_of_its_owner(void **State)
{
    PKPCR Pcr;
    KIRQL OldIrql, Higher;

    (void)State;
    StartMachine(2, 0);
    /* By token, in Irql; by bias, in ResidentIrql. */
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Pcr = KiProcessor(0);
    for (ULONG Round = 0; Round < 2; Round += 1) {
        OldIrql = KeRaiseIrqlToDpcLevel();
        assert_ptr_equal(KiQueryOwner(Pcr), KeGetCurrentThread());
        assert_int_equal(Round == 0 ? Pcr->PrcbData.ResidentIrql : Pcr->Irql, DISPATCH_LEVEL);
        KeRaiseIrql(SYNCH_LEVEL, &Higher);
        assert_int_equal(Round == 0 ? Pcr->PrcbData.ResidentIrql : Pcr->Irql, SYNCH_LEVEL);
        KeLowerIrql(Higher);
        assert_int_equal(Round == 0 ? Pcr->PrcbData.ResidentIrql : Pcr->Irql, DISPATCH_LEVEL);
        KeLowerIrql(OldIrql);
        assert_int_equal(Round == 0 ? Pcr->PrcbData.ResidentIrql : Pcr->Irql, PASSIVE_LEVEL);
        assert_null(KiQueryOwner(Pcr));
        (void)KeSetSystemAffinityThreadEx(2);
        Pcr = KiProcessor(1);
    }
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_members_of_different_writers_share_no_line),
        cmocka_unit_test(test_processors_share_no_line_and_no_page),
        cmocka_unit_test(test_prcb_is_at_its_place),
        cmocka_unit_test(test_first_lock_queue_ends_a_line_and_the_second_begins_one),
        cmocka_unit_test(test_lock_queue_points_to_the_numbered_locks),
        cmocka_unit_test(test_version_and_build_type),
        cmocka_unit_test(test_legacy_number_is_one_of_group_0),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_target_set_is_the_first_of_target_sets),
        cmocka_unit_test(test_identification_is_the_same_everywhere),
        cmocka_unit_test(test_level_of_the_processor_is_that_of_its_owner),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
