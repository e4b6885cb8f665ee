#include "comm/comm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/thread.h"

enum {
	RANKS_MAX = 1024,
	SPIN = 500 /* looks before a waiting rank goes to sleep: some ten microseconds */
};

/* What a rank shows to the others between the two barriers of a collective. */
typedef struct slot {
	void *data; /* gather: only read by the others */
	int64_t stride, first, columns;
	int64_t rows, total;
	size_t element;
} slot;

/* One direction between two ranks: a rendezvous, so nothing is buffered. */
typedef struct channel {
	const void *data;
	size_t size;
	bool posted, taken, refused;
} channel;

typedef struct group {
	int ranks;
	int spin;
	atomic_int references;
	atomic_bool aborted;
	atomic_int arrived;
	atomic_uint generation; /* of the barrier */
	pthread_mutex_t mutex;  /* for sleepers at the barrier, and for the channels */
	pthread_cond_t moved;
	slot *slots;       /* [ranks] */
	channel *channels; /* [from][to] */
} group;

struct gh__comm {
	group *group;
	gh__device *device; /* whose memory the data lies in; NULL: the host's */
	int rank;
};

static void group_free(group *g)
{
	pthread_cond_destroy(&g->moved);
	pthread_mutex_destroy(&g->mutex);
	gh__free(g->slots);
	gh__free(g->channels);
	gh__free(g);
}

static group *group_create(int ranks)
{
	group *g = gh__calloc(1, sizeof *g);

	if (g == NULL)
		return NULL;
	g->slots = gh__calloc((size_t)ranks, sizeof *g->slots);
	g->channels = gh__calloc((size_t)ranks * (size_t)ranks, sizeof *g->channels);
	if (g->slots == NULL || g->channels == NULL || gh__cond_init(&g->moved) != GH_OK) {
		gh__free(g->slots);
		gh__free(g->channels);
		gh__free(g);
		return NULL;
	}
	pthread_mutex_init(&g->mutex, NULL);
	g->ranks = ranks;
	/* With more ranks than cores a rank that spins holds up the one it waits for. */
	g->spin = ranks <= sysconf(_SC_NPROCESSORS_ONLN) ? SPIN : 0;
	atomic_init(&g->references, ranks);
	return g;
}

gh_status gh__comm_create_local(gh__comm **out, int ranks, gh_error *error)
{
	group *g;

	if (ranks < 1 || ranks > RANKS_MAX)
		return gh__fail(error, GH_EINVAL, "ranks: %d is not between 1 and %d", ranks,
				RANKS_MAX);
	g = group_create(ranks);
	if (g == NULL)
		return gh__fail_nomem(error);
	for (int i = 0; i < ranks; i++) {
		out[i] = gh__malloc(sizeof *out[i]);
		if (out[i] == NULL) {
			while (i > 0)
				gh__free(out[--i]);
			group_free(g);
			return gh__fail_nomem(error);
		}
		out[i]->group = g;
		out[i]->device = NULL;
		out[i]->rank = i;
	}
	return GH_OK;
}

void gh__comm_free(gh__comm *comm)
{
	if (comm == NULL)
		return;
	if (atomic_fetch_sub(&comm->group->references, 1) == 1)
		group_free(comm->group);
	gh__free(comm);
}

void gh__comm_use(gh__comm *comm, gh__device *device)
{
	comm->device = device;
}

int gh__comm_rank(const gh__comm *comm)
{
	return comm->rank;
}

int gh__comm_ranks(const gh__comm *comm)
{
	return comm->group->ranks;
}

static gh_status cancelled(gh_error *error)
{
	return gh__fail(error, GH_ECANCELLED, "another rank has failed");
}

void gh__comm_abort(gh__comm *comm)
{
	group *g = comm->group;

	pthread_mutex_lock(&g->mutex);
	atomic_store(&g->aborted, true);
	pthread_cond_broadcast(&g->moved);
	pthread_mutex_unlock(&g->mutex);
}

static inline void breathe(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* The generation cannot move before this rank arrives, so reading it first is enough. */
static gh_status meet(group *g, gh_error *error)
{
	unsigned generation = atomic_load(&g->generation);

	if (atomic_load(&g->aborted))
		return cancelled(error);
	if (atomic_fetch_add(&g->arrived, 1) + 1 == g->ranks) {
		atomic_store(&g->arrived, 0);
		pthread_mutex_lock(&g->mutex);
		atomic_store(&g->generation, generation + 1);
		pthread_cond_broadcast(&g->moved);
		pthread_mutex_unlock(&g->mutex);
	} else {
		for (int i = 0; i < g->spin && atomic_load(&g->generation) == generation; i++)
			breathe();
		if (atomic_load(&g->generation) == generation) {
			pthread_mutex_lock(&g->mutex);
			while (atomic_load(&g->generation) == generation &&
			       !atomic_load(&g->aborted))
				pthread_cond_wait(&g->moved, &g->mutex);
			pthread_mutex_unlock(&g->mutex);
		}
	}
	return atomic_load(&g->aborted) ? cancelled(error) : GH_OK;
}

gh_status gh__comm_barrier(gh__comm *comm, gh_error *error)
{
	return comm->group->ranks == 1 ? GH_OK : meet(comm->group, error);
}

/* ---- memory ---- */

/* What this rank has launched is done, so that others may read and write what it concerns. */
static gh_status settle(const gh__comm *comm, gh_error *error)
{
	gh__device *d = comm->device;

	return d ? d->table->synchronise(d->self, d->stream, error) : GH_OK;
}

static gh_status settle_and_meet(gh__comm *comm, gh_error *error)
{
	gh_status status = settle(comm, error);

	return status == GH_OK ? meet(comm->group, error) : status;
}

/* rows of `width` bytes from one strided matrix to another. */
static gh_status copy(const gh__comm *comm, char *dst, size_t dst_pitch, const char *src,
		      size_t src_pitch, size_t width, int64_t rows, gh_error *error)
{
	gh__device *d = comm->device;

	if (d != NULL)
		return d->table->copy(d->self, dst, dst_pitch, src, src_pitch, width, (size_t)rows,
				      d->stream, error);
	for (int64_t i = 0; i < rows; i++, dst += dst_pitch, src += src_pitch)
		memcpy(dst, src, width);
	return GH_OK;
}

/* dst |= src */
static gh_status unite(const gh__comm *comm, char *dst, const char *src, size_t size,
		       gh_error *error)
{
	gh__device *d = comm->device;

	if (d != NULL)
		return d->table->unite(d->self, dst, src, size, d->stream, error);
	for (size_t i = 0; i < size; i++)
		dst[i] = (char)(dst[i] | src[i]);
	return GH_OK;
}

/* ---- collectives ---- */

gh_status gh__comm_gather_columns(gh__comm *comm, const void *src, int64_t src_stride,
				  int64_t first, int64_t columns, void *dst, int64_t dst_stride,
				  int64_t rows, int64_t total, size_t element, gh_error *error)
{
	group *g = comm->group;
	gh_status status, lies = GH_OK;

	g->slots[comm->rank] = (slot){
		.data = (void *)(uintptr_t)src,
		.stride = src_stride,
		.first = first,
		.columns = columns,
		.rows = rows,
		.total = total,
		.element = element,
	};
	status = settle_and_meet(comm, error);
	for (int r = 0; r < g->ranks && status == GH_OK; r++) {
		const slot *s = &g->slots[r];

		/* All ranks see the same slots, so all come to the same verdict. */
		if (s->first < 0 || s->columns < 0 || s->first > total - s->columns ||
		    s->rows != rows || s->total != total || s->element != element) {
			lies = gh__fail(
				error, GH_EBUG,
				"gather: rank %d brings columns %lld + %lld of %lld in %lld rows",
				r, (long long)s->first, (long long)s->columns, (long long)s->total,
				(long long)s->rows);
			break;
		}
		if (dst != NULL)
			status = copy(comm, (char *)dst + (size_t)s->first * element,
				      (size_t)dst_stride * element, s->data,
				      (size_t)s->stride * element, (size_t)s->columns * element,
				      rows, error);
	}
	if (status == GH_OK)
		status = settle_and_meet(comm, error);
	return lies != GH_OK ? lies : status;
}

/* A rank's share of `count` elements, so that all of them work on a reduction. */
static void share(const gh__comm *comm, size_t count, size_t *begin, size_t *end)
{
	size_t ranks = (size_t)comm->group->ranks, rank = (size_t)comm->rank;
	size_t part = count / ranks, rest = count % ranks;

	*begin = rank * part + (rank < rest ? rank : rest);
	*end = *begin + part + (rank < rest);
}

/* Show data to the others and see theirs, before a reduction of the rank's share of it. */
static gh_status show(gh__comm *comm, void *data, size_t size, gh_error *error)
{
	group *g = comm->group;
	gh_status status;

	g->slots[comm->rank] = (slot){ .data = data, .element = size };
	status = meet(g, error);
	if (status != GH_OK)
		return status;
	for (int r = 0; r < g->ranks; r++) {
		if (g->slots[r].element != size) {
			/* Every rank finds one that differs; they part when all have looked. */
			status = gh__fail(error, GH_EBUG, "reduction: rank %d brings %zu, not %zu",
					  r, g->slots[r].element, size);
			meet(g, NULL);
			return status;
		}
	}
	return GH_OK;
}

gh_status gh__comm_merge(gh__comm *comm, void *data, size_t size, gh_error *error)
{
	group *g = comm->group;
	size_t begin, end;
	gh_status status;
	char *mine;

	if (g->ranks == 1)
		return GH_OK;
	status = settle(comm, error);
	if (status == GH_OK)
		status = show(comm, data, size, error);
	if (status != GH_OK)
		return status;
	share(comm, size / 8, &begin, &end);
	begin *= 8;
	end = comm->rank == g->ranks - 1 ? size : end * 8;
	mine = (char *)data + begin;
	for (int r = 0; r < g->ranks && status == GH_OK; r++)
		if (r != comm->rank)
			status = unite(comm, mine, (const char *)g->slots[r].data + begin,
				       end - begin, error);
	for (int r = 0; r < g->ranks && status == GH_OK; r++)
		if (r != comm->rank)
			status = copy(comm, (char *)g->slots[r].data + begin, 0, mine, 0,
				      end - begin, 1, error);
	return status == GH_OK ? settle_and_meet(comm, error) : status;
}

gh_status gh__comm_max(gh__comm *comm, float *values, size_t count, gh_error *error)
{
	group *g = comm->group;
	size_t begin, end;
	gh_status status;

	if (g->ranks == 1)
		return GH_OK;
	status = show(comm, values, count, error);
	if (status != GH_OK)
		return status;
	share(comm, count, &begin, &end);
	for (size_t i = begin; i < end; i++) {
		float most = ((const float *)g->slots[0].data)[i];

		for (int r = 1; r < g->ranks; r++) {
			float value = ((const float *)g->slots[r].data)[i];

			if (value > most)
				most = value;
		}
		for (int r = 0; r < g->ranks; r++)
			((float *)g->slots[r].data)[i] = most;
	}
	return meet(g, error);
}

static gh_status peer_check(const gh__comm *comm, int peer, gh_error *error)
{
	if (peer < 0 || peer >= comm->group->ranks || peer == comm->rank)
		return gh__fail(error, GH_EINVAL, "peer: %d is not another one of %d ranks", peer,
				comm->group->ranks);
	return GH_OK;
}

gh_status gh__comm_send(gh__comm *comm, int to, const void *data, size_t size, gh_error *error)
{
	group *g = comm->group;
	gh_status status = peer_check(comm, to, error);
	bool aborted, refused;
	channel *c;

	if (status == GH_OK)
		status = settle(comm, error);
	if (status != GH_OK)
		return status;
	c = &g->channels[comm->rank * g->ranks + to];
	pthread_mutex_lock(&g->mutex);
	c->taken = c->refused = false;
	c->size = size;
	c->data = data;
	c->posted = true;
	pthread_cond_broadcast(&g->moved);
	while (!c->taken && !atomic_load(&g->aborted))
		pthread_cond_wait(&g->moved, &g->mutex);
	aborted = !c->taken;
	refused = c->refused;
	pthread_mutex_unlock(&g->mutex);
	if (aborted)
		return cancelled(error);
	if (refused)
		return gh__fail(error, GH_EBUG,
				"send: rank %d wants a message of another size than %zu", to, size);
	return GH_OK;
}

gh_status gh__comm_recv(gh__comm *comm, int from, void *data, size_t size, gh_error *error)
{
	group *g = comm->group;
	gh_status status = peer_check(comm, from, error);
	const void *message;
	size_t sent;
	channel *c;

	if (status != GH_OK)
		return status;
	c = &g->channels[from * g->ranks + comm->rank];
	pthread_mutex_lock(&g->mutex);
	while (!c->posted && !atomic_load(&g->aborted))
		pthread_cond_wait(&g->moved, &g->mutex);
	if (atomic_load(&g->aborted)) {
		pthread_mutex_unlock(&g->mutex);
		return cancelled(error);
	}
	message = c->data;
	sent = c->size;
	pthread_mutex_unlock(&g->mutex);
	/* The sender waits for taken, so the copy needs no lock. */
	if (sent == size && size > 0)
		status = copy(comm, data, 0, message, 0, size, 1, error);
	if (status == GH_OK)
		status = settle(comm, error);
	pthread_mutex_lock(&g->mutex);
	c->posted = false;
	c->refused = sent != size;
	c->taken = true;
	pthread_cond_broadcast(&g->moved);
	pthread_mutex_unlock(&g->mutex);
	if (sent != size)
		return gh__fail(error, GH_EBUG, "recv: rank %d sends %zu bytes, not %zu", from,
				sent, size);
	return status;
}
