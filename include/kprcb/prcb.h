/*
 * prcb.h - KPCR and KPRCB: what the library keeps for each logical processor.
 *
 * One processor is one page-aligned KPCR that holds its KPRCB as PrcbData; Prcb points to it and code should go through
 * Prcb rather than assume the embedding. Members are grouped by who writes them, one group to its own cache lines:
 *
 *   owner      written only by the thread that owns the processor (see irql.h), read by others for display
 *   resident   written only by the resident thread
 *   remote     written by other processors, by read-modify-write
 *   clock      written by the clock's thread and, under the same lock, by the owner
 *   start      written once while the processor starts, then constant but for what is said to grow
 *
 * Member names are those of NT's KPRCB wherever NT has the member. Read them through the routines of the other headers
 * where there is one: a processor that the caller does not own changes under the reader.
 */
#ifndef KPRCB_PRCB_H
#define KPRCB_PRCB_H

#include <kprcb/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRCB_MAJOR_VERSION 1
#define PRCB_MINOR_VERSION 1

/* KPRCB.BuildType */
#define PRCB_BUILD_DEBUG 0x0001 /* checked machine: misuse is a bug check */
#define PRCB_BUILD_UNIPROCESSOR 0x0002

#ifdef __LP64__
#define KPRCB_GROUP_SIZE 64
#else
#define KPRCB_GROUP_SIZE 32
#endif
#define KPRCB_MAXIMUM_PROCESSORS 1280
#define KPRCB_MAXIMUM_GROUPS (KPRCB_MAXIMUM_PROCESSORS / KPRCB_GROUP_SIZE)

/* The numbers of the 32-bit kernel. */
typedef enum _CPU_VENDORS {
    CPU_NONE = 0,
    CPU_INTEL,
    CPU_AMD,
    CPU_CYRIX,
    CPU_TRANSMETA,
    CPU_VIA,
    CPU_RISE,
    CPU_UNKNOWN
} CPU_VENDORS;

typedef ULONG_PTR KSPIN_LOCK, *PKSPIN_LOCK;

/*
 * The node of a queued spin lock. Lock holds the address of the lock it queues for, and in its two low bits how far it
 * has come. Next: written by the successor as it queues, read by this node's owner as it releases.
 */
typedef struct _KSPIN_LOCK_QUEUE {
    struct _KSPIN_LOCK_QUEUE *volatile Next;
    KSPIN_LOCK *volatile Lock;
} KSPIN_LOCK_QUEUE, *PKSPIN_LOCK_QUEUE;

/*
 * KPRCB.DpcRequestSummary: the normal DPCs, in the low half, which the owner keeps: what other processors have asked for
 * is in KPCR.Request and in the inbox. The threaded ones, in the high half, which is written under DpcLock of DpcData[1].
 */
#define DPC_REQUEST_NORMAL_ACTIVE 0x00000001    /* DPCs are being run */
#define DPC_REQUEST_NORMAL_REQUESTED 0x00000002 /* the owner asked for that */
#define DPC_REQUEST_NORMAL_PRESENT 0x00000010   /* there are some in the list */
#define DPC_REQUEST_THREAD_ACTIVE 0x00010000    /* DpcThreadActive */
#define DPC_REQUEST_THREAD_REQUESTED 0x00020000 /* DpcThreadRequested */

#define LOCK_QUEUE_WAIT 1  /* queued, not yet owner */
#define LOCK_QUEUE_OWNER 2 /* owner */

typedef enum _KSPIN_LOCK_QUEUE_NUMBER {
    LockQueueUnusedSpare0,
    LockQueueUnusedSpare1,
    LockQueueUnusedSpare2,
    LockQueueUnusedSpare3,
    LockQueueVacbLock,
    LockQueueMasterLock,
    LockQueueNonPagedPoolLock,
    LockQueueIoCancelLock,
    LockQueueUnusedSpare8,
    LockQueueIoVpbLock,
    LockQueueIoDatabaseLock,
    LockQueueIoCompletionLock,
    LockQueueNtfsStructLock,
    LockQueueAfdWorkQueueLock,
    LockQueueBcbLock,
    LockQueueUnusedSpare15,
    LockQueueUnusedSpare16,
    LockQueueMaximumLock
} KSPIN_LOCK_QUEUE_NUMBER;
typedef KSPIN_LOCK_QUEUE_NUMBER *PKSPIN_LOCK_QUEUE_NUMBER;

typedef enum _PROCESSOR_CACHE_TYPE { CacheUnified, CacheInstruction, CacheData, CacheTrace } PROCESSOR_CACHE_TYPE;

#define CACHE_FULLY_ASSOCIATIVE 0xFF

typedef struct _CACHE_DESCRIPTOR {
    UCHAR Level;
    UCHAR Associativity; /* ways, or CACHE_FULLY_ASSOCIATIVE; 0: not known */
    USHORT LineSize;     /* bytes; 0 for a trace cache */
    ULONG Size;          /* bytes; micro-operations of a trace cache */
    PROCESSOR_CACHE_TYPE Type;
} CACHE_DESCRIPTOR, *PCACHE_DESCRIPTOR;

#define KPRCB_MAXIMUM_CACHES 5

struct _KDPC;
struct _KTHREAD;
struct _KNODE;
struct _KPRCB;
struct _KPCR;

typedef struct _KTHREAD KTHREAD, *PKTHREAD, *PRKTHREAD;

typedef struct _KDPC_LIST {
    SINGLE_LIST_ENTRY ListHead;
    SINGLE_LIST_ENTRY *LastEntry;
} KDPC_LIST, *PKDPC_LIST;

typedef VOID KDEFERRED_ROUTINE(struct _KDPC *Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2);
typedef KDEFERRED_ROUTINE *PKDEFERRED_ROUTINE;

/* The list entry follows NTDDI_VERSION as in the WDK: a LIST_ENTRY before Windows 8.1. One library serves both. */
typedef struct _KDPC {
    union {
        ULONG TargetInfoAsUlong;
        struct {
            UCHAR Type;
            UCHAR Importance;
            USHORT volatile Number; /* processor index + 1; 0: the processor that inserts */
        };
    };
#if defined(NTDDI_VERSION) && NTDDI_VERSION < 0x06030000
    LIST_ENTRY DpcListEntry;
#else
    SINGLE_LIST_ENTRY DpcListEntry;
    KAFFINITY ProcessorHistory;
#endif
    PKDEFERRED_ROUTINE DeferredRoutine;
    PVOID DeferredContext;
    PVOID SystemArgument1;
    PVOID SystemArgument2;
    PVOID volatile DpcData; /* the KDPC_DATA in which it is queued, or NULL */
} KDPC, *PKDPC, *PRKDPC;

KPRCB_STATIC_ASSERT(sizeof(KDPC) == (sizeof(void *) == 8 ? 64 : 32), "KDPC as the WDK lays it out");

#define DPC_NORMAL 0
#define DPC_THREADED 1

/*
 * A queue of DPCs: DpcData[0] the normal ones, DpcData[1] the threaded ones. All members are guarded by DpcLock, except
 * that DpcCount and ActiveDpc are written by the owner of the processor alone; in DpcData[1] by its DPC thread.
 */
typedef struct DECLSPEC_ALIGN(KPRCB_CACHE_LINE) _KDPC_DATA {
    KDPC_LIST DpcList;
    KSPIN_LOCK DpcLock;
    LONG volatile DpcQueueDepth;
    ULONG DpcCount;
    struct _KDPC *volatile ActiveDpc;
} KDPC_DATA, *PKDPC_DATA;

/* One thread waits at a gate, and passes once for each time it was opened. Its two routines are in gate.c. */
typedef struct _KGATE {
    ULONG volatile SignalState;
} KGATE, *PKGATE;

/* Processors of all groups. */
typedef struct _KAFFINITY_EX {
    USHORT Count; /* words in use */
    USHORT Size;  /* words */
    ULONG Reserved;
    KAFFINITY volatile Bitmap[KPRCB_MAXIMUM_GROUPS]; /* by group */
} KAFFINITY_EX, *PKAFFINITY_EX;

typedef PVOID PKIPI_CONTEXT;

/*
 * The routine that an IPI packet runs on each target, at IPI_LEVEL. It calls KiIpiSignalPacketDone(PacketContext), or
 * KiIpiSignalPacketDoneAndStall, exactly once, after it has read its parameters.
 */
typedef VOID (*PKIPI_WORKER)(PKIPI_CONTEXT PacketContext, PVOID Parameter1, PVOID Parameter2, PVOID Parameter3);

typedef struct _KREQUEST_PACKET {
    PVOID CurrentPacket[3];
    PKIPI_WORKER WorkerRoutine;
} KREQUEST_PACKET, *PKREQUEST_PACKET;

/*
 * What one processor sends to another, from 10.0 on: a line of its own. Written by the sender; Next also by the target,
 * while the mailbox is in its list.
 */
typedef struct DECLSPEC_ALIGN(KPRCB_CACHE_LINE) _REQUEST_MAILBOX {
    struct _REQUEST_MAILBOX *Next;
    ULONGLONG RequestSummary; /* IPI_ bits */
    KREQUEST_PACKET RequestPacket;
} REQUEST_MAILBOX, *PREQUEST_MAILBOX;

typedef struct DECLSPEC_ALIGN(KPRCB_CACHE_LINE) _KPRCB {
    /* start, but for CurrentThread and NestingLevel: owner; DpcThread, when there is one, and ThreadDpcEnable change seldom */
    USHORT MinorVersion;
    USHORT MajorVersion;
    PKTHREAD volatile CurrentThread; /* the owner, else the resident, else IdleThread */
    PKTHREAD IdleThread;
    UCHAR LegacyNumber;
    UCHAR NestingLevel; /* requests of other processors that are being served, one inside the other */
    USHORT BuildType;
    CHAR CpuType;
    CHAR CpuID;
    union {
        USHORT CpuStep;
        struct {
            UCHAR CpuStepping;
            UCHAR CpuModel;
        };
    };
    ULONG CFlushSize;
    UCHAR CoresPerPhysicalProcessor;
    UCHAR LogicalProcessorsPerCore;
    UCHAR CpuVendor;
    UCHAR GroupIndex;
    USHORT Group;
    ULONG MHz;
    KAFFINITY GroupSetMember;
    ULONG Number;
    UCHAR VendorString[13];
    UCHAR InitialApicId;
    UCHAR LogicalProcessorsPerPhysicalProcessor;
    ULONG ProcessorSignature;
    ULONGLONG FeatureBits;
    LARGE_INTEGER UpdateSignature;
    CACHE_DESCRIPTOR Cache[KPRCB_MAXIMUM_CACHES]; /* by level; of one level data before instructions */
    ULONG CacheCount;
    USHORT CacheSharing[KPRCB_MAXIMUM_CACHES]; /* ids of logical processors that may share the cache; 0: not known */
    PKTHREAD volatile DpcThread;      /* runs threaded DPCs; NULL until there was one */
    BOOLEAN volatile ThreadDpcEnable; /* threaded DPCs run in DpcThread, not at DISPATCH_LEVEL */

    /* owner: one entry a numbered lock; the first in the last bytes of a line, so that the second begins one */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) UCHAR PrcbPad0[KPRCB_CACHE_LINE - sizeof(KSPIN_LOCK_QUEUE)];
    KSPIN_LOCK_QUEUE LockQueue[LockQueueMaximumLock];

    /* owner: counts of what ran on this processor */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG InterruptCount;
    ULONG SpinLockContentionCount; /* acquires that had to wait */
    ULONG SpinLockSpinCount;       /* looks at locks by those that waited */
    ULONG DpcLastCount;
    ULONG DpcLastTick; /* the clock tick of the last update of DpcRequestRate */
    ULONG DpcRequestRate;
    ULONG MinimumDpcRate;
    LONG MaximumDpcQueueDepth; /* also by the clock, under DpcLock */
    PVOID DpcStack;            /* stack address at which the DPC routine now running was entered */
    BOOLEAN volatile DpcRoutineActive;
    BOOLEAN volatile QuantumEnd;
    BOOLEAN volatile ClockOwner;
    union {
        LONG volatile DpcRequestSummary; /* DPC_REQUEST_ bits, as the owner knows of them */
        SHORT volatile DpcRequestSlot[2];
        struct {
            SHORT volatile NormalDpcState;
            SHORT volatile ThreadDpcState;
        };
    };

    /*
     * resident, but for SpinLockAcquireCount: owner. ResidentWord is ResidentIrql and SpinLockAcquireCount, which a
     * biased resident stores together as it ends an inline release.
     */
    union {
        DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONGLONG volatile ResidentWord;
        struct {
            ULONG volatile ResidentIrql;
            ULONG SpinLockAcquireCount; /* spin locks acquired here, of all kinds; irql.h tells when it is exact */
            PVOID volatile SharedLock;  /* the EX_SPIN_LOCK that it holds shared, if that is biased to readers */
        };
    };

    /* owner and, under DpcLock, those who take a DPC back */
    KDPC_DATA DpcData[2];
    struct _KPRCB_DPC_HISTORY *volatile DpcRuntimeHistoryHashTable; /* NULL: off; only KprcbSetDpcHistory writes it */

    /* the DPC thread and, under DpcLock of DpcData[1], who inserts threaded DPCs */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) KGATE DpcGate; /* where DpcThread waits */
    BOOLEAN volatile DpcThreadRequested;            /* threaded DPCs were queued that it has not found yet */
    BOOLEAN volatile DpcThreadActive;               /* it runs them */

    /* owner: what is looked at rarely */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG DpcBypassCount; /* 3.51 to 5.0: times that DPCs ran unasked, on the way down */
    LONG AdjustDpcThreshold; /* ticks without waiting DPCs until MaximumDpcQueueDepth rises; as that */
    ULONGLONG CurrentDpcStartTime;            /* time stamp, while there is a history of DPCs (dpc.h); 0: none runs */
    ULONGLONG CurrentDpcRuntimeHistoryCached; /* the entry used last */
    struct _KDPC *DpcRuntimeHistoryHashTableCleanupDpc; /* makes room in the table; written once */
    ULONG IpiSendRequestBroadcastCount;
    ULONG IpiSendRequestRoutineCount;
    ULONG IpiSendSoftwareInterruptCount;
    PVOID IpiFrame; /* what the request that is being served has interrupted, or NULL */

    /* owner, as the sender of a packet; its targets count down PacketBarrier, TargetSet and TargetCount */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) PVOID volatile CurrentPacket[3];
    PKIPI_WORKER volatile WorkerRoutine;
    ULONG volatile ReverseStall;
    LONG volatile PacketBarrier; /* processors that have yet to reach a rendezvous */
    LONG volatile TargetCount;   /* targets that are not done with the packet */
    union {
        KAFFINITY volatile TargetSet;                        /* of group 0 */
        KAFFINITY volatile TargetSets[KPRCB_MAXIMUM_GROUPS]; /* of every group */
    };

    /* remote: what other processors ask of this one */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile RequestSummary; /* IPI_ bits */
    BOOLEAN volatile IpiCommands[4];                                /* the same to 3.51, a flag each: IPI_COMMAND_ */
    struct _KPRCB *volatile SignalDone;                             /* 4.0 to 6.3: whose packet is waiting here */
    REQUEST_MAILBOX *TakenMailbox;                                  /* owner: from Mailbox, the first one first */
    REQUEST_MAILBOX *RequestMailbox;                                /* start: one for each processor that may send */
    ULONG IpiLastPacket;                                            /* owner: to 3.51, the packet that it began last */
    ULONG volatile IpiFrozen;                                       /* TARGET_FROZEN and its kin: see ipi.h */

    /* whoever is in KeGenericCallDpc */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) KDPC CallDpc;

    /* clock, and the owner that asks (dpcwatchdog.c); all in ticks of CPU time. The limits: start; 0: none */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG DpcTimeCount; /* that the DPC has run */
    ULONG DpcTimeLimit;
    LONG DpcWatchdogPeriod;
    LONG DpcWatchdogCount;           /* left, until the processor has been at DISPATCH_LEVEL for too long */
    LONG ThreadWatchdogPeriod;       /* 6.0, 6.1 */
    LONG ThreadWatchdogCount;        /* left, until a thread has been there for too long, its DPCs not counted */
    ULONG DpcWatchdogSequenceNumber; /* how often that count began anew */
    ULONG ApcBypassCount;            /* any thread, by addition; as DpcBypassCount */
    ULONG DpcWatchdogProfileSingleDpcThreshold; /* of DpcTimeCount: the stack is captured from then on; 0: it is not */
    ULONG DpcWatchdogProfileCumulativeDpcThreshold; /* the same, of what is gone of DpcWatchdogPeriod */
    /*
     * Captures of 32 pointers each: DpcWatchdogSequenceNumber, or 0 if there is none; the two counts of ticks; addresses
     * of code, the innermost first, and NULL behind them. 16, which are used in turn; NULL: there are no thresholds.
     */
    PVOID *DpcWatchdogProfile;
    PVOID *DpcWatchdogProfileCurrentEmptyCapture; /* owner, interrupted: the one used next */

    /*
     * start: where the processor is, and who is there with it (topology.h). The sets are of active processors, this one
     * included; all but the package's are of its own group. They grow, by whoever adds a processor, once that is active.
     */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) struct _KNODE *ParentNode;
    struct _KPRCB *MultiThreadSetMaster; /* the first processor of the core */
    KAFFINITY volatile MultiThreadProcessorSet;
    KAFFINITY volatile CoreProcessorSet;
    KAFFINITY volatile CacheProcessorMask[KPRCB_MAXIMUM_CACHES]; /* by level; of one level data before instructions */
    ULONG PackageId;
    UCHAR NodeColor;
    KAFFINITY_EX PackageProcessorSet;
} KPRCB, *PKPRCB;

/*
 * The words of the ownership protocol (irql.h tells it):
 *
 *   ResidentIrql  in the KPRCB. Writer: the resident. Reader: whoever wants the processor.
 *   SharedLock    in the KPRCB. Writer: the resident. Reader: writers of that lock (readerbias.c).
 *   Request       writers: anyone, by read-modify-write. Reader: the owner on each raise and lower, the idle thread.
 *   Mailbox       writers: senders, by compare-exchange; the owner, by exchange. In NT's KPRCB; here beside Request, whose
 *                 line who sends and who serves must have anyway.
 *   DpcInbox      writers: anyone, by compare-exchange. Reader: whoever holds DpcLock, by exchange.
 *   TakesStopped, FenceTakes   writers: anyone, by read-modify-write. Reader: the owner.
 *   DpcTaking     writer: the owner. Reader: who has raised TakesStopped.
 *   FencedTakes, InterruptAcquires   the owner alone.
 *   Owner         writer: whoever takes or lets go, by compare-exchange and exchange. Reader: posters.
 *   Resident, LastOwner, OwnerRun   writer: the holder of the token.
 *   Token...      writers: anyone, by read-modify-write.
 */
typedef struct DECLSPEC_ALIGN(4096) _KPCR {
    /* start, but for Irql: owner, while the processor is owned by token */
    ULONG_PTR Reserved[0x20 / sizeof(ULONG_PTR) - 1];
    struct _KPCR *Self;
    struct _KPRCB *Prcb;
    KIRQL volatile Irql;
    ULONG HostProcessor; /* CPU to which the idle thread is pinned, or KPRCB_NOT_PINNED */

    /* remote */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile Request;      /* KPCR_REQUEST_ bits */
    REQUEST_MAILBOX *volatile Mailbox; /* from 10.0: those that wait here, the last one first; written with Request */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONGLONG volatile DpcInbox; /* not on a line that the owner polls */

    /* whoever takes or lets go */
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) PKTHREAD volatile Owner; /* who holds the token */
    PKTHREAD volatile Resident;
    PKTHREAD LastOwner;            /* who held the token last */
    ULONG OwnerRun;                /* how often it has taken it again, nobody else in between */
    ULONG volatile StaleResidents; /* displaced residents that may still believe in their bias */
    ULONG volatile TokenWaiters;
    ULONG volatile TokenSequence; /* what they sleep on */
    ULONG volatile TokenWaking;   /* one of them was woken and has not looked yet */
    ULONG volatile DpcTaking;     /* the owner takes a DPC off the list */
    ULONG volatile TakesStopped;  /* removers at that list; not on a line that posters write */
    ULONG volatile FenceTakes;    /* each take is followed by a full barrier */
    ULONG FencedTakes;            /* how many were since then */
    PKTHREAD volatile TokenHeir;  /* one that has waited long: the owner hands the token to it */
    ULONG InterruptAcquires;      /* spin locks acquired in the host's interrupts, and not counted yet */

    KPRCB PrcbData;
} KPCR, *PKPCR;

/* KPCR.Request */
#define KPCR_REQUEST_REVOKED 0x00000001  /* the resident must take the token like everyone else */
#define KPCR_REQUEST_DISPATCH 0x00000002 /* a DISPATCH_LEVEL software interrupt is pending: DPCs wait */
#define KPCR_REQUEST_LAZY 0x00000004     /* DPCs wait that asked for no interrupt */
#define KPCR_REQUEST_IPI 0x00000008      /* RequestSummary is not empty */
#define KPCR_REQUEST_STOP 0x00000010     /* the idle thread ends */
#define KPCR_REQUEST_THREAD 0x00000020   /* the idle thread starts the DPC thread */
#define KPCR_REQUEST_WATCHED 0x00000040  /* the clock saw an owner; whoever lets go takes it away */
#define KPCR_REQUEST_OVERDUE 0x00000080  /* the owner exceeds a limit of the DPC watchdog */
#define KPCR_REQUEST_COUNT 0x00000100    /* InterruptAcquires is not 0 */
#define KPCR_REQUEST_PARKED 0x80000000   /* the idle thread sleeps */

/* What the owner's raise and lower must look at. */
#define KPCR_REQUEST_MASK 0x7FFFFFFF

#define KPRCB_NOT_PINNED 0xFFFFFFFF

KPRCB_STATIC_ASSERT(sizeof(CACHE_DESCRIPTOR) == 12, "CACHE_DESCRIPTOR as the WDK lays it out");
KPRCB_STATIC_ASSERT(offsetof(KPRCB, LockQueue) % KPRCB_CACHE_LINE == KPRCB_CACHE_LINE - sizeof(KSPIN_LOCK_QUEUE),
                    "the first lock queue ends a cache line, the second begins one");
KPRCB_STATIC_ASSERT(offsetof(KPCR, Prcb) == 0x20, "Prcb at its place");
KPRCB_STATIC_ASSERT(offsetof(KPCR, PrcbData) % KPRCB_CACHE_LINE == 0, "the lines of the KPRCB are lines of the KPCR");

#ifdef __cplusplus
}
#endif

#endif
