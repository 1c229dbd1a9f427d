/*
 * livetest.h - processes to look into, and JSON to look at.
 *
 * A process is forked while the test has one thread, and no machine, and set up by a routine of the test; it shares a
 * page with the test, says when it is ready, and stays as it is until the test ends it.
 */
#ifndef TEST_LIVETEST_H
#define TEST_LIVETEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "commandtest.h"
#include "target.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#ifndef PR_SET_PTRACER
#define PR_SET_PTRACER 0x59616d61
#define PR_SET_PTRACER_ANY ((unsigned long)-1)
#endif

typedef struct _LIVE {
    pid_t Pid;
    int Input, Output; /* ends of the two pipes that the test has */
    void *Shared;      /* a page */
} LIVE;

/* Set in the process itself. */
static int LiveOutput;

/* Called by the routine when it is ready. Returns when the test ends the process, or says Go. */
static inline void AwaitTest(int Input)
{
    char Byte = 'r';

    while (write(LiveOutput, &Byte, 1) < 0 && errno == EINTR) {
    }
    for (;;) {
        ssize_t Got = read(Input, &Byte, 1);

        if (Got == 1) {
            return;
        }
        if (Got == 0) {
            _exit(0);
        }
    }
}

static inline void AwaitProcess(LIVE *Live)
{
    char Byte = 0;

    if (read(Live->Output, &Byte, 1) != 1) {
        fail_msg("the process to look into has failed");
    }
}

/* The process goes on to its next AwaitTest. */
static inline void Go(LIVE *Live)
{
    assert_int_equal(write(Live->Input, "g", 1), 1);
    AwaitProcess(Live);
}

static inline void StartProcess(LIVE *Live, void (*Routine)(void *Shared, int Input))
{
    int In[2], Out[2];

    Live->Shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(Live->Shared != MAP_FAILED);
    assert_int_equal(pipe2(In, O_CLOEXEC), 0);
    assert_int_equal(pipe2(Out, O_CLOEXEC), 0);
    Live->Pid = fork();
    assert_true(Live->Pid >= 0);
    if (Live->Pid == 0) {
        close(In[1]);
        close(Out[0]);
        LiveOutput = Out[1];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
        Routine(Live->Shared, In[0]);
        _exit(0);
    }
    close(In[0]);
    close(Out[1]);
    Live->Input = In[1];
    Live->Output = Out[0];
    AwaitProcess(Live);
}

static inline void EndProcess(LIVE *Live)
{
    int Status;

    close(Live->Input);
    kill(Live->Pid, SIGKILL);
    assert_int_equal(waitpid(Live->Pid, &Status, 0), Live->Pid);
    close(Live->Output);
    munmap(Live->Shared, 4096);
}

static inline RESULT RunOn(const LIVE *Live, const char *Line)
{
    char Whole[256];

    snprintf(Whole, sizeof(Whole), "%s --pid %d", Line, (int)Live->Pid);
    return Run(Whole);
}

static inline RESULT RunWellOn(const LIVE *Live, const char *Line)
{
    RESULT Result = RunOn(Live, Line);

    if (Result.Exit != KD_OK || Result.Errors[0] != 0) {
        fail_msg("kprcb %s on a process: exit %d, %s", Line, Result.Exit, Result.Errors);
    }
    return Result;
}

static inline void AssertRefusedOn(const LIVE *Live, const char *Line, const char *Message)
{
    RESULT Result = RunOn(Live, Line);

    if (Result.Exit != KD_FAILED || Result.Output[0] != 0 || strstr(Result.Errors, Message) == NULL ||
        CountOf(Result.Errors, "\n") != 1) {
        fail_msg("%s: exit %d, stdout '%s', stderr '%s', not '%s'", Line, Result.Exit, Result.Output, Result.Errors,
                 Message);
    }
    Free(&Result);
}

/* FALSE: this host lets no process look into another. */
static inline BOOLEAN HostAllowsLooks(void)
{
    int Word = 0, Copy;
    struct iovec Local = {&Copy, sizeof(Copy)}, Remote = {&Word, sizeof(Word)};
    pid_t Child = fork();
    BOOLEAN Allows;

    if (Child == 0) {
        pause();
        _exit(0);
    }
    Allows = process_vm_readv(Child, &Local, 1, &Remote, 1, 0) == (ssize_t)sizeof(Copy);
    kill(Child, SIGKILL);
    waitpid(Child, NULL, 0);
    return Allows;
}

/* --- JSON: values are pointers into the text --- */

static inline const char *Member(const char *Object, const char *Name)
{
    size_t Length = strlen(Name);

    assert_non_null(Object);
    assert_int_equal(*Object, '{');
    for (const char *Text = SkipBlank(Object + 1); *Text == '"';) {
        const char *Value = SkipBlank(SkipString(Text));
        const char *End;

        Value = SkipBlank(Value + 1);
        if (strncmp(Text + 1, Name, Length) == 0 && Text[Length + 1] == '"') {
            return Value;
        }
        End = SkipBlank(SkipValue(Value));
        Text = *End == ',' ? SkipBlank(End + 1) : End;
    }
    fail_msg("no member %s in %.200s", Name, Object);
    return NULL;
}

/* NULL: there are fewer. */
static inline const char *Element(const char *Array, ULONG Index)
{
    const char *Text;

    assert_int_equal(*Array, '[');
    for (Text = SkipBlank(Array + 1); *Text != ']'; Index--) {
        const char *End;

        if (Index == 0) {
            return Text;
        }
        End = SkipBlank(SkipValue(Text));
        Text = *End == ',' ? SkipBlank(End + 1) : End;
    }
    return NULL;
}

static inline ULONG Elements(const char *Array)
{
    ULONG Count = 0;

    while (Element(Array, Count) != NULL) {
        Count++;
    }
    return Count;
}

static inline BOOLEAN IsText(const char *Value, const char *Text)
{
    size_t Length = strlen(Text);

    return Value[0] == '"' && strncmp(Value + 1, Text, Length) == 0 && Value[Length + 1] == '"';
}

static inline ULONGLONG HexOf(const char *Value)
{
    assert_int_equal(*Value, '"');
    return strtoull(Value + 1, NULL, 16);
}

static inline void AssertText(const char *Object, const char *Name, const char *Text)
{
    if (!IsText(Member(Object, Name), Text)) {
        fail_msg("%s is %.40s, not \"%s\"", Name, Member(Object, Name), Text);
    }
}

static inline void AssertWord(const char *Object, const char *Name, const char *Word)
{
    if (strncmp(Member(Object, Name), Word, strlen(Word)) != 0) {
        fail_msg("%s is %.40s, not %s", Name, Member(Object, Name), Word);
    }
}

static inline void AssertNumber(const char *Object, const char *Name, LONGLONG Number)
{
    if (strtoll(Member(Object, Name), NULL, 10) != Number) {
        fail_msg("%s is %.40s, not %lld", Name, Member(Object, Name), (long long)Number);
    }
}

static inline void AssertHex(const char *Object, const char *Name, ULONGLONG Number)
{
    if (HexOf(Member(Object, Name)) != Number) {
        fail_msg("%s is %.40s, not 0x%llx", Name, Member(Object, Name), (unsigned long long)Number);
    }
}

/* The object of an array whose member, a hexadecimal number, is that. */
static inline const char *FindByHex(const char *Array, const char *Name, ULONGLONG Number)
{
    const char *Object;

    for (ULONG Index = 0; (Object = Element(Array, Index)) != NULL; Index++) {
        if (HexOf(Member(Object, Name)) == Number) {
            return Object;
        }
    }
    fail_msg("no %s 0x%llx in %.400s", Name, (unsigned long long)Number, Array);
    return NULL;
}

#endif
