#include "poc/normals.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/thread.h"
#include "device/narrow.h"
#include "device/quantise.h"

/*
 * Segments that one thread decodes at the same time: the generator's multiplications depend on each
 * other, those of several generators do not.
 */
#define LANES 4

/* Draws of a segment that are marked as starts of samples or not. Decoders meet within ten
 * draws. */
#define MARKED 256

/* The fastest of those tried on x86 (tests/bench/bench_poc.c); a thread's share of them at a time
 * fits its second-level cache. */
#define SEGMENT_DEFAULT 2048
#define BATCH_DRAWS     (UINT32_C(1) << 16)
#define BATCH_SEGMENTS  256
#define SEGMENT_LEAST   64 /* shorter ones are mended too often */

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* What a segment holds, first by guess and then in truth. */
typedef struct segment {
	gh__u128 state; /* of the generator before its first draw */
	uint64_t marks[MARKED / 64];
	uint32_t guessed;  /* samples, in its slot */
	uint32_t overhang; /* draws that its last sample takes of the segments behind it */
	uint32_t skip;     /* guessed samples at the front that are not true */
	size_t place;      /* in the output, of those behind them */
} segment;

/* What the threads share. Batches of segments are taken in order and mended in order. */
typedef struct work {
	const gh__normals *normals;
	uint32_t length;  /* draws a segment */
	uint32_t batch;   /* segments a batch, a multiple of LANES */
	uint64_t planned; /* segments that are nearly certainly enough, a multiple of LANES */
	size_t slot_size; /* bytes of a guessed sample */
	double offset;    /* added to a scaled sample: 0, or -0 to change nothing */
	double scale;
	gh__pcg64_leap leap; /* from segment to segment */

	pthread_mutex_t mutex;
	pthread_cond_t changed;
	uint64_t taken; /* batches */
	uint64_t turn;  /* the batch that is to be mended next, by whoever took it */
	bool over;      /* enough, or failed */
	gh_status status;

	/* belong to whose turn it is */
	uint32_t entry; /* the true first start of the next segment, relative to it */
	size_t placed;
	gh__normals_account account;
} work;

static void finish(work *w, gh_status status)
{
	pthread_mutex_lock(&w->mutex);
	if (!w->over)
		w->status = status;
	w->over = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->mutex);
}

static bool cancelled(const work *w)
{
	const atomic_bool *cancel = w->normals->cancel;

	return cancel && atomic_load_explicit(cancel, memory_order_relaxed);
}

/* ---- guess ---- */

static ALWAYS_INLINE void put(const work *w, void *slot, size_t at, double value, bool wide)
{
	value = w->offset + w->scale * value;
	if (wide)
		((double *)slot)[at] = value;
	else
		((float *)slot)[at] = (float)value;
}

/* The sample at draw position took more draws than one: those are no starts. */
static void unmark(segment *s, uint32_t position, uint32_t more)
{
	for (uint32_t i = position + 1; more > 0 && i < MARKED; i++, more--)
		s->marks[i / 64] &= ~(UINT64_C(1) << i % 64);
}

typedef struct lane {
	gh__u128 state;
	uint32_t more; /* draws beyond one for each sample */
} lane;

/* A sample whose first draw was not inside its layer; *end comes nearer when the lane's does. */
static __attribute__((noinline)) double guess_rare(const work *w, lane *l, segment *s, uint32_t n,
						   uint64_t draw, uint32_t *end)
{
	gh__pcg64 rng = { .state = l->state, .inc = w->normals->start.inc };
	uint32_t more = 0;
	double x = gh__normal_finish(w->normals->tables, &rng, draw, &more);

	unmark(s, n + l->more, more);
	l->state = rng.state;
	l->more += more;
	if (l->more >= w->length)
		*end = 0;
	else if (*end > w->length - l->more)
		*end = w->length - l->more;
	return x;
}

/* The lane's sample n. Copies go out by address and come back, so that lanes live in registers. */
static ALWAYS_INLINE double guess_next(const work *w, lane *l, segment *s, uint32_t n,
				       uint32_t *end)
{
	const gh__normal_tables *tables = w->normals->tables;
	uint64_t draw;

	l->state = l->state * GH__PCG64_MULTIPLIER + w->normals->start.inc;
	draw = gh__pcg64_output(l->state);
	if (!gh__normal_inside(tables, draw)) {
		lane copy = *l;
		uint32_t near = *end;
		double x = guess_rare(w, &copy, s, n, draw, &near);

		*l = copy;
		*end = near;
		return x;
	}
	return gh__normal_value(tables, draw);
}

/* The samples that a lane has left when another is at its end. */
static void guess_rest(const work *w, const lane *l, segment *s, unsigned char *slot, uint32_t n,
		       bool wide)
{
	gh__pcg64 rng = { .state = l->state, .inc = w->normals->start.inc };
	uint32_t position = n + l->more;

	while (position < w->length) {
		uint32_t draws = 0;
		double x = gh__normal(w->normals->tables, &rng, &draws);

		put(w, slot, n++, x, wide);
		unmark(s, position, draws - 1);
		position += draws;
	}
	s->guessed = n;
	s->overhang = position - w->length;
}

/* Decode LANES segments as if a sample began at the first draw of each. */
static ALWAYS_INLINE void guess(const work *w, segment *s, unsigned char *slots, bool wide)
{
	const size_t stride = w->length * w->slot_size;
	unsigned char *slot[LANES];
	lane l[LANES];
	uint32_t n, end = w->length; /* until one of them is at its end */

	for (int i = 0; i < LANES; i++) {
		l[i] = (lane){ s[i].state, 0 };
		slot[i] = slots + (size_t)i * stride;
		memset(s[i].marks, 0xff, sizeof s[i].marks);
	}
	static_assert(LANES == 4, "one line below for each");
	for (n = 0; n < end; n++) {
		put(w, slot[0], n, guess_next(w, &l[0], &s[0], n, &end), wide);
		put(w, slot[1], n, guess_next(w, &l[1], &s[1], n, &end), wide);
		put(w, slot[2], n, guess_next(w, &l[2], &s[2], n, &end), wide);
		put(w, slot[3], n, guess_next(w, &l[3], &s[3], n, &end), wide);
	}
	for (int i = 0; i < LANES; i++)
		guess_rest(w, &l[i], &s[i], slot[i], n, wide);
}

/* Which segments a batch has: the planned ones, then LANES at a time. */
static uint64_t batch_range(const work *w, uint64_t batch, uint32_t *count)
{
	uint64_t whole = (w->planned + w->batch - 1) / w->batch;
	uint64_t first = batch * w->batch;

	if (batch >= whole) {
		*count = LANES;
		return w->planned + (batch - whole) * LANES;
	}
	*count = w->planned - first < w->batch ? (uint32_t)(w->planned - first) : w->batch;
	return first;
}

static bool guess_batch(const work *w, uint64_t first, uint32_t count, segment *s,
			unsigned char *slots)
{
	gh__pcg64 rng = w->normals->start;

	gh__pcg64_jump(&rng, first * w->length);
	for (uint32_t i = 0; i < count; i++) {
		s[i].state = rng.state;
		rng.state = rng.state * w->leap.multiplier + w->leap.increment;
	}
	for (uint32_t i = 0; i < count; i += LANES) {
		unsigned char *at = slots + (size_t)i * w->length * w->slot_size;

		if (cancelled(w))
			return false;
		if (w->normals->dtype == GH_F64)
			guess(w, s + i, at, true);
		else
			guess(w, s + i, at, false);
	}
	return true;
}

/* ---- mend ---- */

static bool marked(const segment *s, uint32_t position)
{
	return position < MARKED && (s->marks[position / 64] >> position % 64 & 1) != 0;
}

static uint32_t marks_below(const segment *s, uint32_t position)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < position; i++)
		count += marked(s, i);
	return count;
}

static void write_one(const work *w, size_t at, double x)
{
	double value = w->offset + w->scale * x;

	if (at >= w->normals->count)
		return;
	if (w->normals->dtype == GH_F64)
		((double *)w->normals->out)[at] = value;
	else
		((uint16_t *)w->normals->out)[at] = gh__f32_to_f16((float)value);
}

/* The segment's first true start is w->entry, not its first draw. */
static void mend(work *w, segment *s)
{
	gh__pcg64 rng = { .state = s->state, .inc = w->normals->start.inc };
	uint32_t position = w->entry;

	w->account.mended++;
	gh__pcg64_jump(&rng, position);
	while (position < w->length && !marked(s, position))
		write_one(w, w->placed++, gh__normal(w->normals->tables, &rng, &position));
	if (position < w->length) {
		s->skip = marks_below(s, position);
	} else {
		w->account.redone++;
		s->skip = s->guessed;
		s->overhang = position - w->length;
	}
}

/* In order over all segments. True: this batch has the last number. */
static bool mend_batch(work *w, segment *s, uint32_t count)
{
	const gh__normals *normals = w->normals;
	size_t before = w->placed;

	for (uint32_t i = 0; i < count; i++) {
		s[i].skip = 0;
		if (w->placed >= normals->count) {
			s[i].skip = s[i].guessed;
			continue;
		}
		w->account.segments++;
		if (w->entry > 0)
			mend(w, &s[i]);
		s[i].place = w->placed;
		w->placed += s[i].guessed - s[i].skip;
		w->entry = s[i].overhang;
	}
	if (normals->done)
		atomic_fetch_add_explicit(normals->done,
					  (w->placed < normals->count ? w->placed
								      : normals->count) -
						  before,
					  memory_order_relaxed);
	return w->placed >= normals->count;
}

/* ---- place ---- */

static void place_batch(const work *w, const segment *s, uint32_t count, const unsigned char *slots)
{
	const gh__normals *normals = w->normals;

	for (uint32_t i = 0; i < count; i++) {
		const unsigned char *from =
			slots + ((size_t)i * w->length + s[i].skip) * w->slot_size;
		size_t n = s[i].guessed - s[i].skip;

		if (n == 0 || s[i].place >= normals->count)
			continue;
		if (n > normals->count - s[i].place)
			n = normals->count - s[i].place;
		if (normals->dtype == GH_F64)
			memcpy((double *)normals->out + s[i].place, from, n * sizeof(double));
		else
			gh__convert((uint16_t *)normals->out + s[i].place, GH_F16, from, GH_F32, n);
	}
}

/* ---- threads ---- */

static bool take(work *w, uint64_t *batch)
{
	bool over;

	pthread_mutex_lock(&w->mutex);
	over = w->over;
	if (!over)
		*batch = w->taken++;
	pthread_mutex_unlock(&w->mutex);
	return !over;
}

static bool wait_turn(work *w, uint64_t batch)
{
	bool over;

	pthread_mutex_lock(&w->mutex);
	while (!w->over && w->turn != batch)
		pthread_cond_wait(&w->changed, &w->mutex);
	over = w->over;
	pthread_mutex_unlock(&w->mutex);
	return !over;
}

static void pass_turn(work *w)
{
	pthread_mutex_lock(&w->mutex);
	w->turn++;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->mutex);
}

static void run_batches(work *w, segment *segments, unsigned char *slots)
{
	uint64_t batch;

	while (take(w, &batch)) {
		uint32_t count;
		uint64_t first = batch_range(w, batch, &count);

		if (!guess_batch(w, first, count, segments, slots)) {
			finish(w, GH_ECANCELLED);
			break;
		}
		if (!wait_turn(w, batch))
			break;
		if (mend_batch(w, segments, count))
			finish(w, GH_OK);
		else
			pass_turn(w);
		place_batch(w, segments, count, slots);
	}
}

static void run(void *arg)
{
	work *w = arg;
	segment *segments = gh__malloc(w->batch * sizeof *segments);
	unsigned char *slots = gh__malloc((size_t)w->batch * w->length * w->slot_size);

	if (segments && slots)
		run_batches(w, segments, slots);
	else
		finish(w, GH_ENOMEM);
	gh__free(slots);
	gh__free(segments);
}

static gh_status run_all(work *w, unsigned threads, gh_error *error)
{
	pthread_t *others = gh__calloc(threads - 1, sizeof *others);
	unsigned started = 0;

	if (!others)
		return gh__fail_nomem(error);
	while (started < threads - 1 &&
	       gh__thread_start(&others[started], "poc-normals", run, w, NULL) == GH_OK)
		started++;
	run(w);
	for (unsigned i = 0; i < started; i++)
		pthread_join(others[i], NULL);
	gh__free(others);
	if (w->status == GH_ECANCELLED)
		return gh__fail(error, GH_ECANCELLED, "normal numbers: cancelled");
	return w->status == GH_OK ? GH_OK : gh__fail_nomem(error);
}

/* So long that LANES segments are enough for a few numbers: there are never less. */
static uint32_t length_for(double draws)
{
	double length = ceil(draws / (LANES - 1));

	if (length > SEGMENT_DEFAULT)
		return SEGMENT_DEFAULT;
	return length < SEGMENT_LEAST ? SEGMENT_LEAST : (uint32_t)length;
}

/* A normal takes 1.02206 draws in the mean. */
static void plan(work *w)
{
	const gh__normals *normals = w->normals;
	double count = (double)normals->count;
	double draws = 1.0221 * count + 1.3 * sqrt(count);
	uint64_t segments;

	w->length = normals->segment ? normals->segment : length_for(draws);
	segments = (uint64_t)ceil(draws / w->length) + 1;
	w->planned = (segments + LANES - 1) / LANES * LANES;
	w->batch = BATCH_DRAWS / w->length / LANES * LANES;
	if (w->batch < LANES)
		w->batch = LANES;
	if (w->batch > BATCH_SEGMENTS)
		w->batch = BATCH_SEGMENTS;
	if (w->batch > w->planned)
		w->batch = (uint32_t)w->planned;
	w->slot_size = normals->dtype == GH_F64 ? sizeof(double) : sizeof(float);
	w->scale = normals->deviation != 0.0 ? normals->deviation : 1.0;
	w->offset = normals->deviation != 0.0 ? 0.0 : -0.0;
	w->leap = gh__pcg64_leap_of(&normals->start, w->length);
}

gh_status gh__normals_fill(const gh__normals *normals, gh__normals_account *account,
			   gh_error *error)
{
	unsigned threads = normals->threads ? normals->threads : 1;
	work w = { .normals = normals };
	gh_status status;

	if (normals->dtype != GH_F64 && normals->dtype != GH_F16)
		return gh__fail(error, GH_EINVAL, "dtype: %s, F64 or F16 expected",
				gh_dtype_name(normals->dtype));
	if (normals->segment > GH__NORMALS_SEGMENT_MAX)
		return gh__fail(error, GH_EINVAL, "segment: %u draws, at most %u expected",
				normals->segment, GH__NORMALS_SEGMENT_MAX);
	if (threads > GH__NORMALS_THREADS_MAX)
		return gh__fail(error, GH_EINVAL, "threads: %u, at most %d expected", threads,
				GH__NORMALS_THREADS_MAX);
	plan(&w);
	if ((w.planned + w.batch - 1) / w.batch < threads)
		threads = (unsigned)((w.planned + w.batch - 1) / w.batch);
	pthread_mutex_init(&w.mutex, NULL);
	pthread_cond_init(&w.changed, NULL);
	w.over = normals->count == 0;
	status = run_all(&w, threads, error);
	pthread_cond_destroy(&w.changed);
	pthread_mutex_destroy(&w.mutex);
	if (account && status == GH_OK)
		*account = w.account;
	return status;
}
