/*
 * ipiprotocol.h - how requests and packets travel between processors: one table a protocol, chosen when the machine
 * starts by the version's profile.
 *
 * What is the same in all of them is in ipi.c: whoever has posted something sets the target's KPCR_REQUEST_IPI afterwards;
 * the target clears it first and then takes what was posted. Both are seq_cst, so what the target finds nothing of sets
 * the bit anew.
 */
#ifndef IPIPROTOCOL_H
#define IPIPROTOCOL_H

#include "ki.h"

/* A packet that its target has taken, and what its worker is given as PacketContext. */
typedef struct _KI_TAKEN_PACKET {
    PKIPI_CONTEXT Context;
    KREQUEST_PACKET Packet;
} KI_TAKEN_PACKET, *PKI_TAKEN_PACKET;

/* To whom a packet goes: a word for each group that has active processors, without the sender. */
typedef struct _KI_TARGETS {
    ULONG Groups;
    LONG Count; /* bits */
    KAFFINITY Sets[KPRCB_MAXIMUM_GROUPS];
} KI_TARGETS;

typedef struct _KI_IPI_ROUTINES {
    /* At the start of the machine, and as it is freed. NULL: nothing. */
    NTSTATUS (*Initialize)(VOID);
    VOID (*Free)(VOID);
    /* For each processor before it is active. NULL: nothing. */
    VOID (*InitializeProcessor)(PKPRCB Prcb);
    /* IPI_APC, IPI_DPC and IPI_FREEZE, to a target. Any thread, any IRQL. */
    VOID (*PostRequests)(PKPRCB Target, ULONG Bits);
    /* Takes those of Bits that were posted. The owner of Prcb. */
    ULONG (*TakeRequests)(PKPRCB Prcb, ULONG Bits);
    /* The sender may write a packet and send it, which ends with SendPacket. FALSE: not yet. Interrupts masked. */
    BOOLEAN (*BeginPacket)(PKPRCB Sender);
    /* Interrupts masked once. */
    VOID (*SendPacket)(KPRCB_THREAD_BLOCK *Block, const KREQUEST_PACKET *Packet, const KI_TARGETS *Targets);
    /* All targets of the sender's packet are done with it. Acquire. */
    BOOLEAN (*IsPacketDone)(PKPRCB Sender);
    /*
     * Of what an earlier take has left; with New, of what has come, too, all of which is then taken: a service inside
     * another finds both, and has cleared the request that announced the new. A packet that comes later has its own
     * service, or its sender's request would find nothing. FALSE: there is none. The owner of Prcb.
     */
    BOOLEAN (*TakePacket)(PKPRCB Prcb, BOOLEAN New, PKI_TAKEN_PACKET Taken);
    /* A packet waits at Prcb, or its target has yet to say that it is done. Any thread. */
    BOOLEAN (*IsPacketWaiting)(PKPRCB Prcb);
    /* Target is done with the packet of Context. Release. */
    VOID (*SignalDone)(PKPRCB Target, PKIPI_CONTEXT Context);
} KI_IPI_ROUTINES;

extern const KI_IPI_ROUTINES KiFlagsIpiRoutines;   /* ipiflags.c */
extern const KI_IPI_ROUTINES KiBitsIpiRoutines;    /* ipibits.c */
extern const KI_IPI_ROUTINES KiMailboxIpiRoutines; /* ipimailbox.c */

/* Of RequestSummary, which two protocols have. */
VOID KiPostSummaryBits(PKPRCB Target, ULONG Bits);
ULONG KiTakeSummaryBits(PKPRCB Prcb, ULONG Bits);
/* Fills the sender's CurrentPacket and WorkerRoutine, which two protocols have. */
VOID KiFillPacket(PKPRCB Sender, const KREQUEST_PACKET *Packet);

/* A step of Prcb's wait for targets. Pressed: when they were pressed last, at first 0. */
VOID KiSpinForTargets(PKPRCB Prcb, PKI_SPIN Spin, ULONGLONG *Pressed);

/* The first of the targets in *Mask, which loses it. */
static inline PKPCR KiNextTarget(ULONG Group, KAFFINITY *Mask)
{
    ULONG Index = (ULONG)__builtin_ctzll(*Mask);

    *Mask &= *Mask - 1;
    return KiProcessor(Group * KiMachine.GroupSize + Index);
}

/* Its Number, without a look at its lines. */
static inline ULONG KiNumberOfTarget(PKPCR Target)
{
    return (ULONG)(Target - KiMachine.Processors);
}

#endif
