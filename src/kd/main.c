/*
 * main.c - the `kprcb` command. All of it is command.c and what stands behind that, so that tests can link it.
 */
#include <fcntl.h>
#include <unistd.h>

#include "kd.h"

/*
 * A stream that is closed must not become a file of ours: what is printed would go there. Each fails as it would have:
 * descriptors are given from 0 on.
 */
static void KdGuardStreams(void)
{
    for (int Stream = STDIN_FILENO; Stream <= STDERR_FILENO; Stream++) {
        if (fcntl(Stream, F_GETFD) < 0) {
            (void)open("/dev/null", Stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}

int main(int Count, char **Arguments)
{
    int Result;

    KdGuardStreams();
    Result = KdRun(Count, Arguments);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        KdComplain("cannot write the output");
        return Result != KD_OK ? Result : KD_FAILED;
    }
    return Result;
}
