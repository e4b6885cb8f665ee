#include "unit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/metrics.h"
#include "base/thread.h"

/* Metrics. */

static const char *const by_path[] = { "method", "path", NULL };
static const gh__metric_family requests = {
	GH__COUNTER, "requests_total", "Requests\\ served\nhere", by_path, NULL, 0
};
static const gh__metric_family running = { GH__GAUGE, "vllm:running", "Now", NULL, NULL, 0 };
static const double bounds[] = { 0.001, 0.5, 1, 10 };
static const gh__metric_family latency = { GH__HISTOGRAM, "latency_seconds", "Time", NULL,
					   bounds,        COUNT(bounds) };

START_TEST(metrics_text_format)
{
	gh__metrics *metrics;
	gh__buf out = GH__BUF_INIT(10000);

	assert_ok(gh__metrics_create(&metrics, error));
	gh__metric *m = gh__metrics_get(metrics, &requests,
					(const char *const[]){ "GET", "/a\"b\\c\nd", NULL });
	gh__metric_add(m, 1);
	gh__metric_add(m, 2);
	gh__metric_add(m, -5); /* counters never go down */
	gh__metric_add(m, NAN);
	gh__metric_set(m, 100);
	gh__metric_observe(m, 100);
	ck_assert_double_eq(gh__metric_value(m), 3);
	ck_assert_ptr_eq(gh__metrics_get(metrics, &requests,
					 (const char *const[]){ "GET", "/a\"b\\c\nd", NULL }),
			 m);
	gh__metric_add(gh__metrics_get(metrics, &requests,
				       (const char *const[]){ "PUT", "\xff", NULL }),
		       1);
	m = gh__metrics_get(metrics, &running, NULL);
	gh__metric_set(m, 2.5);
	gh__metric_add(m, -3);
	m = gh__metrics_get(metrics, &latency, NULL);
	static const double seconds[] = { 0.001, 0.0011, 0.5, 3, 10.5, 1e6 };
	for (size_t i = 0; i < COUNT(seconds); i++)
		gh__metric_observe(m, seconds[i]);
	ck_assert_double_eq(gh__metric_value(m), 6);
	gh__metrics_write(metrics, &out);
	ck_assert_str_eq(gh__buf_str(&out),
			 "# HELP requests_total Requests\\\\ served\\nhere\n"
			 "# TYPE requests_total counter\n"
			 "requests_total{method=\"GET\",path=\"/a\\\"b\\\\c\\nd\"} 3.0\n"
			 "requests_total{method=\"PUT\",path=\"\xef\xbf\xbd\"} 1.0\n"
			 "# HELP vllm:running Now\n"
			 "# TYPE vllm:running gauge\n"
			 "vllm:running -0.5\n"
			 "# HELP latency_seconds Time\n"
			 "# TYPE latency_seconds histogram\n"
			 "latency_seconds_bucket{le=\"0.001\"} 1.0\n"
			 "latency_seconds_bucket{le=\"0.5\"} 3.0\n"
			 "latency_seconds_bucket{le=\"1.0\"} 3.0\n"
			 "latency_seconds_bucket{le=\"10.0\"} 4.0\n"
			 "latency_seconds_bucket{le=\"+Inf\"} 6.0\n"
			 "latency_seconds_sum 1000014.0021\n"
			 "latency_seconds_count 6.0\n");
	gh__metric_set(gh__metrics_get(metrics, &running, NULL), -INFINITY);
	gh__buf_reset(&out);
	gh__metrics_write(metrics, &out);
	ck_assert_ptr_nonnull(strstr(gh__buf_str(&out), "vllm:running -Inf\n"));
	gh__buf_free(&out);
	gh__metrics_free(metrics);

	gh__metric_add(NULL, 1);
	gh__metric_set(NULL, 1);
	gh__metric_observe(NULL, 1);
	ck_assert_double_eq(gh__metric_value(NULL), 0);
	ck_assert_ptr_null(gh__metrics_get(NULL, &running, NULL));
	gh__metrics_free(NULL);
}
END_TEST

START_TEST(metrics_are_bounded)
{
	static const char *const label[] = { "id", NULL };
	const gh__metric_family family = { GH__COUNTER, "many", "", label, NULL, 0 };
	gh__metrics *metrics;
	gh__buf out = GH__BUF_INIT(1 << 20);
	int lines = 0;

	assert_ok(gh__metrics_create(&metrics, error));
	for (int i = 0; i < 5000; i++) {
		char id[16];

		snprintf(id, sizeof id, "%d", i);
		gh__metric_add(gh__metrics_get(metrics, &family, (const char *const[]){ id, NULL }),
			       1);
	}
	gh__metrics_write(metrics, &out);
	for (const char *at = gh__buf_str(&out); (at = strchr(at, '\n')) != NULL; at++)
		lines++;
	ck_assert_int_eq(lines, 1002);
	ck_assert_ptr_nonnull(strstr(gh__buf_str(&out), "many{id=\"other\"} 4001.0\n"));
	gh__buf_free(&out);
	gh__metrics_free(metrics);
}
END_TEST

static void count_up(void *arg)
{
	gh__metrics *metrics = arg;

	for (int i = 0; i < 10000; i++) {
		gh__metric_add(gh__metrics_get(metrics, &running, NULL), 1);
		gh__metric_observe(gh__metrics_get(metrics, &latency, NULL), 0.25);
	}
}

START_TEST(metrics_from_several_threads)
{
	gh__metrics *metrics;
	pthread_t threads[4];

	assert_ok(gh__metrics_create(&metrics, error));
	for (int i = 0; i < 4; i++)
		assert_ok(gh__thread_start(&threads[i], "count", count_up, metrics, error));
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_double_eq(gh__metric_value(gh__metrics_get(metrics, &running, NULL)), 40000);
	ck_assert_double_eq(gh__metric_value(gh__metrics_get(metrics, &latency, NULL)), 40000);
	gh__metrics_free(metrics);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("metrics");
	TCase *tests = tcase_create("metrics");

	tcase_add_test(tests, metrics_text_format);
	tcase_add_test(tests, metrics_are_bounded);
	tcase_add_test(tests, metrics_from_several_threads);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
