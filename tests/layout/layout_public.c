/*
 * layout_public.c - the size, alignment and offsets of every public structure, as the WDK lays them out, on x64, i386
 * and aarch64, and the signedness of the character types. Compiled, not run; layout_public_win7.c includes it for the
 * KDPC before Windows 8.1.
 */
#include <kprcb/kprcb.h>

#if defined(__LP64__)
#define SELECT(On64, On32) (On64)
#elif defined(__i386__)
#define SELECT(On64, On32) (On32)
#else
#error "layouts are known for x64, i386 and aarch64"
#endif

#define SIZE(Type, On64, On32) _Static_assert(sizeof(Type) == SELECT(On64, On32), "sizeof " #Type)
#define ALIGNMENT(Type, On64, On32) _Static_assert(_Alignof(Type) == SELECT(On64, On32), "_Alignof " #Type)
#define MEMBER(Type, Member, On64, On32)                                                                               \
    _Static_assert(offsetof(Type, Member) == SELECT(On64, On32), "offset of " #Member " in " #Type)
#define WIDTH(Type, Member, On64, On32)                                                                                \
    _Static_assert(sizeof(((Type *)0)->Member) == SELECT(On64, On32), "size of " #Member " in " #Type)
#define SIGNED(Type) _Static_assert((Type)-1 < 0, #Type " is signed")
#define UNSIGNED(Type) _Static_assert((Type)-1 > 0, #Type " is unsigned")

/* --- Simple types --- */

SIZE(CHAR, 1, 1);
SIZE(SHORT, 2, 2);
SIZE(LONG, 4, 4);
SIZE(ULONG, 4, 4);
SIZE(LONGLONG, 8, 8);
SIZE(ULONG64, 8, 8);
SIZE(ULONG_PTR, 8, 4);
SIZE(SIZE_T, 8, 4);
SIZE(PVOID, 8, 4);
SIZE(HANDLE, 8, 4);
SIZE(WCHAR, 2, 2);
SIZE(BOOLEAN, 1, 1);
SIZE(KIRQL, 1, 1);
SIZE(KPROCESSOR_MODE, 1, 1);
SIZE(KPRIORITY, 4, 4);
SIZE(NTSTATUS, 4, 4);
SIZE(LOGICAL, 4, 4);
SIZE(KAFFINITY, 8, 4);
SIZE(KSPIN_LOCK, 8, 4);
ALIGNMENT(KSPIN_LOCK, 8, 4);
SIZE(KDPC_IMPORTANCE, 4, 4);
SIZE(KSPIN_LOCK_QUEUE_NUMBER, 4, 4);
SIZE(MODE, 4, 4);

/* char is unsigned on aarch64, CCHAR and the 8-bit integers are not. CHAR is the host's char. */
SIGNED(CCHAR);
SIGNED(KPROCESSOR_MODE);
SIGNED(INT8);
SIGNED(SHORT);
SIGNED(LONG);
SIGNED(LONGLONG);
SIGNED(LONG_PTR);
SIGNED(NTSTATUS);
UNSIGNED(UCHAR);
UNSIGNED(BOOLEAN);
UNSIGNED(KIRQL);
UNSIGNED(WCHAR);
UNSIGNED(ULONG);
UNSIGNED(ULONG_PTR);
UNSIGNED(KAFFINITY);

/* --- base.h --- */

SIZE(LARGE_INTEGER, 8, 8);
MEMBER(LARGE_INTEGER, LowPart, 0, 0);
MEMBER(LARGE_INTEGER, HighPart, 4, 4);
MEMBER(LARGE_INTEGER, u.HighPart, 4, 4);
MEMBER(LARGE_INTEGER, QuadPart, 0, 0);
SIZE(ULARGE_INTEGER, 8, 8);
MEMBER(ULARGE_INTEGER, HighPart, 4, 4);

SIZE(LIST_ENTRY, 16, 8);
ALIGNMENT(LIST_ENTRY, 8, 4);
MEMBER(LIST_ENTRY, Flink, 0, 0);
MEMBER(LIST_ENTRY, Blink, 8, 4);
SIZE(SINGLE_LIST_ENTRY, 8, 4);
MEMBER(SINGLE_LIST_ENTRY, Next, 0, 0);

SIZE(PROCESSOR_NUMBER, 4, 4);
ALIGNMENT(PROCESSOR_NUMBER, 2, 2);
MEMBER(PROCESSOR_NUMBER, Group, 0, 0);
MEMBER(PROCESSOR_NUMBER, Number, 2, 2);
MEMBER(PROCESSOR_NUMBER, Reserved, 3, 3);

SIZE(GROUP_AFFINITY, 16, 12);
ALIGNMENT(GROUP_AFFINITY, 8, 4);
MEMBER(GROUP_AFFINITY, Mask, 0, 0);
MEMBER(GROUP_AFFINITY, Group, 8, 4);
MEMBER(GROUP_AFFINITY, Reserved, 10, 6);

/* --- dpc.h --- */

SIZE(KDPC_WATCHDOG_INFORMATION, 20, 20);
MEMBER(KDPC_WATCHDOG_INFORMATION, DpcTimeCount, 4, 4);
MEMBER(KDPC_WATCHDOG_INFORMATION, DpcWatchdogLimit, 8, 8);
MEMBER(KDPC_WATCHDOG_INFORMATION, DpcWatchdogCount, 12, 12);

SIZE(KDPC, 64, 32);
ALIGNMENT(KDPC, 8, 4);
MEMBER(KDPC, TargetInfoAsUlong, 0, 0);
MEMBER(KDPC, Type, 0, 0);
MEMBER(KDPC, Importance, 1, 1);
MEMBER(KDPC, Number, 2, 2);
WIDTH(KDPC, Number, 2, 2);
MEMBER(KDPC, DpcListEntry, 8, 4);
#if defined(NTDDI_VERSION) && NTDDI_VERSION < 0x06030000
WIDTH(KDPC, DpcListEntry, 16, 8);
MEMBER(KDPC, DpcListEntry.Blink, 16, 8);
#else
WIDTH(KDPC, DpcListEntry, 8, 4);
MEMBER(KDPC, ProcessorHistory, 16, 8);
#endif
MEMBER(KDPC, DeferredRoutine, 24, 12);
MEMBER(KDPC, DeferredContext, 32, 16);
MEMBER(KDPC, SystemArgument1, 40, 20);
MEMBER(KDPC, SystemArgument2, 48, 24);
MEMBER(KDPC, DpcData, 56, 28);

_Static_assert(LowImportance == 0 && MediumImportance == 1 && HighImportance == 2 && MediumHighImportance == 3,
               "KDPC_IMPORTANCE");
_Static_assert(DpcObject == 19 && ThreadedDpcObject == 24, "KDPC.Type");

/* --- spinlock.h, queuedlock.h --- */

SIZE(KSPIN_LOCK_QUEUE, 16, 8);
ALIGNMENT(KSPIN_LOCK_QUEUE, 8, 4);
MEMBER(KSPIN_LOCK_QUEUE, Next, 0, 0);
MEMBER(KSPIN_LOCK_QUEUE, Lock, 8, 4);

SIZE(KLOCK_QUEUE_HANDLE, 24, 12);
ALIGNMENT(KLOCK_QUEUE_HANDLE, 8, 4);
MEMBER(KLOCK_QUEUE_HANDLE, LockQueue, 0, 0);
MEMBER(KLOCK_QUEUE_HANDLE, OldIrql, 16, 8);

_Static_assert(LockQueueVacbLock == 4 && LockQueueMasterLock == 5 && LockQueueNonPagedPoolLock == 6 &&
                   LockQueueIoCancelLock == 7 && LockQueueIoVpbLock == 9 && LockQueueIoDatabaseLock == 10 &&
                   LockQueueIoCompletionLock == 11 && LockQueueNtfsStructLock == 12 &&
                   LockQueueAfdWorkQueueLock == 13 && LockQueueBcbLock == 14 && LockQueueMaximumLock == 17,
               "numbers of the queued locks");

/* --- irql.h --- */

_Static_assert(PASSIVE_LEVEL == 0 && APC_LEVEL == 1 && DISPATCH_LEVEL == 2, "low levels");
_Static_assert(SYNCH_LEVEL == SELECT(12, 28) && CLOCK_LEVEL == SELECT(13, 28) && IPI_LEVEL == SELECT(14, 29) &&
                   PROFILE_LEVEL == SELECT(15, 27) && HIGH_LEVEL == SELECT(15, 31),
               "high levels");

/* --- processor.h --- */

SIZE(KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, 16, 16);
MEMBER(KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, State, 0, 0);
MEMBER(KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, NtNumber, 4, 4);
MEMBER(KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, Status, 8, 8);
MEMBER(KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, ProcNumber, 12, 12);

/* --- topology.h --- */

SIZE(PROCESSOR_RELATIONSHIP, 40, 36);
MEMBER(PROCESSOR_RELATIONSHIP, EfficiencyClass, 1, 1);
MEMBER(PROCESSOR_RELATIONSHIP, GroupCount, 22, 22);
MEMBER(PROCESSOR_RELATIONSHIP, GroupMask, 24, 24);
SIZE(NUMA_NODE_RELATIONSHIP, 40, 36);
MEMBER(NUMA_NODE_RELATIONSHIP, GroupCount, 22, 22);
MEMBER(NUMA_NODE_RELATIONSHIP, GroupMask, 24, 24);
SIZE(CACHE_RELATIONSHIP, 48, 44);
MEMBER(CACHE_RELATIONSHIP, LineSize, 2, 2);
MEMBER(CACHE_RELATIONSHIP, CacheSize, 4, 4);
MEMBER(CACHE_RELATIONSHIP, Type, 8, 8);
MEMBER(CACHE_RELATIONSHIP, GroupCount, 30, 30);
MEMBER(CACHE_RELATIONSHIP, GroupMask, 32, 32);
SIZE(PROCESSOR_GROUP_INFO, 48, 44);
MEMBER(PROCESSOR_GROUP_INFO, ActiveProcessorMask, 40, 40);
SIZE(GROUP_RELATIONSHIP, 72, 68);
MEMBER(GROUP_RELATIONSHIP, GroupInfo, 24, 24);
SIZE(SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX, 80, 76);
MEMBER(SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX, Size, 4, 4);
MEMBER(SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX, Processor, 8, 8);
_Static_assert(RelationProcessorCore == 0 && RelationNumaNode == 1 && RelationCache == 2 &&
                   RelationProcessorPackage == 3 && RelationGroup == 4 && RelationProcessorDie == 5 &&
                   RelationNumaNodeEx == 6 && RelationProcessorModule == 7 && RelationAll == 0xFFFF,
               "relationships");

/* --- machine.h, bugcheck.h: the library's own; they only grow at the end --- */

MEMBER(KPRCB_CONFIG, Size, 0, 0);
MEMBER(KPRCB_CONFIG, ProcessorCount, 4, 4);
MEMBER(KPRCB_CONFIG, GroupSize, 8, 8);
MEMBER(KPRCB_CONFIG, Flags, 12, 12);
MEMBER(KPRCB_CONFIG, TimeIncrement, 16, 16);
MEMBER(KPRCB_CONFIG, Version, 24, 20);
MEMBER(KPRCB_CONFIG, MaximumProcessorCount, 32, 24);
MEMBER(KPRCB_CONFIG, DpcTimeout, 36, 28);
MEMBER(KPRCB_CONFIG, DpcWatchdogPeriod, 40, 32);
MEMBER(KPRCB_CONFIG, Topology, 48, 36);
MEMBER(KPRCB_CONFIG, ThreadWatchdogPeriod, 56, 40);
MEMBER(KPRCB_CONFIG, DpcWatchdogProfileSingleDpcThreshold, 60, 44);
MEMBER(KPRCB_CONFIG, DpcWatchdogProfileCumulativeDpcThreshold, 64, 48);

SIZE(KPRCB_BUGCHECK, 40, 20);
MEMBER(KPRCB_BUGCHECK, Code, 0, 0);
MEMBER(KPRCB_BUGCHECK, Parameter, 8, 4);

/* --- prcb.h --- */

_Static_assert(_Alignof(KPRCB) == KPRCB_CACHE_LINE && sizeof(KPRCB) % KPRCB_CACHE_LINE == 0, "KPRCB has whole lines");
_Static_assert(_Alignof(KPCR) == 4096 && sizeof(KPCR) % 4096 == 0, "KPCR has whole pages");
MEMBER(KPCR, Prcb, 0x20, 0x20);
SIZE(CACHE_DESCRIPTOR, 12, 12);
MEMBER(CACHE_DESCRIPTOR, Level, 0, 0);
MEMBER(CACHE_DESCRIPTOR, Associativity, 1, 1);
MEMBER(CACHE_DESCRIPTOR, LineSize, 2, 2);
MEMBER(CACHE_DESCRIPTOR, Size, 4, 4);
MEMBER(CACHE_DESCRIPTOR, Type, 8, 8);
_Static_assert(CacheUnified == 0 && CacheInstruction == 1 && CacheData == 2 && CacheTrace == 3, "PROCESSOR_CACHE_TYPE");
MEMBER(KPCR, Self, 0x18, 0x1C);
_Static_assert(KPRCB_GROUP_SIZE == SELECT(64, 32) && KPRCB_GROUP_SIZE == sizeof(KAFFINITY) * 8, "processors a group");
_Static_assert(KPRCB_MAXIMUM_PROCESSORS % KPRCB_GROUP_SIZE == 0, "whole groups");
