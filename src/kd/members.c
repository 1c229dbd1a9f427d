/*
 * members.c - the members of the KPCR and the KPRCB as data: name, group, offset, type, how to print and what they
 * mean.
 *
 * Groups are those under which the public descriptions of the KPRCB list the newest layout. A new member of prcb.h
 * gets a row here; the test "members" (cmake/CheckMembers.cmake) finds those that have none. Test:
 * tests/kd/test_command.c.
 */
#include "kd.h"

#include <inttypes.h>
#include <string.h>

static void KdAppend(char *Text, size_t Size, const char *Word)
{
    size_t Length = strlen(Text);

    snprintf(Text + Length, Size - Length, "%s%s", Length != 0 ? " " : "", Word);
}

typedef struct _KD_BIT {
    ULONGLONG Mask;
    const char *Name;
} KD_BIT;

static void KdNameBits(const KD_BIT *Bits, ULONG Count, ULONGLONG Value, char *Text, size_t Size)
{
    for (ULONG Index = 0; Index < Count; Index++) {
        if ((Value & Bits[Index].Mask) != 0) {
            KdAppend(Text, Size, Bits[Index].Name);
        }
    }
}

static void KdExplainBuild(ULONGLONG Value, ULONG Element, char *Text, size_t Size)
{
    (void)Element;
    KdAppend(Text, Size, (Value & PRCB_BUILD_DEBUG) != 0 ? "checked" : "free");
    KdAppend(Text, Size, (Value & PRCB_BUILD_UNIPROCESSOR) != 0 ? "uniprocessor" : "multiprocessor");
}

static void KdExplainCpuid(ULONGLONG Value, ULONG Element, char *Text, size_t Size)
{
    (void)Element;
    KdAppend(Text, Size, Value != 0 ? "the CPU has cpuid" : "no cpuid, or none that the version takes");
}

static void KdExplainVendor(ULONGLONG Value, ULONG Element, char *Text, size_t Size)
{
    (void)Element;
    KdAppend(Text, Size, KdVendorName((UCHAR)Value));
}

static void KdExplainFeatures(ULONGLONG Value, ULONG Element, char *Text, size_t Size)
{
    /* Capital letters: Microsoft's names, without KF_. identify.h of src/ke has the values. */
    static const KD_BIT Bits[] = {
        {0x00000001ULL, "V86_VIS"},      {0x00000002ULL, "RDTSC"},       {0x00000004ULL, "CR4"},
        {0x00000008ULL, "CMOV"},         {0x00000010ULL, "GLOBAL_PAGE"}, {0x00000020ULL, "LARGE_PAGE"},
        {0x00000040ULL, "MTRR"},         {0x00000080ULL, "CMPXCHG8B"},   {0x00000100ULL, "MMX"},
        {0x00000200ULL, "WORKING_PTE"},  {0x00000400ULL, "PAT"},         {0x00000800ULL, "FXSR"},
        {0x00001000ULL, "FAST_SYSCALL"}, {0x00002000ULL, "XMMI"},        {0x00004000ULL, "3DNOW"},
        {0x00008000ULL, "AMDK6MTRR"},    {0x00010000ULL, "XMMI64"},      {0x00020000ULL, "DTS"},
        {0x00040000ULL, "clfsh"},        {0x00080000ULL, "sse3"},        {0x00100000ULL, "amd"},
        {0x00200000ULL, "acnt2"},        {0x00800000ULL, "intel"},       {0x01000000ULL, "smep"},
        {0x02000000ULL, "rdrand"},       {0x04000000ULL, "slat"},        {0x20000000ULL, "NX_BIT"},
        {0x100000000ULL, "rdtscp"},      {0x200000000ULL, "clflushopt"}, {0x400000000ULL, "hdc"},
    };

    (void)Element;
    KdNameBits(Bits, ARRAYSIZE(Bits), Value, Text, Size);
}

void KdNameSummary(ULONGLONG Summary, char *Text, size_t Size)
{
    static const KD_BIT Bits[] = {
        {IPI_APC, "APC"},
        {IPI_DPC, "DPC"},
        {IPI_FREEZE, "FREEZE"},
        {IPI_PACKET_READY, "PACKET_READY"},
        {IPI_SYNCH_REQUEST, "SYNCH_REQUEST"},
    };

    KdNameBits(Bits, ARRAYSIZE(Bits), Summary, Text, Size);
}

static void KdExplainRequests(ULONGLONG Value, ULONG Element, char *Text, size_t Size)
{
    (void)Element;
    KdNameSummary(Value, Text, Size);
}

void KdNameRequest(ULONGLONG Request, char *Text, size_t Size)
{
    static const KD_BIT Bits[] = {
        {KPCR_REQUEST_REVOKED, "REVOKED"}, {KPCR_REQUEST_DISPATCH, "DISPATCH"}, {KPCR_REQUEST_LAZY, "LAZY"},
        {KPCR_REQUEST_IPI, "IPI"},         {KPCR_REQUEST_STOP, "STOP"},         {KPCR_REQUEST_THREAD, "THREAD"},
        {KPCR_REQUEST_COUNT, "COUNT"},     {KPCR_REQUEST_PARKED, "PARKED"},
    };

    KdNameBits(Bits, ARRAYSIZE(Bits), Request, Text, Size);
}

static void KdExplainCommand(ULONGLONG Value, ULONG Element, char *Text, size_t Size)
{
    static const char *const Names[] = {
        [IPI_COMMAND_APC] = "APC",
        [IPI_COMMAND_DPC] = "DPC",
        [IPI_COMMAND_CLOCK] = "clock",
        [IPI_COMMAND_FREEZE] = "freeze",
    };

    (void)Value;
    KdAppend(Text, Size, Element < ARRAYSIZE(Names) ? Names[Element] : "?");
}

static void KdExplainFrozen(ULONGLONG Value, ULONG Element, char *Text, size_t Size)
{
    (void)Element;
    KdAppend(Text, Size,
             Value == TARGET_FROZEN  ? "frozen"
             : Value == TARGET_THAW  ? "may go on"
             : Value == FREEZE_OWNER ? "holds the others"
                                     : "running");
}

static void KdExplainPcrRequest(ULONGLONG Value, ULONG Element, char *Text, size_t Size)
{
    (void)Element;
    KdNameRequest(Value, Text, Size);
}

static void KdExplainHost(ULONGLONG Value, ULONG Element, char *Text, size_t Size)
{
    (void)Element;
    if (Value == KPRCB_NOT_PINNED) {
        KdAppend(Text, Size, "not pinned");
    }
}

const char *KdLockName(ULONG Number)
{
    static const char *const Names[LockQueueMaximumLock] = {
        [LockQueueUnusedSpare0] = "UnusedSpare0",
        [LockQueueUnusedSpare1] = "UnusedSpare1",
        [LockQueueUnusedSpare2] = "UnusedSpare2",
        [LockQueueUnusedSpare3] = "UnusedSpare3",
        [LockQueueVacbLock] = "VacbLock",
        [LockQueueMasterLock] = "MasterLock",
        [LockQueueNonPagedPoolLock] = "NonPagedPoolLock",
        [LockQueueIoCancelLock] = "IoCancelLock",
        [LockQueueUnusedSpare8] = "UnusedSpare8",
        [LockQueueIoVpbLock] = "IoVpbLock",
        [LockQueueIoDatabaseLock] = "IoDatabaseLock",
        [LockQueueIoCompletionLock] = "IoCompletionLock",
        [LockQueueNtfsStructLock] = "NtfsStructLock",
        [LockQueueAfdWorkQueueLock] = "AfdWorkQueueLock",
        [LockQueueBcbLock] = "BcbLock",
        [LockQueueUnusedSpare15] = "UnusedSpare15",
        [LockQueueUnusedSpare16] = "UnusedSpare16",
    };

    return Number < LockQueueMaximumLock && Names[Number] != NULL ? Names[Number] : "?";
}

static void KdExplainLock(ULONGLONG Value, ULONG Element, char *Text, size_t Size)
{
    KdAppend(Text, Size, KdLockName(Element));
    KdAppend(Text, Size, KdLockState((ULONG_PTR)Value));
}

#define ROW(Structure, Member, TypeName, How, Text, More)                                                              \
    {                                                                                                                  \
        .Name = #Member, .Group = GROUP, .Type = TypeName, .Offset = offsetof(Structure, Member),                      \
        .Size = sizeof(((Structure *)0)->Member), .Count = 1, .Format = How, .Meaning = Text, .Explain = More          \
    }
#define ARRAY(Structure, Member, TypeName, How, Text, More)                                                            \
    {                                                                                                                  \
        .Name = #Member, .Group = GROUP, .Type = TypeName, .Offset = offsetof(Structure, Member),                      \
        .Size = sizeof(((Structure *)0)->Member[0]), .Count = ARRAYSIZE(((Structure *)0)->Member), .Format = How,      \
        .Meaning = Text, .Explain = More                                                                               \
    }

const KD_MEMBER KdPcrMembers[] = {
#define GROUP "Processor Control Region (KPCR)"
    ROW(KPCR, Self, "KPCR *", KdAddress, "this KPCR", NULL),
    ROW(KPCR, Prcb, "KPRCB *", KdAddress, "its KPRCB", NULL),
    ROW(KPCR, Irql, "KIRQL", KdNumber, "level while owned by token", NULL),
    ROW(KPCR, HostProcessor, "ULONG", KdNumber, "host CPU of the idle thread", KdExplainHost),
    ROW(KPCR, Request, "ULONG", KdHex, "what the owner is asked for", KdExplainPcrRequest),
    ROW(KPCR, Mailbox, "REQUEST_MAILBOX *", KdAddress, "mailboxes that wait here", NULL),
    ROW(KPCR, DpcInbox, "ULONGLONG", KdHex, "DPCs posted by others, not yet in the queue", NULL),
    ROW(KPCR, Owner, "KTHREAD *", KdAddress, "thread that holds the token", NULL),
    ROW(KPCR, Resident, "KTHREAD *", KdAddress, "thread that the processor is biased to", NULL),
    ROW(KPCR, LastOwner, "KTHREAD *", KdAddress, "who held the token last", NULL),
    ROW(KPCR, OwnerRun, "ULONG", KdNumber, "times it took the token again, nobody between", NULL),
    ROW(KPCR, StaleResidents, "ULONG", KdNumber, "residents displaced that have not noticed", NULL),
    ROW(KPCR, TokenWaiters, "ULONG", KdNumber, "threads that wait for the token", NULL),
    ROW(KPCR, TokenSequence, "ULONG", KdNumber, "what they sleep on", NULL),
    ROW(KPCR, TokenWaking, "ULONG", KdNumber, "1: one was woken and has not looked yet", NULL),
    ROW(KPCR, DpcTaking, "ULONG", KdNumber, "1: the owner takes a DPC off the list", NULL),
    ROW(KPCR, TakesStopped, "ULONG", KdNumber, "removers that keep it from that", NULL),
    ROW(KPCR, FenceTakes, "ULONG", KdNumber, "not 0: it executes a barrier after each", NULL),
    ROW(KPCR, FencedTakes, "ULONG", KdNumber, "how often it did", NULL),
    ROW(KPCR, TokenHeir, "KTHREAD *", KdAddress, "who gets the token next, having waited long", NULL),
    ROW(KPCR, InterruptAcquires, "ULONG", KdNumber, "spin locks acquired in interrupts, not counted yet", NULL),
#undef GROUP
};
const ULONG KdPcrMemberCount = ARRAYSIZE(KdPcrMembers);

const KD_MEMBER KdPrcbMembers[] = {
#define GROUP "Architecturally Defined Section"
    ROW(KPRCB, MinorVersion, "USHORT", KdNumber, "PRCB_MINOR_VERSION", NULL),
    ROW(KPRCB, MajorVersion, "USHORT", KdNumber, "PRCB_MAJOR_VERSION", NULL),
    ROW(KPRCB, CurrentThread, "KTHREAD *", KdAddress, "owner, else resident, else idle thread", NULL),
    ROW(KPRCB, IdleThread, "KTHREAD *", KdAddress, "runs what nobody else runs here", NULL),
    ROW(KPRCB, LegacyNumber, "UCHAR", KdNumber, "number for those that know only group 0", NULL),
    ROW(KPRCB, NestingLevel, "UCHAR", KdNumber, "requests being served, nested", NULL),
    ROW(KPRCB, BuildType, "USHORT", KdHex, "build:", KdExplainBuild),
    ROW(KPRCB, CpuType, "CHAR", KdHex, "family", NULL),
    ROW(KPRCB, CpuID, "CHAR", KdNumber, "", KdExplainCpuid),
    ROW(KPRCB, CpuStepping, "UCHAR", KdHex, "stepping", NULL),
    ROW(KPRCB, CpuModel, "UCHAR", KdHex, "model", NULL),
#undef GROUP
#define GROUP "Architectural Padding"
    ROW(KPRCB, CFlushSize, "ULONG", KdNumber, "bytes that clflush writes back", NULL),
    ROW(KPRCB, CoresPerPhysicalProcessor, "UCHAR", KdNumber, "rounded up to a power of two", NULL),
    ROW(KPRCB, LogicalProcessorsPerCore, "UCHAR", KdNumber, "threads a core", NULL),
    ROW(KPRCB, CpuVendor, "UCHAR", KdNumber, "vendor:", KdExplainVendor),
    ROW(KPRCB, MHz, "ULONG", KdNumber, "as the host reports it; 0: it does not", NULL),
    ROW(KPRCB, GroupIndex, "UCHAR", KdNumber, "index within the group", NULL),
    ROW(KPRCB, Group, "USHORT", KdNumber, "processor group", NULL),
    ROW(KPRCB, GroupSetMember, "KAFFINITY", KdHex, "bit within the group's masks", NULL),
    ROW(KPRCB, Number, "ULONG", KdNumber, "index within the machine", NULL),
    ROW(KPRCB, ParentNode, "KNODE *", KdAddress, "the NUMA node", NULL),
    ROW(KPRCB, NodeColor, "UCHAR", KdNumber, "its colour", NULL),
    ROW(KPRCB, MultiThreadProcessorSet, "KAFFINITY", KdHex, "processors of the core, before 6.1", NULL),
    ROW(KPRCB, MultiThreadSetMaster, "KPRCB *", KdAddress, "the first of them", NULL),
    ROW(KPRCB, ClockOwner, "BOOLEAN", KdBoolean, "keeps the machine's time", NULL),
#undef GROUP
#define GROUP "Spin Lock Queues"
    ARRAY(KPRCB, LockQueue, "KSPIN_LOCK_QUEUE", KdLockQueue, "", KdExplainLock),
#undef GROUP
#define GROUP "Performance Counters"
    ROW(KPRCB, InterruptCount, "ULONG", KdNumber, "interrupts taken", NULL),
    ROW(KPRCB, SpinLockAcquireCount, "ULONG", KdNumber, "spin locks acquired", NULL),
    ROW(KPRCB, SpinLockContentionCount, "ULONG", KdNumber, "acquires that had to wait", NULL),
    ROW(KPRCB, SpinLockSpinCount, "ULONG", KdNumber, "looks at the locks meanwhile", NULL),
    ROW(KPRCB, ResidentIrql, "ULONG", KdNumber, "level of the resident thread", NULL),
    ROW(KPRCB, SharedLock, "EX_SPIN_LOCK *", KdAddress, "lock that the resident reads without counting itself", NULL),
#undef GROUP
#define GROUP "Inter-Processor Interrupts"
    ROW(KPRCB, ProcessorSignature, "ULONG", KdHex, "eax of cpuid leaf 1", NULL),
    ARRAY(KPRCB, CurrentPacket, "PVOID", KdAddress, "parameters of the packet sent last", NULL),
    ROW(KPRCB, WorkerRoutine, "PKIPI_WORKER", KdAddress, "what that packet runs", NULL),
    ROW(KPRCB, ReverseStall, "ULONG", KdNumber, "changes as stalled targets may go on", NULL),
    ARRAY(KPRCB, TargetSets, "KAFFINITY", KdHex, "targets not done with the packet, a group each", NULL),
    ROW(KPRCB, PacketBarrier, "LONG", KdNumber, "targets yet to reach a rendezvous", NULL),
    ROW(KPRCB, TargetCount, "LONG", KdNumber, "targets not done with the packet", NULL),
    ROW(KPRCB, RequestSummary, "ULONG", KdHex, "requests that wait here", KdExplainRequests),
    ARRAY(KPRCB, IpiCommands, "BOOLEAN", KdBoolean, "", KdExplainCommand),
    ROW(KPRCB, SignalDone, "KPRCB *", KdAddress, "sender of the packet that waits here", NULL),
    ROW(KPRCB, IpiLastPacket, "ULONG", KdNumber, "the packet that was begun last", NULL),
    ROW(KPRCB, IpiFrozen, "ULONG", KdNumber, "", KdExplainFrozen),
    ROW(KPRCB, IpiFrame, "PVOID", KdAddress, "what the request being served interrupted", NULL),
    ROW(KPRCB, TakenMailbox, "REQUEST_MAILBOX *", KdAddress, "those taken and not yet served", NULL),
    ROW(KPRCB, RequestMailbox, "REQUEST_MAILBOX *", KdAddress, "the mailboxes here, one a sender", NULL),
#undef GROUP
#define GROUP "DPC Management in Windows Server 2003 and Higher"
    ROW(KPRCB, DpcData[0].DpcList.ListHead.Next, "SINGLE_LIST_ENTRY *", KdAddress, "the DPC that runs next", NULL),
    ROW(KPRCB, DpcData[0].DpcList.LastEntry, "SINGLE_LIST_ENTRY *", KdAddress, "the one that runs last", NULL),
    ROW(KPRCB, DpcData[0].DpcLock, "KSPIN_LOCK", KdHex, "guards the queue; 0: free", NULL),
    ROW(KPRCB, DpcData[0].DpcQueueDepth, "LONG", KdNumber, "DPCs that wait", NULL),
    ROW(KPRCB, DpcData[0].DpcCount, "ULONG", KdNumber, "DPCs that have run", NULL),
    ROW(KPRCB, DpcData[0].ActiveDpc, "KDPC *", KdAddress, "the one that runs", NULL),
    ROW(KPRCB, DpcData[1].DpcList.ListHead.Next, "SINGLE_LIST_ENTRY *", KdAddress, "the same for threaded DPCs", NULL),
    ROW(KPRCB, DpcData[1].DpcList.LastEntry, "SINGLE_LIST_ENTRY *", KdAddress, "", NULL),
    ROW(KPRCB, DpcData[1].DpcLock, "KSPIN_LOCK", KdHex, "", NULL),
    ROW(KPRCB, DpcData[1].DpcQueueDepth, "LONG", KdNumber, "", NULL),
    ROW(KPRCB, DpcData[1].DpcCount, "ULONG", KdNumber, "", NULL),
    ROW(KPRCB, DpcData[1].ActiveDpc, "KDPC *", KdAddress, "", NULL),
    ROW(KPRCB, DpcStack, "PVOID", KdAddress, "stack where the running DPC was entered", NULL),
    ROW(KPRCB, MaximumDpcQueueDepth, "LONG", KdNumber, "more waiting low DPCs ask for an interrupt", NULL),
    ROW(KPRCB, DpcRequestRate, "ULONG", KdNumber, "DPC interrupts a tick, averaged", NULL),
    ROW(KPRCB, MinimumDpcRate, "ULONG", KdNumber, "a lower rate lets low DPCs ask for an interrupt", NULL),
    ROW(KPRCB, DpcLastCount, "ULONG", KdNumber, "DpcCount at the last tick", NULL),
    ROW(KPRCB, DpcLastTick, "ULONG", KdNumber, "tick of the last update of DpcRequestRate", NULL),
    ROW(KPRCB, AdjustDpcThreshold, "LONG", KdNumber, "quiet ticks until more may wait", NULL),
    ROW(KPRCB, DpcRequestSummary, "LONG", KdHex, "DPC_REQUEST_ bits", NULL),
    ROW(KPRCB, DpcRuntimeHistoryHashTable, "PVOID", KdAddress, "times of DPC routines; 0: not recorded", NULL),
    ROW(KPRCB, DpcRuntimeHistoryHashTableCleanupDpc, "KDPC *", KdAddress, "makes room in it", NULL),
    ROW(KPRCB, CurrentDpcRuntimeHistoryCached, "ULONGLONG", KdHex, "its entry used last", NULL),
    ROW(KPRCB, CurrentDpcStartTime, "ULONGLONG", KdNumber, "time stamp; 0: no DPC is timed", NULL),
    ROW(KPRCB, DpcBypassCount, "ULONG", KdNumber, "DPCs run on the way down, unasked (3.51 to 5.0)", NULL),
    ROW(KPRCB, ApcBypassCount, "ULONG", KdNumber, "the same of APCs", NULL),
    ROW(KPRCB, DpcTimeCount, "ULONG", KdNumber, "ticks that the running DPC has used", NULL),
    ROW(KPRCB, DpcTimeLimit, "ULONG", KdNumber, "ticks that it may use; 0: no limit", NULL),
    ROW(KPRCB, DpcWatchdogPeriod, "LONG", KdNumber, "ticks at DISPATCH_LEVEL on end; 0: no limit", NULL),
    ROW(KPRCB, DpcWatchdogCount, "LONG", KdNumber, "ticks left of those", NULL),
    ROW(KPRCB, ThreadWatchdogPeriod, "LONG", KdNumber, "the same of a thread there (6.0, 6.1)", NULL),
    ROW(KPRCB, ThreadWatchdogCount, "LONG", KdNumber, "ticks left of those", NULL),
    ROW(KPRCB, DpcWatchdogSequenceNumber, "ULONG", KdNumber, "how often that count began anew", NULL),
    ROW(KPRCB, DpcWatchdogProfileSingleDpcThreshold, "ULONG", KdNumber, "ticks of a DPC until captures; 0: none", NULL),
    ROW(KPRCB, DpcWatchdogProfileCumulativeDpcThreshold, "ULONG", KdNumber, "the same at DISPATCH_LEVEL", NULL),
    ROW(KPRCB, DpcWatchdogProfile, "PVOID *", KdAddress, "captured stacks, 32 pointers each", NULL),
    ROW(KPRCB, DpcWatchdogProfileCurrentEmptyCapture, "PVOID *", KdAddress, "the one used next", NULL),
    ROW(KPRCB, DpcRoutineActive, "BOOLEAN", KdBoolean, "DPCs are being run", NULL),
    ROW(KPRCB, DpcGate.SignalState, "ULONG", KdNumber, "where the DPC thread waits; 1: open, 2: it sleeps", NULL),
    ROW(KPRCB, DpcThread, "KTHREAD *", KdAddress, "runs threaded DPCs", NULL),
    ROW(KPRCB, DpcThreadRequested, "BOOLEAN", KdBoolean, "threaded DPCs wait or run", NULL),
    ROW(KPRCB, DpcThreadActive, "BOOLEAN", KdBoolean, "the DPC thread runs them", NULL),
    ROW(KPRCB, ThreadDpcEnable, "BOOLEAN", KdBoolean, "they run in it, not at DISPATCH_LEVEL", NULL),
    ROW(KPRCB, QuantumEnd, "BOOLEAN", KdBoolean, "the thread's quantum is over", NULL),
#undef GROUP
#define GROUP "Appended For Windows 7"
    ROW(KPRCB, IpiSendRequestBroadcastCount, "ULONG", KdNumber, "packets sent to all processors", NULL),
    ROW(KPRCB, IpiSendRequestRoutineCount, "ULONG", KdNumber, "packets sent to some", NULL),
    ROW(KPRCB, IpiSendSoftwareInterruptCount, "ULONG", KdNumber, "software interrupts sent", NULL),
#undef GROUP
#define GROUP "The Old End"
    ARRAY(KPRCB, VendorString, "UCHAR", KdText, "of cpuid leaf 0", NULL),
    ROW(KPRCB, CallDpc.DpcData, "KDPC_DATA *", KdAddress, "where that of KeGenericCallDpc is queued", NULL),
    ROW(KPRCB, InitialApicId, "UCHAR", KdNumber, "ebx of cpuid leaf 1, bits 24-31", NULL),
    ROW(KPRCB, LogicalProcessorsPerPhysicalProcessor, "UCHAR", KdNumber, "ebx of cpuid leaf 1, bits 16-23", NULL),
    ROW(KPRCB, FeatureBits, "ULONGLONG", KdHex, "", KdExplainFeatures),
    ROW(KPRCB, UpdateSignature, "LARGE_INTEGER", KdHex, "revision of the microcode; 0: not known", NULL),
#undef GROUP
#define GROUP "Appended For Windows Vista"
    ARRAY(KPRCB, Cache, "CACHE_DESCRIPTOR", KdCache, "", NULL),
    ROW(KPRCB, CacheCount, "ULONG", KdNumber, "how many entries of Cache are in use", NULL),
    ARRAY(KPRCB, CacheProcessorMask, "KAFFINITY", KdHex, "who shares it, a cache each", NULL),
    ARRAY(KPRCB, PackageProcessorSet.Bitmap, "KAFFINITY", KdHex, "processors of the package, a group each", NULL),
    ROW(KPRCB, CoreProcessorSet, "KAFFINITY", KdHex, "processors of the core", NULL),
    ROW(KPRCB, PackageId, "ULONG", KdNumber, "the package", NULL),
    ARRAY(KPRCB, CacheSharing, "USHORT", KdNumber, "ids of processors that may share it, a cache each", NULL),
#undef GROUP
};
const ULONG KdPrcbMemberCount = ARRAYSIZE(KdPrcbMembers);

ULONGLONG KdReadMember(const KD_MEMBER *Member, const void *Structure, ULONG Element)
{
    const UCHAR *Address = (const UCHAR *)Structure + Member->Offset + (size_t)Element * Member->Size;
    ULONGLONG Value = 0;

    if (Member->Format == KdLockQueue) {
        ULONG_PTR Lock;

        memcpy(&Lock, Address + offsetof(KSPIN_LOCK_QUEUE, Lock), sizeof(Lock));
        return Lock;
    }
    if (Member->Format == KdCache) {
        return ((const CACHE_DESCRIPTOR *)(const void *)Address)->Size;
    }
    switch (Member->Size) {
    case 1:
        Value = *Address;
        break;
    case 2: {
        USHORT Short;
        memcpy(&Short, Address, sizeof(Short));
        Value = Short;
        break;
    }
    case 4: {
        ULONG Long;
        memcpy(&Long, Address, sizeof(Long));
        Value = Long;
        break;
    }
    default:
        memcpy(&Value, Address, sizeof(Value));
        break;
    }
    return Value;
}
