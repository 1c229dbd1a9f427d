/*
 * output.c - complaints on stderr, JSON and wrapped text on stdout. One writer, the command's main thread.
 *
 * Test: tests/kd/test_command.c.
 */
#include "kd.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define MAXIMUM_DEPTH 8

static ULONG KdDepth;
static BOOLEAN KdFilled[MAXIMUM_DEPTH + 1]; /* something stands in the object or array of that depth */

void KdComplain(const char *Format, ...)
{
    va_list Arguments;

    fflush(stdout);
    fputs("kprcb: ", stderr);
    va_start(Arguments, Format);
    vfprintf(stderr, Format, Arguments);
    va_end(Arguments);
    fputc('\n', stderr);
}

static void KdJsonQuote(const char *Value)
{
    putchar('"');
    for (const UCHAR *Byte = (const UCHAR *)Value; *Byte != 0; Byte++) {
        if (*Byte == '"' || *Byte == '\\') {
            printf("\\%c", *Byte);
        } else if (*Byte < 0x20 || *Byte >= 0x7F) {
            printf("\\u%04x", *Byte);
        } else {
            putchar(*Byte);
        }
    }
    putchar('"');
}

static void KdJsonBegin(const char *Name)
{
    if (KdFilled[KdDepth]) {
        putchar(',');
    }
    if (KdDepth > 0) {
        putchar('\n');
    }
    KdFilled[KdDepth] = TRUE;
    for (ULONG Level = 0; Level < KdDepth; Level++) {
        putchar(' ');
    }
    if (Name != NULL) {
        KdJsonQuote(Name);
        printf(": ");
    }
}

void KdJsonOpen(const char *Name, char Kind)
{
    KdJsonBegin(Name);
    putchar(Kind);
    if (KdDepth < MAXIMUM_DEPTH) {
        KdDepth++;
    }
    KdFilled[KdDepth] = FALSE;
}

void KdJsonClose(char Kind)
{
    KdDepth--;
    putchar(Kind);
    if (KdDepth == 0) {
        putchar('\n');
        KdFilled[0] = FALSE;
    }
}

void KdJsonString(const char *Name, const char *Value)
{
    KdJsonBegin(Name);
    KdJsonQuote(Value);
}

void KdJsonNumber(const char *Name, ULONGLONG Value)
{
    KdJsonBegin(Name);
    printf("%" PRIu64, Value);
}

void KdJsonSigned(const char *Name, LONGLONG Value)
{
    KdJsonBegin(Name);
    printf("%" PRId64, Value);
}

void KdJsonHex(const char *Name, ULONGLONG Value)
{
    KdJsonBegin(Name);
    printf("\"0x%" PRIx64 "\"", Value);
}

void KdJsonBoolean(const char *Name, BOOLEAN Value)
{
    KdJsonBegin(Name);
    printf(Value ? "true" : "false");
}

void KdWrap(ULONG Column, ULONG Indent, const char *Text)
{
    BOOLEAN First = TRUE;

    while (*Text != 0) {
        ULONG Length = (ULONG)strcspn(Text, " ");

        if (!First && Column + 1 + Length > KD_WIDTH) {
            printf("\n%*s", (int)Indent, "");
            Column = Indent;
        } else if (!First) {
            putchar(' ');
            Column++;
        }
        printf("%.*s", (int)Length, Text);
        Column += Length;
        First = FALSE;
        Text += Length;
        Text += strspn(Text, " ");
    }
    putchar('\n');
}
