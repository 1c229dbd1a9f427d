/*
 * debugdata.c - publishes where the machine's structures lie, and how, for a reader in another process.
 *
 * NT has KDDEBUGGER_DATA64 for the same purpose, found by symbol or signature; this one is found by the name of its
 * pages, which a stripped program has too. The format is that of debugdata.h and docs/live.md.
 *
 *   word        written by                                    read by
 *   the block   whoever starts the machine, before State      the reader, through its own copy
 *   State       the same, release; 0 by who stops the         the reader, before and after it has read something else
 *               machine, before anything is freed
 *
 * Nothing in this process reads it. The reader stops no thread and takes no lock of the machine: what it reads changes
 * under it, and it believes nothing that it has not checked (src/kd/target.c).
 *
 * Tests: tests/kd/test_target.c.
 */
#include "ki.h"

#include <string.h>

#define KI_DEBUG_BYTES 16384
#define KI_DEBUG_ENTRIES ((KI_DEBUG_BYTES - sizeof(KI_DEBUG_HEADER)) / sizeof(KI_DEBUG_ENTRY))

static PKI_DEBUG_HEADER KiDebugBlock; /* KiMachineLock */

VOID KiDescribe(PKI_DEBUG_WRITER Writer, const char *Name, ULONGLONG Value, ULONG Size)
{
    if (Writer->Count < Writer->Limit && strlen(Name) < sizeof(Writer->Entries->Name)) {
        PKI_DEBUG_ENTRY Entry = &Writer->Entries[Writer->Count];

        strcpy(Entry->Name, Name);
        Entry->Value = Value;
        Entry->Size = Size;
    }
    Writer->Count += 1;
}

static VOID KiDescribeMachine(PKI_DEBUG_WRITER Writer)
{
    KI_DESCRIBE_ADDRESS(Writer, "KiProcessors", KiMachine.Processors);
    KiDescribe(Writer, "KiMaximumProcessors", KiMachine.MaximumProcessors, 0);
    KI_DESCRIBE_ADDRESS(Writer, "KiProcessorCount", &KiMachine.ProcessorCount);
    KiDescribe(Writer, "KiGroupSize", KiMachine.GroupSize, 0);
    KiDescribe(Writer, "KiFlags", KiMachine.Flags, 0);
    KiDescribe(Writer, "KiTimeIncrement", KiMachine.TimeIncrement, 0);
    KiDescribe(Writer, "KiHostProcessors", KiMachine.HostProcessors, 0);
    KiDescribe(Writer, "KiChecked", KiMachine.Checked, 0);
}

static VOID KiDescribePcr(PKI_DEBUG_WRITER Writer)
{
    KI_DESCRIBE_SIZE(Writer, KPCR);
    KI_DESCRIBE_MEMBER(Writer, KPCR, Self);
    KI_DESCRIBE_MEMBER(Writer, KPCR, Prcb);
    KI_DESCRIBE_MEMBER(Writer, KPCR, Irql);
    KI_DESCRIBE_MEMBER(Writer, KPCR, HostProcessor);
    KI_DESCRIBE_MEMBER(Writer, KPCR, Request);
    KI_DESCRIBE_MEMBER(Writer, KPCR, DpcInbox);
    KI_DESCRIBE_MEMBER(Writer, KPCR, Owner);
    KI_DESCRIBE_MEMBER(Writer, KPCR, Resident);
    KI_DESCRIBE_MEMBER(Writer, KPCR, TokenWaiters);
    KI_DESCRIBE_MEMBER(Writer, KPCR, TokenHeir);
    KI_DESCRIBE_MEMBER(Writer, KPCR, PrcbData);
}

static VOID KiDescribePrcb(PKI_DEBUG_WRITER Writer)
{
    KI_DESCRIBE_SIZE(Writer, KPRCB);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, MinorVersion);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, MajorVersion);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, CurrentThread);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, IdleThread);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, Group);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, GroupIndex);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, Number);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, LockQueue);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, InterruptCount);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, ResidentIrql);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcLastCount);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcRequestRate);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, MinimumDpcRate);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, MaximumDpcQueueDepth);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcRoutineActive);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcData);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcRuntimeHistoryHashTable);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcThread);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcThreadRequested);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcThreadActive);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, ThreadDpcEnable);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcBypassCount);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, AdjustDpcThreshold);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcTimeCount);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcTimeLimit);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcWatchdogPeriod);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcWatchdogCount);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, ThreadWatchdogPeriod);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, ThreadWatchdogCount);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcWatchdogProfileSingleDpcThreshold);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, DpcWatchdogProfileCumulativeDpcThreshold);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, RequestSummary);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, SignalDone);
    KI_DESCRIBE_MEMBER(Writer, KPRCB, PacketBarrier);
}

static VOID KiDescribeQueues(PKI_DEBUG_WRITER Writer)
{
    KI_DESCRIBE_SIZE(Writer, KSPIN_LOCK_QUEUE);
    KI_DESCRIBE_MEMBER(Writer, KSPIN_LOCK_QUEUE, Next);
    KI_DESCRIBE_MEMBER(Writer, KSPIN_LOCK_QUEUE, Lock);
    KI_DESCRIBE_SIZE(Writer, KDPC_DATA);
    KI_DESCRIBE_MEMBER(Writer, KDPC_DATA, DpcList);
    KI_DESCRIBE_MEMBER(Writer, KDPC_DATA, DpcLock);
    KI_DESCRIBE_MEMBER(Writer, KDPC_DATA, DpcQueueDepth);
    KI_DESCRIBE_MEMBER(Writer, KDPC_DATA, DpcCount);
    KI_DESCRIBE_MEMBER(Writer, KDPC_DATA, ActiveDpc);
    KI_DESCRIBE_SIZE(Writer, KDPC);
    KI_DESCRIBE_MEMBER(Writer, KDPC, Type);
    KI_DESCRIBE_MEMBER(Writer, KDPC, Importance);
    KI_DESCRIBE_MEMBER(Writer, KDPC, Number);
    KI_DESCRIBE_MEMBER(Writer, KDPC, DpcListEntry);
    KI_DESCRIBE_MEMBER(Writer, KDPC, DeferredRoutine);
    KI_DESCRIBE_MEMBER(Writer, KDPC, DeferredContext);
    KI_DESCRIBE_MEMBER(Writer, KDPC, SystemArgument1);
    KI_DESCRIBE_MEMBER(Writer, KDPC, SystemArgument2);
    KI_DESCRIBE_MEMBER(Writer, KDPC, DpcData);
}

static VOID KiDescribeKThread(PKI_DEBUG_WRITER Writer)
{
    KI_DESCRIBE_SIZE(Writer, KTHREAD);
    KI_DESCRIBE_MEMBER(Writer, KTHREAD, ThreadListEntry);
    KI_DESCRIBE_MEMBER(Writer, KTHREAD, Block);
    KI_DESCRIBE_MEMBER(Writer, KTHREAD, HostId);
    KI_DESCRIBE_MEMBER(Writer, KTHREAD, Kind);
    KI_DESCRIBE_MEMBER(Writer, KTHREAD, ThreadedFor);
    KI_DESCRIBE_MEMBER(Writer, KTHREAD, Residence);
    KI_DESCRIBE_MEMBER(Writer, KTHREAD, WaitReason);
    KI_DESCRIBE_MEMBER(Writer, KTHREAD, WaitObject);
    KI_DESCRIBE_MEMBER(Writer, KTHREAD, RestAt);
    KI_DESCRIBE_MEMBER(Writer, KTHREAD, WorksAt);
    KI_DESCRIBE_SIZE(Writer, KPRCB_THREAD_BLOCK);
    KI_DESCRIBE_MEMBER(Writer, KPRCB_THREAD_BLOCK, Thread);
    KI_DESCRIBE_MEMBER(Writer, KPRCB_THREAD_BLOCK, Pcr);
    KI_DESCRIBE_MEMBER(Writer, KPRCB_THREAD_BLOCK, Irql);
    KI_DESCRIBE_MEMBER(Writer, KPRCB_THREAD_BLOCK, HeldCount);
    KI_DESCRIBE_MEMBER(Writer, KPRCB_THREAD_BLOCK, HeldSurplus);
    KI_DESCRIBE_MEMBER(Writer, KPRCB_THREAD_BLOCK, Masked);
    KI_DESCRIBE_MEMBER(Writer, KPRCB_THREAD_BLOCK, Held);
}

VOID KiPublishDebuggerData(VOID)
{
    PKI_DEBUG_HEADER Block = HalAllocateNamedPages(KI_DEBUG_NAME, KI_DEBUG_BYTES);
    KI_DEBUG_WRITER Writer = {.Limit = KI_DEBUG_ENTRIES};

    if (Block == NULL) {
        return;
    }
    Writer.Entries = (PKI_DEBUG_ENTRY)(Block + 1);
    KiDescribeMachine(&Writer);
    KiDescribePcr(&Writer);
    KiDescribePrcb(&Writer);
    KiDescribeQueues(&Writer);
    KiDescribeKThread(&Writer);
    KiDescribeThreads(&Writer);
    KiDescribeDpcInbox(&Writer);
    KiDescribeDpcHistory(&Writer);
    KiDescribeHotLocks(&Writer);
    if (Writer.Count > Writer.Limit) {
        HalFreeNamedPages(Block, KI_DEBUG_BYTES);
        return;
    }
    Block->Format = KI_DEBUG_FORMAT;
    Block->HeaderSize = sizeof(*Block);
    Block->EntrySize = sizeof(KI_DEBUG_ENTRY);
    Block->EntryCount = Writer.Count;
    Block->WordSize = sizeof(PVOID);
    Block->Instance = HalMonotonicTime();
    strncpy(Block->Library, KPRCB_LIBRARY_VERSION, sizeof(Block->Library) - 1);
    strncpy(Block->Version, KiMachine.Profile->Version, sizeof(Block->Version) - 1);
    memcpy(Block->Signature, KI_DEBUG_SIGNATURE, sizeof(Block->Signature));
    KiDebugBlock = Block;
    __atomic_store_n(&Block->State, KI_DEBUG_RUNNING, __ATOMIC_RELEASE);
}

VOID KiWithdrawDebuggerData(VOID)
{
    if (KiDebugBlock != NULL) {
        __atomic_store_n(&KiDebugBlock->State, 0, __ATOMIC_SEQ_CST);
        HalFreeNamedPages(KiDebugBlock, KI_DEBUG_BYTES);
        KiDebugBlock = NULL;
    }
}

VOID KiAbandonDebuggerData(VOID)
{
    KiDebugBlock = NULL;
}
