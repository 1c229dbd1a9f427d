/*
 * ipi.h - inter-processor interrupts: request bits, packets and the rendezvous call.
 *
 * A processor that somebody owns serves its IPIs at the owner's next poll below IPI_LEVEL (every spin loop of the
 * library, YieldProcessor, KeStallExecutionProcessor, each lower), or after a millisecond by a signal; a processor
 * that nobody owns serves them at once, on its idle thread.
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

typedef struct _KTRAP_FRAME *PKTRAP_FRAME;
typedef struct _KEXCEPTION_FRAME *PKEXCEPTION_FRAME;

typedef ULONG_PTR KIPI_BROADCAST_WORKER(ULONG_PTR Argument);
typedef KIPI_BROADCAST_WORKER *PKIPI_BROADCAST_WORKER;

/*
 * KeIpiGenericCall (WDK: same). Brings every processor to IPI_LEVEL, holds them until all have come, then runs
 * BroadcastFunction(Context) on all of them, and returns when all have finished. Returns what the function returned
 * on the calling processor. IRQL < IPI_LEVEL; at or above it bug check IRQL_NOT_LESS_OR_EQUAL. Calls are serialised;
 * a caller that waits for its turn serves the call of the other.
 */
KPRCB_API ULONG_PTR KeIpiGenericCall(PKIPI_BROADCAST_WORKER BroadcastFunction, ULONG_PTR Context);

/*
 * KiIpiSend (internal to NT). ORs IpiRequest into RequestSummary of each processor of TargetProcessors, in the group
 * of the current processor, and has HalRequestIpi interrupt it. Returns at once; the same bit sent twice may merge.
 * Bits: IPI_APC, IPI_DPC. Processors that are not active are ignored. Any IRQL.
 */
KPRCB_API VOID KiIpiSend(KAFFINITY TargetProcessors, ULONG IpiRequest);

/*
 * KiIpiSendPacket (internal to NT; NT 4.0's packets). Has each target run WorkerFunction(PacketContext,
 * BroadcastFunction, Context, Count) at IPI_LEVEL. A processor has one packet slot: the call first waits until the
 * targets of the former one are done with it, and returns without waiting for the new ones. Targets: the group of the
 * current processor, the caller's own processor left out. While it waits it serves requests to the current processor
 * if IRQL is below IPI_LEVEL; two senders at IPI_LEVEL that target each other would wait for ever, so a sender at
 * IPI_LEVEL must know that there is no other. IRQL >= DISPATCH_LEVEL; lower is bug check IRQL_NOT_GREATER_OR_EQUAL.
 */
KPRCB_API VOID KiIpiSendPacket(KAFFINITY TargetProcessors, PKIPI_WORKER WorkerFunction,
                               PKIPI_BROADCAST_WORKER BroadcastFunction, ULONG_PTR Context, PULONG Count);

/* KiIpiSignalPacketDone (internal to NT). A worker tells the sender that it is done with the parameters. IPI_LEVEL. */
KPRCB_API VOID KiIpiSignalPacketDone(PKIPI_CONTEXT PacketContext);

/*
 * KiIpiSignalPacketDoneAndStall (internal to NT). As above, then stays until *ReverseStall differs from what it was
 * when the call began. IPI_LEVEL.
 */
KPRCB_API VOID KiIpiSignalPacketDoneAndStall(PKIPI_CONTEXT PacketContext, ULONG volatile *ReverseStall);

/*
 * KiIpiStallOnPacketTargets (internal to NT). Waits until every target of the current processor's packet is done with
 * it, serving requests to the current processor meanwhile. IRQL >= DISPATCH_LEVEL.
 */
KPRCB_API VOID KiIpiStallOnPacketTargets(KAFFINITY TargetProcessors);

/*
 * KiIpiServiceRoutine (internal to NT). Takes the request bits of the current processor and serves them: APC and DPC
 * become software interrupts, a packet runs at IPI_LEVEL. Both arguments are ignored. TRUE: there was a request. IRQL
 * DISPATCH_LEVEL to below IPI_LEVEL, or at IPI_LEVEL in an interrupt.
 */
KPRCB_API BOOLEAN KiIpiServiceRoutine(PKTRAP_FRAME TrapFrame, PKEXCEPTION_FRAME ExceptionFrame);

/*
 * HalRequestIpi (HAL). Makes each target, in the group of the current processor, look at its RequestSummary. Any
 * IRQL.
 */
KPRCB_API VOID HalRequestIpi(KAFFINITY TargetProcessors);

#ifdef __cplusplus
}
#endif

#endif
