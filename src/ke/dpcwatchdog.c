/*
 * dpcwatchdog.c - the DPC watchdog, what it tells the routine that asks, and KeShouldYieldProcessor.
 *
 * Limits, in ticks of CPU time of the thread that owns the processor, so that a debugger's stop or a loaded host counts
 * for nothing: that of one DPC, that of a processor that stays at DISPATCH_LEVEL or above, and, in 6.0 and 6.1, that of
 * a thread which keeps it there. The clock looks at every processor every sixteenth of the lowest limit, or eighth of a
 * threshold (dpccapture.c), at most a second and at least a tick apart. Time counts from a look that sees the DPC, or the
 * owner, so a violation is found up to three looks late, and never early.
 *
 * What ThreadWatchdogPeriod measures in NT is not public. Here it is the part of the second count during which no DPC
 * ran: between two looks neither of which saw one.
 *
 * Threaded DPCs at PASSIVE_LEVEL own no processor and have no limit. One that raises its level is a thread like others.
 *
 * NT resets the second count by a threaded DPC, which runs as soon as the processor gets below DISPATCH_LEVEL. Here a
 * look sets WATCHED in KPCR.Request, and whoever lets the processor go takes it away (KiEndWatchedTime): the lower of
 * every owner looks at Request anyway. While a look finds WATCHED set, the processor has not been let go, but for once: the
 * owner may have gone before WATCHED came, and raise again. So time counts from the second look, unless the first was the
 * owner's own. So there is no DpcWatchdogDpc: a threaded DPC runs here beside the owner of its processor, and would show
 * nothing; an ordinary one runs before the processor gets below DISPATCH_LEVEL.
 *
 * A DPC is the same as at the last look if DpcRoutineActive is set and DpcCount has not changed.
 *
 * A violation is told in three steps, a look apart, until one succeeds. OVERDUE in Request: the owner finds it at its next
 * poll, which is also the end of the DPC, and bug checks there. Then the host's interrupt, which polls for an owner
 * that does not: there the bug check cannot end what runs, and is delivered to the catcher. Then the clock delivers it
 * itself, or reports and aborts. What was told is not told again: a DPC, or a thread, that nothing could end may go on.
 *
 *   word                            written by                              read by
 *   WATCHED, OVERDUE                the clock, and the owner that asks, OR;  the owner, the clock
 *                                   who lets go, or takes the violation, AND
 *   KI_WATCH.Culprit, Kind,         holder of KI_WATCH.Lock, before the OR   the owner, after it has found OVERDUE: the
 *   Dpc, Ticks                      of OVERDUE (release)                     AND is an acquire
 *   KI_WATCH, the rest; KPRCB's     holder of KI_WATCH.Lock                  display; KeShouldYieldProcessor (relaxed)
 *   DpcTimeCount, DpcWatchdogCount,
 *   ThreadWatchdogCount,
 *   DpcWatchdogSequenceNumber
 *
 * KI_WATCH.Lock is a leaf, taken with interrupts masked by the clock and by the owner. Tests: tests/ke/test_dpcwatchdog.c.
 */
#include "ki.h"

#define KI_LONGEST_INTERVAL 1000000000ull /* ns */
#define KI_LOOKS_A_LIMIT 16
#define KI_LOOKS_A_THRESHOLD 8 /* by default it is half of a limit, and makes no look more */

/* The first two are a parameter of the bug check; versions that have the third only report. */
typedef enum _KI_VIOLATION { KiSingleDpc, KiCumulativeTime, KiThreadTime } KI_VIOLATION;

typedef struct _KI_WATCH {
    KSPIN_LOCK Lock;
    PKTHREAD Owner; /* at the last look */
    LONG HostId;    /* of it: the memory may be another thread's by now */
    ULONG DpcCount;
    BOOLEAN InDpc;
    BOOLEAN Certain;    /* WATCHED came while the processor was owned */
    UCHAR Steps;        /* the clock's: looks that have found a violation in a row */
    BOOLEAN PeriodTold; /* since the processor was last let go */
    BOOLEAN ThreadTold; /* the same */
    BOOLEAN DpcTold;    /* of the DPC ToldDpc */
    ULONG ToldDpc;
    ULONGLONG Time;         /* ns of CPU time that the owner had used by then */
    ULONGLONG DpcTime;      /* ns, of the DPC that ran at the last look */
    ULONGLONG DispatchTime; /* ns, since the processor was last let go */
    ULONGLONG ThreadTime;   /* of that, no DPC seen */
    PKTHREAD volatile Culprit;
    ULONG volatile Kind;
    ULONG volatile Dpc; /* the DpcCount of a single DPC */
    ULONG volatile Ticks;
} KI_WATCH, *PKI_WATCH;

static KI_WATCH KiWatches[KPRCB_MAXIMUM_PROCESSORS];
static ULONGLONG KiNextLook;     /* ns; the clock alone */
static ULONGLONG KiLookInterval; /* ns; constant while the clock runs; 0: there is no limit */

static ULONGLONG KiTickTime(VOID)
{
    return KiMachine.TimeIncrement * 100ull;
}

VOID KiResetDpcWatch(PKPRCB Prcb)
{
    KiWatches[Prcb->Number] = (KI_WATCH){.Lock = 0};
    Prcb->DpcTimeLimit = KiMachine.DpcTimeLimit;
    Prcb->DpcWatchdogPeriod = (LONG)KiMachine.DpcWatchdogPeriod;
    Prcb->DpcWatchdogCount = Prcb->DpcWatchdogPeriod;
    Prcb->ThreadWatchdogPeriod = (LONG)KiMachine.ThreadWatchdogPeriod;
    Prcb->ThreadWatchdogCount = Prcb->ThreadWatchdogPeriod;
    KiResetCaptures(Prcb);
}

VOID KiEndWatchedTime(PKPCR Pcr)
{
    __atomic_fetch_and(&Pcr->Request, ~(ULONG)(KPCR_REQUEST_WATCHED | KPCR_REQUEST_OVERDUE), __ATOMIC_SEQ_CST);
}

/* Brings the two times up to date. Watch->Lock held. */
static VOID KiCountTime(PKI_WATCH Watch, PKPCR Pcr, PKTHREAD Owner, LONG HostId, ULONGLONG Time)
{
    PKPRCB Prcb = &Pcr->PrcbData;
    ULONG DpcCount = __atomic_load_n(&Prcb->DpcData[DPC_NORMAL].DpcCount, __ATOMIC_ACQUIRE);
    BOOLEAN InDpc = __atomic_load_n(&Prcb->DpcRoutineActive, __ATOMIC_ACQUIRE);
    ULONG Before = __atomic_fetch_or(&Pcr->Request, KPCR_REQUEST_WATCHED, __ATOMIC_SEQ_CST);

    if ((Before & KPCR_REQUEST_WATCHED) == 0 || Watch->Owner != Owner || Watch->HostId != HostId) {
        Watch->DispatchTime = Watch->ThreadTime = Watch->DpcTime = 0;
        Watch->Time = Time;
        Watch->Certain = Owner == KprcbThread.Thread;
        Watch->PeriodTold = Watch->ThreadTold = FALSE;
        __atomic_store_n(&Prcb->DpcWatchdogSequenceNumber, Prcb->DpcWatchdogSequenceNumber + 1, __ATOMIC_RELAXED);
    } else if (!Watch->Certain) {
        Watch->Certain = TRUE;
        Watch->Time = Time;
    } else if (Time > Watch->Time) {
        Watch->DispatchTime += Time - Watch->Time;
        Watch->ThreadTime += InDpc || Watch->InDpc ? 0 : Time - Watch->Time;
        Watch->DpcTime += Time - Watch->Time;
        Watch->Time = Time;
    }
    if (!InDpc || !Watch->InDpc || Watch->DpcCount != DpcCount) {
        Watch->DpcTime = 0;
    }
    Watch->Owner = Owner;
    Watch->HostId = HostId;
    Watch->InDpc = InDpc;
    Watch->DpcCount = DpcCount;
}

static VOID KiForgetOwner(PKI_WATCH Watch, PKPCR Pcr)
{
    if ((__atomic_load_n(&Pcr->Request, __ATOMIC_RELAXED) & (KPCR_REQUEST_WATCHED | KPCR_REQUEST_OVERDUE)) != 0) {
        KiEndWatchedTime(Pcr);
    }
    Watch->Owner = NULL;
    Watch->DispatchTime = Watch->ThreadTime = Watch->DpcTime = 0;
}

/* What is left of Period, for everyone to see. TRUE: nothing is, and there is such a limit. */
static BOOLEAN KiPublishLeft(LONG *Count, LONG Period, ULONGLONG Time)
{
    ULONGLONG Ticks = Time / KiTickTime();
    LONG Left = Ticks < (ULONG)Period ? (LONG)((ULONG)Period - (ULONG)Ticks) : 0;

    /* A look at a processor that nobody owns writes nothing. */
    if (*Count != Left) {
        __atomic_store_n(Count, Left, __ATOMIC_RELAXED);
    }
    return Left == 0 && Period != 0;
}

/* Owner nears a limit of which was not told: its stack is captured when the clock interrupts it. */
static VOID KiProfileOwner(PKI_WATCH Watch, PKPRCB Prcb)
{
    ULONG Single = Prcb->DpcWatchdogProfileSingleDpcThreshold;
    ULONG Cumulative = Prcb->DpcWatchdogProfileCumulativeDpcThreshold;
    ULONG DpcTicks = (ULONG)(Watch->DpcTime / KiTickTime());
    ULONG Ticks = (ULONG)(Watch->DispatchTime / KiTickTime());
    BOOLEAN Near = (Single != 0 && DpcTicks >= Single && !(Watch->DpcTold && Watch->ToldDpc == Watch->DpcCount)) ||
                   (Cumulative != 0 && Ticks >= Cumulative && !Watch->PeriodTold);

    KiAskForCapture(Prcb, Near ? Watch->Owner : NULL, DpcTicks, Ticks);
}

/* The counts, for everyone to see. TRUE: one of them says that a limit is exceeded, and Watch says which. */
static BOOLEAN KiPublishCounts(PKI_WATCH Watch, PKPRCB Prcb)
{
    ULONG DpcTicks = (ULONG)(Watch->DpcTime / KiTickTime());
    BOOLEAN Long = Prcb->DpcTimeLimit != 0 && DpcTicks > Prcb->DpcTimeLimit &&
                   !(Watch->DpcTold && Watch->ToldDpc == Watch->DpcCount);
    BOOLEAN Period =
        KiPublishLeft(&Prcb->DpcWatchdogCount, Prcb->DpcWatchdogPeriod, Watch->DispatchTime) && !Watch->PeriodTold;
    BOOLEAN Thread =
        KiPublishLeft(&Prcb->ThreadWatchdogCount, Prcb->ThreadWatchdogPeriod, Watch->ThreadTime) && !Watch->ThreadTold;

    if (Prcb->DpcTimeCount != DpcTicks) {
        __atomic_store_n(&Prcb->DpcTimeCount, DpcTicks, __ATOMIC_RELAXED);
    }
    if (!Long && !Period && !Thread) {
        return FALSE;
    }
    __atomic_store_n(&Watch->Culprit, Watch->Owner, __ATOMIC_RELAXED);
    __atomic_store_n(&Watch->Kind, Long ? KiSingleDpc : Period ? KiCumulativeTime : KiThreadTime, __ATOMIC_RELAXED);
    __atomic_store_n(&Watch->Dpc, Watch->DpcCount, __ATOMIC_RELAXED);
    __atomic_store_n(&Watch->Ticks, DpcTicks, __ATOMIC_RELAXED);
    return TRUE;
}

BOOLEAN KiWatchProcessor(PKPCR Pcr, PKTHREAD Owner, LONG HostId, ULONGLONG Time)
{
    PKI_WATCH Watch = &KiWatches[Pcr->PrcbData.Number];
    BOOLEAN Overdue;

    KiMaskInterrupts(&KprcbThread);
    KiAcquireInternalLock(&Watch->Lock);
    if (Owner != NULL) {
        KiCountTime(Watch, Pcr, Owner, HostId, Time);
    } else {
        KiForgetOwner(Watch, Pcr);
    }
    Overdue = KiPublishCounts(Watch, &Pcr->PrcbData);
    if (Overdue && KiMachine.Profile->DpcWatchdog == KiDpcWatchdogStops) {
        __atomic_fetch_or(&Pcr->Request, KPCR_REQUEST_OVERDUE, __ATOMIC_SEQ_CST);
    }
    KiProfileOwner(Watch, &Pcr->PrcbData);
    KiReleaseInternalLock(&Watch->Lock);
    KiUnmaskInterrupts(&KprcbThread);
    return Overdue;
}

/* What somebody is about to tell. */
static KPRCB_BUGCHECK KiDescribeViolation(PKI_WATCH Watch, PKPRCB Prcb)
{
    KPRCB_BUGCHECK BugCheck = {.Code = DPC_WATCHDOG_VIOLATION};

    KiMaskInterrupts(&KprcbThread);
    KiAcquireInternalLock(&Watch->Lock);
    if (Watch->Kind == KiSingleDpc) {
        Watch->DpcTold = TRUE;
        Watch->ToldDpc = Watch->Dpc;
    } else if (Watch->Kind == KiCumulativeTime) {
        Watch->PeriodTold = TRUE;
    } else {
        Watch->ThreadTold = TRUE;
    }
    KiReleaseInternalLock(&Watch->Lock);
    KiUnmaskInterrupts(&KprcbThread);
    BugCheck.Parameter[0] = __atomic_load_n(&Watch->Kind, __ATOMIC_RELAXED);
    if (BugCheck.Parameter[0] == KiSingleDpc) {
        BugCheck.Parameter[1] = __atomic_load_n(&Watch->Ticks, __ATOMIC_RELAXED);
        BugCheck.Parameter[2] = Prcb->DpcTimeLimit;
    } else {
        BugCheck.Parameter[1] = (ULONG)Prcb->DpcWatchdogPeriod;
    }
    return BugCheck;
}

VOID KiTakeDpcViolation(KPRCB_THREAD_BLOCK *Block)
{
    PKPCR Pcr = Block->Pcr;
    PKPRCB Prcb = &Pcr->PrcbData;
    PKI_WATCH Watch = &KiWatches[Prcb->Number];
    ULONG Before = __atomic_fetch_and(&Pcr->Request, ~(ULONG)KPCR_REQUEST_OVERDUE, __ATOMIC_SEQ_CST);
    ULONG Kind = __atomic_load_n(&Watch->Kind, __ATOMIC_RELAXED);
    ULONG Dpc = __atomic_load_n(&Watch->Dpc, __ATOMIC_RELAXED);
    KPRCB_BUGCHECK BugCheck;

    /* The look may have been at a former owner, and OVERDUE set after that had let go. */
    if ((Before & KPCR_REQUEST_OVERDUE) == 0 || (Before & KPCR_REQUEST_WATCHED) == 0 ||
        __atomic_load_n(&Watch->Culprit, __ATOMIC_RELAXED) != Block->Thread ||
        (Kind == KiSingleDpc && (!Prcb->DpcRoutineActive || Prcb->DpcData[DPC_NORMAL].DpcCount != Dpc))) {
        return;
    }
    BugCheck = KiDescribeViolation(Watch, Prcb);
    KeBugCheckEx(BugCheck.Code, BugCheck.Parameter[0], BugCheck.Parameter[1], BugCheck.Parameter[2], 0);
}

static VOID KiReportViolation(PKI_WATCH Watch, PKPCR Pcr)
{
    PKPRCB Prcb = &Pcr->PrcbData;
    const struct {
        const char *Text;
        ULONG Limit;
    } Kinds[] = {
        [KiSingleDpc] = {"a DPC has run", Prcb->DpcTimeLimit},
        [KiCumulativeTime] = {"at DISPATCH_LEVEL or above", (ULONG)Prcb->DpcWatchdogPeriod},
        [KiThreadTime] = {"a thread at DISPATCH_LEVEL or above", (ULONG)Prcb->ThreadWatchdogPeriod},
    };

    HalPrint("kprcb: processor %u, host thread %d: %s for %u ticks or more of CPU time\n", (unsigned)Prcb->Number,
             (int)Watch->HostId, Kinds[Watch->Kind].Text, (unsigned)Kinds[Watch->Kind].Limit);
}

/* The clock found a violation, for the Watch->Steps'th look in a row. */
static VOID KiTellViolation(PKI_WATCH Watch, PKPCR Pcr)
{
    KPRCB_BUGCHECK BugCheck;
    ULONG Before;

    if (KiMachine.Profile->DpcWatchdog == KiDpcWatchdogReports) {
        (VOID) KiDescribeViolation(Watch, &Pcr->PrcbData);
        KiReportViolation(Watch, Pcr);
        return;
    }
    Watch->Steps += 1;
    if (Watch->Steps == 2) {
        KiPress(Pcr);
    }
    if (Watch->Steps < 3) {
        return;
    }
    Before = __atomic_fetch_and(&Pcr->Request, ~(ULONG)KPCR_REQUEST_OVERDUE, __ATOMIC_SEQ_CST);
    Watch->Steps = 0;
    if ((Before & KPCR_REQUEST_OVERDUE) != 0) {
        KiReportViolation(Watch, Pcr);
        BugCheck = KiDescribeViolation(Watch, &Pcr->PrcbData);
        KiBugCheckElsewhere(&BugCheck);
    }
}

/*
 * A DPC that began after the look's time was read counts from the next look: the clock may have lost its CPU in between
 * for longer than a limit.
 */
static VOID KiForgetYoungDpc(PKI_WATCH Watch, ULONG DpcCount)
{
    KiMaskInterrupts(&KprcbThread);
    KiAcquireInternalLock(&Watch->Lock);
    if (Watch->DpcCount != DpcCount) {
        Watch->InDpc = FALSE;
    }
    KiReleaseInternalLock(&Watch->Lock);
    KiUnmaskInterrupts(&KprcbThread);
}

static VOID KiLookAtProcessor(PKPCR Pcr)
{
    PKI_WATCH Watch = &KiWatches[Pcr->PrcbData.Number];
    ULONG DpcCount = __atomic_load_n(&Pcr->PrcbData.DpcData[DPC_NORMAL].DpcCount, __ATOMIC_ACQUIRE);
    PKTHREAD Owner = KiQueryOwner(Pcr);
    LONG HostId = Owner != NULL ? __atomic_load_n(&Owner->HostId, __ATOMIC_RELAXED) : 0;
    ULONGLONG Time = 0;
    BOOLEAN Overdue;

    if (Owner != NULL && !HalThreadTimeOf(HostId, &Time)) {
        Owner = NULL;
    }
    Overdue = KiWatchProcessor(Pcr, Owner, HostId, Time);
    if (Owner != NULL && KiCaptureIsAsked(&Pcr->PrcbData)) {
        HalInterruptThread(HostId);
    }
    if (Overdue) {
        KiTellViolation(Watch, Pcr);
    } else {
        Watch->Steps = 0;
    }
    KiForgetYoungDpc(Watch, DpcCount);
}

/* Limit: in ticks; 0: there is none. */
static VOID KiShortenInterval(ULONGLONG *Interval, ULONG Limit, ULONG Looks)
{
    ULONGLONG Time = (Limit < Looks ? 1 : Limit / Looks) * KiTickTime();

    if (Limit != 0 && (*Interval == 0 || Time < *Interval)) {
        *Interval = Time;
    }
}

/* Between two looks. */
static ULONGLONG KiChooseInterval(VOID)
{
    ULONGLONG Interval = 0;

    KiShortenInterval(&Interval, KiMachine.DpcTimeLimit, KI_LOOKS_A_LIMIT);
    KiShortenInterval(&Interval, KiMachine.DpcWatchdogPeriod, KI_LOOKS_A_LIMIT);
    KiShortenInterval(&Interval, KiMachine.ThreadWatchdogPeriod, KI_LOOKS_A_LIMIT);
    KiShortenInterval(&Interval, KiMachine.SingleDpcThreshold, KI_LOOKS_A_THRESHOLD);
    KiShortenInterval(&Interval, KiMachine.CumulativeDpcThreshold, KI_LOOKS_A_THRESHOLD);
    return Interval < KI_LONGEST_INTERVAL ? Interval : KI_LONGEST_INTERVAL;
}

VOID KiResetDpcWatchdog(VOID)
{
    KiNextLook = 0;
    KiLookInterval = KiChooseInterval();
}

VOID KiRunDpcWatchdog(VOID)
{
    ULONGLONG Now;

    if (KiLookInterval == 0) {
        return;
    }
    Now = HalMonotonicTime();
    if (Now >= KiNextLook) {
        KiNextLook = Now + KiLookInterval;
        for (ULONG Index = 0; Index < KiProcessorCount(); Index += 1) {
            KiLookAtProcessor(KiProcessor(Index));
        }
    }
}

ULONGLONG KiDpcWatchdogTimeout(VOID)
{
    ULONGLONG Now;

    if (KiLookInterval == 0) {
        return 0;
    }
    Now = HalMonotonicTime();
    return KiNextLook > Now ? KiNextLook - Now : 1;
}

NTSTATUS KeQueryDpcWatchdogInformation(PKDPC_WATCHDOG_INFORMATION WatchdogInformation)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    PKPRCB Prcb = &Block->Pcr->PrcbData;

    if (Block->Irql < DISPATCH_LEVEL) {
        return STATUS_UNSUCCESSFUL;
    }
    if (Prcb->DpcTimeLimit != 0 || Prcb->DpcWatchdogPeriod != 0) {
        (VOID) KiWatchProcessor(Block->Pcr, Block->Thread, Block->Thread->HostId, HalThreadTime());
    }
    *WatchdogInformation = (KDPC_WATCHDOG_INFORMATION){
        .DpcTimeLimit = Prcb->DpcTimeLimit,
        .DpcWatchdogLimit = (ULONG)Prcb->DpcWatchdogPeriod,
    };
    if (Prcb->DpcTimeLimit != 0) {
        ULONG Used = __atomic_load_n(&Prcb->DpcTimeCount, __ATOMIC_RELAXED);

        WatchdogInformation->DpcTimeCount = Used < Prcb->DpcTimeLimit ? Prcb->DpcTimeLimit - Used : 0;
    }
    if (Prcb->DpcWatchdogPeriod != 0) {
        WatchdogInformation->DpcWatchdogCount = (ULONG)__atomic_load_n(&Prcb->DpcWatchdogCount, __ATOMIC_RELAXED);
    }
    return STATUS_SUCCESS;
}

/* More than half of a limit is used up. */
static BOOLEAN KiLimitIsNear(PKPRCB Prcb)
{
    return (Prcb->DpcTimeLimit != 0 &&
            __atomic_load_n(&Prcb->DpcTimeCount, __ATOMIC_RELAXED) > Prcb->DpcTimeLimit / 2) ||
           (Prcb->DpcWatchdogPeriod != 0 &&
            __atomic_load_n(&Prcb->DpcWatchdogCount, __ATOMIC_RELAXED) < Prcb->DpcWatchdogPeriod / 2) ||
           (Prcb->ThreadWatchdogPeriod != 0 &&
            __atomic_load_n(&Prcb->ThreadWatchdogCount, __ATOMIC_RELAXED) < Prcb->ThreadWatchdogPeriod / 2);
}

/* Another thread wants the processor. */
static BOOLEAN KiIsAwaited(PKPCR Pcr, PKTHREAD Thread)
{
    PKTHREAD Owner = __atomic_load_n(&Pcr->Owner, __ATOMIC_RELAXED);

    return (Owner != NULL && Owner != Thread) || __atomic_load_n(&Pcr->TokenWaiters, __ATOMIC_RELAXED) != 0 ||
           __atomic_load_n(&Pcr->TokenHeir, __ATOMIC_RELAXED) != NULL;
}

LOGICAL KeShouldYieldProcessor(VOID)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    PKPCR Pcr = Block->Pcr;

    KiCheckOwnerLevel(Block);
    if (Block->Irql < DISPATCH_LEVEL) {
        return FALSE;
    }
    return (__atomic_load_n(&Pcr->Request, __ATOMIC_RELAXED) & (KI_PENDING | KPCR_REQUEST_OVERDUE)) != 0 ||
           KiDpcsQueued(Pcr) || KiIsAwaited(Pcr, Block->Thread) || KiLimitIsNear(&Pcr->PrcbData);
}
