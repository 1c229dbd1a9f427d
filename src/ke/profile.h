/*
 * profile.h - the behaviour profile: what differs between versions of NT in how processors work, as switches.
 *
 * KPRCB_CONFIG.Version chooses a row when the machine starts. Code asks KiMachine.Profile for a switch, never for a
 * version. How a version reads cpuid is in identify.h, under the same labels.
 */
#ifndef KE_PROFILE_H
#define KE_PROFILE_H

#include <kprcb/base.h>

typedef enum _KI_IPI_PROTOCOL {
    KiIpiFlags,  /* to 3.51: a flag for each request; one packet at a time on the whole machine */
    KiIpiBits,   /* 4.0 to 6.3: bits of RequestSummary; each processor has a packet, answered by SignalDone */
    KiIpiMailbox /* from 10.0: a mailbox for each sender; TargetCount answers */
} KI_IPI_PROTOCOL;

/* What tells that a DPC runs, and so what KeIsExecutingDpc returns. */
typedef enum _KI_DPC_ACTIVE {
    KiDpcActiveStack, /* to 5.1: the stack address at which DPCs were entered */
    KiDpcActiveByte,  /* 5.2: DpcRoutineActive */
    KiDpcActiveWord   /* from 6.0: DpcRoutineActive or DpcThreadActive */
} KI_DPC_ACTIVE;

/* What the DPC watchdog does about a limit exceeded. */
typedef enum _KI_DPC_WATCHDOG {
    KiDpcWatchdogNone,    /* to 5.2: there is none */
    KiDpcWatchdogReports, /* 6.0 and 6.1: it tells the debugger; here, stderr */
    KiDpcWatchdogStops    /* from 6.2: a bug check */
} KI_DPC_WATCHDOG;

typedef struct _KI_PROFILE {
    const char *Version;        /* the label, as "5.2-late" */
    UCHAR IpiProtocol;          /* KI_IPI_PROTOCOL */
    UCHAR DpcActive;            /* KI_DPC_ACTIVE */
    BOOLEAN ThreadedDpcs;       /* there are any; without, a threaded DPC is an ordinary one */
    BOOLEAN BypassCounts;       /* ApcBypassCount and DpcBypassCount count */
    BOOLEAN DpcCaptures;        /* the DPC watchdog captures the stacks of those that near a limit */
    BOOLEAN DpcTuning;          /* MaximumDpcQueueDepth follows the request rate */
    UCHAR DpcWatchdog;          /* KI_DPC_WATCHDOG */
    ULONG DpcTimeout;           /* ms, of one DPC */
    ULONG DpcWatchdogPeriod;    /* ms, of a processor at DISPATCH_LEVEL */
    ULONG ThreadWatchdogPeriod; /* ms, of a thread there; 0: there is no such limit */
} KI_PROFILE;

/* Oldest first; the last one is the default. */
extern const KI_PROFILE KiProfiles[];
extern const ULONG KiProfileCount;

/* By the label; NULL: the newest. Returns NULL if there is no such version. */
const KI_PROFILE *KiFindProfile(const char *Version);

#endif
