/* consumer.cpp - consumer.c as C++. */
#include <kprcb/kprcb.h>
#include <cstdio>

int main()
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    if (KeGetCurrentIrql() != DISPATCH_LEVEL)
        return 1;
    KeLowerIrql(old);
    if (KeGetCurrentIrql() != PASSIVE_LEVEL)
        return 1;
    std::puts(KprcbVersion());
    return 0;
}
