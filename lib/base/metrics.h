#ifndef GH_BASE_METRICS_H
#define GH_BASE_METRICS_H

#include <gonkahost/base.h>

#include "base/buf.h"

/*
 * Counters, gauges and histograms in the Prometheus text format (version 0.0.4).
 *
 * A family has a name, a help text and a list of label names; a metric is a family with label
 * values. Updating is lock-free and safe from any thread; registering is not meant for hot paths.
 * Everything registered lives until the registry is freed. At most 1000 metrics a family: what is
 * above it is counted into one metric whose label values are "other".
 */
typedef struct gh__metrics gh__metrics;
typedef struct gh__metric gh__metric;

typedef enum gh__metric_kind { GH__COUNTER = 1, GH__GAUGE, GH__HISTOGRAM } gh__metric_kind;

typedef struct gh__metric_family {
	gh__metric_kind kind;
	const char *name; /* "vllm:num_requests_running"; copies */
	const char *help;
	const char *const *labels; /* names, NULL-terminated; NULL = none */
	const double *buckets;     /* histogram: ascending upper bounds without +Inf */
	size_t bucket_count;
} gh__metric_family;

gh_status gh__metrics_create(gh__metrics **out, gh_error *error);
void gh__metrics_free(gh__metrics *metrics);

/* Register a family, or find it by name. Answers NULL only when out of memory; every function
 * below accepts NULL and does nothing, so callers need not check. */
gh__metric *gh__metrics_get(gh__metrics *metrics, const gh__metric_family *family,
			    const char *const *label_values);

void gh__metric_add(gh__metric *metric, double amount);    /* counter (>= 0) or gauge */
void gh__metric_set(gh__metric *metric, double value);     /* gauge */
void gh__metric_observe(gh__metric *metric, double value); /* histogram */
double gh__metric_value(const gh__metric *metric);         /* counter, gauge; histogram: count */

void gh__metrics_write(gh__metrics *metrics, gh__buf *out);

#endif
