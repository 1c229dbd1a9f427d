/*
 * dpccapture.c - captures of the stacks of those that come near a limit of the DPC watchdog (DpcWatchdogProfile).
 *
 * A look of the watchdog finds that a DPC, or a processor at DISPATCH_LEVEL, has used as much CPU time as its threshold
 * says: the owner is interrupted, and in the interrupt writes its return addresses down, at each look until the
 * limit is exceeded and told. The report of DPC_WATCHDOG_VIOLATION prints what was captured, since by then whoever tells
 * of it may be another thread than the one that is to blame.
 *
 * Each processor has room for 16 captures, used in turn: 4 KiB on a 64-bit host, touched by the first capture.
 * Without the host's interrupt (KPRCB_NO_SIGNALS, or a program that uses the signal itself) there are no thresholds.
 *
 * What NT captures is public, and so are the names; the form is not. Ours is KI_CAPTURE.
 *
 *   word                             written by                                           read by
 *   KI_ASKED.Thread, NULL -> Thread  holder of KI_WATCH.Lock (dpcwatchdog.c), release     Thread, in an interrupt
 *     Thread -> NULL                 the same, by compare-exchange: not asked any more
 *     Thread -> Thread | 1           Thread, by compare-exchange, acquire: it captures
 *     Thread | 1 -> NULL             Thread, release: it is done                          holder of KI_WATCH.Lock, acquire
 *   KI_ASKED, the rest               holder of KI_WATCH.Lock, Thread being NULL           Thread, once it captures
 *   a KI_CAPTURE and                 who captures; Sequence is 0 before it begins, and    reports, which take one whose
 *   DpcWatchdogProfileCurrent-       the last word stored (release)                       Sequence (acquire) is that of the
 *   EmptyCapture                                                                          processor's count
 *
 * So a buffer has one writer at a time, which may have been interrupted anywhere, holding KI_WATCH.Lock too: it takes no
 * lock. A report that is under way while 16 looks go by may print a mixture.
 *
 * Tests: tests/ke/test_dpccapture.c.
 */
#include "ki.h"

#define KI_CAPTURES 16
#define KI_CAPTURE_ADDRESSES 29
#define KI_CAPTURING ((ULONG_PTR)1)

/* 32 pointers: what KPRCB.DpcWatchdogProfile points to. */
typedef struct _KI_CAPTURE {
    ULONG_PTR Sequence;                    /* DpcWatchdogSequenceNumber; 0: there is no capture */
    ULONG_PTR DpcTicks;                    /* that the DPC had run; 0: there was none, or it had just begun */
    ULONG_PTR Ticks;                       /* that the processor had been at DISPATCH_LEVEL or above */
    PVOID Addresses[KI_CAPTURE_ADDRESSES]; /* the innermost first; NULL behind the last */
} KI_CAPTURE, *PKI_CAPTURE;

KPRCB_STATIC_ASSERT(sizeof(KI_CAPTURE) == 32 * sizeof(PVOID), "a capture is 32 pointers, as prcb.h says");

typedef struct _KI_ASKED {
    ULONG_PTR volatile Thread;
    ULONG Sequence;
    ULONG DpcTicks;
    ULONG Ticks;
} KI_ASKED, *PKI_ASKED;

static KI_ASKED KiAsked[KPRCB_MAXIMUM_PROCESSORS];
static PKI_CAPTURE KiCaptures; /* KI_CAPTURES a processor; NULL: there is no threshold */

static SIZE_T KiCaptureBytes(VOID)
{
    return KiMachine.MaximumProcessors * (SIZE_T)KI_CAPTURES * sizeof(KI_CAPTURE);
}

BOOLEAN KiStartCaptures(VOID)
{
    if (!KiMachine.Signals) {
        KiMachine.SingleDpcThreshold = KiMachine.CumulativeDpcThreshold = 0;
    }
    if (KiMachine.SingleDpcThreshold == 0 && KiMachine.CumulativeDpcThreshold == 0) {
        return TRUE;
    }
    KiCaptures = HalAllocateSparsePages(KiCaptureBytes());
    return KiCaptures != NULL;
}

VOID KiFreeCaptures(VOID)
{
    if (KiCaptures != NULL) {
        HalFreeSparsePages(KiCaptures, KiCaptureBytes());
    }
    KiCaptures = NULL;
}

VOID KiAbandonCaptures(VOID)
{
    KiCaptures = NULL;
}

VOID KiResetCaptures(PKPRCB Prcb)
{
    KiAsked[Prcb->Number] = (KI_ASKED){0};
    Prcb->DpcWatchdogProfileSingleDpcThreshold = KiMachine.SingleDpcThreshold;
    Prcb->DpcWatchdogProfileCumulativeDpcThreshold = KiMachine.CumulativeDpcThreshold;
    if (KiCaptures != NULL) {
        Prcb->DpcWatchdogProfile = (PVOID *)(KiCaptures + Prcb->Number * (SIZE_T)KI_CAPTURES);
        Prcb->DpcWatchdogProfileCurrentEmptyCapture = Prcb->DpcWatchdogProfile;
    }
}

VOID KiAskForCapture(PKPRCB Prcb, PKTHREAD Owner, ULONG DpcTicks, ULONG Ticks)
{
    PKI_ASKED Asked = &KiAsked[Prcb->Number];
    ULONG_PTR Before = __atomic_load_n(&Asked->Thread, __ATOMIC_ACQUIRE);

    if ((Before & KI_CAPTURING) != 0 ||
        (Before != 0 &&
         !__atomic_compare_exchange_n(&Asked->Thread, &Before, 0, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))) {
        return;
    }
    if (Owner != NULL && Prcb->DpcWatchdogProfile != NULL) {
        Asked->Sequence = Prcb->DpcWatchdogSequenceNumber;
        Asked->DpcTicks = DpcTicks;
        Asked->Ticks = Ticks;
        __atomic_store_n(&Asked->Thread, (ULONG_PTR)Owner, __ATOMIC_RELEASE);
    }
}

BOOLEAN KiCaptureIsAsked(PKPRCB Prcb)
{
    return __atomic_load_n(&KiAsked[Prcb->Number].Thread, __ATOMIC_RELAXED) != 0;
}

static PKI_CAPTURE KiNextCapture(PKPRCB Prcb, PKI_CAPTURE Capture)
{
    PKI_CAPTURE First = (PKI_CAPTURE)Prcb->DpcWatchdogProfile;

    return Capture + 1 == First + KI_CAPTURES ? First : Capture + 1;
}

static VOID KiWriteCapture(PKPRCB Prcb, const KI_ASKED *Asked, PVOID Frame)
{
    PKI_CAPTURE Capture = (PKI_CAPTURE)Prcb->DpcWatchdogProfileCurrentEmptyCapture;
    PVOID Addresses[KI_CAPTURE_ADDRESSES];
    ULONG Count = HalCaptureStack(Frame, Addresses, KI_CAPTURE_ADDRESSES);

    __atomic_store_n(&Capture->Sequence, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&Capture->DpcTicks, Asked->DpcTicks, __ATOMIC_RELAXED);
    __atomic_store_n(&Capture->Ticks, Asked->Ticks, __ATOMIC_RELAXED);
    for (ULONG Index = 0; Index < KI_CAPTURE_ADDRESSES; Index += 1) {
        __atomic_store_n(&Capture->Addresses[Index], Index < Count ? Addresses[Index] : NULL, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&Capture->Sequence, Asked->Sequence, __ATOMIC_RELEASE);
    __atomic_store_n(&Prcb->DpcWatchdogProfileCurrentEmptyCapture, (PVOID *)KiNextCapture(Prcb, Capture),
                     __ATOMIC_RELAXED);
}

VOID KiTakeCapture(KPRCB_THREAD_BLOCK *Block, PVOID Frame)
{
    PKPRCB Prcb = &Block->Pcr->PrcbData;
    PKI_ASKED Asked = &KiAsked[Prcb->Number];
    ULONG_PTR Thread = (ULONG_PTR)Block->Thread;

    if (__atomic_load_n(&Asked->Thread, __ATOMIC_RELAXED) == Thread &&
        __atomic_compare_exchange_n(&Asked->Thread, &Thread, Thread | KI_CAPTURING, FALSE, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED)) {
        KiWriteCapture(Prcb, Asked, Frame);
        __atomic_store_n(&Asked->Thread, 0, __ATOMIC_RELEASE);
    }
}

static VOID KiPrintCapture(PKPRCB Prcb, const KI_CAPTURE *Capture)
{
    PVOID Addresses[KI_CAPTURE_ADDRESSES];
    ULONG Count = 0;

    while (Count < KI_CAPTURE_ADDRESSES) {
        Addresses[Count] = __atomic_load_n(&Capture->Addresses[Count], __ATOMIC_RELAXED);
        if (Addresses[Count] == NULL) {
            break;
        }
        Count += 1;
    }
    HalPrint("  processor %u, captured after %u ticks of the DPC, %u at DISPATCH_LEVEL or above:\n",
             (unsigned)Prcb->Number, (unsigned)__atomic_load_n(&Capture->DpcTicks, __ATOMIC_RELAXED),
             (unsigned)__atomic_load_n(&Capture->Ticks, __ATOMIC_RELAXED));
    HalPrintAddresses(Addresses, Count);
}

/* Those since the processor was last let go, the oldest first. */
static VOID KiPrintCapturesOf(PKPRCB Prcb)
{
    ULONG Current = __atomic_load_n(&Prcb->DpcWatchdogSequenceNumber, __ATOMIC_RELAXED);
    PKI_CAPTURE Capture = (PKI_CAPTURE)__atomic_load_n(&Prcb->DpcWatchdogProfileCurrentEmptyCapture, __ATOMIC_RELAXED);

    for (ULONG Count = 0; Count < KI_CAPTURES; Count += 1) {
        ULONG_PTR Sequence = __atomic_load_n(&Capture->Sequence, __ATOMIC_ACQUIRE);

        if (Sequence != 0 && Sequence == Current) {
            KiPrintCapture(Prcb, Capture);
        }
        Capture = KiNextCapture(Prcb, Capture);
    }
}

VOID KiPrintCaptures(VOID)
{
    if (__atomic_load_n(&KiMachine.State, __ATOMIC_ACQUIRE) != KiRunning || KiCaptures == NULL) {
        return;
    }
    for (ULONG Index = 0; Index < KiProcessorCount(); Index += 1) {
        PKPCR Pcr = KiProcessor(Index);

        if ((__atomic_load_n(&Pcr->Request, __ATOMIC_RELAXED) & KPCR_REQUEST_WATCHED) != 0) {
            KiPrintCapturesOf(&Pcr->PrcbData);
        }
    }
}
