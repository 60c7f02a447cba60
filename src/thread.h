/* What the pool needs of the system: threads, locks, counters and CPUs. */
#ifndef CEK_THREAD_H
#define CEK_THREAD_H

#include <stddef.h>
#include <stdint.h>

/* A matrix that is transposed (binary_columns.h) takes 256 KiB, a tile of few classes up to 140, all else
 * some tens; musl and macOS give new threads little. */
enum { STACK_SIZE = 1 << 20 };

#if defined(_WIN32)

#define WIN32_LEAN_AND_MEAN
#include <process.h>
#include <windows.h>

typedef SRWLOCK mutex;
typedef CONDITION_VARIABLE condition;
typedef HANDLE thread;
typedef volatile LONG64 counter;

#define MUTEX_INITIAL SRWLOCK_INIT
#define CONDITION_INITIAL CONDITION_VARIABLE_INIT
#define mutex_lock AcquireSRWLockExclusive
#define mutex_unlock ReleaseSRWLockExclusive
#define condition_wait(c, m) SleepConditionVariableSRW(c, m, INFINITE, 0)
#define condition_signal WakeConditionVariable
#define condition_broadcast WakeAllConditionVariable
#define counter_get(c) ((size_t)InterlockedCompareExchange64(c, 0, 0))
#define counter_add(c, n) ((size_t)InterlockedExchangeAdd64(c, (LONG64)(n)))
#define spin_pause YieldProcessor
#define THREAD_MAIN unsigned __stdcall

static int thread_start(thread *t, unsigned(__stdcall *run)(void *))
{
    *t = (HANDLE)_beginthreadex(NULL, STACK_SIZE, run, NULL, STACK_SIZE_PARAM_IS_A_RESERVATION,
                                NULL);
    return *t != NULL;
}

static void thread_join(thread t)
{
    WaitForSingleObject(t, INFINITE);
    CloseHandle(t);
}

static uint64_t microseconds(void)
{
    LARGE_INTEGER now, rate;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&rate);
    return (uint64_t)((double)now.QuadPart * 1e6 / (double)rate.QuadPart);
}

static size_t n_cpus(void)
{
    return GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
}

static void at_fork(void (*in_child)(void))
{
    (void)in_child;
}

#else

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;
typedef pthread_t thread;
typedef _Atomic size_t counter;

#define MUTEX_INITIAL PTHREAD_MUTEX_INITIALIZER
#define CONDITION_INITIAL PTHREAD_COND_INITIALIZER
#define mutex_lock pthread_mutex_lock
#define mutex_unlock pthread_mutex_unlock
#define condition_wait pthread_cond_wait
#define condition_signal pthread_cond_signal
#define condition_broadcast pthread_cond_broadcast
#define counter_get(c) atomic_load(c)
#define counter_add(c, n) atomic_fetch_add(c, n)
#define THREAD_MAIN void *

static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* yield is no pause at all on most processors */
#endif
}

/* Signals are for the threads of the program. */
static int thread_start(thread *t, void *(*run)(void *))
{
    sigset_t all, before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes))
        return 0;
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(t, &attributes, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !error;
}

static void thread_join(thread t)
{
    pthread_join(t, NULL);
}

static uint64_t microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static size_t n_cpus(void)
{
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (size_t)n : 1;
}

static void at_fork(void (*in_child)(void))
{
    pthread_atfork(NULL, NULL, in_child);
}

#endif

/* Where a thread may run, and where it does. */
#if defined(__linux__)

#include <sched.h>

struct place {
    cpu_set_t allowed;
    int cpu;
};

/* Finds the place of the calling thread; returns how many CPUs it may use. */
static size_t place_find(struct place *place)
{
    place->cpu = sched_getcpu();
    CPU_ZERO(&place->allowed);
    const int error = sched_getaffinity(0, sizeof place->allowed, &place->allowed);
    return error ? n_cpus() : (size_t)CPU_COUNT(&place->allowed);
}

/* Moves a worker to the CPUs that a caller may use, but off the one that it does use: a system that
 * packs threads wakes the worker there, and then one waits for the other. */
static void place_follow(const struct place *caller, struct place *worker)
{
    if (CPU_EQUAL(&caller->allowed, &worker->allowed) && sched_getcpu() != caller->cpu)
        return;
    cpu_set_t set = worker->allowed = caller->allowed;
    if (CPU_COUNT(&set) > 1)
        CPU_CLR((size_t)caller->cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

#else

struct place {
    char unknown;
};

static size_t place_find(struct place *place)
{
    place->unknown = 0;
    return n_cpus();
}

static void place_follow(const struct place *caller, struct place *worker)
{
    *worker = *caller;
}

#endif
#endif
