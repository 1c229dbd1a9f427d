/* consumer.c - a program of the library's user: raises, lowers, prints the library's version. */
#include <kprcb/kprcb.h>
#include <stdio.h>

int main(void)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    if (KeGetCurrentIrql() != DISPATCH_LEVEL)
        return 1;
    KeLowerIrql(old);
    if (KeGetCurrentIrql() != PASSIVE_LEVEL)
        return 1;
    puts(KprcbVersion());
    return 0;
}
