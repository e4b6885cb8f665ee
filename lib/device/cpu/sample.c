#include "device/cpu/twin.h"
#include "device/ln.h"
#include "device/philox.h"

/*
 * From a row of logits to a token and its logprobs: a pure function of the row and gh__sample_row.
 *
 * 1. Logits of tokens that are not allowed become -inf; bias is added, rounded to the logits'
 * dtype.
 * 2. Repetition r (itself rounded) over the set of tokens in prompt and output: l / r if l > 0,
 *    else l r; rounded. Frequency: l - round(f c), c the count in the output, f and c rounded;
 *    presence: l - p; rounded.
 * 3. In f32: l / t, t at least 0.01 and rounded to the dtype (greedy: no division).
 * 4. top_k: values below the k-th largest go, ties stay. top_p: probabilities of what is left,
 *    added up from the smallest (of equals, the highest id first); dropped where the sum, rounded
 *    to f32, is <= 1 - p; p and 1 - p rounded to the dtype; the most probable stays. Sums are
 *    exact: each probability counts as a multiple of 2^-60, so no order of adding is needed, and no
 *    sort. min_p: dropped where probability < min_p times the largest.
 * 5. logprob = (l - max) - ln(sum), probability = exp(l - max) / sum. A sum goes over ids in 32
 *    lanes (id mod 32, ascending), added as (0 + 1) + (2 + 3) groups of eight, then v8f_sum().
 *    Dropped tokens add +0, which changes nothing.
 * 6. Greedy: the largest logprob. Else the largest p / q, q = -ln(u) rounded to f32,
 *    u = (w + 1/2) 2^-32, w = word id mod 4 of Philox keyed by seed with counter
 *    (id div 4, position, stream, 0). Ties go to the lower id.
 *
 * Greedy ignores top_k, top_p and min_p. A NaN, +inf, or nothing allowed: token -1.
 * A few passes over the vocabulary, in vectors; draws only where they can win.
 */
enum { BINS = 2048, TOKENS_PAD = 32 };

typedef struct scratch {
	float *l; /* [padded] logits as they are worked on; padding is -inf */
	float *e; /* [padded] exp(l - max), then probabilities or logprobs */
	union {
		int32_t *count; /* [vocab] in the output; -1: in the prompt only */
		int32_t *list;  /* [vocab] tokens that a filter looks at */
	};
	uint64_t *bins; /* [BINS] */
} scratch;

typedef struct sample_job {
	const gh__cpu *cpu;
	const gh__sample_desc *desc;
	const gh__sample_args *args;
} sample_job;

static int64_t padded(int64_t vocab)
{
	return (vocab + TOKENS_PAD - 1) / TOKENS_PAD * TOKENS_PAD;
}

#if !defined(GH__LANES_AVX2)
size_t gh__sample_scratch(const gh__sample_desc *desc)
{
	return (size_t)padded(desc->vocab) * 3 * sizeof(float) + BINS * sizeof(uint64_t);
}
#endif

static float round_to(gh_dtype dtype, float x)
{
	return v8f_first(v8f_round(dtype, v8f_set1(x)));
}

/* ---- 1 to 3: logits ---- */

/* false: the row holds a NaN or +inf. */
static bool load_logits(const sample_job *job, const gh__sample_row *row, float *l)
{
	const gh_dtype dtype = job->desc->logits;
	const int64_t vocab = job->desc->vocab;
	const char *from = (const char *)job->args->logits +
			   (size_t)(row->row * job->args->stride) * v8_element(dtype);
	const v8f most = v8f_set1(3.4028234663852886e38F);
	unsigned good = 0xff;

	for (int64_t i = 0; i < vocab; i += 8) {
		v8f v = v8f_load_n(dtype, from, i, vocab - i);

		good &= v8i_mask(v8f_le(v, most));
		v8f_store(l + i, v);
	}
	for (int64_t i = vocab; i < padded(vocab); i++)
		l[i] = -INFINITY;
	return good == 0xff;
}

static void mask_and_bias(const sample_job *job, const gh__sample_row *row, float *l)
{
	const int64_t vocab = job->desc->vocab;

	if (row->allowed) {
		for (int64_t i = 0; i < vocab; i += 32) {
			uint32_t bits = row->allowed[i / 32];
			int64_t end = vocab - i < 32 ? vocab - i : 32;

			if (bits == UINT32_MAX)
				continue;
			for (int64_t j = 0; j < end; j++) {
				if (!(bits >> j & 1))
					l[i + j] = -INFINITY;
			}
		}
	}
	for (int32_t i = 0; i < row->bias_count; i++) {
		int32_t id = row->bias_id[i];

		if (id >= 0 && id < vocab)
			l[id] = round_to(job->desc->logits, l[id] + row->bias[i]);
	}
}

static void penalise(const sample_job *job, const gh__sample_row *row, const scratch *s)
{
	const gh_dtype dtype = job->desc->logits;
	const int64_t vocab = job->desc->vocab;
	const float repetition = round_to(dtype, row->repetition);
	const float frequency = round_to(dtype, row->frequency);
	const float presence = round_to(dtype, row->presence);

	if (row->repetition == 1.0F && row->frequency == 0.0F && row->presence == 0.0F)
		return;
	memset(s->count, 0, (size_t)vocab * sizeof(*s->count));
	for (int32_t i = 0; i < row->prompt_count && row->repetition != 1.0F; i++) {
		if (row->prompt[i] >= 0 && row->prompt[i] < vocab)
			s->count[row->prompt[i]] = -1;
	}
	for (int32_t i = 0; i < row->output_count; i++) {
		if (row->output[i] >= 0 && row->output[i] < vocab) {
			int32_t *count = &s->count[row->output[i]];

			*count = *count < 0 ? 1 : *count + 1;
		}
	}
	for (int64_t i = 0; i < vocab; i++) {
		float l = s->l[i];

		if (s->count[i] == 0)
			continue;
		if (row->repetition != 1.0F)
			l = round_to(dtype, l > 0.0F ? l / repetition : l * repetition);
		if (s->count[i] > 0 && row->frequency != 0.0F) {
			float count = round_to(dtype, (float)s->count[i]);

			l = round_to(dtype, l - round_to(dtype, frequency * count));
		}
		if (s->count[i] > 0 && row->presence != 0.0F)
			l = round_to(dtype, l - presence);
		s->l[i] = l;
	}
}

/* No temperature rounds to infinity: a token that is ruled out would be divided into a NaN. */
static float most_finite(gh_dtype dtype)
{
	return dtype == GH_F16 ? 65504.0F : dtype == GH_BF16 ? 0x1.fep127F : 0x1.fffffep127F;
}

static void divide(const sample_job *job, const gh__sample_row *row, float *l)
{
	float temperature = row->temperature > 0.01F ? row->temperature : 0.01F;
	v8f t;

	if (temperature > most_finite(job->desc->logits))
		temperature = most_finite(job->desc->logits);
	temperature = round_to(job->desc->logits, temperature);
	if (temperature == 1.0F)
		return;
	t = v8f_set1(temperature);
	for (int64_t i = 0; i < job->desc->vocab; i += 8)
		v8f_store(l + i, v8f_div(v8f_load(l + i), t));
}

/* ---- sums over the vocabulary ---- */

static float largest(const float *l, int64_t n)
{
	v8f most = v8f_set1(-INFINITY);

	for (int64_t i = 0; i < n; i += 8)
		most = v8f_max(v8f_load(l + i), most);
	return v8f_hmax(most);
}

/* e = exp(l - max); answers their sum. n: a multiple of 32. */
static float exponentials(float *e, const float *l, int64_t n, float max)
{
	const v8f m = v8f_set1(max);
	v8f sum[4] = { v8f_zero(), v8f_zero(), v8f_zero(), v8f_zero() };

	for (int64_t i = 0; i < n; i += 32) {
		for (int64_t j = 0; j < 4; j++) {
			v8f x = v8f_exp(v8f_sub(v8f_load(l + i + 8 * j), m));

			sum[j] = v8f_add(sum[j], x);
			v8f_store(e + i + 8 * j, x);
		}
	}
	return v8f_sum(v8f_add(v8f_add(sum[0], sum[1]), v8f_add(sum[2], sum[3])));
}

static void scale_down(float *e, int64_t n, float sum)
{
	v8f s = v8f_set1(sum);

	for (int64_t i = 0; i < n; i += 8)
		v8f_store(e + i, v8f_div(v8f_load(e + i), s));
}

/* ---- 4: filters ---- */

/* A number whose unsigned order is the order of floats (no NaN); -0 and 0 are one. */
static uint32_t key_of(float x)
{
	uint32_t bits = gh__f32_bits(x + 0.0F);

	return bits >> 31 ? ~bits : bits | 0x80000000;
}

/* What a token weighs, and which sums from the smallest on are dropped. */
typedef struct weigher {
	const float *p; /* probabilities; NULL: every token weighs 1 */
	float most;     /* dropped: probability sums <= most */
	uint64_t count; /* dropped: counts <= count */
} weigher;

static uint64_t weight_of(const weigher *w, int64_t id)
{
	return w->p ? (uint64_t)(w->p[id] * 0x1p60F) : 1;
}

static bool dropped(const weigher *w, uint64_t sum)
{
	return w->p ? (float)sum * 0x1p-60F <= w->most : sum <= w->count;
}

/*
 * The smallest value that is not dropped whole when the weights of the n tokens in s->list are
 * added up from the smallest value on, as its key; *below: the weight of all smaller ones. All
 * dropped: UINT32_MAX. A radix descent over the keys, 11, 11 and 10 bits, that keeps what is still
 * open.
 */
static uint32_t threshold(const scratch *s, int64_t n, const weigher *w, uint64_t *below)
{
	static const int shifts[3] = { 21, 10, 0 };
	uint32_t prefix = 0;

	*below = 0;
	for (int level = 0; level < 3; level++) {
		const uint32_t size = level < 2 ? 2048 : 1024;
		const int shift = shifts[level];
		uint32_t bin = 0;
		int64_t left = 0;

		memset(s->bins, 0, BINS * sizeof(*s->bins));
		for (int64_t i = 0; i < n; i++) {
			uint32_t key = key_of(s->l[s->list[i]]);

			s->bins[key >> shift & (size - 1)] += weight_of(w, s->list[i]);
		}
		while (bin < size && dropped(w, *below + s->bins[bin]))
			*below += s->bins[bin++];
		if (bin == size)
			return UINT32_MAX;
		prefix |= bin << shift;
		for (int64_t i = 0; i < n; i++) {
			if (key_of(s->l[s->list[i]]) >> shift == prefix >> shift)
				s->list[left++] = s->list[i];
		}
		n = left;
	}
	return prefix;
}

/* The tokens whose logits are >= least into s->list, by id. */
static int64_t list_from(const scratch *s, int64_t vocab, float least)
{
	const v8f bound = v8f_set1(least);
	int64_t n = 0;

	for (int64_t i = 0; i < vocab; i += 8) {
		unsigned lanes = v8i_mask(v8f_le(bound, v8f_load(s->l + i)));

		for (int64_t j = i; lanes && j < vocab; j++, lanes >>= 1) {
			s->list[n] = (int32_t)j;
			n += lanes & 1;
		}
	}
	return n;
}

static void drop_below(float *l, int64_t n, float least)
{
	const v8f bound = v8f_set1(least), low = v8f_set1(-INFINITY);

	for (int64_t i = 0; i < n; i += 8) {
		v8f v = v8f_load(l + i);

		v8f_store(l + i, v8f_select(v8f_lt(v, bound), low, v));
	}
}

static float value_of(uint32_t key)
{
	return gh__f32_of(key >> 31 ? key & 0x7fffffff : ~key);
}

/*
 * A value that at least k logits reach: the smallest of the largest in k runs of the vocabulary.
 * So the k-th largest is not below it, and few others reach it.
 */
static float floor_of(const float *l, int64_t vocab, int64_t k)
{
	const int64_t run = vocab / k / 8 * 8;
	float least = INFINITY;

	if (run == 0)
		return -INFINITY;
	for (int64_t i = 0; i < k; i++) {
		float most = largest(l + i * run, run);

		least = most < least ? most : least;
	}
	return least;
}

static void top_k(const sample_job *job, const gh__sample_row *row, const scratch *s)
{
	const int64_t vocab = job->desc->vocab;
	const int64_t n = list_from(s, vocab, floor_of(s->l, vocab, row->top_k));
	weigher w = { .count = (uint64_t)(n - row->top_k) };
	uint64_t below;

	drop_below(s->l, vocab, value_of(threshold(s, n, &w, &below)));
}

static void top_p(const sample_job *job, const gh__sample_row *row, const scratch *s, float max)
{
	const gh_dtype dtype = job->desc->logits;
	const int64_t vocab = job->desc->vocab;
	weigher w = { .p = s->e };
	int64_t spared = -1;
	uint64_t sum;
	uint32_t key;
	float least;

	scale_down(s->e, padded(vocab), exponentials(s->e, s->l, padded(vocab), max));
	w.most = round_to(dtype, 1.0F - round_to(dtype, row->top_p));
	key = threshold(s, list_from(s, vocab, -3.4028234663852886e38F), &w, &sum);
	least = value_of(key);
	if (key == UINT32_MAX) { /* all of it is <= 1 - p */
		least = max;
		sum = 0;
	}
	drop_below(s->l, vocab, least);
	/* Of those equal to the threshold some may go too, the highest ids first; the most probable
	 * token of all stays. */
	for (int64_t i = 0; i < vocab && least == max && spared < 0; i++)
		spared = s->l[i] == max ? i : -1;
	for (int64_t i = vocab - 1; i >= 0; i--) {
		if (s->l[i] != least)
			continue;
		sum += weight_of(&w, i);
		if (i == spared || !dropped(&w, sum))
			break;
		s->l[i] = -INFINITY;
	}
}

static void min_p(const sample_job *job, const gh__sample_row *row, const scratch *s, float max)
{
	const int64_t vocab = job->desc->vocab;
	const float sum = exponentials(s->e, s->l, padded(vocab), max);
	const v8f bound = v8f_set1(row->min_p * (1.0F / sum)), low = v8f_set1(-INFINITY);

	for (int64_t i = 0; i < vocab; i += 8) {
		v8f p = v8f_div(v8f_load(s->e + i), v8f_set1(sum));
		v8f l = v8f_load(s->l + i);

		v8f_store(s->l + i, v8f_select(v8f_lt(p, bound), low, l));
	}
}

/* ---- 5 and 6: choice and report ---- */

/* A draw from Exp(1), and a bound below it that costs no logarithm: -ln(u) >= 1 - u. */
typedef struct draw {
	uint32_t counter[4];
	uint32_t word[4];
	uint64_t seed;
	int64_t block; /* that word[] holds; -1: none */
} draw;

static double draw_uniform(draw *d, int64_t id)
{
	if (d->block != id / 4) {
		d->block = id / 4;
		d->counter[0] = (uint32_t)d->block;
		gh__philox(d->word, d->counter, d->seed);
	}
	return ((double)d->word[id % 4] + 0.5) * 0x1p-32;
}

/*
 * The id of the largest p / q. Tried first: the most probable token, so that few others can win.
 * The smallest q there is, -ln(1 - 2^-33), bounds p / q without a draw.
 */
static int32_t choose(const sample_job *job, const gh__sample_row *row, const float *p,
		      int64_t first)
{
	const int64_t vocab = padded(job->desc->vocab);
	draw d = { .counter = { 0, row->position, row->stream, 0 },
		   .seed = row->seed,
		   .block = -1 };
	float best = p[first] / (float)-gh__ln(draw_uniform(&d, first));
	int64_t id = first;

	for (int64_t i = 0; i < vocab; i += 8) {
		v8f able = v8f_set1(best * 1.1e-10F);
		unsigned lanes = v8i_mask(v8f_le(able, v8f_load(p + i)));

		for (int64_t j = i; lanes; j++, lanes >>= 1) {
			double u;
			float value;

			if (!(lanes & 1) || p[j] == 0.0F)
				continue;
			u = draw_uniform(&d, j);
			if (p[j] < (1.0 - u) * best * 0.9999)
				continue;
			value = p[j] / (float)-gh__ln(u);
			if (value > best || (value == best && j < id)) {
				best = value;
				id = j;
			}
		}
	}
	return (int32_t)id;
}

static bool before(float logprob, int32_t id, float other, int32_t other_id)
{
	return logprob > other || (logprob == other && id < other_id);
}

/* The `top` first by falling logprob, then id; what is left over are the lowest ids at -inf. */
static void list_top(const float *logprob, int64_t vocab, int32_t top, gh__sample_result *out)
{
	int32_t n = 0;

	out->top_count = top < vocab ? top : (int32_t)vocab;
	for (int64_t i = 0; i < vocab; i += 8) {
		unsigned lanes = 0xff;

		if (n == out->top_count)
			lanes = v8i_mask(
				v8f_lt(v8f_set1(out->top_logprob[n - 1]), v8f_load(logprob + i)));
		for (int64_t j = i; lanes && j < vocab; j++, lanes >>= 1) {
			int32_t at;

			if (!(lanes & 1))
				continue;
			if (n == out->top_count && logprob[j] <= out->top_logprob[n - 1])
				continue;
			at = n < out->top_count ? n++ : n - 1;
			while (at > 0 && before(logprob[j], (int32_t)j, out->top_logprob[at - 1],
						out->top_id[at - 1])) {
				out->top_logprob[at] = out->top_logprob[at - 1];
				out->top_id[at] = out->top_id[at - 1];
				at--;
			}
			out->top_logprob[at] = logprob[j];
			out->top_id[at] = (int32_t)j;
		}
	}
}

static int64_t first_of(const float *values, int64_t n, float value)
{
	for (int64_t i = 0; i < n; i++) {
		if (values[i] == value)
			return i;
	}
	return -1;
}

static int32_t count_above(const float *values, int64_t n, float bound)
{
	int32_t count = 0;

	for (int64_t i = 0; i < n; i += 8)
		count +=
			__builtin_popcount(v8i_mask(v8f_lt(v8f_set1(bound), v8f_load(values + i))));
	return count;
}

/* From filtered logits to the result. */
static void report(const sample_job *job, const gh__sample_row *row, const scratch *s,
		   gh__sample_result *out)
{
	const int64_t vocab = job->desc->vocab;
	const float max = largest(s->l, padded(vocab));
	const float sum = exponentials(s->e, s->l, padded(vocab), max);
	const v8f m = v8f_set1(max), log_sum = v8f_set1((float)gh__ln(sum));
	int32_t drawn = -1;

	if (row->forced < 0 && row->temperature != 0.0F) {
		scale_down(s->e, padded(vocab), sum);
		drawn = choose(job, row, s->e, first_of(s->l, vocab, max));
	}
	for (int64_t i = 0; i < padded(vocab); i += 8)
		v8f_store(s->e + i, v8f_sub(v8f_sub(v8f_load(s->l + i), m), log_sum));
	if (row->forced >= 0)
		out->token = row->forced;
	else if (drawn >= 0)
		out->token = drawn;
	else
		out->token = (int32_t)first_of(s->e, vocab, largest(s->e, padded(vocab)));
	if (out->token < vocab)
		out->logprob = s->e[out->token];
	out->rank = 1 + count_above(s->e, padded(vocab), out->logprob);
	if (row->top > 0)
		list_top(s->e, vocab, row->top < GH__TOP_MAX ? row->top : GH__TOP_MAX, out);
}

static void sample_task(void *arg, int64_t task, int thread)
{
	const sample_job *job = arg;
	const gh__sample_row *row = &job->args->row[task];
	gh__sample_result *out = &job->args->result[task];
	const int64_t vocab = job->desc->vocab;
	float *memory = gh__cpu_scratch(job->cpu, thread);
	scratch s = { .l = memory,
		      .e = memory + padded(vocab),
		      .count = (int32_t *)(void *)(memory + 2 * padded(vocab)),
		      .bins = (uint64_t *)(void *)(memory + 3 * padded(vocab)) };
	float max;

	memset(out, 0, sizeof *out);
	out->token = -1;
	out->logprob = -INFINITY;
	if (!load_logits(job, row, s.l))
		return;
	mask_and_bias(job, row, s.l);
	penalise(job, row, &s);
	if (row->temperature != 0.0F)
		divide(job, row, s.l);
	max = largest(s.l, padded(vocab));
	if (!(max > -INFINITY && max < INFINITY))
		return;
	if (row->temperature != 0.0F) {
		if (row->top_k > 0 && row->top_k < vocab)
			top_k(job, row, &s);
		if (row->top_p < 1.0F)
			top_p(job, row, &s, max);
		if (row->min_p > 0.0F)
			min_p(job, row, &s, max);
	}
	report(job, row, &s, out);
}

void GH__TWIN(gh__cpu_sample)(const gh__cpu *cpu, const gh__sample_desc *desc,
			      const gh__sample_args *args)
{
	sample_job job = { cpu, desc, args };

	gh__pool_run(cpu->pool, sample_task, &job, args->m);
}
