/*
 * thread.c - KTHREAD: attaching host threads, detaching them, and what happens when one ends.
 *
 * Every thread that calls the library is attached: by name (KprcbAttachThread), by its first call, or, the machine's
 * own, as it is created. A thread that ends detaches by itself; one that ends at or above DISPATCH_LEVEL is a bug
 * check, and so is one that ends inside a callback that is told of processors, inside KprcbCatchBugCheck, or inside a
 * DPC of the machine's own threads. Its frames are gone by then, so that nobody catches it.
 *
 * Memory of threads comes in blocks of pages and is kept on a free list until the machine stops: revokers and the
 * interrupt path read HostId of a thread that may just have ended.
 *
 * Lock order: KiMachineLock, then KiThreadLock. Nobody waits for a processor with either: its owner may be waiting
 * for a thread that attaches. Tests: tests/ke/test_thread.c, tests/ke/test_threadend.c.
 */
#include "ki.h"

#define KI_THREAD_PAGES 65536

HAL_MUTEX KiThreadLock;
LIST_ENTRY KiThreadListHead = {&KiThreadListHead, &KiThreadListHead};

/* A block of pages full of threads. Guard: KiThreadLock. */
typedef struct _KI_THREAD_BLOCK {
    struct _KI_THREAD_BLOCK *Next;
    KTHREAD Threads[];
} KI_THREAD_BLOCK;

#define KI_BLOCK_THREADS ((KI_THREAD_PAGES - sizeof(KI_THREAD_BLOCK)) / sizeof(KTHREAD))

static KI_THREAD_BLOCK *KiThreadBlocks;                                                  /* KiThreadLock */
static LIST_ENTRY KiFreeThreadListHead = {&KiFreeThreadListHead, &KiFreeThreadListHead}; /* KiThreadLock */
static ULONG KiNextHome;                                                                 /* KiMachineLock */

static VOID KiLink(PLIST_ENTRY Head, PLIST_ENTRY Entry)
{
    Entry->Flink = Head;
    Entry->Blink = Head->Blink;
    Head->Blink->Flink = Entry;
    Head->Blink = Entry;
}

static VOID KiUnlink(PLIST_ENTRY Entry)
{
    Entry->Blink->Flink = Entry->Flink;
    Entry->Flink->Blink = Entry->Blink;
}

static BOOLEAN KiGrowThreads(VOID)
{
    KI_THREAD_BLOCK *New = HalAllocatePages(KI_THREAD_PAGES);

    if (New == NULL) {
        return FALSE;
    }
    New->Next = KiThreadBlocks;
    KiThreadBlocks = New;
    for (ULONG Index = 0; Index < KI_BLOCK_THREADS; Index += 1) {
        KiLink(&KiFreeThreadListHead, &New->Threads[Index].ThreadListEntry);
    }
    return TRUE;
}

PKTHREAD KiAllocateThread(KI_THREAD_KIND Kind)
{
    PKTHREAD Thread = NULL;

    HalAcquireMutex(&KiThreadLock);
    if (KiFreeThreadListHead.Flink != &KiFreeThreadListHead || KiGrowThreads()) {
        Thread = CONTAINING_RECORD(KiFreeThreadListHead.Flink, KTHREAD, ThreadListEntry);
        KiUnlink(&Thread->ThreadListEntry);
        __builtin_memset(Thread, 0, offsetof(KTHREAD, RestAt));
        __atomic_store_n(&Thread->RestAt, NULL, __ATOMIC_RELAXED);
        __atomic_store_n(&Thread->WorksAt, NULL, __ATOMIC_RELAXED);
        Thread->Kind = (UCHAR)Kind;
        KiLink(&KiThreadListHead, &Thread->ThreadListEntry);
    }
    HalReleaseMutex(&KiThreadLock);
    return Thread;
}

VOID KiFreeThread(PKTHREAD Thread)
{
    HalAcquireMutex(&KiThreadLock);
    Thread->Block = NULL;
    KiUnlink(&Thread->ThreadListEntry);
    KiLink(&KiFreeThreadListHead, &Thread->ThreadListEntry);
    HalReleaseMutex(&KiThreadLock);
}

static VOID KiThreadExit(PVOID Context);

VOID KiAdoptThread(PKTHREAD Thread, PKPCR Home)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;

    *Block = (KPRCB_THREAD_BLOCK){
        .Pcr = Home,
        .SpinLockValue = KiMachine.Checked ? (KSPIN_LOCK)Thread | 1 : 1,
        .Checked = KiMachine.Checked,
        .HeldCount = KiMachine.Uniprocessor,
        .Held = {KiMachine.Uniprocessor ? KI_NO_LOCK : NULL},
    };
    __atomic_store_n(&Thread->HostId, HalCurrentThreadId(), __ATOMIC_RELAXED);
    Thread->UserAffinity.Group = Home->PrcbData.Group;
    /* Any processor of the group, those included that are not active yet. */
    Thread->UserAffinity.Mask =
        Thread->Kind == KiAutoThread ? KiMaximumGroupMask(Home->PrcbData.Group) : Home->PrcbData.GroupSetMember;
    HalAcquireMutex(&KiThreadLock);
    Thread->Block = Block;
    HalReleaseMutex(&KiThreadLock);
    Block->Thread = Thread;
    HalRegisterReader();
    if (Thread->Kind != KiMachineThread) {
        HalEnableInterrupt();
    } else {
        HalSetThreadExit(KiThreadExit, Thread);
    }
}

VOID KiEndMachineThread(VOID)
{
    HalSetThreadExit(KiThreadExit, NULL);
}

static VOID KiThreadExit(PVOID Context)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;

    if (Block->Thread == NULL || Block->Thread != Context) {
        return;
    }
    if (Block->Irql >= DISPATCH_LEVEL || Block->Thread->Adding || Block->Thread->Frame != NULL ||
        Block->Thread->Kind == KiMachineThread) {
        Block->Thread->Frame = NULL;
        KeBugCheckEx(KERNEL_APC_PENDING_DURING_EXIT, 0, 0, Block->Irql, 0);
    }
    KiEndResidency(Block);
    HalAcquireMutex(&KiMachineLock);
    KiDetachCurrentThread();
    HalReleaseMutex(&KiMachineLock);
}

/* The processor with a free residency, in turn; if there is none, the next in turn. */
static PKPCR KiChooseHome(VOID)
{
    ULONG Count = KiProcessorCount();

    for (ULONG Step = 0; Step < Count; Step += 1) {
        PKPCR Pcr = KiProcessor((KiNextHome + Step) % Count);

        if (__atomic_load_n(&Pcr->Resident, __ATOMIC_RELAXED) == NULL) {
            KiNextHome = Pcr->PrcbData.Number + 1;
            return Pcr;
        }
    }
    return KiProcessor(KiNextHome++ % Count);
}

BOOLEAN KiAttachCurrentThread(VOID)
{
    PKTHREAD Thread = KiAllocateThread(KiAutoThread);
    PKPCR Home;

    if (Thread == NULL) {
        return FALSE;
    }
    Home = KiChooseHome();
    KiAdoptThread(Thread, Home);
    HalSetThreadExit(KiThreadExit, Thread);
    return TRUE;
}

VOID KiDetachCurrentThread(VOID)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    PKTHREAD Thread = Block->Thread;

    HalSetThreadExit(KiThreadExit, NULL);
    Block->Thread = NULL;
    KiFreeThread(Thread);
    *Block = (KPRCB_THREAD_BLOCK){0};
}

ULONG KiOtherThreads(VOID)
{
    ULONG Count = 0;

    HalAcquireMutex(&KiThreadLock);
    for (PLIST_ENTRY Entry = KiThreadListHead.Flink; Entry != &KiThreadListHead; Entry = Entry->Flink) {
        PKTHREAD Thread = CONTAINING_RECORD(Entry, KTHREAD, ThreadListEntry);

        if (__atomic_load_n(&Thread->Kind, __ATOMIC_RELAXED) != KiMachineThread && Thread != KprcbThread.Thread) {
            Count += 1;
        }
    }
    HalReleaseMutex(&KiThreadLock);
    return Count;
}

VOID KiAbandonThreads(VOID)
{
    KiThreadLock = (HAL_MUTEX){0};
    KiThreadListHead.Flink = KiThreadListHead.Blink = &KiThreadListHead;
    KiFreeThreadListHead.Flink = KiFreeThreadListHead.Blink = &KiFreeThreadListHead;
    KiThreadBlocks = NULL;
    KprcbThread = (KPRCB_THREAD_BLOCK){0};
}

VOID KiFreeThreads(VOID)
{
    while (KiThreadBlocks != NULL) {
        KI_THREAD_BLOCK *Next = KiThreadBlocks->Next;

        HalFreePages(KiThreadBlocks, KI_THREAD_PAGES);
        KiThreadBlocks = Next;
    }
    KiThreadListHead.Flink = KiThreadListHead.Blink = &KiThreadListHead;
    KiFreeThreadListHead.Flink = KiFreeThreadListHead.Blink = &KiFreeThreadListHead;
}

VOID KiDescribeThreads(PKI_DEBUG_WRITER Writer)
{
    KI_DESCRIBE_ADDRESS(Writer, "KiThreadListHead", &KiThreadListHead);
    KI_DESCRIBE_ADDRESS(Writer, "KiFreeThreadListHead", &KiFreeThreadListHead);
}

static NTSTATUS KiAttachByName(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr)
{
    PKTHREAD Thread = Block->Thread;

    if (!KiBecomeResident(Block, Pcr, KiNamedThread)) {
        return STATUS_ALREADY_REGISTERED;
    }
    Thread->UserAffinity = (GROUP_AFFINITY){.Group = Pcr->PrcbData.Group, .Mask = Pcr->PrcbData.GroupSetMember};
    Thread->SystemAffinityActive = FALSE;
    Block->Pcr = Pcr;
    if (Pcr->HostProcessor != KPRCB_NOT_PINNED) {
        HalPinThread(Pcr->HostProcessor);
    }
    return STATUS_SUCCESS;
}

static VOID KiLeaveMachine(KPRCB_THREAD_BLOCK *Block)
{
    if (Block->Thread->Kind == KiNamedThread) {
        HalUnpinThread();
    }
    KiEndResidency(Block);
    HalAcquireMutex(&KiMachineLock);
    KiDetachCurrentThread();
    HalReleaseMutex(&KiMachineLock);
}

NTSTATUS KprcbAttachThread(ULONG ProcessorIndex)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    NTSTATUS Status = STATUS_SUCCESS;
    BOOLEAN Fresh = Block->Thread == NULL;

    if (!Fresh && (Block->Irql != PASSIVE_LEVEL || Block->Thread->Kind == KiMachineThread)) {
        return STATUS_INVALID_DEVICE_STATE;
    }
    HalAcquireMutex(&KiMachineLock);
    if (KiMachine.State != KiRunning) {
        Status = KiStartMachine(NULL);
    }
    if (NT_SUCCESS(Status) && ProcessorIndex >= KiProcessorCount()) {
        Status = STATUS_INVALID_PARAMETER;
    }
    if (NT_SUCCESS(Status) && Fresh && !KiAttachCurrentThread()) {
        Status = STATUS_INSUFFICIENT_RESOURCES;
    }
    HalReleaseMutex(&KiMachineLock);
    /* Attached, it keeps the machine from stopping. What follows may wait for the owner of the processor. */
    if (NT_SUCCESS(Status)) {
        Status = KiAttachByName(Block, KiProcessor(ProcessorIndex));
        if (!NT_SUCCESS(Status) && Fresh) {
            KiLeaveMachine(Block);
        }
    }
    return Status;
}

NTSTATUS KprcbDetachThread(VOID)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;

    if (Block->Thread == NULL) {
        return STATUS_NOT_FOUND;
    }
    if (Block->Irql != PASSIVE_LEVEL || Block->Thread->Kind == KiMachineThread || Block->Thread->Frame != NULL ||
        Block->Thread->Adding) {
        return STATUS_INVALID_DEVICE_STATE;
    }
    KiLeaveMachine(Block);
    return STATUS_SUCCESS;
}
