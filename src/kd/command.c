/*
 * command.c - the command line: options, help and the table of subcommands. Test: tests/kd/test_command.c.
 */
#include "kd.h"

#include <getopt.h>
#include <string.h>

static const KD_COMMAND *const KdCommands[] = {&KdTourCommand, &KdPrcbCommand,  &KdIrqlCommand,
                                               &KdDpcsCommand, &KdLocksCommand, &KdCpuidCommand};

/* Long options without a letter. */
enum { KdOptionDump = 256, KdOptionProcessor, KdOptionAs, KdOptionList, KdOptionPid, KdOptionWatch };

#define LARGEST_PID 0x7FFFFFFF
#define SHORTEST_WATCH 100 /* ms */
#define LONGEST_WATCH 3600000
#define DEFAULT_WATCH 1000

BOOLEAN KdParseNumber(const char *Text, ULONG Maximum, PULONG Number)
{
    ULONGLONG Value = 0;

    if (*Text == 0) {
        return FALSE;
    }
    for (; *Text != 0; Text++) {
        if (*Text < '0' || *Text > '9' || (Value = Value * 10 + (ULONGLONG)(*Text - '0')) > Maximum) {
            return FALSE;
        }
    }
    *Number = (ULONG)Value;
    return TRUE;
}

/* Seconds with one decimal at most, now in *Milliseconds. */
static BOOLEAN KdParseSeconds(const char *Text, PULONG Milliseconds)
{
    char Whole[8];
    size_t Length = strcspn(Text, ".");
    ULONG Seconds, Tenths = 0;

    if (Length >= sizeof(Whole)) {
        return FALSE;
    }
    memcpy(Whole, Text, Length);
    Whole[Length] = 0;
    if (!KdParseNumber(Whole, LONGEST_WATCH / 1000, &Seconds) ||
        (Text[Length] != 0 && !KdParseNumber(Text + Length + 1, 9, &Tenths))) {
        return FALSE;
    }
    *Milliseconds = Seconds * 1000 + Tenths * 100;
    return *Milliseconds >= SHORTEST_WATCH && *Milliseconds <= LONGEST_WATCH;
}

static const KD_COMMAND *KdFindCommand(const char *Name)
{
    for (ULONG Index = 0; Index < ARRAYSIZE(KdCommands); Index++) {
        if (strcmp(KdCommands[Index]->Name, Name) == 0) {
            return KdCommands[Index];
        }
    }
    return NULL;
}

static void KdPrintUsage(FILE *Stream)
{
    fprintf(Stream, "Usage: kprcb [OPTION...] COMMAND [ARGUMENT...]\n"
                    "Runs a machine of NT logical processors and shows it, or looks at the one of another process.\n"
                    "\nCommands:\n");
    for (ULONG Index = 0; Index < ARRAYSIZE(KdCommands); Index++) {
        fprintf(Stream, "  %-6s %-10s %s\n", KdCommands[Index]->Name, KdCommands[Index]->Arguments,
                KdCommands[Index]->Summary);
    }
    fprintf(Stream,
            "  %-6s %-10s %s\n"
            "\nOptions:\n"
            "  -p, --processors=N   logical processors of the machine, 1 to %d, however many CPUs the host has\n"
            "  -j, --json           print JSON\n"
            "      --pid=PID        for prcb, irql, dpcs, locks: look at the machine of that process, without\n"
            "                       stopping it\n"
            "      --watch[=SECONDS]\n"
            "                       with --pid: again every second, or 0.1 to 3600 SECONDS, with rates, until q,\n"
            "                       Ctrl-C or the end of the process; with --json one object a line\n"
            "      --dump=FILE, --processor=NAME, --as=VERSION, --list\n"
            "                       for cpuid: 'kprcb help cpuid' tells\n"
            "  -h, --help           print this\n"
            "  -V, --version        print the version\n"
            "\nThe environment sets the rest of the machine: KPRCB_PROCESSORS, KPRCB_GROUP_SIZE, KPRCB_FLAGS,\n"
            "KPRCB_TIME_INCREMENT. Exit status: 0 done, 1 failed, 2 wrong arguments.\n",
            "help", "[COMMAND]", "this, or what a command does", KPRCB_MAXIMUM_PROCESSORS);
}

static int KdHelp(int Count, char **Arguments)
{
    const KD_COMMAND *Command;

    if (Count == 0) {
        KdPrintUsage(stdout);
        return KD_OK;
    }
    if (Count > 1) {
        KdComplain("help takes one command at most");
        return KD_USAGE;
    }
    if (strcmp(Arguments[0], "help") == 0) {
        KdPrintUsage(stdout);
        return KD_OK;
    }
    Command = KdFindCommand(Arguments[0]);
    if (Command == NULL) {
        KdComplain("there is no command '%s'; 'kprcb help' lists them", Arguments[0]);
        return KD_USAGE;
    }
    printf("Usage: kprcb [OPTION...] %s%s%s\n%s", Command->Name, Command->Arguments[0] != 0 ? " " : "",
           Command->Arguments, Command->Help);
    return KD_OK;
}

/* TRUE: go on. FALSE: *Result is the exit code. */
static BOOLEAN KdParseOptions(int Count, char **Arguments, KD_OPTIONS *Options, BOOLEAN *Help, int *Result)
{
    static const struct option Long[] = {
        {"processors", required_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},
        {"dump", required_argument, NULL, KdOptionDump},
        {"processor", required_argument, NULL, KdOptionProcessor},
        {"as", required_argument, NULL, KdOptionAs},
        {"list", no_argument, NULL, KdOptionList},
        {"pid", required_argument, NULL, KdOptionPid},
        {"watch", optional_argument, NULL, KdOptionWatch},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int Option;

    Arguments[0] = (char[]){"kprcb"}; /* getopt_long begins its complaints with it, as KdComplain does */
    while ((Option = getopt_long(Count, Arguments, "p:jhV", Long, NULL)) != -1) {
        switch (Option) {
        case 'p':
            if (!KdParseNumber(optarg, KPRCB_MAXIMUM_PROCESSORS, &Options->Processors) || Options->Processors == 0) {
                KdComplain("--processors: '%s' is not a number from 1 to %d", optarg, KPRCB_MAXIMUM_PROCESSORS);
                *Result = KD_USAGE;
                return FALSE;
            }
            break;
        case 'j':
            Options->Json = TRUE;
            break;
        case KdOptionDump:
            Options->Dump = optarg;
            break;
        case KdOptionProcessor:
            Options->Processor = optarg;
            break;
        case KdOptionAs:
            Options->Version = optarg;
            break;
        case KdOptionList:
            Options->List = TRUE;
            break;
        case KdOptionPid:
            if (!KdParseNumber(optarg, LARGEST_PID, &Options->Pid) || Options->Pid == 0) {
                KdComplain("--pid: '%s' is not the number of a process", optarg);
                *Result = KD_USAGE;
                return FALSE;
            }
            break;
        case KdOptionWatch:
            Options->Watch = DEFAULT_WATCH;
            if (optarg != NULL && !KdParseSeconds(optarg, &Options->Watch)) {
                KdComplain("--watch: '%s' is not a number of seconds from 0.1 to 3600 with one decimal", optarg);
                *Result = KD_USAGE;
                return FALSE;
            }
            break;
        case 'h':
            *Help = TRUE;
            break;
        case 'V':
            printf("kprcb %s\n", KprcbVersion());
            *Result = KD_OK;
            return FALSE;
        default:
            fputs("'kprcb help' lists commands and options\n", stderr);
            *Result = KD_USAGE;
            return FALSE;
        }
    }
    return TRUE;
}

static BOOLEAN KdCheckLooks(const KD_COMMAND *Command, const KD_OPTIONS *Options)
{
    if (!Command->Looks && (Options->Pid != 0 || Options->Watch != 0)) {
        KdComplain("%s: --pid and --watch are for prcb, irql, dpcs and locks", Command->Name);
        return FALSE;
    }
    if (Options->Pid != 0 && Options->Processors != 0) {
        KdComplain("%s: --processors is for machines that the command starts, not for those of --pid", Command->Name);
        return FALSE;
    }
    if (Options->Watch != 0 && Options->Pid == 0) {
        KdComplain("%s: --watch needs --pid=PID", Command->Name);
        return FALSE;
    }
    return TRUE;
}

int KdRun(int Count, char **Arguments)
{
    KD_OPTIONS Options = {0};
    const KD_COMMAND *Command;
    BOOLEAN Help = FALSE;
    int Result = KD_OK;

    if (!KdParseOptions(Count, Arguments, &Options, &Help, &Result)) {
        return Result;
    }
    Count -= optind;
    Arguments += optind;
    if (Help) {
        return KdHelp(Count > 0 ? 1 : 0, Arguments);
    }
    if (Count == 0) {
        KdComplain("a command is missing");
        KdPrintUsage(stderr);
        return KD_USAGE;
    }
    if (strcmp(Arguments[0], "help") == 0) {
        return KdHelp(Count - 1, Arguments + 1);
    }
    Command = KdFindCommand(Arguments[0]);
    if (Command == NULL) {
        KdComplain("there is no command '%s'; 'kprcb help' lists them", Arguments[0]);
        return KD_USAGE;
    }
    if (Command != &KdCpuidCommand &&
        (Options.Dump != NULL || Options.Processor != NULL || Options.Version != NULL || Options.List)) {
        KdComplain("%s: --dump, --processor, --as and --list are for cpuid", Command->Name);
        return KD_USAGE;
    }
    return KdCheckLooks(Command, &Options) ? Command->Routine(&Options, Count - 1, Arguments + 1) : KD_USAGE;
}
