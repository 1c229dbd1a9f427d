/*
 * commandtest.h - running the `kprcb` command from outside, and looking at what it printed.
 *
 * The command is the file kprcb two folders above this program, or what the environment variable KPRCB_COMMAND names.
 */
#ifndef TEST_COMMANDTEST_H
#define TEST_COMMANDTEST_H

#include <ctype.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kd.h"

#define MAXIMUM_OUTPUT (1 << 20)
#define MAXIMUM_ARGUMENTS 8

static char Command[4096];

typedef struct {
    int Exit; /* -1: ended by a signal */
    char *Output, *Errors;
} RESULT;

static inline char *ReadAll(FILE *File)
{
    char *Text = malloc(MAXIMUM_OUTPUT);
    size_t Length;

    assert_non_null(Text);
    rewind(File);
    Length = fread(Text, 1, MAXIMUM_OUTPUT - 1, File);
    assert_true(Length < MAXIMUM_OUTPUT - 1);
    Text[Length] = 0;
    fclose(File);
    return Text;
}

/* Line: arguments joined by blanks. OutputPath: where stdout goes; NULL: into Result. */
static inline RESULT RunTo(const char *OutputPath, const char *Line)
{
    char Words[8192];
    char *Arguments[MAXIMUM_ARGUMENTS + 2] = {Command};
    int Count = 1;
    FILE *Output = OutputPath == NULL ? tmpfile() : fopen(OutputPath, "r+");
    FILE *Errors = tmpfile();
    RESULT Result = {0};
    int Status;
    pid_t Child;

    assert_non_null(Output);
    assert_non_null(Errors);
    snprintf(Words, sizeof(Words), "%s", Line);
    for (char *Word = strtok(Words, " "); Word != NULL && Count <= MAXIMUM_ARGUMENTS; Word = strtok(NULL, " ")) {
        Arguments[Count++] = Word;
    }
    Child = fork();
    assert_true(Child >= 0);
    if (Child == 0) {
        dup2(fileno(Output), STDOUT_FILENO);
        dup2(fileno(Errors), STDERR_FILENO);
        execv(Command, Arguments);
        _exit(127);
    }
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    Result.Exit = WIFEXITED(Status) ? WEXITSTATUS(Status) : -1;
    if (OutputPath == NULL) {
        Result.Output = ReadAll(Output);
    } else {
        fclose(Output);
    }
    Result.Errors = ReadAll(Errors);
    return Result;
}

static inline RESULT Run(const char *Line)
{
    return RunTo(NULL, Line);
}

static inline RESULT RunWell(const char *Line)
{
    RESULT Result = Run(Line);

    if (Result.Exit != 0 || Result.Errors[0] != 0 || Result.Output[0] == 0) {
        fail_msg("kprcb %s: exit %d, %s", Line, Result.Exit, Result.Errors);
    }
    return Result;
}

static inline void Free(RESULT *Result)
{
    free(Result->Output);
    free(Result->Errors);
}

static inline ULONG CountOf(const char *Text, const char *Part)
{
    ULONG Count = 0;

    while ((Text = strstr(Text, Part)) != NULL) {
        Count++;
        Text += strlen(Part);
    }
    return Count;
}

static inline void AssertNarrow(const char *Text)
{
    while (*Text != 0) {
        size_t Length = strcspn(Text, "\n");

        if (Length > KD_WIDTH) {
            fail_msg("%zu columns: %.*s", Length, (int)Length, Text);
        }
        Text += Length + (Text[Length] != 0);
    }
}

/* --- a checker of JSON: each routine returns what follows, or NULL --- */

static inline const char *SkipValue(const char *Text);

static inline const char *SkipBlank(const char *Text)
{
    return Text + strspn(Text, " \t\r\n");
}

static inline const char *SkipString(const char *Text)
{
    if (*Text++ != '"') {
        return NULL;
    }
    while (*Text != '"') {
        if ((unsigned char)*Text < 0x20) {
            return NULL;
        }
        if (*Text == '\\') {
            Text++;
            if (*Text == 'u') {
                for (int Digit = 0; Digit < 4; Digit++) {
                    if (!isxdigit((unsigned char)*++Text)) {
                        return NULL;
                    }
                }
            } else if (*Text == 0 || strchr("\"\\/bfnrt", *Text) == NULL) {
                return NULL;
            }
        }
        Text++;
    }
    return Text + 1;
}

static inline const char *SkipNumber(const char *Text)
{
    if (*Text == '-') {
        Text++;
    }
    if (!isdigit((unsigned char)*Text) || (Text[0] == '0' && isdigit((unsigned char)Text[1]))) {
        return NULL;
    }
    return Text + strspn(Text, "0123456789");
}

static inline const char *SkipList(const char *Text, char Open)
{
    char Close = Open == '{' ? '}' : ']';

    Text = SkipBlank(Text + 1);
    if (*Text == Close) {
        return Text + 1;
    }
    for (;;) {
        if (Open == '{') {
            Text = SkipString(SkipBlank(Text));
            if (Text == NULL || *(Text = SkipBlank(Text)) != ':') {
                return NULL;
            }
            Text++;
        }
        Text = SkipValue(Text);
        if (Text == NULL) {
            return NULL;
        }
        Text = SkipBlank(Text);
        if (*Text == Close) {
            return Text + 1;
        }
        if (*Text++ != ',') {
            return NULL;
        }
    }
}

static inline const char *SkipValue(const char *Text)
{
    static const char *const Words[] = {"true", "false", "null"};

    Text = SkipBlank(Text);
    if (*Text == '{' || *Text == '[') {
        return SkipList(Text, *Text);
    }
    if (*Text == '"') {
        return SkipString(Text);
    }
    for (size_t Index = 0; Index < ARRAYSIZE(Words); Index++) {
        if (strncmp(Text, Words[Index], strlen(Words[Index])) == 0) {
            return Text + strlen(Words[Index]);
        }
    }
    return SkipNumber(Text);
}

static inline BOOLEAN IsJson(const char *Text)
{
    Text = SkipValue(Text);
    return Text != NULL && *SkipBlank(Text) == 0;
}

static inline int FindCommand(void **State)
{
    const char *Named = getenv("KPRCB_COMMAND");
    ssize_t Length;

    (void)State;
    unsetenv("KPRCB_PROCESSORS");
    if (Named != NULL) {
        snprintf(Command, sizeof(Command), "%s", Named);
    } else {
        Length = readlink("/proc/self/exe", Command, sizeof(Command) - 16);
        if (Length < 0) {
            return -1;
        }
        Command[Length] = 0;
        for (int Up = 0; Up < 3; Up++) {
            *strrchr(Command, '/') = 0;
        }
        strcat(Command, "/kprcb");
    }
    if (access(Command, X_OK) != 0) {
        print_error("there is no command %s\n", Command);
        return -1;
    }
    return 0;
}

#endif
