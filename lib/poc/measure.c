#include "poc/measure.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/thread.h"
#include "device/narrow.h"
#include "poc/distance.h"
#include "poc/permutation.h"
#include "poc/seed.h"

gh_status gh__measure_make(gh__measure *out, const char *block_hash, const double *target,
			   uint32_t vocab, int threads, gh_error *error)
{
	size_t lanes = (size_t)threads;

	*out = (gh__measure){
		.block_hash = block_hash, .target = target, .vocab = vocab, .threads = threads
	};
	pthread_mutex_init(&out->lock, NULL);
	out->wide = gh__calloc(lanes, vocab * sizeof *out->wide);
	out->permutation = gh__calloc(lanes, vocab * sizeof *out->permutation);
	out->helpers = gh__calloc(lanes, sizeof *out->helpers);
	if (!out->wide || !out->permutation || !out->helpers)
		return gh__fail_nomem(error);
	return GH_OK;
}

void gh__measure_free(gh__measure *m)
{
	if (m->threads == 0)
		return;
	gh__free(m->wide);
	gh__free(m->permutation);
	gh__free(m->helpers);
	pthread_mutex_destroy(&m->lock);
}

static gh_status measure(const gh__measure *m, size_t at, float *wide, uint32_t *permutation,
			 gh_error *error)
{
	const uint16_t *logits = m->logits + at * m->vocab;
	gh__pcg64 rng;
	gh_status status =
		gh__poc_seed_permutation(&rng, m->block_hash, m->public_key, m->nonces[at], error);

	if (status != GH_OK)
		return status;
	gh__poc_permutation(permutation, m->vocab, &rng);
	for (uint32_t i = 0; i < m->vocab; i++)
		wide[i] = gh__f16_to_f32(logits[i]);
	m->dist[at] = gh__poc_distance(wide, permutation, m->target, m->vocab);
	if (isnan(m->dist[at]))
		return gh__fail(error, GH_ENUMERIC, "nonce %llu: the distance is not a number",
				(unsigned long long)m->nonces[at]);
	return GH_OK;
}

/* Nonces are taken in order, so the first that fails is found whoever takes it. */
static void work(void *arg)
{
	gh__measure *m = arg;
	size_t lane;

	pthread_mutex_lock(&m->lock);
	lane = (size_t)m->lanes++;
	while (m->next < m->count && m->status == GH_OK) {
		size_t at = m->next++;
		gh_error error = GH_ERROR_INIT;
		gh_status status;

		pthread_mutex_unlock(&m->lock);
		status = measure(m, at, m->wide + lane * m->vocab, m->permutation + lane * m->vocab,
				 &error);
		pthread_mutex_lock(&m->lock);
		if (status != GH_OK && at < m->failed_at) {
			m->failed_at = at;
			m->status = status;
			m->error = error;
		}
	}
	pthread_mutex_unlock(&m->lock);
}

void gh__measure_begin(gh__measure *m, const char *public_key, const uint64_t *nonces, size_t count,
		       const uint16_t *logits, double *dist)
{
	m->public_key = public_key;
	m->nonces = nonces;
	m->logits = logits;
	m->dist = dist;
	m->count = m->failed_at = count;
	m->next = 0;
	m->lanes = m->started = 0;
	m->status = GH_OK;
	while (m->started < m->threads - 1 && (size_t)m->started < count &&
	       gh__thread_start(&m->helpers[m->started], "gh-poc-measure", work, m, NULL) == GH_OK)
		m->started++;
}

gh_status gh__measure_end(gh__measure *m, gh_error *error)
{
	work(m);
	for (int i = 0; i < m->started; i++)
		pthread_join(m->helpers[i], NULL);
	return m->status == GH_OK ? GH_OK : gh__fail(error, m->status, "%s", m->error.text);
}
