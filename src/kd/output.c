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

FILE *KdOutput;
static BOOLEAN KdCompact;
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

void KdPrint(const char *Format, ...)
{
    va_list Arguments;

    va_start(Arguments, Format);
    vfprintf(KdOutput != NULL ? KdOutput : stdout, Format, Arguments);
    va_end(Arguments);
}

static void KdPut(int Byte)
{
    fputc(Byte, KdOutput != NULL ? KdOutput : stdout);
}

void KdJsonCompact(BOOLEAN Compact)
{
    KdCompact = Compact;
}

static void KdJsonQuote(const char *Value)
{
    KdPut('"');
    for (const UCHAR *Byte = (const UCHAR *)Value; *Byte != 0; Byte++) {
        if (*Byte == '"' || *Byte == '\\') {
            KdPrint("\\%c", *Byte);
        } else if (*Byte < 0x20 || *Byte >= 0x7F) {
            KdPrint("\\u%04x", *Byte);
        } else {
            KdPut(*Byte);
        }
    }
    KdPut('"');
}

static void KdJsonBegin(const char *Name)
{
    if (KdFilled[KdDepth]) {
        KdPut(',');
    }
    if (KdDepth > 0 && !KdCompact) {
        KdPut('\n');
    }
    KdFilled[KdDepth] = TRUE;
    for (ULONG Level = 0; Level < KdDepth && !KdCompact; Level++) {
        KdPut(' ');
    }
    if (Name != NULL) {
        KdJsonQuote(Name);
        KdPrint(": ");
    }
}

void KdJsonOpen(const char *Name, char Kind)
{
    KdJsonBegin(Name);
    KdPut(Kind);
    if (KdDepth < MAXIMUM_DEPTH) {
        KdDepth++;
    }
    KdFilled[KdDepth] = FALSE;
}

void KdJsonClose(char Kind)
{
    KdDepth--;
    KdPut(Kind);
    if (KdDepth == 0) {
        KdPut('\n');
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
    KdPrint("%" PRIu64, Value);
}

void KdJsonSigned(const char *Name, LONGLONG Value)
{
    KdJsonBegin(Name);
    KdPrint("%" PRId64, Value);
}

void KdJsonHex(const char *Name, ULONGLONG Value)
{
    KdJsonBegin(Name);
    KdPrint("\"0x%" PRIx64 "\"", Value);
}

void KdJsonBoolean(const char *Name, BOOLEAN Value)
{
    KdJsonBegin(Name);
    KdPrint(Value ? "true" : "false");
}

void KdJsonNull(const char *Name)
{
    KdJsonBegin(Name);
    KdPrint("null");
}

void KdWrap(ULONG Column, ULONG Indent, const char *Text)
{
    BOOLEAN First = TRUE;

    while (*Text != 0) {
        ULONG Length = (ULONG)strcspn(Text, " ");

        if (!First && Column + 1 + Length > KD_WIDTH) {
            KdPrint("\n%*s", (int)Indent, "");
            Column = Indent;
        } else if (!First) {
            KdPut(' ');
            Column++;
        }
        KdPrint("%.*s", (int)Length, Text);
        Column += Length;
        First = FALSE;
        Text += Length;
        Text += strspn(Text, " ");
    }
    KdPut('\n');
}
