/*
 * kd.h - the door of src/kd: the `kprcb` command and what its subcommands share.
 *
 * The command is an ordinary client of the library: it sees its own machine through the public headers only, from
 * threads that hop onto the processor that they look at. cpuid.c looks behind them, at the identification, and what
 * looks at another process (target.h) at the debugger data block.
 */
#ifndef KD_H
#define KD_H

#include <stdio.h>

#include <kprcb/kprcb.h>

/* Exit codes of the command. */
#define KD_OK 0
#define KD_FAILED 1
#define KD_USAGE 2

#define KD_WIDTH 100 /* columns that text output stays within */

/* --- command.c --- */

typedef struct _KD_OPTIONS {
    ULONG Processors; /* 0: not given */
    BOOLEAN Json;
    /* For the commands that look at a machine. */
    ULONG Pid;   /* 0: not given */
    ULONG Watch; /* ms between two looks; 0: one look */
    /* For cpuid only. */
    const char *Dump;
    const char *Processor;
    const char *Version;
    BOOLEAN List;
} KD_OPTIONS;

typedef struct _KD_COMMAND {
    const char *Name;
    const char *Arguments;
    const char *Summary;
    const char *Help;
    int (*Routine)(const KD_OPTIONS *Options, int Count, char **Arguments); /* returns an exit code */
    BOOLEAN Looks;                                                          /* takes --pid and --watch */
} KD_COMMAND;

/* Runs the command line. Returns an exit code. */
int KdRun(int Count, char **Arguments);
/* TRUE: Text is a decimal number up to Maximum, now in *Number. */
BOOLEAN KdParseNumber(const char *Text, ULONG Maximum, PULONG Number);

/* --- one file a command --- */

extern const KD_COMMAND KdTourCommand;  /* tour.c */
extern const KD_COMMAND KdPrcbCommand;  /* prcb.c */
extern const KD_COMMAND KdIrqlCommand;  /* irql.c */
extern const KD_COMMAND KdDpcsCommand;  /* dpcs.c */
extern const KD_COMMAND KdLocksCommand; /* locks.c */
extern const KD_COMMAND KdCpuidCommand; /* cpuid.c */

/* --- machine.c: starting a machine and hopping over its processors --- */

/*
 * Processors: as many as Options, else the environment, else Default (0: the library's) says. An exit code; complains.
 */
int KdStartMachine(const KD_OPTIONS *Options, ULONG Default);
int KdStopMachine(void);
/*
 * The caller owns processor Index at some moment before the return and stays there until KdHopBack. FALSE: no such
 * one.
 */
BOOLEAN KdHop(ULONG Index, PGROUP_AFFINITY Previous);
void KdHopBack(PGROUP_AFFINITY Previous);
/*
 * Copies the block of processor Index as its owner sees it, at DISPATCH_LEVEL. *Address gets where the KPCR is. The
 * copy is freed by free(). NULL: no such processor, or no memory.
 */
PKPCR KdSnapshot(ULONG Index, PKPCR *Address);
const char *KdVendorName(UCHAR Vendor);
/* What a lock queue entry says by the two low bits of its Lock. */
const char *KdLockState(ULONG_PTR Lock);
/* As "DISPATCH_LEVEL". */
const char *KdIrqlName(ULONG Irql);

/* --- members.c: the members of the KPRCB, as data --- */

typedef enum _KD_FORMAT {
    KdNumber,
    KdHex,
    KdAddress,
    KdBoolean,
    KdText,      /* bytes up to a NUL */
    KdLockQueue, /* KSPIN_LOCK_QUEUE */
    KdCache      /* CACHE_DESCRIPTOR */
} KD_FORMAT;

typedef struct _KD_MEMBER {
    const char *Name;
    const char *Group; /* heading; members of a group stand together */
    const char *Type;
    ULONG Offset; /* in the KPRCB; in the KPCR for KdPcrMembers */
    ULONG Size;   /* of one element */
    ULONG Count;  /* elements; 1 if the member is no array */
    KD_FORMAT Format;
    const char *Meaning;
    /* Says more about one element's value; leaves Text empty if there is nothing to say. May be NULL. */
    void (*Explain)(ULONGLONG Value, ULONG Element, char *Text, size_t Size);
} KD_MEMBER;

extern const KD_MEMBER KdPcrMembers[];
extern const ULONG KdPcrMemberCount;
extern const KD_MEMBER KdPrcbMembers[];
extern const ULONG KdPrcbMemberCount;

/* Names of the bits of KPCR.Request and KPRCB.RequestSummary, and of a numbered lock. */
void KdNameRequest(ULONGLONG Request, char *Text, size_t Size);
void KdNameSummary(ULONGLONG Summary, char *Text, size_t Size);
const char *KdLockName(ULONG Number);

/* Element of the member in a structure; for KdLockQueue its Lock, for KdCache its Size. Not for KdText. */
ULONGLONG KdReadMember(const KD_MEMBER *Member, const void *Structure, ULONG Element);

/* --- cache.c --- */

/* "L1 data 32 KB", and the rest in words. Sharing: 0 if it is not known. */
void KdNameCache(const CACHE_DESCRIPTOR *Cache, char *Text, size_t Size);
void KdExplainCache(const CACHE_DESCRIPTOR *Cache, ULONG Sharing, char *Text, size_t Size);
void KdJsonCache(const char *Name, const CACHE_DESCRIPTOR *Cache);

/* --- output.c --- */

/* A line on stderr that begins with the name of the command. */
void KdComplain(const char *Format, ...) __attribute__((format(printf, 1, 2)));

/* Where the routines below print; NULL: stdout. */
extern FILE *KdOutput;
void KdPrint(const char *Format, ...) __attribute__((format(printf, 1, 2)));

/* TRUE: an object is one line from now on. */
void KdJsonCompact(BOOLEAN Compact);
/* A value inside an object has a name; in an array, and at the top, NULL. Kind: '{' or '['. */
void KdJsonOpen(const char *Name, char Kind);
void KdJsonClose(char Kind); /* '}' or ']'; the outermost ends the line */
void KdJsonString(const char *Name, const char *Value);
void KdJsonNumber(const char *Name, ULONGLONG Value);
void KdJsonSigned(const char *Name, LONGLONG Value);
void KdJsonHex(const char *Name, ULONGLONG Value); /* a string, "0x1f" */
void KdJsonBoolean(const char *Name, BOOLEAN Value);
void KdJsonNull(const char *Name);

/*
 * Prints words, from column Column on, breaking lines before KD_WIDTH and indenting the next by Indent. Ends the line.
 */
void KdWrap(ULONG Column, ULONG Indent, const char *Text);

#endif
