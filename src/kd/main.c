/*
 * main.c - the `kprcb` command. All of it is command.c and what stands behind that, so that tests can link it.
 */
#include "kd.h"

int main(int Count, char **Arguments)
{
    int Result = KdRun(Count, Arguments);

    if (fflush(stdout) != 0 || ferror(stdout)) {
        KdComplain("cannot write the output");
        return Result != KD_OK ? Result : KD_FAILED;
    }
    return Result;
}
