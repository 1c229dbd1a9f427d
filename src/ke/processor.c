/*
 * processor.c - the processor block at start, and the queries of processors and groups.
 *
 * Groups are filled in order: processor I is number I % GroupSize of group I / GroupSize. All processors are active
 * from the start, so active and maximum counts agree.
 *
 * Tests: tests/ke/test_processor.c.
 */
#include "ki.h"

#define KI_MAXIMUM_DPC_QUEUE_DEPTH 4
#define KI_MINIMUM_DPC_RATE 3

/* The locks behind LockQueue. Guard: themselves. */
static struct {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) KSPIN_LOCK Lock;
} KiNumberedLocks[LockQueueMaximumLock];

static VOID KiInitializeProcessor(ULONG Index)
{
    PKPCR Pcr = KiProcessor(Index);
    PKPRCB Prcb = &Pcr->PrcbData;

    Pcr->Self = Pcr;
    Pcr->Prcb = Prcb;
    Pcr->HostProcessor = (KiMachine.Flags & KPRCB_NO_PINNING) != 0
                             ? KPRCB_NOT_PINNED
                             : HalProcessor(Index % KiMachine.HostProcessors)->HostProcessor;
    Pcr->Request = KPCR_REQUEST_REVOKED;
    Prcb->MinorVersion = PRCB_MINOR_VERSION;
    Prcb->MajorVersion = PRCB_MAJOR_VERSION;
    Prcb->BuildType = KiMachine.Checked ? PRCB_BUILD_DEBUG : 0;
    Prcb->Number = Index;
    Prcb->Group = (USHORT)(Index / KiMachine.GroupSize);
    Prcb->GroupIndex = (UCHAR)(Index % KiMachine.GroupSize);
    Prcb->LegacyNumber = Prcb->GroupIndex;
    Prcb->GroupSetMember = (KAFFINITY)1 << Prcb->GroupIndex;
    Prcb->ClockOwner = Index == 0;
    Prcb->MaximumDpcQueueDepth = KI_MAXIMUM_DPC_QUEUE_DEPTH;
    Prcb->MinimumDpcRate = KI_MINIMUM_DPC_RATE;
    for (ULONG Number = 0; Number < LockQueueMaximumLock; Number += 1) {
        Prcb->LockQueue[Number].Lock = &KiNumberedLocks[Number].Lock;
    }
}

/*
 * Each host CPU is asked once, from the CPU itself; processors that share it say the same. Without pinning one CPU
 * speaks for all.
 */
static VOID KiIdentifyProcessors(VOID)
{
    BOOLEAN Pinning = (KiMachine.Flags & KPRCB_NO_PINNING) == 0;
    ULONG Asked = Pinning ? KiMachine.HostProcessors : 1;

    for (ULONG Index = 0; Index < KiMachine.ProcessorCount; Index += 1) {
        PKPRCB Prcb = &KiProcessor(Index)->PrcbData;

        if (Index >= Asked) {
            KiCopyIdentification(Prcb, &KiProcessor(Index % Asked)->PrcbData);
            continue;
        }
        if (Pinning) {
            HalPinThread(KiProcessor(Index)->HostProcessor);
        }
        KiIdentifyHostAs(Prcb, KiFindIdentifyRules(KiMachine.Profile->Version));
        Prcb->MHz = HalProcessorMHz(Pinning ? KiProcessor(Index)->HostProcessor : HalCurrentProcessor());
    }
    if (Pinning) {
        HalUnpinThread();
    }
}

VOID KiInitializeProcessors(VOID)
{
    for (ULONG Number = 0; Number < LockQueueMaximumLock; Number += 1) {
        KiNumberedLocks[Number].Lock = 0;
    }
    for (ULONG Index = 0; Index < KiMachine.ProcessorCount; Index += 1) {
        KiInitializeProcessor(Index);
    }
    KiIdentifyProcessors();
}

ULONG KiGroupProcessorCount(USHORT Group)
{
    if (Group >= KiMachine.GroupCount) {
        return 0;
    }
    if (Group + 1u < KiMachine.GroupCount) {
        return KiMachine.GroupSize;
    }
    return KiMachine.ProcessorCount - Group * KiMachine.GroupSize;
}

KAFFINITY KiGroupMask(USHORT Group)
{
    ULONG Count = KiGroupProcessorCount(Group);

    return Count == 0 ? 0 : ~(KAFFINITY)0 >> (8 * sizeof(KAFFINITY) - Count);
}

static VOID KiNumberOf(ULONG Index, PPROCESSOR_NUMBER ProcNumber)
{
    ProcNumber->Group = (USHORT)(Index / KiMachine.GroupSize);
    ProcNumber->Number = (UCHAR)(Index % KiMachine.GroupSize);
    ProcNumber->Reserved = 0;
}

ULONG KeGetCurrentProcessorNumberEx(PPROCESSOR_NUMBER ProcNumber)
{
    ULONG Index = KiEnter()->Pcr->PrcbData.Number;

    if (ProcNumber != NULL) {
        KiNumberOf(Index, ProcNumber);
    }
    return Index;
}

ULONG KeGetCurrentProcessorNumber(VOID)
{
    return KiEnter()->Pcr->PrcbData.Number % KiGroupProcessorCount(0);
}

ULONG KeGetProcessorIndexFromNumber(PPROCESSOR_NUMBER ProcNumber)
{
    (VOID) KiEnter();
    if (ProcNumber->Reserved != 0 || ProcNumber->Number >= KiGroupProcessorCount(ProcNumber->Group)) {
        return INVALID_PROCESSOR_INDEX;
    }
    return ProcNumber->Group * KiMachine.GroupSize + ProcNumber->Number;
}

NTSTATUS KeGetProcessorNumberFromIndex(ULONG ProcIndex, PPROCESSOR_NUMBER ProcNumber)
{
    (VOID) KiEnter();
    if (ProcIndex >= KiMachine.ProcessorCount) {
        return STATUS_INVALID_PARAMETER;
    }
    KiNumberOf(ProcIndex, ProcNumber);
    return STATUS_SUCCESS;
}

ULONG KeQueryActiveProcessorCount(PKAFFINITY ActiveProcessors)
{
    (VOID) KiEnter();
    if (ActiveProcessors != NULL) {
        *ActiveProcessors = KiGroupMask(0);
    }
    return KiGroupProcessorCount(0);
}

ULONG KeQueryActiveProcessorCountEx(USHORT GroupNumber)
{
    (VOID) KiEnter();
    return GroupNumber == ALL_PROCESSOR_GROUPS ? KiMachine.ProcessorCount : KiGroupProcessorCount(GroupNumber);
}

KAFFINITY KeQueryActiveProcessors(VOID)
{
    return KeQueryGroupAffinity(0);
}

USHORT KeQueryActiveGroupCount(VOID)
{
    (VOID) KiEnter();
    return (USHORT)KiMachine.GroupCount;
}

ULONG KeQueryMaximumProcessorCount(VOID)
{
    return KeQueryActiveProcessorCount(NULL);
}

ULONG KeQueryMaximumProcessorCountEx(USHORT GroupNumber)
{
    return KeQueryActiveProcessorCountEx(GroupNumber);
}

USHORT KeQueryMaximumGroupCount(VOID)
{
    return KeQueryActiveGroupCount();
}

KAFFINITY KeQueryGroupAffinity(USHORT GroupNumber)
{
    (VOID) KiEnter();
    return KiGroupMask(GroupNumber);
}

ULONG KeGetRecommendedSharedDataAlignment(VOID)
{
    return KPRCB_CACHE_LINE;
}
