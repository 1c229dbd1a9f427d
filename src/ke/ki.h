/*
 * ki.h - the door of src/ke: what its files share.
 *
 * Lock order: the addition lock (addprocessor.c), KiMachineLock, KiThreadLock, KiCatchLock, the broadcast lock
 * (ipicall.c), KDPC_DATA.DpcLock, that of threaded DPCs first. A holder of DpcLock calls nothing that waits, and has
 * interrupts masked (KiMaskInterrupts).
 */
#ifndef KI_H
#define KI_H

#include <kprcb/kprcb.h>

#include "debugdata.h"
#include "hal.h"
#include "identify.h"
#include "profile.h"

#define KI_URGENT (KPCR_REQUEST_DISPATCH | KPCR_REQUEST_IPI)
#define KI_PENDING (KI_URGENT | KPCR_REQUEST_LAZY)
/* What the idle thread does not leave to an owner. */
#define KI_IDLE_ONLY (KPCR_REQUEST_STOP | KPCR_REQUEST_THREAD)

/* --- machine.c --- */

typedef enum _KI_STATE { KiStopped, KiStarting, KiRunning, KiStopping } KI_STATE;

/* A configured topology. */
typedef struct _KI_SHAPE {
    ULONG Nodes;
    ULONG Packages; /* a node */
    ULONG Cores;    /* a package */
    ULONG Threads;  /* a core; 0: the topology is the host's */
} KI_SHAPE;

/*
 * Written by KprcbStart and KprcbStop under KiMachineLock, constant in between but for State, and for ProcessorCount and
 * Crowded, which change as addprocessor.c tells.
 */
typedef struct _KI_MACHINE {
    ULONG volatile State;          /* KI_STATE */
    ULONG volatile ProcessorCount; /* active ones; read it by KiProcessorCount */
    ULONG MaximumProcessors;
    ULONG GroupSize;
    ULONG MaximumGroups;
    ULONG Flags;
    ULONG TimeIncrement;
    ULONG DpcTimeLimit;      /* ticks; 0: none */
    ULONG DpcWatchdogPeriod; /* the same */
    ULONG ThreadWatchdogPeriod;
    ULONG SingleDpcThreshold;     /* ticks; 0: no captures */
    ULONG CumulativeDpcThreshold; /* the same */
    ULONG HostProcessors;
    BOOLEAN Checked;
    BOOLEAN Uniprocessor;     /* spin locks are recorded and not touched */
    BOOLEAN Biased;           /* residents order by membarrier; otherwise by exchange */
    BOOLEAN volatile Crowded; /* processors outnumber host CPUs; read it by KiIsCrowded */
    BOOLEAN Signals;          /* owners that do not poll may be interrupted */
    BOOLEAN ThreadedDpcs;     /* KPRCB.ThreadDpcEnable of every processor */
    PKPCR Processors;
    const KI_PROFILE *Profile;
    KI_SHAPE Shape;
    const struct _KI_IPI_ROUTINES *Ipi; /* of the profile's IpiProtocol */
} KI_MACHINE;

extern KI_MACHINE KiMachine;
extern HAL_MUTEX KiMachineLock;

static inline PKPCR KiProcessor(ULONG Index)
{
    return &KiMachine.Processors[Index];
}

/*
 * How many processors are active: those with a lower index, and they are complete. The next call may return more, so
 * whoever sizes something by it asks once.
 */
static inline ULONG KiProcessorCount(VOID)
{
    return __atomic_load_n(&KiMachine.ProcessorCount, __ATOMIC_ACQUIRE);
}

static inline BOOLEAN KiIsCrowded(VOID)
{
    return __atomic_load_n(&KiMachine.Crowded, __ATOMIC_RELAXED);
}

NTSTATUS KiStartMachine(const KPRCB_CONFIG *Config);
/*
 * Creates the machine's own threads of a processor that is complete but for them and not active yet: whatever kind of
 * thread each processor has is created here, and ended by KiStopProcessorThreads. All or none.
 */
NTSTATUS KiCreateProcessorThreads(ULONG Index);
/* Ends those of the first Count processors. */
VOID KiStopProcessorThreads(ULONG Count);

/* --- addprocessor.c --- */
/*
 * Runs a routine that holds the addition lock, below which a bug check may unwind the caller. IRQL PASSIVE_LEVEL. At once
 * if the caller holds the lock already, inside a callback.
 */
NTSTATUS KiHoldingAdditions(KPRCB_THREAD_BLOCK *Block, NTSTATUS (*Routine)(PVOID), PVOID Context);
/* No processor is being added: for the child of a fork. */
VOID KiAbandonAdditions(VOID);

/* --- processorcallback.c; all with the addition lock, but where said --- */
/* Tells the callbacks of the start; an error is one of theirs, and ends it. */
NTSTATUS KiTellStart(ULONG Index);
/* Tells those that were told of the start what became of it. */
VOID KiTellEnd(ULONG Index, NTSTATUS Status);
/* A bug check has unwound in between. */
VOID KiForgetTold(VOID);
VOID KiFreeRemovedCallbacks(VOID);
/* The machine stops: no lock. */
VOID KiFreeAllCallbacks(VOID);
/* For the child of a fork. */
VOID KiAbandonCallbacks(VOID);

/* --- config.c: what the caller and the environment ask for --- */
NTSTATUS KiReadConfig(const KPRCB_CONFIG *Config, KI_MACHINE *Machine);

/* --- processor.c --- */
VOID KiInitializeProcessors(VOID);
/* One more, while the machine runs. FALSE: no thread could be created on its host CPU. */
BOOLEAN KiInitializeAddedProcessor(ULONG Index);
/* How many of the first Count processors are in a group. */
ULONG KiCountInGroup(ULONG Count, USHORT Group);
/* The number of active processors in a group; 0: no such group. */
ULONG KiGroupProcessorCount(USHORT Group);
KAFFINITY KiGroupMask(USHORT Group);
/* The mask that the group has when every processor is active. */
KAFFINITY KiMaximumGroupMask(USHORT Group);

/* --- topology.c --- */
/* Reads "nodes:packages:cores:threads". FALSE: it is something else, or more than KPRCB_MAXIMUM_PROCESSORS. */
BOOLEAN KiReadShape(const char *Text, KI_SHAPE *Shape);
ULONG KiShapeSize(const KI_SHAPE *Shape);
/* The machine starts, MaximumProcessors known. FALSE: no memory. */
BOOLEAN KiStartTopology(VOID);
VOID KiFreeTopology(VOID);
/* For the child of a fork. */
VOID KiAbandonTopology(VOID);
/* What a configured topology tells in place of cpuid. */
VOID KiIdentifyShape(PKPRCB Prcb);
/* Fills the members that tell where a processor is; those with a lower index are active, or will be with it. */
VOID KiPlaceProcessor(PKPRCB Prcb);
/* Adds a processor that is active now, or will be with them, to the sets of those with a lower index. */
VOID KiAnnounceProcessor(PKPRCB Prcb);

/* --- thread.c --- */

typedef enum _KI_THREAD_KIND { KiAutoThread, KiNamedThread, KiMachineThread } KI_THREAD_KIND;

typedef struct _KI_SLOT *PKI_SLOT;

/*
 * A thread. Memory of this type is not given back while the machine runs, so that others may read HostId of a thread
 * that has ended. Writer of all members but where said: the thread itself.
 */
typedef struct _KTHREAD {
    LIST_ENTRY ThreadListEntry; /* KiThreadLock */
    KPRCB_THREAD_BLOCK *Block;
    LONG volatile HostId;
    UCHAR Kind;
    BOOLEAN MovePending; /* the affinity changed at DISPATCH_LEVEL */
    BOOLEAN SystemAffinityActive;
    BOOLEAN volatile ApcInterrupt; /* an APC_LEVEL software interrupt is pending */
    BOOLEAN Adding;                /* holds the addition lock, or waits for it: the machine must not stop under it */
    GROUP_AFFINITY UserAffinity;
    GROUP_AFFINITY SystemAffinity;
    PKPCR Residence;          /* the processor of which it is, or was until displaced, the resident */
    BOOLEAN Biased;           /* owns Residence by ResidentIrql alone, unless Request says REVOKED */
    ULONG BiasThreshold;      /* the OwnerRun that regains bias */
    ULONG volatile Inherited; /* the token of the processor whose heir it is was handed to it; it sleeps on this word */
    ULONG Waits;              /* for spin locks since FirstWait */
    ULONGLONG FirstWait;      /* ns */
    ULONGLONG Waited;         /* ns spent in them */
    ULONG CountedReads;       /* of reader/writer spin locks, while it was a biased resident */
    struct _KI_FRAME *Frame;  /* innermost */
    struct _KI_FRAME *volatile Delivery; /* a catch frame of this thread to which another thread's bug check went */
    /* Of a DPC thread: whose it is (else NULL), and what its end is awaited by. */
    PKPCR ThreadedFor;
    HAL_THREAD Host;
    PKPCR Retiring;             /* the processor whose DPCs it runs, even if one of them has lowered its level */
    PKIPI_CONTEXT ServedPacket; /* the packet whose worker runs, until the worker says that it is done */
    PVOID ServedCall; /* the counter of the KeGenericCallDpc whose routine runs, until that says that it is done */
    const char *volatile WaitReason; /* what it spins or waits for, for the hang report */
    const void *volatile WaitObject;
    /* Others may still write and read these of a thread that has ended, and whose memory is another thread's. */
    PKI_SLOT volatile RestAt;  /* a hot lock from which to rest after letting go (contention.c) */
    PKI_SLOT volatile WorksAt; /* the hot lock at which it worked last */
} KTHREAD;

extern HAL_MUTEX KiThreadLock;
extern LIST_ENTRY KiThreadListHead;

/* The calling thread's block, attached to the machine. */
static inline KPRCB_THREAD_BLOCK *KiEnter(VOID)
{
    if (__builtin_expect(KprcbThread.Thread == NULL, 0)) {
        KprcbEnterMachine();
    }
    return &KprcbThread;
}

/* A thread that nobody has adopted. NULL: no memory. */
PKTHREAD KiAllocateThread(KI_THREAD_KIND Kind);
/* Makes Thread the calling thread's. */
VOID KiAdoptThread(PKTHREAD Thread, PKPCR Home);
/* A thread of the machine is about to return; to end in another way is a bug check. */
VOID KiEndMachineThread(VOID);
/* Attaches the calling thread by default rules, the machine running and KiMachineLock held. FALSE: no memory. */
BOOLEAN KiAttachCurrentThread(VOID);
/* KiMachineLock held; the thread is nobody's resident. */
VOID KiDetachCurrentThread(VOID);
/* Threads attached, those of the machine and the caller left out. */
ULONG KiOtherThreads(VOID);
/* Of a thread that nobody has adopted. */
VOID KiFreeThread(PKTHREAD Thread);
VOID KiFreeThreads(VOID);
/* Forgets all threads: for the child of a fork. */
VOID KiAbandonThreads(VOID);
const GROUP_AFFINITY *KiEffectiveAffinity(PKTHREAD Thread);

/* --- owner.c: who owns a processor --- */

/*
 * Takes a processor of the calling thread's affinity, its home first. IRQL < DISPATCH_LEVEL; on return the thread
 * owns Block->Pcr.
 */
VOID KiTakeProcessor(KPRCB_THREAD_BLOCK *Block);
/* The same, but only Pcr and only if it is free now. */
BOOLEAN KiTryTakeProcessor(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr);
/* Waits until the calling thread owns Pcr. */
VOID KiTakeThisProcessor(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr);
/* Lets the processor go and leaves the thread at NewIrql < DISPATCH_LEVEL. The caller looks at Request afterwards. */
VOID KiLetGoProcessor(KPRCB_THREAD_BLOCK *Block, KIRQL NewIrql);
/* A fast path found that the bias was revoked: gives it up and wakes who waits for that. IRQL < DISPATCH_LEVEL. */
VOID KiLoseBias(KPRCB_THREAD_BLOCK *Block);
/* Somebody owns Pcr and will look at Request again before the processor is free. Full barrier. */
BOOLEAN KiIsOwned(PKPCR Pcr);
/* HalProcessBarrier, interrupts masked. */
VOID KiProcessBarrier(VOID);
/* The thread that owns Pcr at this moment, or NULL. For reports and interrupts. */
PKTHREAD KiQueryOwner(PKPCR Pcr);
/* The OwnerRun with which a resident first becomes biased. */
#define KI_FIRST_BIAS_RUN 16
/* The resident has held the token of Pcr often enough, alone: it owns by bias from here on. Else nothing. */
VOID KiRegainBias(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr);

/* Threads that sleep because all processors of their affinity are owned, or rest from a hot lock. */
extern ULONG volatile KiSleepers;

/* --- residence.c --- */

/*
 * Makes the calling thread, at PASSIVE_LEVEL, the resident of Pcr and a thread of this kind. FALSE: there is a resident
 * that may not be displaced, and the thread keeps its kind.
 */
BOOLEAN KiBecomeResident(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, KI_THREAD_KIND Kind);
/* Makes it the resident of its home, if that has none and is free at this moment. */
VOID KiSettle(KPRCB_THREAD_BLOCK *Block);
/* Ends the calling thread's bias, if it has one; it stays the resident. IRQL < DISPATCH_LEVEL. */
VOID KiResignBias(KPRCB_THREAD_BLOCK *Block);
/* Ends the calling thread's residency, if it has one; waits for the owner of the processor. IRQL < DISPATCH_LEVEL. */
VOID KiEndResidency(KPRCB_THREAD_BLOCK *Block);

/* --- contention.c: hot locks --- */

/*
 * Around a wait for a spin lock, at DISPATCH_LEVEL or above. Begin: what KiBeginWait has returned. Spins: how often it
 * looked.
 */
ULONGLONG KiBeginWait(KPRCB_THREAD_BLOCK *Block);
VOID KiEndWait(KPRCB_THREAD_BLOCK *Block, const volatile VOID *Lock, ULONGLONG Begin, ULONG Spins);
/* At the start of the machine, while no thread rests. */
VOID KiForgetHotLocks(VOID);
/* Rests, if that is due. IRQL < DISPATCH_LEVEL. */
VOID KiRestIfDue(KPRCB_THREAD_BLOCK *Block);
/* Rests if Owner, which owns a processor that Thread wants, works at a hot lock. FALSE: it does not. */
BOOLEAN KiRestForProcessor(PKTHREAD Thread, PKTHREAD Owner);

static inline BOOLEAN KiRestIsDue(PKTHREAD Thread)
{
    return __atomic_load_n(&Thread->RestAt, __ATOMIC_RELAXED) != NULL;
}

/* --- request.c: asking a processor for something --- */

/* Sets bits of Request and sees to it that somebody looks. Any thread, any IRQL. */
VOID KiRequest(PKPCR Pcr, ULONG Bits);
/* For bits that are set already: sees to it that somebody looks. */
VOID KiNudge(PKPCR Pcr);
/* Interrupts the owner if there is one, else wakes the idle thread. */
VOID KiPress(PKPCR Pcr);
/* Sets bits that the idle thread alone serves. Any thread, any IRQL. */
VOID KiRequestIdleThread(PKPCR Pcr, ULONG Bits);

/* --- gate.c --- */

/* Opens the gate for whoever waits, or comes next. Any IRQL. */
VOID KiSignalGate(PKGATE Gate);
/* Passes if the gate is open, and closes it. For the one thread that waits there. */
BOOLEAN KiPassGate(PKGATE Gate);
/* Sleeps until it is open, and passes. */
VOID KiWaitForGate(PKGATE Gate);

/* --- irql.c --- */

/* Serves what is pending for the processor that the caller owns. IRQL DISPATCH_LEVEL. */
VOID KiServePending(KPRCB_THREAD_BLOCK *Block);
/* Serves IPIs only; called from every spin loop. Any IRQL, any thread. */
VOID KiPoll(KPRCB_THREAD_BLOCK *Block);
/*
 * The same for a caller that may not be unwound: a bug check in an IPI worker is delivered to a catcher, this
 * thread's first.
 */
VOID KiPollHolding(KPRCB_THREAD_BLOCK *Block);
/* Goes from DISPATCH_LEVEL to NewIrql below it; with Lazily, without running the DPCs that asked for no interrupt. */
VOID KiLowerBelowDispatch(KPRCB_THREAD_BLOCK *Block, KIRQL NewIrql, BOOLEAN Lazily);
/* After letting go of Pcr: takes it back, if nobody else has, as long as one of Bits is requested, and serves them. */
VOID KiLookAgain(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, ULONG Bits);
/* The level of the processor that the caller owns, as others see it. */
VOID KiPublishIrql(KPRCB_THREAD_BLOCK *Block, KIRQL Irql);
/* The host's interrupt. Frame: what it has interrupted. */
VOID KiHostInterrupt(PVOID Frame);

/*
 * No IPI is served between these, not even by the host's interrupt: the caller holds an internal lock or has
 * half-changed a structure. They nest. What came meanwhile is found by the next poll.
 */
static inline VOID KiMaskInterrupts(KPRCB_THREAD_BLOCK *Block)
{
    Block->Masked += 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline VOID KiUnmaskInterrupts(KPRCB_THREAD_BLOCK *Block)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    Block->Masked -= 1;
}

/* --- softint.c --- */

typedef VOID KI_SOFTWARE_INTERRUPT(VOID);

/* What an APC_LEVEL software interrupt runs, at APC_LEVEL. NULL: nothing. */
VOID KiSetApcInterrupt(KI_SOFTWARE_INTERRUPT *Routine);
/* Pends one for the calling thread. */
VOID KiRequestApcInterrupt(KPRCB_THREAD_BLOCK *Block);
/* Takes it. IRQL < APC_LEVEL. */
VOID KiTakeApcInterrupt(KPRCB_THREAD_BLOCK *Block);

/* --- spin.c --- */

/* A spin: zeroed but for Reason and Object, which the hang report names. */
typedef struct _KI_SPIN {
    const char *Reason;
    const void *Object;
    BOOLEAN Holding; /* the spinner holds something that an unwinding bug check would leave behind: it takes none */
    ULONG Steps;
    ULONG Period; /* ms until the next report */
    ULONGLONG Started;
} KI_SPIN, *PKI_SPIN;

/* One step: pauses, polls, now and then yields, takes a delivered bug check, and reports a hang. */
VOID KiSpin(PKI_SPIN Spin);
/* The same for a waiter that has just slept. */
VOID KiSpinSlept(PKI_SPIN Spin);
VOID KiEndSpin(PKI_SPIN Spin);

/* One step of a wait for a few instructions of another thread, which may have lost its CPU. Steps counts from 1. */
VOID KiPauseOrYield(ULONG Steps);
/* A word of one bit, for a few instructions, interrupts masked by the caller. */
VOID KiAcquireInternalLock(PKSPIN_LOCK Lock);
static inline VOID KiReleaseInternalLock(PKSPIN_LOCK Lock)
{
    __atomic_store_n(Lock, 0, __ATOMIC_RELEASE);
}

/* --- idle.c --- */
VOID KiIdleThread(PVOID Context);
/* TRUE: a thread of the machine that is bound to Pcr and has nothing to do may spin a while, until KiEndIdleSpin. */
BOOLEAN KiBeginIdleSpin(PKPCR Pcr);
VOID KiEndIdleSpin(VOID);
#define KI_IDLE_SPIN 150000 /* ns; a spin of 20 us misses a poster that comes every 50 us */
#define KI_IDLE_STEPS 256   /* looks between two at the clock */
#define KI_LOOKS_A_PAUSE 4
/* No idle thread watches: for the child of a fork. */
VOID KiAbandonWatches(VOID);

/* --- ipi.c --- */
/* Chooses the protocol. Before any processor is initialized. */
NTSTATUS KiInitializeIpi(VOID);
VOID KiInitializeProcessorIpi(PKPRCB Prcb);
VOID KiFreeIpi(VOID);
/* Takes the requests to the processor that the caller owns. TRUE: there was one. */
BOOLEAN KiServiceIpi(KPRCB_THREAD_BLOCK *Block);
/* Nobody is inside KeIpiGenericCall: for the child of a fork. */
VOID KiAbandonCalls(VOID);
/* Makes the next processor active, while no KeIpiGenericCall is under way. IRQL < DISPATCH_LEVEL. */
VOID KiActivateProcessor(VOID);
/*
 * Waits, serving requests if the level allows, until the caller may send a packet. On return interrupts are masked, until
 * the packet is sent.
 */
VOID KiBeginPacket(KPRCB_THREAD_BLOCK *Block);
/*
 * Sends it to all processors but the caller's own; the worker's third parameter is PacketBarrier, which counts them and
 * the caller.
 */
VOID KiBroadcastPacket(KPRCB_THREAD_BLOCK *Block, PKIPI_WORKER Worker, PVOID Parameter1, PVOID Parameter2);
/* Waits for the targets of the caller's packet. */
VOID KiStallOnTargets(KPRCB_THREAD_BLOCK *Block, const char *Reason);
/* Interrupts processors other than the caller's that have not looked at a request. */
VOID KiPressTargets(PKPRCB Prcb);
BOOLEAN KiPacketOutstanding(PKPCR Pcr);
/* Adds to one of the owner's IpiSend counts. */
static inline VOID KiCountSend(ULONG *Count, ULONG Sent)
{
    __atomic_store_n(Count, *Count + Sent, __ATOMIC_RELAXED);
}
/* A bug check ends the worker of ServedPacket: its sender must not wait for ever. */
VOID KiTellServedSender(KPRCB_THREAD_BLOCK *Block);
/* What an IPI runs has ended at another level than IPI_LEVEL, and may have let Pcr go: a bug check on a checked build. */
VOID KiEndAtWrongLevel(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, PVOID Routine, PVOID Context);
static inline VOID KiEndAtIpiLevel(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, PVOID Routine, PVOID Context)
{
    if (__builtin_expect(Block->Irql != IPI_LEVEL, 0)) {
        KiEndAtWrongLevel(Block, Pcr, Routine, Context);
    }
}

/* --- freeze.c --- */
#define KI_THAW_REASON "frozen processors to thaw"
/* Nobody freezes between these; who has frozen is waited for. IRQL < DISPATCH_LEVEL. */
VOID KiForbidFreeze(VOID);
VOID KiAllowFreeze(VOID);
/* Takes a freeze alone; the only request that is served at IPI_LEVEL and above. */
VOID KiServeFreeze(KPRCB_THREAD_BLOCK *Block);
/* Holds the processor that the caller owns until it is thawed. */
VOID KiFreezeTargetExecution(KPRCB_THREAD_BLOCK *Block);
/* How often the caller has frozen the others; 0: not at all. */
ULONG KiFreezeDepthHere(KPRCB_THREAD_BLOCK *Block);
/* Goes back to that depth. */
VOID KiThawUnwound(KPRCB_THREAD_BLOCK *Block, ULONG Depth);
/* Nobody is frozen: for the child of a fork. */
VOID KiAbandonFreeze(VOID);

/* --- clock.c --- */
NTSTATUS KiStartClock(VOID);
VOID KiStopClock(VOID);
/* The clock ticks for Pcr until nothing is pending there. */
VOID KiArmClock(PKPCR Pcr);

/* --- affinity.c --- */
/* Carries out a change of affinity that was made at DISPATCH_LEVEL. IRQL < DISPATCH_LEVEL. */
VOID KiMoveThread(KPRCB_THREAD_BLOCK *Block);

#include "kidpc.h"
#include "kiframe.h"
#include "kilock.h"

#endif
