/*
 * ipi.h - inter-processor interrupts: request bits, packets, the rendezvous call, and freezing all other processors.
 *
 * A processor that somebody owns serves its IPIs at the owner's next poll below IPI_LEVEL (every spin loop of the
 * library, YieldProcessor, KeStallExecutionProcessor, each lower), or after a millisecond by a signal; a processor
 * that nobody owns serves them at once, on its idle thread.
 *
 * The version of NT that the machine behaves like (KPRCB_CONFIG.Version) decides how requests and packets travel, and
 * so which members of the KPRCB show them:
 *
 *                 requests         a packet is in             waits at its target in   done when
 *   to 3.51       IpiCommands      one place, the machine's   (IpiLastPacket: begun)   the target has set its flag
 *   4.0 to 6.3    RequestSummary   the sender's KPRCB         SignalDone               the sender's TargetSet is empty
 *   from 10.0     RequestSummary   a mailbox a sender         Mailbox                  the sender's TargetCount is 0
 */
#ifndef KPRCB_IPI_H
#define KPRCB_IPI_H

#include <kprcb/irql.h>

#ifdef __cplusplus
extern "C" {
#endif

/* KPRCB.RequestSummary */
#define IPI_APC 1
#define IPI_DPC 2
#define IPI_FREEZE 4
#define IPI_PACKET_READY 8
#define IPI_SYNCH_REQUEST 16

/* Elements of KPRCB.IpiCommands */
#define IPI_COMMAND_APC 0
#define IPI_COMMAND_DPC 1
#define IPI_COMMAND_CLOCK 2 /* nobody sends it */
#define IPI_COMMAND_FREEZE 3

/* KPRCB.IpiFrozen; 0 (NT: RUNNING): the processor runs */
#define TARGET_FROZEN 2
#define TARGET_THAW 3
#define FREEZE_OWNER 4

typedef struct _KTRAP_FRAME *PKTRAP_FRAME;
typedef struct _KEXCEPTION_FRAME *PKEXCEPTION_FRAME;

typedef ULONG_PTR KIPI_BROADCAST_WORKER(ULONG_PTR Argument);
typedef KIPI_BROADCAST_WORKER *PKIPI_BROADCAST_WORKER;

/*
 * KeIpiGenericCall (WDK: same). Brings every processor to IPI_LEVEL, holds them until all have come, then runs
 * BroadcastFunction(Context) on all of them, and returns when all have finished. Returns what the function returned
 * on the calling processor. IRQL < IPI_LEVEL; at or above it bug check IRQL_NOT_LESS_OR_EQUAL. Calls are serialised;
 * a caller that waits for its turn serves the call of the other. A function that returns at another level than IPI_LEVEL
 * is bug check IRQL_UNEXPECTED_VALUE on a checked build, NULL is INVALID_SOFTWARE_INTERRUPT.
 */
KPRCB_API ULONG_PTR KeIpiGenericCall(PKIPI_BROADCAST_WORKER BroadcastFunction, ULONG_PTR Context);

/*
 * KiIpiSend (internal to NT). Puts IpiRequest into RequestSummary, or IpiCommands, of each processor of
 * TargetProcessors, in the group of the current processor, and has it interrupted. Returns at once; the same bit sent
 * twice may merge. Bits: IPI_APC, IPI_DPC. Processors that are not active are ignored. Any IRQL.
 */
KPRCB_API VOID KiIpiSend(KAFFINITY TargetProcessors, ULONG IpiRequest);

/*
 * KiIpiSendPacket (internal to NT). Has each target run WorkerFunction(PacketContext, BroadcastFunction, Context,
 * Count) at IPI_LEVEL. Targets: the group of the current processor, the caller's own processor left out. It returns
 * without waiting for the targets. First it waits until the targets of the processor's former packet are done with it;
 * to 3.51, until those of any processor's packet are; from 4.0 to 6.3 also until each target has taken the packet that
 * another processor has sent it. While it waits it serves requests to the current processor if IRQL is below IPI_LEVEL;
 * senders at IPI_LEVEL that wait for each other would wait for ever, so a sender at IPI_LEVEL must know that there is
 * no other, and to 3.51 that no packet is under way. IRQL >= DISPATCH_LEVEL; lower is bug check
 * IRQL_NOT_GREATER_OR_EQUAL. WorkerFunction returns at IPI_LEVEL and calls KiIpiSignalPacketDone once; on a checked build
 * another level is bug check IRQL_UNEXPECTED_VALUE, no such call INVALID_SOFTWARE_INTERRUPT, as is NULL on any build.
 */
KPRCB_API VOID KiIpiSendPacket(KAFFINITY TargetProcessors, PKIPI_WORKER WorkerFunction,
                               PKIPI_BROADCAST_WORKER BroadcastFunction, ULONG_PTR Context, PULONG Count);

/*
 * KiIpiSignalPacketDone (internal to NT). A worker tells the sender that it is done with the parameters. IPI_LEVEL.
 * Anyone else, and a second time: bug check INVALID_SOFTWARE_INTERRUPT on a checked build, else nothing.
 */
KPRCB_API VOID KiIpiSignalPacketDone(PKIPI_CONTEXT PacketContext);

/*
 * KiIpiSignalPacketDoneAndStall (internal to NT). As above, then stays until *ReverseStall differs from what it was
 * when the call began. IPI_LEVEL.
 */
KPRCB_API VOID KiIpiSignalPacketDoneAndStall(PKIPI_CONTEXT PacketContext, ULONG volatile *ReverseStall);

/*
 * KiIpiStallOnPacketTargets (internal to NT). Waits until every target of the current processor's packet is done with
 * it, whatever TargetProcessors says, serving requests to the current processor meanwhile. IRQL >= DISPATCH_LEVEL.
 */
KPRCB_API VOID KiIpiStallOnPacketTargets(KAFFINITY TargetProcessors);

/*
 * KiIpiServiceRoutine (internal to NT). Takes the requests to the current processor and serves them: APC and DPC
 * become software interrupts, a freeze holds the processor, packets run at IPI_LEVEL. TrapFrame is in KPRCB.IpiFrame
 * meanwhile (in the host's interrupt: its ucontext_t; NULL where a poll has served the request); ExceptionFrame is
 * ignored. TRUE: there was a request. IRQL DISPATCH_LEVEL to below IPI_LEVEL, or at IPI_LEVEL in an interrupt.
 */
KPRCB_API BOOLEAN KiIpiServiceRoutine(PKTRAP_FRAME TrapFrame, PKEXCEPTION_FRAME ExceptionFrame);

/*
 * HalRequestIpi (HAL). Makes each target, in the group of the current processor, look at what is requested of it. Any
 * IRQL.
 */
KPRCB_API VOID HalRequestIpi(KAFFINITY TargetProcessors);

/*
 * KeFreezeExecution (internal to NT). Raises to HIGH_LEVEL and stops all other processors: the owner of each waits in
 * its next poll, at whatever level, or a millisecond later in a signal, which may be anywhere in its code; the idle
 * thread holds those that nobody owns. On return IpiFrozen is TARGET_FROZEN everywhere else, and what was done there is
 * visible. Without signals (KPRCB_NO_SIGNALS) the call waits for owners that do not poll. The caller must not wait for
 * anything that a frozen thread may hold, the locks of the C library included. Of several callers one wins; the others
 * are its targets until it thaws. Calls nest. TrapFrame is in KPRCB.IpiFrame until the thaw; ExceptionFrame is ignored.
 * Returns what KeThawExecution wants: FALSE: the caller was at HIGH_LEVEL. Any IRQL. To lower before the thaw is bug check
 * IRQL_NOT_LESS_OR_EQUAL.
 *
 * Deviation: threads below DISPATCH_LEVEL run on until they raise to it. Those that wait for a frozen processor, or that
 * add one, wait for the thaw. A bug check of the caller that somebody catches thaws first; KprcbStop finds the caller's
 * thread attached; the child of a fork has a new machine.
 */
KPRCB_API BOOLEAN KeFreezeExecution(PKTRAP_FRAME TrapFrame, PKEXCEPTION_FRAME ExceptionFrame);

/*
 * KeThawExecution (internal to NT). Ends the innermost freeze; with the outermost all processors run again when it
 * returns. Enable: what KeFreezeExecution has returned; TRUE lowers to the level before it. HIGH_LEVEL, by the thread
 * that has frozen; anything else is bug check SPIN_LOCK_NOT_OWNED.
 */
KPRCB_API VOID KeThawExecution(BOOLEAN Enable);

#ifdef __cplusplus
}
#endif

#endif
