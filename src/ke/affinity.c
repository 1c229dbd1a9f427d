/*
 * affinity.c - KeSetSystemAffinityThreadEx and its kin: moving a thread to other processors.
 *
 * A thread has a user affinity (all of its home's group, or the one processor to which it was attached by name) and,
 * while a driver has set one, a system affinity. A change at or below APC_LEVEL owns a processor of the new affinity
 * once before it returns, so that code which hops over all processors has been alone on each; at DISPATCH_LEVEL the
 * move happens after the thread has let go.
 *
 * A resident that leaves home resigns its bias first; when it comes back, its acquisitions regain it.
 *
 * All members are the thread's own. Tests: tests/ke/test_affinity.c.
 */
#include "ki.h"

static const GROUP_AFFINITY KiNoAffinity;

const GROUP_AFFINITY *KiEffectiveAffinity(PKTHREAD Thread)
{
    return Thread->SystemAffinityActive ? &Thread->SystemAffinity : &Thread->UserAffinity;
}

/* The processor of the affinity to go to: the home if it is one, else the residence, else the first. */
static PKPCR KiChooseProcessor(KPRCB_THREAD_BLOCK *Block, const GROUP_AFFINITY *Affinity)
{
    PKPCR Candidates[2] = {Block->Pcr, Block->Thread->Residence};

    for (ULONG Index = 0; Index < ARRAYSIZE(Candidates); Index += 1) {
        PKPCR Pcr = Candidates[Index];

        if (Pcr != NULL && Pcr->PrcbData.Group == Affinity->Group &&
            (Pcr->PrcbData.GroupSetMember & Affinity->Mask) != 0) {
            return Pcr;
        }
    }
    return KiProcessor(Affinity->Group * KiMachine.GroupSize + (ULONG)__builtin_ctzll(Affinity->Mask));
}

VOID KiMoveThread(KPRCB_THREAD_BLOCK *Block)
{
    PKTHREAD Thread = Block->Thread;
    PKPCR Pcr = KiChooseProcessor(Block, KiEffectiveAffinity(Thread));
    KIRQL OldIrql = Block->Irql;

    Thread->MovePending = FALSE;
    if (Thread->Residence != Pcr) {
        KiResignBias(Block);
    }
    Block->Pcr = Pcr;
    KfRaiseIrql(DISPATCH_LEVEL);
    KfLowerIrql(OldIrql);
}

static VOID KiChangeAffinity(KPRCB_THREAD_BLOCK *Block)
{
    if (Block->Irql >= DISPATCH_LEVEL) {
        Block->Thread->MovePending = TRUE;
        Block->Fast = NULL;
    } else {
        KiMoveThread(Block);
    }
}

static KPRCB_THREAD_BLOCK *KiEnterAtDispatchOrBelow(VOID)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    if (Block->Irql > DISPATCH_LEVEL && Block->Checked) {
        KeBugCheckEx(IRQL_NOT_LESS_OR_EQUAL, Block->Irql, DISPATCH_LEVEL, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    return Block;
}

static GROUP_AFFINITY KiSetSystemAffinity(KPRCB_THREAD_BLOCK *Block, USHORT Group, KAFFINITY Mask)
{
    PKTHREAD Thread = Block->Thread;
    GROUP_AFFINITY Previous = Thread->SystemAffinityActive ? Thread->SystemAffinity : KiNoAffinity;

    Thread->SystemAffinity = (GROUP_AFFINITY){.Group = Group, .Mask = Mask};
    Thread->SystemAffinityActive = TRUE;
    KiChangeAffinity(Block);
    return Previous;
}

static VOID KiRevertToUserAffinity(KPRCB_THREAD_BLOCK *Block)
{
    if (Block->Thread->SystemAffinityActive) {
        Block->Thread->SystemAffinityActive = FALSE;
        KiChangeAffinity(Block);
    }
}

KAFFINITY KeSetSystemAffinityThreadEx(KAFFINITY Affinity)
{
    KPRCB_THREAD_BLOCK *Block = KiEnterAtDispatchOrBelow();
    KAFFINITY Mask = Affinity & KiGroupMask(0);

    return Mask == 0 ? 0 : KiSetSystemAffinity(Block, 0, Mask).Mask;
}

VOID KeRevertToUserAffinityThreadEx(KAFFINITY Affinity)
{
    KPRCB_THREAD_BLOCK *Block = KiEnterAtDispatchOrBelow();
    KAFFINITY Mask = Affinity & KiGroupMask(0);

    if (Mask != 0) {
        KiSetSystemAffinity(Block, 0, Mask);
    } else {
        KiRevertToUserAffinity(Block);
    }
}

VOID KeSetSystemAffinityThread(KAFFINITY Affinity)
{
    (VOID) KeSetSystemAffinityThreadEx(Affinity);
}

VOID KeRevertToUserAffinityThread(VOID)
{
    KiRevertToUserAffinity(KiEnterAtDispatchOrBelow());
}

static KAFFINITY KiValidMask(const GROUP_AFFINITY *Affinity)
{
    if (Affinity->Reserved[0] != 0 || Affinity->Reserved[1] != 0 || Affinity->Reserved[2] != 0) {
        return 0;
    }
    return Affinity->Mask & KiGroupMask(Affinity->Group);
}

VOID KeSetSystemGroupAffinityThread(PGROUP_AFFINITY Affinity, PGROUP_AFFINITY PreviousAffinity)
{
    KPRCB_THREAD_BLOCK *Block = KiEnterAtDispatchOrBelow();
    KAFFINITY Mask = KiValidMask(Affinity);
    GROUP_AFFINITY Previous = Mask == 0 ? KiNoAffinity : KiSetSystemAffinity(Block, Affinity->Group, Mask);

    if (PreviousAffinity != NULL) {
        *PreviousAffinity = Previous;
    }
}

VOID KeRevertToUserGroupAffinityThread(PGROUP_AFFINITY PreviousAffinity)
{
    KPRCB_THREAD_BLOCK *Block = KiEnterAtDispatchOrBelow();
    KAFFINITY Mask = KiValidMask(PreviousAffinity);

    if (Mask != 0) {
        KiSetSystemAffinity(Block, PreviousAffinity->Group, Mask);
    } else if (PreviousAffinity->Mask == 0 && PreviousAffinity->Group == 0) {
        KiRevertToUserAffinity(Block);
    }
}
