/*
 * machine.h - starting and stopping the machine, attaching threads to processors.
 *
 * The first call of any routine starts the machine with defaults and attaches the calling thread; the routines here
 * do it by choice. A thread that was never attached by name is attached by its first call, to the least used
 * processor, as its resident if it has none; such a thread may run on any processor.
 *
 * Deviation from NT: threads below DISPATCH_LEVEL run beside the owner of their processor and beside each other, as
 * the host schedules them. What NT's scheduler guarantees below DISPATCH_LEVEL by running one thread a processor does
 * not hold.
 */
#ifndef KPRCB_MACHINE_H
#define KPRCB_MACHINE_H

#include <kprcb/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* KPRCB_CONFIG.Flags */
#define KPRCB_NO_PINNING 0x00000001   /* leave the placement of threads to the host */
#define KPRCB_FREE_BUILD 0x00000004   /* BuildType without PRCB_BUILD_DEBUG: misuse does what a free build of NT does */
#define KPRCB_UNIPROCESSOR 0x00000008 /* one processor, PRCB_BUILD_UNIPROCESSOR: spin locks only raise IRQL */
#define KPRCB_NO_SIGNALS 0x00000010   /* an owner that does not poll is not interrupted */
#define KPRCB_NO_MEMBARRIER 0x00000020 /* residents order their stores by exchange, as on hosts without membarrier */
#define KPRCB_NO_THREADED_DPCS 0x00000040 /* threaded DPCs run as ordinary ones until KprcbSetThreadedDpcs */

#define KPRCB_VALID_FLAGS                                                                                              \
    (KPRCB_NO_PINNING | KPRCB_FREE_BUILD | KPRCB_UNIPROCESSOR | KPRCB_NO_SIGNALS | KPRCB_NO_MEMBARRIER |               \
     KPRCB_NO_THREADED_DPCS)

typedef struct _KPRCB_CONFIG {
    ULONG Size;           /* sizeof(KPRCB_CONFIG), of this library or an older or newer one */
    ULONG ProcessorCount; /* 0: one for each host CPU that the process may use, or 1 if KPRCB_UNIPROCESSOR */
    ULONG GroupSize;      /* processors a group, 1 to KPRCB_GROUP_SIZE; 0: KPRCB_GROUP_SIZE */
    ULONG Flags;
    ULONG TimeIncrement; /* clock tick in 100 ns units, 1,000 to 10,000,000; 0: 10,000 (1 ms) */
    const char *Version; /* what it behaves like, as "5.2-late"; `kprcb cpuid --list` has all; NULL: the newest */
    ULONG MaximumProcessorCount; /* how many there may become by KprcbAddProcessor; 0: ProcessorCount */
    /* ms of CPU time; 0: as the version has it; KPRCB_NO_DPC_TIMEOUT: no limit. Exceeded: DPC_WATCHDOG_VIOLATION */
    ULONG DpcTimeout;        /* that one DPC may use */
    ULONG DpcWatchdogPeriod; /* that a processor may spend at DISPATCH_LEVEL or above on end */
    /*
     * The topology (topology.h) as "nodes:packages:cores:threads": packages a node, cores a package, processors a core,
     * filled in this order; with caches as those of the host's first CPU, of level 1 and 2 for each core, of higher ones
     * for each package. "2:1:4:2": two nodes of one package each with four cores of two processors. ProcessorCount 0: one
     * for each; MaximumProcessorCount may not be more. NULL: that of the host's CPUs.
     */
    const char *Topology;
    ULONG ThreadWatchdogPeriod; /* 6.0 and 6.1: as DpcWatchdogPeriod, of a thread without its DPCs; they only report */
    /*
     * ms of CPU time of one DPC, and of a processor at DISPATCH_LEVEL or above, after which the clock has the stack of the
     * owner captured each time that it looks, by the interrupt (ipi.h), until the limit is exceeded; the report of the bug
     * check prints the last 16 captures. 0: half of the limit; KPRCB_NO_DPC_TIMEOUT: never. From 1703 on, and not with
     * KPRCB_NO_SIGNALS.
     */
    ULONG DpcWatchdogProfileSingleDpcThreshold;
    ULONG DpcWatchdogProfileCumulativeDpcThreshold;
} KPRCB_CONFIG;

#define KPRCB_NO_DPC_TIMEOUT 0xFFFFFFFF

/*
 * KprcbStart: creates the processors, all or none, with their threads. Config NULL: the defaults, which the
 * environment may set: KPRCB_PROCESSORS, KPRCB_MAXIMUM_PROCESSORS, KPRCB_GROUP_SIZE, KPRCB_FLAGS (names without the
 * prefix, joined by commas), KPRCB_TIME_INCREMENT, KPRCB_VERSION, KPRCB_DPC_TIMEOUT, KPRCB_DPC_WATCHDOG_PERIOD,
 * KPRCB_THREAD_WATCHDOG_PERIOD, KPRCB_DPC_WATCHDOG_PROFILE_SINGLE_DPC_THRESHOLD,
 * KPRCB_DPC_WATCHDOG_PROFILE_CUMULATIVE_DPC_THRESHOLD, KPRCB_TOPOLOGY. The calling thread is not attached. Members beyond
 * a smaller Size count as 0; with a larger one, what this library does not know must be 0.
 *   STATUS_SUCCESS
 *   STATUS_ALREADY_INITIALIZED     it runs
 *   STATUS_INVALID_PARAMETER       a member, or a variable of the environment, is out of range; nothing was started
 *   STATUS_NOT_SUPPORTED           there is no such Version; a line on stderr says so
 *   STATUS_INSUFFICIENT_RESOURCES  memory or threads; nothing was started
 */
KPRCB_API NTSTATUS KprcbStart(const KPRCB_CONFIG *Config);

/*
 * KprcbAddProcessor: creates the next processor with its threads and makes it active, as hardware does on NT that plugs
 * one in; its number goes to *Number unless that is NULL. On return the counts, the masks of groups and every query
 * include it. Whoever may run on any processor of its group may run on it from then on; a mask that somebody has set
 * does not gain it. It becomes active between two KeIpiGenericCalls, never during one. There is no way to take it away.
 * Starts the machine, if it does not run, and attaches the calling thread. PASSIVE_LEVEL.
 *   STATUS_SUCCESS
 *   STATUS_QUOTA_EXCEEDED          MaximumProcessorCount processors are active
 *   STATUS_INSUFFICIENT_RESOURCES  memory or threads; nothing has changed
 *   STATUS_INVALID_DEVICE_STATE    the caller's IRQL is not PASSIVE_LEVEL, or it is a thread of the machine, or inside a
 *                                  callback of KeRegisterProcessorChangeCallback
 *   any other error                the one that such a callback has set; nothing has changed
 */
KPRCB_API NTSTATUS KprcbAddProcessor(PPROCESSOR_NUMBER Number);

/*
 * KprcbStop: ends all threads of the machine and frees its memory. The calling thread is detached.
 *   STATUS_SUCCESS
 *   STATUS_DEVICE_NOT_READY        it does not run
 *   STATUS_DEVICE_BUSY             DPCs are queued or running, an IPI is under way, other threads are attached, or the caller
 *                                  is inside a routine of the machine; a line on stderr says which
 *   STATUS_INVALID_DEVICE_STATE    the caller's IRQL is not PASSIVE_LEVEL
 */
KPRCB_API NTSTATUS KprcbStop(VOID);

/*
 * KprcbAttachThread: makes the calling thread the resident of a processor and restricts its affinity to it. Starts
 * the machine if it does not run. PASSIVE_LEVEL. A thread that is attached already moves.
 *   STATUS_SUCCESS
 *   STATUS_INVALID_PARAMETER       no such processor
 *   STATUS_ALREADY_REGISTERED      the processor has a resident that was attached by name
 *   STATUS_INVALID_DEVICE_STATE    the caller's IRQL is not PASSIVE_LEVEL, or it is a thread of the machine
 *   STATUS_INSUFFICIENT_RESOURCES
 */
KPRCB_API NTSTATUS KprcbAttachThread(ULONG ProcessorIndex);

/*
 * KprcbDetachThread: the opposite; the thread's next call attaches it anew. Threads detach by themselves at exit.
 * PASSIVE_LEVEL.
 *   STATUS_SUCCESS
 *   STATUS_NOT_FOUND               the thread is not attached
 *   STATUS_INVALID_DEVICE_STATE    the caller's IRQL is not PASSIVE_LEVEL, or it is a thread of the machine or inside
 *                                  KprcbCatchBugCheck, or inside a callback of KeRegisterProcessorChangeCallback
 */
KPRCB_API NTSTATUS KprcbDetachThread(VOID);

/* KprcbVersion: the library's own version, as "0.1.0". */
KPRCB_API const char *KprcbVersion(VOID);

#ifdef __cplusplus
}
#endif

#endif
