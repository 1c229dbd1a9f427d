/*
 * processor.c - the processor block at start, and the queries of processors and groups.
 *
 * Groups are filled in order: processor I is number I % GroupSize of group I / GroupSize. So one count tells which
 * processors are active and what the masks of all groups are; a query asks for it once, and what it returns belongs
 * together.
 *
 * Tests: tests/ke/test_processor.c.
 */
#include "ki.h"

#define KI_IDENTIFY_STACK (64 * 1024)

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
    Prcb->BuildType =
        (KiMachine.Checked ? PRCB_BUILD_DEBUG : 0) | (KiMachine.Uniprocessor ? PRCB_BUILD_UNIPROCESSOR : 0);
    Prcb->Number = Index;
    Prcb->Group = (USHORT)(Index / KiMachine.GroupSize);
    Prcb->GroupIndex = (UCHAR)(Index % KiMachine.GroupSize);
    Prcb->LegacyNumber = Prcb->GroupIndex;
    Prcb->GroupSetMember = (KAFFINITY)1 << Prcb->GroupIndex;
    KiInitializeProcessorIpi(Prcb);
    Prcb->ClockOwner = Index == 0;
    Prcb->ThreadDpcEnable = __atomic_load_n(&KiMachine.ThreadedDpcs, __ATOMIC_RELAXED);
    KiInitializeCallDpc(Prcb);
    KiInitializeDpcFigures(Prcb);
    for (ULONG Number = 0; Number < LockQueueMaximumLock; Number += 1) {
        Prcb->LockQueue[Number].Lock = &KiNumberedLocks[Number].Lock;
    }
}

/* On the CPU to which the processor is pinned. */
static VOID KiIdentifyHere(PVOID Context)
{
    PKPCR Pcr = Context;

    KiIdentifyHostAs(&Pcr->PrcbData, KiFindIdentifyRules(KiMachine.Profile->Version));
    Pcr->PrcbData.MHz =
        HalProcessorMHz(Pcr->HostProcessor != KPRCB_NOT_PINNED ? Pcr->HostProcessor : HalCurrentProcessor());
    KiIdentifyShape(&Pcr->PrcbData);
}

/* Each host CPU is asked once; processors that share it say the same. Without pinning one CPU speaks for all. */
static ULONG KiProcessorsAsked(VOID)
{
    return (KiMachine.Flags & KPRCB_NO_PINNING) == 0 ? KiMachine.HostProcessors : 1;
}

static VOID KiIdentifyProcessors(VOID)
{
    ULONG Count = KiMachine.ProcessorCount;
    ULONG Asked = KiProcessorsAsked();

    for (ULONG Index = 0; Index < Count; Index += 1) {
        PKPCR Pcr = KiProcessor(Index);

        if (Index >= Asked) {
            KiCopyIdentification(&Pcr->PrcbData, &KiProcessor(Index % Asked)->PrcbData);
            continue;
        }
        if (Pcr->HostProcessor != KPRCB_NOT_PINNED) {
            HalPinThread(Pcr->HostProcessor);
        }
        KiIdentifyHere(Pcr);
    }
    if ((KiMachine.Flags & KPRCB_NO_PINNING) == 0) {
        HalUnpinThread();
    }
}

/* The caller keeps its own place: a thread of its own asks the CPU. */
BOOLEAN KiInitializeAddedProcessor(ULONG Index)
{
    PKPCR Pcr = KiProcessor(Index);
    ULONG Asked = KiProcessorsAsked();
    HAL_THREAD Thread;

    KiInitializeProcessor(Index);
    KiPlaceProcessor(&Pcr->PrcbData);
    if (Index >= Asked) {
        KiCopyIdentification(&Pcr->PrcbData, &KiProcessor(Index % Asked)->PrcbData);
        return TRUE;
    }
    if (!NT_SUCCESS(
            HalCreateThread(&Thread, KiIdentifyHere, Pcr, KI_IDENTIFY_STACK, Pcr->HostProcessor, "kprcb-identify"))) {
        return FALSE;
    }
    HalJoinThread(&Thread);
    return TRUE;
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
    for (ULONG Index = 0; Index < KiMachine.ProcessorCount; Index += 1) {
        KiPlaceProcessor(&KiProcessor(Index)->PrcbData);
        KiAnnounceProcessor(&KiProcessor(Index)->PrcbData);
    }
}

ULONG KiCountInGroup(ULONG Count, USHORT Group)
{
    ULONG First = Group * KiMachine.GroupSize;

    if (First >= Count) {
        return 0;
    }
    return Count - First < KiMachine.GroupSize ? Count - First : KiMachine.GroupSize;
}

/* The mask of the first processors of a group. */
static KAFFINITY KiMaskOfFirst(ULONG Count)
{
    return Count == 0 ? 0 : ~(KAFFINITY)0 >> (8 * sizeof(KAFFINITY) - Count);
}

ULONG KiGroupProcessorCount(USHORT Group)
{
    return KiCountInGroup(KiProcessorCount(), Group);
}

KAFFINITY KiGroupMask(USHORT Group)
{
    return KiMaskOfFirst(KiGroupProcessorCount(Group));
}

KAFFINITY KiMaximumGroupMask(USHORT Group)
{
    return KiMaskOfFirst(KiCountInGroup(KiMachine.MaximumProcessors, Group));
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
    if (ProcIndex >= KiProcessorCount()) {
        return STATUS_INVALID_PARAMETER;
    }
    KiNumberOf(ProcIndex, ProcNumber);
    return STATUS_SUCCESS;
}

ULONG KeQueryActiveProcessorCount(PKAFFINITY ActiveProcessors)
{
    ULONG Count;

    (VOID) KiEnter();
    Count = KiGroupProcessorCount(0);
    if (ActiveProcessors != NULL) {
        *ActiveProcessors = KiMaskOfFirst(Count);
    }
    return Count;
}

ULONG KeQueryActiveProcessorCountEx(USHORT GroupNumber)
{
    (VOID) KiEnter();
    return GroupNumber == ALL_PROCESSOR_GROUPS ? KiProcessorCount() : KiGroupProcessorCount(GroupNumber);
}

KAFFINITY KeQueryActiveProcessors(VOID)
{
    return KeQueryGroupAffinity(0);
}

USHORT KeQueryActiveGroupCount(VOID)
{
    (VOID) KiEnter();
    return (USHORT)((KiProcessorCount() + KiMachine.GroupSize - 1) / KiMachine.GroupSize);
}

ULONG KeQueryMaximumProcessorCount(VOID)
{
    return KeQueryMaximumProcessorCountEx(0);
}

ULONG KeQueryMaximumProcessorCountEx(USHORT GroupNumber)
{
    (VOID) KiEnter();
    return GroupNumber == ALL_PROCESSOR_GROUPS ? KiMachine.MaximumProcessors
                                               : KiCountInGroup(KiMachine.MaximumProcessors, GroupNumber);
}

USHORT KeQueryMaximumGroupCount(VOID)
{
    (VOID) KiEnter();
    return (USHORT)KiMachine.MaximumGroups;
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
