/*
 * hang.c - reports: of a bug check that nobody catches, and of a spin or wait without progress.
 *
 * Both are written while other threads run, so what they say of those is a snapshot of words read one by one. A
 * thread's list of held locks is written by the thread with relaxed stores and read here under KiThreadLock, which
 * keeps its block alive.
 *
 * Tests: tests/ke/test_hang.c.
 */
#include <stdlib.h>

#include "ki.h"

#define KI_DEFAULT_HANG_PERIOD 10000
#define KI_MOST_PROCESSORS 64

ULONG volatile KiHangPeriod = KI_DEFAULT_HANG_PERIOD;

/* One report at a time; the others wait for its end. */
static HAL_MUTEX KiReportLock;

VOID KprcbSetHangReport(ULONG Milliseconds)
{
    __atomic_store_n(&KiHangPeriod, Milliseconds, __ATOMIC_RELAXED);
}

VOID KiReadHangPeriod(VOID)
{
    const char *Text = HalEnvironment("KPRCB_HANG_REPORT");

    if (Text != NULL && *Text >= '0' && *Text <= '9') {
        KprcbSetHangReport((ULONG)strtoul(Text, NULL, 10));
    }
}

static VOID KiPrintHeldLocks(PKTHREAD Thread)
{
    KPRCB_THREAD_BLOCK *Block = Thread->Block;
    ULONG Count = Block == NULL ? 0 : __atomic_load_n(&Block->HeldCount, __ATOMIC_RELAXED);

    for (ULONG Index = 0; Index < Count && Index < KPRCB_HELD_LOCKS; Index += 1) {
        ULONG_PTR Held = (ULONG_PTR)__atomic_load_n(&Block->Held[Index], __ATOMIC_RELAXED);

        if ((PVOID)Held == KI_NO_LOCK) {
            continue;
        }
        if ((Held & 3) == 0) {
            HalPrint("    holds spin lock %p\n", (void *)Held);
        } else if ((Held & 3) != 1) {
            HalPrint("    holds reader/writer spin lock %p %s\n", (void *)(Held & ~(ULONG_PTR)3),
                     (Held & 3) == 3 ? "shared" : "exclusive");
        } else {
            HalPrint("    holds or awaits a queued spin lock by the node at %p\n", (void *)(Held - 1));
        }
    }
}

static VOID KiPrintThreads(VOID)
{
    HalAcquireMutex(&KiThreadLock);
    for (PLIST_ENTRY Entry = KiThreadListHead.Flink; Entry != &KiThreadListHead; Entry = Entry->Flink) {
        PKTHREAD Thread = CONTAINING_RECORD(Entry, KTHREAD, ThreadListEntry);
        const char *Reason = __atomic_load_n(&Thread->WaitReason, __ATOMIC_ACQUIRE);
        KPRCB_THREAD_BLOCK *Block = Thread->Block;

        if (__atomic_load_n(&Thread->Kind, __ATOMIC_RELAXED) == KiMachineThread && Reason == NULL &&
            (Block == NULL || __atomic_load_n(&Block->HeldCount, __ATOMIC_RELAXED) <= KiMachine.Uniprocessor)) {
            continue;
        }
        HalPrint("  thread %p (host id %d)%s%s\n", (void *)Thread,
                 (int)__atomic_load_n(&Thread->HostId, __ATOMIC_RELAXED), Reason != NULL ? ": waits for " : "",
                 Reason != NULL ? Reason : "");
        if (Reason != NULL) {
            HalPrint("    at %p\n", __atomic_load_n(&Thread->WaitObject, __ATOMIC_RELAXED));
        }
        KiPrintHeldLocks(Thread);
    }
    HalReleaseMutex(&KiThreadLock);
}

static ULONG KiQueryIrql(PKPCR Pcr)
{
    return __atomic_load_n(&Pcr->Owner, __ATOMIC_RELAXED) != NULL
               ? __atomic_load_n(&Pcr->Irql, __ATOMIC_RELAXED)
               : __atomic_load_n(&Pcr->PrcbData.ResidentIrql, __ATOMIC_RELAXED);
}

VOID KiPrintMachine(VOID)
{
    ULONG Printed = 0;

    if (__atomic_load_n(&KiMachine.State, __ATOMIC_ACQUIRE) != KiRunning) {
        HalPrint("  the machine does not run\n");
        return;
    }
    for (ULONG Index = 0; Index < KiProcessorCount() && Printed < KI_MOST_PROCESSORS; Index += 1) {
        PKPCR Pcr = KiProcessor(Index);
        PKTHREAD Owner = KiQueryOwner(Pcr);
        ULONG Request = __atomic_load_n(&Pcr->Request, __ATOMIC_RELAXED);

        if (Owner == NULL && (Request & KI_PENDING) == 0 && KiThreadedDpcsIdle(Pcr)) {
            continue;
        }
        Printed += 1;
        HalPrint("  processor %u: owner %p, IRQL %u, DPCs %d, threaded %d, pending%s%s%s\n", (unsigned)Index,
                 (void *)Owner, (unsigned)KiQueryIrql(Pcr),
                 (int)__atomic_load_n(&Pcr->PrcbData.DpcData[DPC_NORMAL].DpcQueueDepth, __ATOMIC_RELAXED),
                 (int)__atomic_load_n(&Pcr->PrcbData.DpcData[DPC_THREADED].DpcQueueDepth, __ATOMIC_RELAXED),
                 (Request & KPCR_REQUEST_DISPATCH) != 0 ? " DPC" : "",
                 (Request & KPCR_REQUEST_LAZY) != 0 ? " lazy-DPC" : "",
                 (Request & KPCR_REQUEST_IPI) != 0 ? " IPI" : "");
    }
    KiPrintThreads();
}

VOID KiReportHang(PKI_SPIN Spin, ULONGLONG Milliseconds)
{
    /* What an interrupt ran might wait, and report, too. */
    KiMaskInterrupts(&KprcbThread);
    HalAcquireMutex(&KiReportLock);
    HalPrint("kprcb: host thread %d has waited %llu ms for %s (%p)\n", (int)HalCurrentThreadId(),
             (unsigned long long)Milliseconds, Spin->Reason, Spin->Object);
    KiPrintMachine();
    HalPrintStack(1);
    HalReleaseMutex(&KiReportLock);
    KiUnmaskInterrupts(&KprcbThread);
}

VOID KiReportBugCheck(const KPRCB_BUGCHECK *BugCheck)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    const char *Name = KprcbBugCheckName(BugCheck->Code);

    HalPrint("*** STOP 0x%08X %s\n    (0x%llX, 0x%llX, 0x%llX, 0x%llX)\n", (unsigned)BugCheck->Code,
             Name != NULL ? Name : "", (unsigned long long)BugCheck->Parameter[0],
             (unsigned long long)BugCheck->Parameter[1], (unsigned long long)BugCheck->Parameter[2],
             (unsigned long long)BugCheck->Parameter[3]);
    if (Block->Thread == NULL) {
        HalPrint("    host thread %d, not attached\n", (int)HalCurrentThreadId());
    } else {
        HalPrint("    processor %u, IRQL %u, thread %p (host id %d)\n", (unsigned)Block->Pcr->PrcbData.Number,
                 (unsigned)Block->Irql, (void *)Block->Thread, (int)HalCurrentThreadId());
        KiPrintHeldLocks(Block->Thread);
    }
    HalPrintStack(2);
    if (BugCheck->Code == DPC_WATCHDOG_VIOLATION) {
        KiPrintCaptures();
    }
}
