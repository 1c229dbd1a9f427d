/*
 * machine.c - starting a machine of eight processors on whatever host this is, joining it, adding a ninth, and
 * stopping it.
 */
#include <kprcb/machine.h>
#include <stdio.h>

int main(void)
{
    KPRCB_CONFIG Config = {
        .Size = sizeof(Config), .ProcessorCount = 8, .MaximumProcessorCount = 9, .Flags = KPRCB_NO_PINNING};
    NTSTATUS Status;

    printf("libkprcb %s\n", KprcbVersion());

    Status = KprcbStart(&Config);
    printf("start:            %08X\n", (unsigned)Status);
    if (!NT_SUCCESS(Status)) {
        return 1;
    }
    printf("start again:      %08X\n", (unsigned)KprcbStart(&Config));
    printf("join processor 7: %08X\n", (unsigned)KprcbAttachThread(7));
    printf("join processor 8: %08X\n", (unsigned)KprcbAttachThread(8));
    printf("add processor 8:  %08X\n", (unsigned)KprcbAddProcessor(NULL));
    printf("join processor 8: %08X\n", (unsigned)KprcbAttachThread(8));
    printf("add processor 9:  %08X\n", (unsigned)KprcbAddProcessor(NULL));
    printf("leave:            %08X\n", (unsigned)KprcbDetachThread());

    Status = KprcbStop();
    printf("stop:             %08X\n", (unsigned)Status);
    return !NT_SUCCESS(Status);
}
