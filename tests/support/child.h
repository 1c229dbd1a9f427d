/*
 * child.h - for tests of what ends or changes a process: runs a routine in a forked child and looks at how it ended.
 *
 * The child must not use cmocka's assertions, which would go on with the tests in the child: CHILD_CHECK ends it
 * instead.
 */
#ifndef TEST_CHILD_H
#define TEST_CHILD_H

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

typedef struct _CHILD {
    int Status;         /* of waitpid */
    char Output[16384]; /* what it wrote to stderr, the first of it */
} CHILD;

#define CHILD_CHECK(condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            dprintf(2, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                 \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static inline void RunChild(CHILD *Child, void (*Routine)(void *), void *Context)
{
    static const int Faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS};
    struct rlimit NoCore = {0, 0};
    size_t Length = 0;
    ssize_t Got;
    int Pipe[2];
    char Rest[512];
    pid_t Pid;

    assert_int_equal(pipe(Pipe), 0);
    Pid = fork();
    assert_true(Pid >= 0);
    if (Pid == 0) {
        setrlimit(RLIMIT_CORE, &NoCore);
        /* cmocka's handlers would go on with the next test. */
        for (size_t Index = 0; Index < sizeof(Faults) / sizeof(Faults[0]); Index += 1) {
            signal(Faults[Index], SIG_DFL);
        }
        dup2(Pipe[1], 2);
        close(Pipe[0]);
        close(Pipe[1]);
        Routine(Context);
        _exit(0);
    }
    close(Pipe[1]);
    do {
        Got = Length < sizeof(Child->Output) - 1
                  ? read(Pipe[0], Child->Output + Length, sizeof(Child->Output) - 1 - Length)
                  : read(Pipe[0], Rest, sizeof(Rest));
        if (Got > 0 && Length < sizeof(Child->Output) - 1) {
            Length += (size_t)Got;
        }
    } while (Got > 0);
    Child->Output[Length] = '\0';
    close(Pipe[0]);
    assert_int_equal(waitpid(Pid, &Child->Status, 0), Pid);
}

/* Runs a routine that must come to its end. */
static inline void ChildSucceeds(void (*Routine)(void *), void *Context)
{
    CHILD Child;

    RunChild(&Child, Routine, Context);
    if (Child.Status != 0) {
        fail_msg("child status %#x: %s", (unsigned)Child.Status, Child.Output);
    }
}

/* Runs a routine that must abort with Text in its report. */
static inline void ChildAborts(void (*Routine)(void *), void *Context, const char *Text)
{
    CHILD Child;

    RunChild(&Child, Routine, Context);
    if (!WIFSIGNALED(Child.Status) || WTERMSIG(Child.Status) != SIGABRT || strstr(Child.Output, Text) == NULL) {
        fail_msg("child status %#x, not an abort with %s: %s", (unsigned)Child.Status, Text, Child.Output);
    }
}

#endif
