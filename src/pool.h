/* Threads that share the chunks of a call.
 *
 * The calling thread works too, and what no worker comes to take it does itself: a worker that wakes
 * late, or cannot be started, costs nothing but its help.
 */
#ifndef CEK_POOL_H
#define CEK_POOL_H

#include <stddef.h>

/* Chunks that are worth a thread, of some 10 microseconds each: to wake one takes 20 to 30. */
enum { CEK_MIN_CHUNKS = 2 };

/* One thread's part in a call. */
struct cek_share;

/* Takes one of the chunks that are left; 0: none is left. */
int cek_take(struct cek_share *share, size_t *chunk);

/* What each thread does once a call: take chunks until none is left, or none if it cannot. */
typedef void cek_task(void *context, struct cek_share *share);

/* Runs a task on at most n_threads threads; returns whether all chunks were taken. */
int cek_pool_run(cek_task *task, void *context, size_t n_chunks, size_t n_threads);

/* CPUs that the calling thread may use. */
size_t cek_pool_cpus(void);

/* Workers that there are. */
size_t cek_pool_size(void);

/* Ends the workers; the next call that needs some starts them again. */
void cek_pool_stop(void);

#endif
