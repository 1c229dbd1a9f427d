/*
 * watch.c - `--watch`: samples one after the other, on a terminal in place, elsewhere printed one below the other.
 *
 * A frame is printed into memory and then written at once, clipped to the terminal. The first SIGINT, SIGTERM or SIGHUP
 * ends the wait by a pipe, which only its handler writes; the second has its usual effect, should a read of the target not
 * return. Test: tests/kd/test_watch.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static int KdSignalPipe[2] = {-1, -1};

typedef struct _KD_SCREEN {
    BOOLEAN Drawn; /* stdout is a terminal */
    BOOLEAN Keys;  /* stdin is one too, and gives each key at once */
    struct termios Saved;
    int Process; /* readable when the target ends, or -1 */
} KD_SCREEN;

static void KdInterrupt(int Signal)
{
    int Error = errno;

    (void)Signal;
    if (write(KdSignalPipe[1], "", 1) < 0) {
        /* It is full: the wait ends anyway. */
    }
    errno = Error;
}

static void KdOpenScreen(KD_SCREEN *Screen, const KD_TARGET *Target, BOOLEAN Json)
{
    sigset_t Signals;
    struct sigaction Action = {.sa_handler = KdInterrupt, .sa_flags = (int)SA_RESETHAND};

    memset(Screen, 0, sizeof(*Screen));
    sigemptyset(&Signals);
    sigaddset(&Signals, SIGINT);
    sigaddset(&Signals, SIGTERM);
    sigaddset(&Signals, SIGHUP);
    if (pipe2(KdSignalPipe, O_CLOEXEC | O_NONBLOCK) == 0) {
        sigaction(SIGINT, &Action, NULL);
        sigaction(SIGTERM, &Action, NULL);
        sigaction(SIGHUP, &Action, NULL);
        /* Whoever started this may have blocked them. */
        sigprocmask(SIG_UNBLOCK, &Signals, NULL);
    }
    Screen->Process = (int)syscall(SYS_pidfd_open, (pid_t)Target->Pid, 0);
    Screen->Drawn = !Json && isatty(STDOUT_FILENO);
    if (!Screen->Drawn) {
        return;
    }
    if (isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &Screen->Saved) == 0) {
        struct termios Raw = Screen->Saved;

        Raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        Screen->Keys = tcsetattr(STDIN_FILENO, TCSANOW, &Raw) == 0;
    }
    fputs("\033[?1049h\033[?25l", stdout); /* the other screen, no cursor */
}

static void KdCloseScreen(KD_SCREEN *Screen)
{
    if (Screen->Keys) {
        tcsetattr(STDIN_FILENO, TCSANOW, &Screen->Saved);
    }
    if (Screen->Drawn) {
        fputs("\033[?25h\033[?1049l", stdout);
        fflush(stdout);
    }
    if (Screen->Process >= 0) {
        close(Screen->Process);
    }
}

/* What fits, each line cleared to its end. */
static void KdDraw(const char *Text)
{
    struct winsize Window = {0};
    ULONG Columns, Rows;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &Window) != 0 || Window.ws_col == 0 || Window.ws_row == 0) {
        Window = (struct winsize){.ws_col = 80, .ws_row = 24};
    }
    Columns = Window.ws_col;
    Rows = Window.ws_row;
    fputs("\033[H", stdout);
    for (ULONG Row = 0; Row < Rows && *Text != 0; Row++) {
        size_t Length = strcspn(Text, "\n");

        printf("%s%.*s\033[K", Row != 0 ? "\r\n" : "", (int)(Length < Columns ? Length : Columns), Text);
        Text += Length + (Text[Length] != 0);
    }
    fputs("\033[J", stdout);
}

static void KdShowFrame(const KD_SCREEN *Screen, PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous,
                        const KD_VIEW *View, const KD_OPTIONS *Options)
{
    char *Frame = NULL;
    size_t Size;

    if (Screen->Drawn) {
        KdOutput = open_memstream(&Frame, &Size);
    }
    KdShow(Target, Sample, Previous, View, Options->Json);
    if (KdOutput != NULL) {
        KdPrint("\nevery %lu.%lu s; q ends\n", (unsigned long)Options->Watch / 1000,
                (unsigned long)Options->Watch % 1000 / 100);
        fclose(KdOutput);
        KdOutput = NULL;
        if (Frame != NULL) {
            KdDraw(Frame);
        }
        free(Frame);
    } else if (!Options->Json) {
        putchar('\n');
    }
    fflush(stdout);
}

/* Until ns of CLOCK_MONOTONIC. FALSE: the user or the target ends it. */
static BOOLEAN KdWait(KD_SCREEN *Screen, ULONGLONG Until)
{
    for (;;) {
        struct pollfd Sources[] = {{.fd = Screen->Keys ? STDIN_FILENO : -1, .events = POLLIN},
                                   {.fd = Screen->Process, .events = POLLIN},
                                   {.fd = KdSignalPipe[0], .events = POLLIN}};
        struct timespec Now, Left;
        ULONGLONG Time;
        char Key;

        clock_gettime(CLOCK_MONOTONIC, &Now);
        Time = (ULONGLONG)Now.tv_sec * 1000000000u + (ULONGLONG)Now.tv_nsec;
        if (Time >= Until) {
            return TRUE;
        }
        Left.tv_sec = (time_t)((Until - Time) / 1000000000u);
        Left.tv_nsec = (long)((Until - Time) % 1000000000u);
        if (ppoll(Sources, ARRAYSIZE(Sources), &Left, NULL) < 0 && errno != EINTR) {
            return FALSE;
        }
        if ((Sources[1].revents & (POLLIN | POLLERR)) != 0 || Sources[2].revents != 0) {
            return FALSE;
        }
        if ((Sources[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
            (read(STDIN_FILENO, &Key, 1) != 1 || Key == 'q' || Key == 'Q')) {
            return FALSE;
        }
    }
}

int KdWatch(PKD_TARGET Target, const KD_VIEW *View, const KD_OPTIONS *Options)
{
    KD_SCREEN Screen;
    KD_SAMPLE Samples[2];
    KD_SAMPLE *Previous = NULL;
    ULONG Round = 0;
    BOOLEAN Taken;

    KdOpenScreen(&Screen, Target, Options->Json);
    KdJsonCompact(TRUE);
    do {
        KD_SAMPLE *Sample = &Samples[Round++ % 2];

        Taken = KdTakeSample(Target, Sample);
        if (Taken) {
            KdShowFrame(&Screen, Target, Sample, Previous, View, Options);
        }
        if (Previous != NULL) {
            KdFreeSample(Previous);
        }
        Previous = Taken ? Sample : NULL;
    } while (Taken && !ferror(stdout) && KdWait(&Screen, Previous->Time + (ULONGLONG)Options->Watch * 1000000u));
    if (Previous != NULL) {
        KdFreeSample(Previous);
    }
    KdJsonCompact(FALSE);
    KdCloseScreen(&Screen);
    if (!KdTargetRuns(Target)) {
        KdComplain("process %lu: %s", (unsigned long)Target->Pid, KdTargetEnd(Target));
    }
    return KD_OK;
}
