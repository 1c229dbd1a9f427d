/*
 * ipi.c - KeIpiGenericCall runs a routine on every processor at the same time.
 */
#include <kprcb/ipi.h>
#include <kprcb/machine.h>
#include <kprcb/processor.h>
#include <stdio.h>

#define PROCESSORS 4

static ULONG Seen[PROCESSORS];

/* At IPI_LEVEL on each processor, once all of them have come. */
static ULONG_PTR Broadcast(ULONG_PTR Argument)
{
    Seen[KeGetCurrentProcessorIndex()] = (ULONG)Argument + KeGetCurrentIrql();
    return KeGetCurrentProcessorIndex();
}

int main(void)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = PROCESSORS};
    ULONG_PTR Result;
    int Wrong = 0;

    if (!NT_SUCCESS(KprcbStart(&Config)) || !NT_SUCCESS(KprcbAttachThread(2))) {
        return 1;
    }
    Result = KeIpiGenericCall(Broadcast, 100);
    printf("the caller's own result: %u\n", (unsigned)Result);
    for (ULONG i = 0; i < PROCESSORS; i++) {
        printf("processor %u: argument and level make %u\n", (unsigned)i, (unsigned)Seen[i]);
        Wrong |= Seen[i] != 100 + IPI_LEVEL;
    }
    return Wrong || Result != 2;
}
