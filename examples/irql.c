/*
 * irql.c - the levels: raising takes the processor, lowering lets it go.
 */
#include <kprcb/irql.h>
#include <stdio.h>

int main(void)
{
    KIRQL OldIrql;
    KIRQL BeforeSynch;

    printf("at first         %u\n", KeGetCurrentIrql());

    KeRaiseIrql(APC_LEVEL, &OldIrql);
    printf("APC_LEVEL        %u, before %u\n", KeGetCurrentIrql(), OldIrql);
    KeLowerIrql(OldIrql);

    OldIrql = KeRaiseIrqlToDpcLevel();
    printf("DISPATCH_LEVEL   %u, before %u: no other thread owns this processor now\n", KeGetCurrentIrql(), OldIrql);

    BeforeSynch = KeRaiseIrqlToSynchLevel();
    printf("SYNCH_LEVEL      %u, before %u\n", KeGetCurrentIrql(), BeforeSynch);
    KeLowerIrql(BeforeSynch);
    KeLowerIrql(OldIrql);

    printf("at last          %u\n", KeGetCurrentIrql());
    return KeGetCurrentIrql() != PASSIVE_LEVEL;
}
