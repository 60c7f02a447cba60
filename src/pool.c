/* One pool a process.  Its workers start when a call first needs them, wait for the next call, awake
 * for a while and then asleep, and are forgotten in a forked child, where they do not exist.
 *
 * Calls come from any number of threads: each is in a list for as long as workers may join it.
 */
#if defined(__linux__)
#define _GNU_SOURCE /* affinity */
#endif
#include "pool.h"

#include "thread.h"

enum {
    MAX_THREADS = 256,
    SPIN_MICROSECONDS = 100, /* a few times what waking a thread takes */
    SPIN_PAUSES = 32 /* between two looks at the clock */
};

/* A call.  Its chunks are cut into spans, one a thread: what a thread ran in the last call, and has
 * in its cache, it runs in the next.  A thread at the end of its span helps with the others. */
struct call {
    cek_task *task;
    void *context;
    size_t n_chunks;
    size_t n_spans;
    size_t seats; /* workers that may still join */
    counter n_working; /* workers that have joined and not left */
    counter complete; /* threads that found no chunk left */
    struct place place; /* of the calling thread */
    struct call *next; /* in the list */
    counter taken[MAX_THREADS]; /* chunks of each span */
};

/* One thread's part in it. */
struct cek_share {
    struct call *call;
    size_t span; /* to take from */
    size_t n_left; /* spans that it has not found empty */
};

/* Written with the lock held. */
struct pool {
    mutex lock;
    condition work; /* there is a seat, or the end */
    condition done; /* the last worker left a call */
    struct call *open; /* the calls with seats, last one first */
    counter n_seats; /* of all of them */
    size_t n_workers;
    size_t n_idle; /* workers that are in no call */
    size_t n_asleep; /* of these */
    size_t n_cpus; /* that the last caller may use */
    int stopping;
};

#define POOL_INITIAL {.lock = MUTEX_INITIAL, .work = CONDITION_INITIAL, .done = CONDITION_INITIAL}

static struct pool pool = POOL_INITIAL;
static thread workers[MAX_THREADS];

static void forget(void)
{
    pool = (struct pool)POOL_INITIAL;
}

static size_t span_begin(const struct call *call, size_t span)
{
    return call->n_chunks * span / call->n_spans;
}

int cek_take(struct cek_share *share, size_t *chunk)
{
    struct call *call = share->call;
    for (; share->n_left; share->n_left--, share->span = (share->span + 1) % call->n_spans) {
        *chunk = span_begin(call, share->span) + counter_add(&call->taken[share->span], 1);
        if (*chunk < span_begin(call, share->span + 1))
            return 1;
    }
    counter_add(&call->complete, 1);
    return 0;
}

/* Takes part in a call. */
static void run(struct call *call, size_t span)
{
    struct cek_share share = {call, span, call->n_spans};
    call->task(call->context, &share);
}

/* Waits a little for a counter to become zero, or not zero. */
static void spin(counter *count, int until_zero)
{
    const uint64_t start = microseconds();
    do
        for (int i = 0; i < SPIN_PAUSES; i++) {
            if ((counter_get(count) == 0) == until_zero)
                return;
            spin_pause();
        }
    while (microseconds() - start < SPIN_MICROSECONDS);
}

/* Everything from here to cek_pool_run is called with the lock held. */

/* Has each thread a CPU of its own?  If not, one that spins is in the way of one that works. */
static int may_spin(void)
{
    return pool.n_workers - pool.n_asleep < pool.n_cpus;
}

static void wait_for_seat(void)
{
    if (may_spin()) {
        mutex_unlock(&pool.lock);
        spin(&pool.n_seats, 0);
        mutex_lock(&pool.lock);
    }
    if (!pool.open && !pool.stopping) {
        pool.n_asleep++;
        condition_wait(&pool.work, &pool.lock);
        pool.n_asleep--;
    }
}

static void take_seats(struct call *call, size_t n)
{
    counter_add(&pool.n_seats, -n);
    call->seats -= n;
    if (call->seats)
        return;
    struct call **place = &pool.open;
    while (*place != call)
        place = &(*place)->next;
    *place = call->next;
}

static void join(struct call *call, struct place *place)
{
    const size_t span = call->seats; /* 0 is that of the caller */
    take_seats(call, 1);
    counter_add(&call->n_working, 1);
    pool.n_idle--;
    mutex_unlock(&pool.lock);
    place_follow(&call->place, place);
    run(call, span);
    mutex_lock(&pool.lock);
    pool.n_idle++;
    if (counter_add(&call->n_working, -(size_t)1) == 1) /* with this the call may be gone */
        condition_broadcast(&pool.done);
}

static THREAD_MAIN work(void *unused)
{
    (void)unused;
    struct place place;
    place_find(&place);
    mutex_lock(&pool.lock);
    while (!pool.stopping)
        if (pool.open)
            join(pool.open, &place);
        else
            wait_for_seat();
    mutex_unlock(&pool.lock);
    return 0;
}

static void start_workers(size_t n_idle)
{
    static int child_forgets;
    if (!child_forgets)
        at_fork(forget);
    child_forgets = 1;
    while (pool.n_idle < n_idle && pool.n_workers < MAX_THREADS &&
           thread_start(&workers[pool.n_workers], work)) {
        pool.n_workers++;
        pool.n_idle++;
    }
}

static void open_call(struct call *call, size_t seats)
{
    call->seats = seats;
    call->next = pool.open;
    pool.open = call;
    pool.n_cpus = place_find(&call->place);
    const size_t n_seats = counter_add(&pool.n_seats, seats) + seats;
    start_workers(n_seats);
    for (size_t i = pool.n_idle - pool.n_asleep; i < n_seats && i < pool.n_idle; i++)
        condition_signal(&pool.work);
}

static void close_call(struct call *call)
{
    if (call->seats)
        take_seats(call, call->seats);
    if (may_spin()) {
        mutex_unlock(&pool.lock);
        spin(&call->n_working, 1);
        mutex_lock(&pool.lock);
    }
    while (counter_get(&call->n_working))
        condition_wait(&pool.done, &pool.lock);
}

int cek_pool_run(cek_task *task, void *context, size_t n_chunks, size_t n_threads)
{
    struct call call = {
        .task = task, .context = context, .n_chunks = n_chunks, .n_spans = n_threads};
    if (call.n_spans > MAX_THREADS)
        call.n_spans = MAX_THREADS;
    if (call.n_spans > n_chunks)
        call.n_spans = n_chunks;
    if (call.n_spans > 1) {
        mutex_lock(&pool.lock);
        if (!pool.stopping)
            open_call(&call, call.n_spans - 1);
        mutex_unlock(&pool.lock);
    }
    run(&call, 0);
    if (call.n_spans > 1) {
        mutex_lock(&pool.lock);
        close_call(&call);
        mutex_unlock(&pool.lock);
    }
    return counter_get(&call.complete) > 0;
}

size_t cek_pool_cpus(void)
{
    struct place place;
    return place_find(&place);
}

size_t cek_pool_size(void)
{
    mutex_lock(&pool.lock);
    const size_t n = pool.n_workers;
    mutex_unlock(&pool.lock);
    return n;
}

void cek_pool_stop(void)
{
    mutex_lock(&pool.lock);
    if (!pool.stopping) {
        pool.stopping = 1; /* from here no call changes n_workers */
        condition_broadcast(&pool.work);
        mutex_unlock(&pool.lock);
        for (size_t i = 0; i < pool.n_workers; i++)
            thread_join(workers[i]);
        mutex_lock(&pool.lock);
        pool.n_workers = pool.n_idle = 0;
        pool.stopping = 0;
    }
    mutex_unlock(&pool.lock);
}
