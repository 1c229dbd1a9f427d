/*
 * kprcb_segment.h - reading and writing the KPCR by offset (Visual C++: __readfsdword and its kin): what code says that
 * knows fs, on x64 gs, as the segment of the current processor's KPCR.
 *
 *     KPRCB *Prcb = (KPRCB *)__readfsdword(FIELD_OFFSET(KPCR, Prcb));
 *     KTHREAD *Thread = (KTHREAD *)__readfsdword(FIELD_OFFSET(KPCR, PrcbData.CurrentThread));
 *
 * Offset: from the beginning of the KPCR, that of a member or of an array's element. Any IRQL. Nothing is checked.
 *
 * What differs from the instructions:
 *
 *   __readfsdword, __writefsdword   A dword holds a pointer on i386 only. Where pointers have 64 bits these two read and
 *                                   write the 64 bits of a member that is a pointer, a KAFFINITY or a KSPIN_LOCK, and
 *                                   32 bits of any other; the value is a ULONG_PTR.
 *   PrcbData.CurrentThread          Reads as KeGetCurrentThread() by all that read a pointer: the caller, by one access
 *                                   that cannot race with a move to another processor.
 *   __incfs..., __addfs...          The counter is that of the processor on which the caller was when the call began. It
 *                                   may move meanwhile, hence the addition is atomic: no count is lost.
 *   __readgs... and so on           only where pointers have 64 bits
 *
 * CurrentThread and the other members are the library's: to write them is the caller's risk, as it is on NT.
 */
#ifndef KPRCB_NT_SEGMENT_H
#define KPRCB_NT_SEGMENT_H

#include <kprcb/nt/kprcb_atomic.h>
#include <kprcb/processor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef UCHAR KPRCB_ANY8 __attribute__((may_alias));

#define KPRCB_SEGMENT(Type, Offset) ((volatile Type *)(volatile VOID *)((PUCHAR)KprcbCurrentPcr() + (Offset)))

/* The offset lies in a member of the KPCR. */
#define KPRCB_WITHIN(Offset, Member) ((Offset)-offsetof(KPCR, Member) < sizeof(((PKPCR)0)->Member))
#define KPRCB_WITHIN_QUEUE(Offset, Index)                                                                              \
    (KPRCB_WITHIN(Offset, PrcbData.DpcData[Index].DpcList) || KPRCB_WITHIN(Offset, PrcbData.DpcData[Index].DpcLock) || \
     KPRCB_WITHIN(Offset, PrcbData.DpcData[Index].ActiveDpc))

/* All of a KDPC but what stands before its list entry. */
#define KPRCB_WITHIN_CALL_DPC(Offset)                                                                                  \
    (KPRCB_WITHIN(Offset, PrcbData.CallDpc) && (Offset) >= offsetof(KPCR, PrcbData.CallDpc.DpcListEntry))

/* A member as wide as a pointer, where pointers have 64 bits. A new one of KPCR or KPRCB comes here. */
FORCEINLINE BOOLEAN KprcbIsWide(ULONG Offset)
{
    return KPRCB_WITHIN(Offset, Self) || KPRCB_WITHIN(Offset, Prcb) || KPRCB_WITHIN(Offset, Owner) ||
           KPRCB_WITHIN(Offset, Resident) || KPRCB_WITHIN(Offset, LastOwner) || KPRCB_WITHIN(Offset, TokenHeir) ||
           KPRCB_WITHIN(Offset, PrcbData.SharedLock) || KPRCB_WITHIN(Offset, Mailbox) ||
           KPRCB_WITHIN(Offset, PrcbData.CurrentThread) || KPRCB_WITHIN(Offset, PrcbData.IdleThread) ||
           KPRCB_WITHIN(Offset, PrcbData.DpcThread) || KPRCB_WITHIN_CALL_DPC(Offset) ||
           KPRCB_WITHIN(Offset, PrcbData.GroupSetMember) || KPRCB_WITHIN(Offset, PrcbData.LockQueue) ||
           KPRCB_WITHIN(Offset, PrcbData.DpcStack) || KPRCB_WITHIN_QUEUE(Offset, 0) || KPRCB_WITHIN_QUEUE(Offset, 1) ||
           KPRCB_WITHIN(Offset, PrcbData.CurrentPacket) || KPRCB_WITHIN(Offset, PrcbData.WorkerRoutine) ||
           KPRCB_WITHIN(Offset, PrcbData.TargetSets) || KPRCB_WITHIN(Offset, PrcbData.SignalDone) ||
           KPRCB_WITHIN(Offset, PrcbData.IpiFrame) || KPRCB_WITHIN(Offset, PrcbData.TakenMailbox) ||
           KPRCB_WITHIN(Offset, PrcbData.RequestMailbox) || KPRCB_WITHIN(Offset, PrcbData.DpcRuntimeHistoryHashTable) ||
           KPRCB_WITHIN(Offset, PrcbData.DpcRuntimeHistoryHashTableCleanupDpc) ||
           KPRCB_WITHIN(Offset, PrcbData.DpcWatchdogProfile) ||
           KPRCB_WITHIN(Offset, PrcbData.DpcWatchdogProfileCurrentEmptyCapture) ||
           KPRCB_WITHIN(Offset, PrcbData.ParentNode) || KPRCB_WITHIN(Offset, PrcbData.MultiThreadSetMaster) ||
           KPRCB_WITHIN(Offset, PrcbData.MultiThreadProcessorSet) || KPRCB_WITHIN(Offset, PrcbData.CoreProcessorSet) ||
           KPRCB_WITHIN(Offset, PrcbData.CacheProcessorMask) ||
           KPRCB_WITHIN(Offset, PrcbData.PackageProcessorSet.Bitmap);
}

FORCEINLINE ULONG_PTR KprcbReadPointer(ULONG Offset)
{
    if (Offset == offsetof(KPCR, PrcbData.CurrentThread)) {
        return (ULONG_PTR)KeGetCurrentThread();
    }
    return (ULONG_PTR)*KPRCB_SEGMENT(KPRCB_ANY_POINTER, Offset);
}

/* --- fs --- */

FORCEINLINE UCHAR __readfsbyte(ULONG Offset)
{
    return *KPRCB_SEGMENT(KPRCB_ANY8, Offset);
}

FORCEINLINE USHORT __readfsword(ULONG Offset)
{
    return (USHORT)*KPRCB_SEGMENT(KPRCB_ANY16, Offset);
}

FORCEINLINE ULONG_PTR __readfsdword(ULONG Offset)
{
    return KprcbIsWide(Offset) ? KprcbReadPointer(Offset) : (ULONG)*KPRCB_SEGMENT(KPRCB_ANY32, Offset);
}

FORCEINLINE VOID __writefsbyte(ULONG Offset, UCHAR Data)
{
    *KPRCB_SEGMENT(KPRCB_ANY8, Offset) = Data;
}

FORCEINLINE VOID __writefsword(ULONG Offset, USHORT Data)
{
    *KPRCB_SEGMENT(KPRCB_ANY16, Offset) = (SHORT)Data;
}

FORCEINLINE VOID __writefsdword(ULONG Offset, ULONG_PTR Data)
{
    if (KprcbIsWide(Offset)) {
        *KPRCB_SEGMENT(KPRCB_ANY_POINTER, Offset) = (PVOID)Data;
    } else {
        *KPRCB_SEGMENT(KPRCB_ANY32, Offset) = (LONG)Data;
    }
}

FORCEINLINE VOID __addfsbyte(ULONG Offset, UCHAR Data)
{
    (VOID) __atomic_fetch_add(KPRCB_SEGMENT(KPRCB_ANY8, Offset), Data, __ATOMIC_RELAXED);
}

FORCEINLINE VOID __addfsword(ULONG Offset, USHORT Data)
{
    (VOID) __atomic_fetch_add(KPRCB_SEGMENT(KPRCB_ANY16, Offset), (SHORT)Data, __ATOMIC_RELAXED);
}

FORCEINLINE VOID __addfsdword(ULONG Offset, ULONG Data)
{
    (VOID) __atomic_fetch_add(KPRCB_SEGMENT(KPRCB_ANY32, Offset), (LONG)Data, __ATOMIC_RELAXED);
}

FORCEINLINE VOID __incfsbyte(ULONG Offset)
{
    __addfsbyte(Offset, 1);
}

FORCEINLINE VOID __incfsword(ULONG Offset)
{
    __addfsword(Offset, 1);
}

FORCEINLINE VOID __incfsdword(ULONG Offset)
{
    __addfsdword(Offset, 1);
}

/* --- gs --- */

#ifdef __LP64__
FORCEINLINE UCHAR __readgsbyte(ULONG Offset)
{
    return __readfsbyte(Offset);
}

FORCEINLINE USHORT __readgsword(ULONG Offset)
{
    return __readfsword(Offset);
}

FORCEINLINE ULONG __readgsdword(ULONG Offset)
{
    return (ULONG)*KPRCB_SEGMENT(KPRCB_ANY32, Offset);
}

FORCEINLINE ULONG64 __readgsqword(ULONG Offset)
{
    return KprcbReadPointer(Offset);
}

FORCEINLINE VOID __writegsbyte(ULONG Offset, UCHAR Data)
{
    __writefsbyte(Offset, Data);
}

FORCEINLINE VOID __writegsword(ULONG Offset, USHORT Data)
{
    __writefsword(Offset, Data);
}

FORCEINLINE VOID __writegsdword(ULONG Offset, ULONG Data)
{
    *KPRCB_SEGMENT(KPRCB_ANY32, Offset) = (LONG)Data;
}

FORCEINLINE VOID __writegsqword(ULONG Offset, ULONG64 Data)
{
    *KPRCB_SEGMENT(KPRCB_ANY64, Offset) = (LONG64)Data;
}

FORCEINLINE VOID __addgsbyte(ULONG Offset, UCHAR Data)
{
    __addfsbyte(Offset, Data);
}

FORCEINLINE VOID __addgsword(ULONG Offset, USHORT Data)
{
    __addfsword(Offset, Data);
}

FORCEINLINE VOID __addgsdword(ULONG Offset, ULONG Data)
{
    __addfsdword(Offset, Data);
}

FORCEINLINE VOID __addgsqword(ULONG Offset, ULONG64 Data)
{
    (VOID) __atomic_fetch_add(KPRCB_SEGMENT(KPRCB_ANY64, Offset), (LONG64)Data, __ATOMIC_RELAXED);
}

FORCEINLINE VOID __incgsbyte(ULONG Offset)
{
    __addfsbyte(Offset, 1);
}

FORCEINLINE VOID __incgsword(ULONG Offset)
{
    __addfsword(Offset, 1);
}

FORCEINLINE VOID __incgsdword(ULONG Offset)
{
    __addfsdword(Offset, 1);
}

FORCEINLINE VOID __incgsqword(ULONG Offset)
{
    __addgsqword(Offset, 1);
}
#endif

#ifdef __cplusplus
}
#endif

#endif
