#include "base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/map.h"
#include "base/number.h"
#include "base/utf8.h"

#define METRICS_PER_FAMILY 1000
#define LABEL_VALUE_MAX    1024

typedef struct family {
	gh__metric_kind kind;
	char *name;
	char *help;
	char **labels;
	size_t label_count;
	double *buckets;
	size_t bucket_count;
	gh__map *metrics; /* label values, joined by a byte that is not UTF-8 -> gh__metric */
} family;

struct gh__metric {
	const family *family;
	char **values;          /* family->label_count of them */
	_Atomic uint64_t value; /* bits of a double: the value, or a histogram's sum */
	_Atomic uint64_t *hits; /* histogram: one for each bucket, and one for +Inf */
};

struct gh__metrics {
	pthread_mutex_t mutex; /* guards the maps; metrics themselves are atomic */
	gh__map *families;
};

static void free_strings(char **strings, size_t count)
{
	if (!strings)
		return;
	for (size_t i = 0; i < count; i++)
		gh__free(strings[i]);
	gh__free(strings);
}

static void metric_free(void *opaque)
{
	gh__metric *metric = opaque;

	if (!metric)
		return;
	free_strings(metric->values, metric->family->label_count);
	gh__free((void *)metric->hits);
	gh__free(metric);
}

static void family_free(void *opaque)
{
	family *f = opaque;

	if (!f)
		return;
	gh__map_free(f->metrics);
	free_strings(f->labels, f->label_count);
	gh__free(f->buckets);
	gh__free(f->help);
	gh__free(f->name);
	gh__free(f);
}

gh_status gh__metrics_create(gh__metrics **out, gh_error *error)
{
	gh__metrics *metrics = gh__calloc(1, sizeof *metrics);

	if (!metrics)
		return gh__fail_nomem(error);
	gh_status status = gh__map_create(&metrics->families, family_free, error);
	if (status != GH_OK) {
		gh__free(metrics);
		return status;
	}
	pthread_mutex_init(&metrics->mutex, NULL);
	*out = metrics;
	return GH_OK;
}

void gh__metrics_free(gh__metrics *metrics)
{
	if (!metrics)
		return;
	gh__map_free(metrics->families);
	pthread_mutex_destroy(&metrics->mutex);
	gh__free(metrics);
}

static family *family_create(const gh__metric_family *given)
{
	family *f = gh__calloc(1, sizeof *f);
	size_t count = 0;

	if (!f)
		return NULL;
	while (given->labels && given->labels[count])
		count++;
	f->kind = given->kind;
	f->name = gh__strdup(given->name);
	f->help = gh__strdup(given->help ? given->help : "");
	f->labels = gh__calloc(count, sizeof *f->labels);
	if (!f->name || !f->help || !f->labels || gh__map_create(&f->metrics, metric_free, NULL))
		goto fail;
	f->label_count = count;
	for (size_t i = 0; i < count; i++) {
		f->labels[i] = gh__strdup(given->labels[i]);
		if (!f->labels[i])
			goto fail;
	}
	if (given->kind == GH__HISTOGRAM) {
		f->bucket_count = given->bucket_count;
		f->buckets = gh__memdup(given->buckets, given->bucket_count * sizeof(double));
		if (!f->buckets)
			goto fail;
	}
	return f;
fail:
	family_free(f);
	return NULL;
}

static gh__metric *metric_create(const family *f, const char *const *values)
{
	gh__metric *metric = gh__calloc(1, sizeof *metric);

	if (!metric)
		return NULL;
	metric->family = f;
	metric->values = gh__calloc(f->label_count, sizeof *metric->values);
	if (!metric->values)
		goto fail;
	for (size_t i = 0; i < f->label_count; i++) {
		char text[LABEL_VALUE_MAX];
		const char *value = values ? values[i] : "other";

		gh__utf8_copy(text, sizeof text, value, strlen(value));
		metric->values[i] = gh__strdup(text);
		if (!metric->values[i])
			goto fail;
	}
	if (f->kind == GH__HISTOGRAM) {
		metric->hits = gh__calloc(f->bucket_count + 1, sizeof *metric->hits);
		if (!metric->hits)
			goto fail;
	}
	return metric;
fail:
	metric_free(metric);
	return NULL;
}

static gh__metric *find_or_create(family *f, const char *const *values)
{
	gh__buf key = GH__BUF_INIT((size_t)1 << 20);
	gh__metric *metric = NULL;

	for (size_t i = 0; values && i < f->label_count; i++) {
		gh__buf_append_str(&key, values[i]);
		gh__buf_append_char(&key, '\xff');
	}
	if (gh__buf_status(&key) != GH_OK)
		goto out;
	metric = gh__map_get_n(f->metrics, gh__buf_str(&key), key.len);
	if (metric)
		goto out;
	if (values && f->label_count > 0 && gh__map_count(f->metrics) >= METRICS_PER_FAMILY - 1) {
		metric = find_or_create(f, NULL);
		goto out;
	}
	metric = metric_create(f, values);
	if (metric &&
	    gh__map_put_n(f->metrics, gh__buf_str(&key), key.len, metric, NULL) != GH_OK) {
		metric_free(metric);
		metric = NULL;
	}
out:
	gh__buf_free(&key);
	return metric;
}

gh__metric *gh__metrics_get(gh__metrics *metrics, const gh__metric_family *given,
			    const char *const *label_values)
{
	gh__metric *metric = NULL;

	if (!metrics)
		return NULL;
	pthread_mutex_lock(&metrics->mutex);
	family *f = gh__map_get(metrics->families, given->name);
	if (!f) {
		f = family_create(given);
		if (f && gh__map_put(metrics->families, given->name, f, NULL) != GH_OK) {
			family_free(f);
			f = NULL;
		}
	}
	if (f)
		metric = find_or_create(f, label_values);
	pthread_mutex_unlock(&metrics->mutex);
	return metric;
}

static double load_double(const _Atomic uint64_t *bits)
{
	uint64_t loaded = atomic_load_explicit(bits, memory_order_relaxed);
	double value;

	memcpy(&value, &loaded, sizeof value);
	return value;
}

static void add_double(_Atomic uint64_t *bits, double amount)
{
	uint64_t old = atomic_load_explicit(bits, memory_order_relaxed), new;
	double value;

	do {
		memcpy(&value, &old, sizeof value);
		value += amount;
		memcpy(&new, &value, sizeof new);
	} while (!atomic_compare_exchange_weak_explicit(bits, &old, new, memory_order_relaxed,
							memory_order_relaxed));
}

void gh__metric_add(gh__metric *metric, double amount)
{
	if (!metric || metric->family->kind == GH__HISTOGRAM)
		return;
	if (metric->family->kind == GH__COUNTER && !(amount >= 0))
		return;
	add_double(&metric->value, amount);
}

void gh__metric_set(gh__metric *metric, double value)
{
	uint64_t bits;

	if (!metric || metric->family->kind != GH__GAUGE)
		return;
	memcpy(&bits, &value, sizeof bits);
	atomic_store_explicit(&metric->value, bits, memory_order_relaxed);
}

void gh__metric_observe(gh__metric *metric, double value)
{
	size_t i = 0;

	if (!metric || metric->family->kind != GH__HISTOGRAM)
		return;
	while (i < metric->family->bucket_count && !(value <= metric->family->buckets[i]))
		i++;
	atomic_fetch_add_explicit(&metric->hits[i], 1, memory_order_relaxed);
	add_double(&metric->value, value);
}

double gh__metric_value(const gh__metric *metric)
{
	if (!metric)
		return 0;
	if (metric->family->kind != GH__HISTOGRAM)
		return load_double(&metric->value);
	uint64_t count = 0;
	for (size_t i = 0; i <= metric->family->bucket_count; i++)
		count += atomic_load_explicit(&metric->hits[i], memory_order_relaxed);
	return (double)count;
}

static void write_escaped(gh__buf *out, const char *text, bool quotes)
{
	for (; *text; text++) {
		if (*text == '\n')
			gh__buf_append(out, "\\n", 2);
		else if (*text == '\\')
			gh__buf_append(out, "\\\\", 2);
		else if (*text == '"' && quotes)
			gh__buf_append(out, "\\\"", 2);
		else
			gh__buf_append_char(out, *text);
	}
}

static void write_number(gh__buf *out, double value)
{
	char text[GH__DOUBLE_SIZE];

	if (isnan(value)) {
		gh__buf_append_str(out, "NaN");
	} else if (isinf(value)) {
		gh__buf_append_str(out, value > 0 ? "+Inf" : "-Inf");
	} else {
		gh__double_text(text, value);
		gh__buf_append_str(out, text);
	}
}

/* name{label="value",...,le="bound"} number */
static void write_sample(gh__buf *out, const gh__metric *metric, const char *suffix,
			 const double *bound, double value)
{
	const family *f = metric->family;

	gh__buf_append_str(out, f->name);
	gh__buf_append_str(out, suffix);
	if (f->label_count > 0 || bound) {
		for (size_t i = 0; i < f->label_count; i++) {
			gh__buf_printf(out, "%c%s=\"", i ? ',' : '{', f->labels[i]);
			write_escaped(out, metric->values[i], true);
			gh__buf_append_char(out, '"');
		}
		if (bound) {
			gh__buf_printf(out, "%cle=\"", f->label_count ? ',' : '{');
			write_number(out, *bound);
			gh__buf_append_char(out, '"');
		}
		gh__buf_append_char(out, '}');
	}
	gh__buf_append_char(out, ' ');
	write_number(out, value);
	gh__buf_append_char(out, '\n');
}

static void write_metric(gh__buf *out, const gh__metric *metric)
{
	const family *f = metric->family;
	const double infinite = INFINITY;
	uint64_t count = 0;

	if (f->kind != GH__HISTOGRAM) {
		write_sample(out, metric, "", NULL, load_double(&metric->value));
		return;
	}
	for (size_t i = 0; i <= f->bucket_count; i++) {
		count += atomic_load_explicit(&metric->hits[i], memory_order_relaxed);
		write_sample(out, metric, "_bucket",
			     i < f->bucket_count ? &f->buckets[i] : &infinite, (double)count);
	}
	write_sample(out, metric, "_sum", NULL, load_double(&metric->value));
	write_sample(out, metric, "_count", NULL, (double)count);
}

void gh__metrics_write(gh__metrics *metrics, gh__buf *out)
{
	static const char *const kinds[] = {
		[GH__COUNTER] = "counter", [GH__GAUGE] = "gauge", [GH__HISTOGRAM] = "histogram"
	};
	size_t family_at = 0;
	void *value;

	if (!metrics)
		return;
	pthread_mutex_lock(&metrics->mutex);
	while (gh__map_next(metrics->families, &family_at, NULL, &value)) {
		const family *f = value;
		size_t at = 0;

		gh__buf_printf(out, "# HELP %s ", f->name);
		write_escaped(out, f->help, false);
		gh__buf_printf(out, "\n# TYPE %s %s\n", f->name, kinds[f->kind]);
		while (gh__map_next(f->metrics, &at, NULL, &value))
			write_metric(out, value);
	}
	pthread_mutex_unlock(&metrics->mutex);
}
