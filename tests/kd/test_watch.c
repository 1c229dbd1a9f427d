/*
 * test_watch.c - `--watch`: a JSON object a line, rates by what happened between two samples, the ends of it, and a
 * terminal.
 */
#include "kd/livetest.h"

#include <pty.h>

#include "ki.h"

#define DPCS 100

static LIVE Live;

static VOID DoNothing(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Context, (void)Argument1, (void)Argument2;
}

/* Runs DPCs on processor 0 each time the test says Go. */
static void RunDpcs(void *Context, int Input)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 2};
    KDPC Dpc;

    (void)Context;
    if (!NT_SUCCESS(KprcbStart(&Config)) || !NT_SUCCESS(KprcbAttachThread(0))) {
        _exit(1);
    }
    KeInitializeDpc(&Dpc, DoNothing, NULL);
    for (;;) {
        AwaitTest(Input);
        for (ULONG Count = 0; Count < DPCS; Count++) {
            KeInsertQueueDpc(&Dpc, NULL, NULL);
        }
    }
}

typedef struct _WATCHER {
    pid_t Pid;
    FILE *Output;
    char Errors[64]; /* the path of a file */
} WATCHER;

/* Arguments end with NULL. Terminal: where all three streams are; -1: output comes by a pipe. */
static void StartWatcher(WATCHER *Watcher, int Terminal, const char *Name, BOOLEAN Json)
{
    char Pid[16];
    int Pipe[2] = {-1, -1};
    int Errors;

    snprintf(Pid, sizeof(Pid), "%d", (int)Live.Pid);
    snprintf(Watcher->Errors, sizeof(Watcher->Errors), "/tmp/kprcb-watch-XXXXXX");
    Errors = mkstemp(Watcher->Errors);
    assert_true(Errors >= 0);
    if (Terminal < 0) {
        assert_int_equal(pipe2(Pipe, O_CLOEXEC), 0);
    }
    Watcher->Pid = fork();
    assert_true(Watcher->Pid >= 0);
    if (Watcher->Pid == 0) {
        sigset_t All;

        /* As a parent with threads may leave them. */
        sigfillset(&All);
        sigprocmask(SIG_BLOCK, &All, NULL);
        dup2(Errors, STDERR_FILENO);
        if (Terminal < 0) {
            dup2(Pipe[1], STDOUT_FILENO);
        } else {
            dup2(Terminal, STDIN_FILENO);
            dup2(Terminal, STDOUT_FILENO);
        }
        execl(Command, Command, Name, "--pid", Pid, "--watch=0.1", Json ? "--json" : (char *)NULL, (char *)NULL);
        _exit(127);
    }
    close(Errors);
    Watcher->Output = NULL;
    if (Terminal < 0) {
        close(Pipe[1]);
        Watcher->Output = fdopen(Pipe[0], "r");
        assert_non_null(Watcher->Output);
    }
}

/* Exit code; -1: a signal. What it complained of must contain Text. */
static int AwaitWatcher(WATCHER *Watcher, const char *Text)
{
    char Complaint[512] = "";
    FILE *Errors;
    int Status;

    assert_int_equal(waitpid(Watcher->Pid, &Status, 0), Watcher->Pid);
    Errors = fopen(Watcher->Errors, "r");
    assert_non_null(Errors);
    Complaint[fread(Complaint, 1, sizeof(Complaint) - 1, Errors)] = 0;
    fclose(Errors);
    unlink(Watcher->Errors);
    if (Watcher->Output != NULL) {
        fclose(Watcher->Output);
    }
    if (Text == NULL ? Complaint[0] != 0 : strstr(Complaint, Text) == NULL) {
        fail_msg("stderr '%s', not '%s'", Complaint, Text != NULL ? Text : "");
    }
    return WIFEXITED(Status) ? WEXITSTATUS(Status) : -1;
}

static char *ReadSample(WATCHER *Watcher)
{
    char *Line = NULL;
    size_t Size = 0;

    if (getline(&Line, &Size, Watcher->Output) <= 0) {
        fail_msg("no sample");
    }
    assert_true(IsJson(Line));
    return Line;
}

static const char *NormalQueue(const char *Sample)
{
    return Element(Member(Element(Member(Sample, "processors"), 0), "queues"), DPC_NORMAL);
}

static LONGLONG NumberOf(const char *Object, const char *Name)
{
    return strtoll(Member(Object, Name), NULL, 10);
}

static void TestEachSampleIsALineAndRatesCountWhatHappened(void **State)
{
    WATCHER Watcher;
    char *First, *Next;
    LONGLONG Start, Now, Last;

    (void)State;
    StartProcess(&Live, RunDpcs);
    StartWatcher(&Watcher, -1, "dpcs", TRUE);
    First = ReadSample(&Watcher);
    assert_null(strstr(First, "dpcsPerSecond"));
    Start = Last = NumberOf(NormalQueue(First), "DpcCount");
    Go(&Live);
    do {
        LONGLONG Elapsed;

        Next = ReadSample(&Watcher);
        Now = NumberOf(NormalQueue(Next), "DpcCount");
        Elapsed = NumberOf(Next, "time") - NumberOf(First, "time");
        assert_int_equal(NumberOf(NormalQueue(Next), "dpcsPerSecond"), (Now - Last) * 1000000000ll / Elapsed);
        Last = Now;
        free(First);
        First = Next;
    } while (Now < Start + DPCS);
    assert_int_equal(Now, Start + DPCS);
    free(First);
    kill(Watcher.Pid, SIGINT);
    assert_int_equal(AwaitWatcher(&Watcher, NULL), KD_OK);
    EndProcess(&Live);
}

static void TestItEndsWithTheTarget(void **State)
{
    WATCHER Watcher;

    (void)State;
    StartProcess(&Live, RunDpcs);
    StartWatcher(&Watcher, -1, "locks", TRUE);
    free(ReadSample(&Watcher));
    EndProcess(&Live);
    assert_int_equal(AwaitWatcher(&Watcher, "the process has ended"), KD_OK);
}

static void TestPlainTextGoesOnBelow(void **State)
{
    WATCHER Watcher;
    char Line[256];
    ULONG Heads = 0;

    (void)State;
    StartProcess(&Live, RunDpcs);
    StartWatcher(&Watcher, -1, "irql", FALSE);
    while (Heads < 3) {
        assert_non_null(fgets(Line, sizeof(Line), Watcher.Output));
        assert_null(strchr(Line, '\033'));
        Heads += strncmp(Line, "Process ", 8) == 0;
    }
    kill(Watcher.Pid, SIGTERM);
    assert_int_equal(AwaitWatcher(&Watcher, NULL), KD_OK);
    EndProcess(&Live);
}

/* Reads what comes until Text has, and adds it to Seen. */
static void ReadUntil(int Terminal, const char *Text, char *Seen, size_t Size)
{
    size_t Length = strlen(Seen);

    while (strstr(Seen, Text) == NULL) {
        ssize_t Got = read(Terminal, Seen + Length, Size - 1 - Length);

        if (Got <= 0 || Length + (size_t)Got >= Size - 1) {
            fail_msg("no '%s' in '%s'", Text, Seen);
        }
        Length += (size_t)Got;
        Seen[Length] = 0;
    }
}

static void TestATerminalIsDrawnClippedAndRestored(void **State)
{
    struct winsize Window = {.ws_row = 4, .ws_col = 30};
    struct termios Before, After;
    static char Seen[1 << 16];
    WATCHER Watcher;
    int Master, Slave;

    (void)State;
    if (openpty(&Master, &Slave, NULL, NULL, &Window) != 0) {
        skip();
    }
    assert_int_equal(tcgetattr(Slave, &Before), 0);
    StartProcess(&Live, RunDpcs);
    StartWatcher(&Watcher, Slave, "irql", FALSE);
    ReadUntil(Master, "\033[J", Seen, sizeof(Seen));
    *strstr(Seen, "\033[J") = 0; /* a second frame may have come with it */
    assert_non_null(strstr(Seen, "\033[?1049h"));
    assert_non_null(strstr(Seen, "Proc Host"));
    for (char *Text = strstr(Seen, "Process "), *End; (End = strstr(Text, "\033[K")) != NULL; Text = End + 3) {
        Text += strspn(Text, "\r\n");
        assert_true(End - Text <= 30);
    }
    assert_int_equal(CountOf(Seen, "\033[K"), 4);
    assert_int_equal(write(Master, "q", 1), 1);
    ReadUntil(Master, "\033[?1049l", Seen, sizeof(Seen));
    assert_int_equal(AwaitWatcher(&Watcher, NULL), KD_OK);
    assert_int_equal(tcgetattr(Slave, &After), 0);
    assert_int_equal(Before.c_lflag, After.c_lflag);
    close(Slave);
    close(Master);
    EndProcess(&Live);
}

/* With stdin and stdout closed, a file of the command's own gets their numbers. */
static void TestClosedStreamsAreNoFilesOfTheCommand(void **State)
{
    char Pid[16];
    pid_t Child;
    int Status;

    (void)State;
    StartProcess(&Live, RunDpcs);
    snprintf(Pid, sizeof(Pid), "%d", (int)Live.Pid);
    Child = fork();
    assert_true(Child >= 0);
    if (Child == 0) {
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        close(STDERR_FILENO);
        execl(Command, Command, "locks", "--pid", Pid, "--watch=0.1", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_true(WIFEXITED(Status));
    assert_int_equal(WEXITSTATUS(Status), KD_FAILED);
    EndProcess(&Live);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestEachSampleIsALineAndRatesCountWhatHappened),
        cmocka_unit_test(TestItEndsWithTheTarget),
        cmocka_unit_test(TestPlainTextGoesOnBelow),
        cmocka_unit_test(TestATerminalIsDrawnClippedAndRestored),
        cmocka_unit_test(TestClosedStreamsAreNoFilesOfTheCommand),
    };

    if (!HostAllowsLooks()) {
        puts("skipped: this host lets no process look into another");
        return 0;
    }
    return cmocka_run_group_tests(Tests, FindCommand, NULL);
}
