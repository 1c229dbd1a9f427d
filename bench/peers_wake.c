/*
 * peers_wake.c - the ways to make another thread run that rows are compared with: a word, eventfd, a list under a
 * mutex, a signal, a bare thread.
 */
#define _GNU_SOURCE
#include "peers.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LINE __attribute__((aligned(128)))

static void Signal(int Event)
{
    uint64_t One = 1;

    if (write(Event, &One, sizeof(One)) != sizeof(One)) {
        abort();
    }
}

static void Await(int Event)
{
    uint64_t Value;

    if (read(Event, &Value, sizeof(Value)) != sizeof(Value)) {
        abort();
    }
}

/* --- latency --- */

double PeerLatencySample(void *Context, double Seconds)
{
    PEER_LATENCY *Latency = Context;
    double Values[64];
    int Count = 0;
    uint64_t Limit = (uint64_t)(Seconds * 1e9), Begin = BenchNow();

    do {
        uint64_t Start, Stamp;

        BenchSleep(PEER_PACE_NS);
        __atomic_store_n(&Latency->Stamp, 0, __ATOMIC_RELAXED);
        Start = BenchNow();
        Latency->Post(Latency);
        while ((Stamp = __atomic_load_n(&Latency->Stamp, __ATOMIC_ACQUIRE)) == 0) {
        }
        Values[Count++] = (double)(Stamp - Start);
    } while (Count < 64 && (Count < 5 || BenchNow() - Begin < Limit));
    return BenchMedian(Values, Count);
}

void PeerEventConsumer(POOL_WORKER *Worker)
{
    PEER_LATENCY *Latency = PoolContext(Worker);

    for (;;) {
        Await(Latency->Event);
        if (PoolStopped(Worker)) {
            return;
        }
        __atomic_store_n(&Latency->Stamp, BenchNow(), __ATOMIC_RELEASE);
    }
}

void PeerEventPost(PEER_LATENCY *Latency)
{
    Signal(Latency->Event);
}

void PeerEventEnd(PEER_LATENCY *Latency)
{
    Signal(Latency->Event);
}

/* --- a word to and fro, or one for each way --- */

static struct {
    uint64_t Word LINE; /* odd: the other side's turn; UINT64_MAX: the end */
    uint64_t Back LINE; /* the answer, where it has a word of its own */
} Flag;

static void Answer(POOL_WORKER *Worker, uint64_t *Back, uint64_t Step)
{
    uint64_t Turn;

    for (uint64_t Next = 1;; Next += Step) {
        while ((Turn = __atomic_load_n(&Flag.Word, __ATOMIC_ACQUIRE)) != Next) {
            if (Turn == UINT64_MAX) {
                Worker->Operations = Next;
                return;
            }
        }
        __atomic_store_n(Back, Next + 1, __ATOMIC_RELEASE);
    }
}

static void FlagWork(POOL_WORKER *Worker)
{
    Answer(Worker, &Flag.Word, 2);
}

static void TwoWordWork(POOL_WORKER *Worker)
{
    Answer(Worker, &Flag.Back, 1);
}

static inline void FlagTrip(void *Context)
{
    uint64_t *Turn = Context;

    __atomic_store_n(&Flag.Word, *Turn + 1, __ATOMIC_RELEASE);
    *Turn += 2;
    while (__atomic_load_n(&Flag.Word, __ATOMIC_ACQUIRE) != *Turn) {
    }
}

static inline void TwoWordTrip(void *Context)
{
    uint64_t *Turn = Context;

    *Turn += 1;
    __atomic_store_n(&Flag.Word, *Turn, __ATOMIC_RELEASE);
    while (__atomic_load_n(&Flag.Back, __ATOMIC_ACQUIRE) != *Turn + 1) {
    }
}

static void BeginTrips(POOL *Pool, POOL_WORK *Work)
{
    Flag.Word = 0;
    Flag.Back = 0;
    PoolPost(Pool, Work);
}

static void EndTrips(POOL *Pool)
{
    __atomic_store_n(&Flag.Word, UINT64_MAX, __ATOMIC_RELEASE);
    PoolWait(Pool);
}

/* The first trip ends when the thread has woken. */
double PeerSpinFlagSample(void *Context, double Seconds)
{
    uint64_t Turn = 0;
    double Ns;

    BeginTrips(Context, FlagWork);
    FlagTrip(&Turn);
    Ns = BenchLoop(FlagTrip, &Turn, Seconds, 64) / 2;
    EndTrips(Context);
    return Ns;
}

double PeerSpinPairSample(void *Context, double Seconds)
{
    uint64_t Turn = 0;
    double Ns;

    BeginTrips(Context, TwoWordWork);
    TwoWordTrip(&Turn);
    Ns = BenchLoop(TwoWordTrip, &Turn, Seconds, 64) / 2;
    EndTrips(Context);
    return Ns;
}

/* --- two eventfds --- */

typedef struct _EVENT_PAIR {
    int There, Back;
} EVENT_PAIR;

static EVENT_PAIR Pair = {-1, -1};

static void OpenPair(void)
{
    if (Pair.There < 0) {
        Pair.There = eventfd(0, EFD_CLOEXEC);
        Pair.Back = eventfd(0, EFD_CLOEXEC);
    }
}

static void PairWork(POOL_WORKER *Worker)
{
    for (;;) {
        Await(Pair.There);
        if (PoolStopped(Worker)) {
            return;
        }
        Signal(Pair.Back);
    }
}

static inline void PairTrip(void *Context)
{
    (void)Context;
    Signal(Pair.There);
    Await(Pair.Back);
}

double PeerEventfdSample(void *Context, double Seconds)
{
    POOL *Pool = Context;
    double Ns;

    OpenPair();
    PoolPost(Pool, PairWork);
    PairTrip(NULL);
    Ns = BenchLoop(PairTrip, NULL, Seconds, 1) / 2;
    PoolStop(Pool);
    Signal(Pair.There);
    PoolWait(Pool);
    return Ns;
}

/* --- a list under a mutex --- */

typedef struct _ITEM {
    struct _ITEM *Next;
    void (*Routine)(struct _ITEM *Item);
} __attribute__((aligned(64))) ITEM;

static struct {
    pthread_mutex_t Mutex LINE;
    ITEM *First; /* with Last: under Mutex */
    ITEM **Last;
    uint64_t Ran LINE; /* by the consumer (release); the producer reads (acquire) that the item may be used again */
    ITEM Items[PEER_OUTSTANDING];
} List = {.Mutex = PTHREAD_MUTEX_INITIALIZER, .Last = &List.First};

static void RunItem(ITEM *Item)
{
    (void)Item;
    __atomic_store_n(&List.Ran, List.Ran + 1, __ATOMIC_RELEASE);
}

static void ListWork(POOL_WORKER *Worker)
{
    while (!PoolStopped(Worker)) {
        ITEM *Item, *Next;

        Await(Pair.There);
        pthread_mutex_lock(&List.Mutex);
        Item = List.First;
        List.First = NULL;
        List.Last = &List.First;
        pthread_mutex_unlock(&List.Mutex);
        for (; Item != NULL; Item = Next) {
            Next = Item->Next;
            Item->Routine(Item);
        }
    }
}

typedef struct _LIST_PRODUCER {
    uint64_t Posted;
    uint64_t Ran; /* as last read */
} LIST_PRODUCER;

static inline void ListPost(void *Context)
{
    LIST_PRODUCER *Producer = Context;
    ITEM *Item = &List.Items[Producer->Posted % PEER_OUTSTANDING];
    bool WasEmpty;

    while (Producer->Posted - Producer->Ran == PEER_OUTSTANDING) {
        Producer->Ran = __atomic_load_n(&List.Ran, __ATOMIC_ACQUIRE);
    }
    Item->Next = NULL;
    Item->Routine = RunItem;
    pthread_mutex_lock(&List.Mutex);
    WasEmpty = List.First == NULL;
    *List.Last = Item;
    List.Last = &Item->Next;
    pthread_mutex_unlock(&List.Mutex);
    if (WasEmpty) {
        Signal(Pair.There);
    }
    Producer->Posted++;
}

double PeerEventListSample(void *Context, double Seconds)
{
    POOL *Pool = Context;
    LIST_PRODUCER Producer = {0, 0};
    double Ns;

    OpenPair();
    List.Ran = 0;
    PoolPost(Pool, ListWork);
    ListPost(&Producer);
    Ns = BenchLoop(ListPost, &Producer, Seconds, 256);
    while (__atomic_load_n(&List.Ran, __ATOMIC_ACQUIRE) != Producer.Posted) {
    }
    PoolStop(Pool);
    Signal(Pair.There);
    PoolWait(Pool);
    return Ns;
}

/* --- signals --- */

static uint32_t Handled LINE; /* by the handlers; the sender reads */

static void Handler(int Number)
{
    (void)Number;
    __atomic_add_fetch(&Handled, 1, __ATOMIC_RELEASE);
}

static uint32_t Spinning LINE; /* threads of the pool that have begun */

static void KillWork(POOL_WORKER *Worker)
{
    __atomic_add_fetch(&Spinning, 1, __ATOMIC_RELEASE);
    while (!PoolStopped(Worker)) {
    }
}

double PeerKillSample(void *Context, double Seconds)
{
    POOL *Pool = Context;
    struct sigaction Action = {.sa_handler = Handler}, Old;
    uint32_t Sent = 0;
    uint64_t Limit = (uint64_t)(Seconds * 1e9), Start, Elapsed;

    sigaction(SIGUSR2, &Action, &Old);
    Handled = 0;
    Spinning = 0;
    PoolPost(Pool, KillWork);
    while (__atomic_load_n(&Spinning, __ATOMIC_ACQUIRE) == 0) {
    }
    Start = BenchNow();
    do {
        pthread_kill((pthread_t)PoolThread(Pool, 0), SIGUSR2);
        Sent++;
        while (__atomic_load_n(&Handled, __ATOMIC_ACQUIRE) != Sent) {
        }
        Elapsed = BenchNow() - Start;
    } while (Elapsed < Limit);
    PoolStop(Pool);
    PoolWait(Pool);
    sigaction(SIGUSR2, &Old, NULL);
    return (double)Elapsed / Sent;
}

/* --- a barrier --- */

static pthread_barrier_t Barrier;

static void BarrierWork(POOL_WORKER *Worker)
{
    for (;;) {
        pthread_barrier_wait(&Barrier);
        if (PoolStopped(Worker)) {
            return;
        }
        pthread_barrier_wait(&Barrier);
    }
}

static inline void BarrierRound(void *Context)
{
    (void)Context;
    pthread_barrier_wait(&Barrier);
    pthread_barrier_wait(&Barrier);
}

double PeerBarrierSample(void *Context, double Seconds)
{
    POOL *Pool = Context;
    double Ns;

    pthread_barrier_init(&Barrier, NULL, 2);
    PoolPost(Pool, BarrierWork);
    BarrierRound(NULL);
    Ns = BenchLoop(BarrierRound, NULL, Seconds, 1);
    PoolStop(Pool);
    pthread_barrier_wait(&Barrier);
    PoolWait(Pool);
    pthread_barrier_destroy(&Barrier);
    return Ns;
}

/* --- threads --- */

typedef struct _BARE_THREAD {
    pthread_t Thread;
    sem_t Wake;
} BARE_THREAD;

static uint32_t Woken LINE;

static void *BareMain(void *Argument)
{
    BARE_THREAD *Bare = Argument;

    while (sem_wait(&Bare->Wake) != 0) {
    }
    __atomic_add_fetch(&Woken, 1, __ATOMIC_RELEASE);
    return NULL;
}

double PeerThreadsOnce(int Count)
{
    BARE_THREAD *Threads = calloc((size_t)Count, sizeof(*Threads));
    uint64_t Start = BenchNow();
    int Created = 0;

    while (Threads != NULL && Created < Count && sem_init(&Threads[Created].Wake, 0, 0) == 0 &&
           pthread_create(&Threads[Created].Thread, NULL, BareMain, &Threads[Created]) == 0) {
        Created++;
    }
    for (int i = 0; i < Created; i++) {
        sem_post(&Threads[i].Wake);
    }
    for (int i = 0; i < Created; i++) {
        pthread_join(Threads[i].Thread, NULL);
        sem_destroy(&Threads[i].Wake);
    }
    free(Threads);
    return Created == Count ? (double)(BenchNow() - Start) : -1;
}
