#include "unit.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metrics.h"
#include "base/number.h"
#include "base/options.h"
#include "base/queue.h"
#include "base/random.h"
#include "base/thread.h"
#include "base/utf8.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Status and errors. */

START_TEST(statuses_have_names_and_texts)
{
	ck_assert_str_eq(gh_status_name(GH_OK), "GH_OK");
	ck_assert_str_eq(gh_status_name(GH_EBUG), "GH_EBUG");
	ck_assert_str_eq(gh_status_text(GH_ENODEVICE), "no such device");
	ck_assert_str_eq(gh_status_name((gh_status)-1000), "GH_UNKNOWN");
	ck_assert_str_eq(gh_status_text((gh_status)7), "unknown status");
	int major, minor, patch, end = 0;
	ck_assert_int_eq(sscanf(gh_version(), "%d.%d.%d%n", &major, &minor, &patch, &end), 3);
	ck_assert_uint_eq((size_t)end, strlen(gh_version()));
}
END_TEST

START_TEST(first_error_wins)
{
	gh_error error = GH_ERROR_INIT;

	ck_assert_int_eq(gh__fail(NULL, GH_EIO, "nobody listens"), GH_EIO);
	ck_assert_int_eq(gh__fail(&error, GH_EINVAL, "port: %d", 70000), GH_EINVAL);
	ck_assert_int_eq(gh__fail(&error, GH_EIO, "second"), GH_EIO);
	ck_assert_int_eq(error.status, GH_EINVAL);
	ck_assert_str_eq(error.text, "port: 70000");
	ck_assert_ptr_nonnull(strstr(error.file, "test_base.c"));
	ck_assert_int_gt(error.line, 0);
	gh__error_prefix(&error, "%s: ", "node.json");
	ck_assert_str_eq(error.text, "node.json: port: 70000");
	error = (gh_error)GH_ERROR_INIT;
	ck_assert_int_eq(error.status, GH_OK);
	gh__error_prefix(&error, "unused");
	ck_assert_str_eq(error.text, "");
	gh__fail_errno(&error, GH_ENOENT, 2, "config.json");
	ck_assert_str_eq(error.text, "config.json: No such file or directory");
	ck_assert_int_eq(error.domain, GH_DOMAIN_ERRNO);
	ck_assert_int_eq(error.code, 2);
	ck_assert_uint_eq(sizeof error, 256);
}
END_TEST

START_TEST(error_texts_are_cut_between_characters)
{
	char given[600];

	/* "é" is two bytes: whatever the offset, the cut leaves whole ones. */
	for (size_t lead = 0; lead < 4; lead++) {
		gh_error error = GH_ERROR_INIT;
		size_t at = lead;

		memset(given, 'a', lead);
		for (; at + 2 < sizeof given; at += 2)
			memcpy(given + at, "\xc3\xa9", 2);
		given[at] = '\0';
		gh__fail(&error, GH_EINVAL, "%s", given);
		ck_assert_uint_eq(strlen(error.text), lead % 2 ? 231 : 230);
		ck_assert(gh__utf8_valid(error.text, strlen(error.text)));
		gh__error_prefix(&error, "x");
		ck_assert_uint_eq(strlen(error.text), lead % 2 ? 230 : 231);
		ck_assert(gh__utf8_valid(error.text, strlen(error.text)));
	}
	gh_error error = GH_ERROR_INIT;
	gh__fail(&error, GH_EINVAL, "id: \xff\xc3(");
	ck_assert_str_eq(error.text, "id: \xef\xbf\xbd\xef\xbf\xbd(");
}
END_TEST

/* Memory. */

START_TEST(allocations_are_checked)
{
	ck_assert_ptr_null(gh__calloc(SIZE_MAX / 2, 3));
	ck_assert_ptr_null(gh__realloc_array(NULL, SIZE_MAX / 2, 3));
	ck_assert_ptr_null(gh__aligned_alloc(64, SIZE_MAX - 8));
	ck_assert_ptr_null(gh__aligned_alloc(48, 8));
	ck_assert_ptr_null(gh__strndup("x", SIZE_MAX));
	void *empty = gh__malloc(0);
	ck_assert_ptr_nonnull(empty);
	gh__free(empty);
	gh__free(NULL);
	for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
		char *memory = gh__aligned_alloc(alignment, 100);

		ck_assert_ptr_nonnull(memory);
		ck_assert_uint_eq((uintptr_t)memory % alignment, 0);
		memset(memory, 1, 100);
		gh__aligned_free(memory);
	}
	char *copy = gh__strndup("hello", 3);
	ck_assert_str_eq(copy, "hel");
	gh_free(copy);
}
END_TEST

START_TEST(the_kth_allocation_fails)
{
	gh__alloc_fail_at(3);
	void *a = gh__malloc(1), *b = gh__calloc(1, 1), *c = gh__strdup("x"), *d = gh__malloc(1);
	ck_assert(a && b && !c && d);
	ck_assert_uint_eq(gh__alloc_fail_at(0), 4);
	gh__free(a);
	gh__free(b);
	gh__free(d);
}
END_TEST

static size_t custom_live;

static void *custom_allocate(size_t size, void *userdata)
{
	custom_live++;
	ck_assert_str_eq(userdata, "mine");
	return malloc(size);
}

static void *custom_resize(void *memory, size_t size, void *userdata)
{
	(void)userdata;
	return realloc(memory, size);
}

static void custom_release(void *memory, void *userdata)
{
	(void)userdata;
	custom_live--;
	free(memory);
}

START_TEST(a_callers_allocator_is_used)
{
	static char mine[] = "mine";
	gh_allocator allocator = { custom_allocate, custom_resize, NULL, mine };
	gh__map *map;

	ck_assert_int_eq(gh_allocator_set(NULL), GH_EINVAL);
	ck_assert_int_eq(gh_allocator_set(&allocator), GH_EINVAL);
	allocator.release = custom_release;
	ck_assert_int_eq(gh_allocator_set(&allocator), GH_OK);
	assert_ok(gh__map_create(&map, NULL, error));
	assert_ok(gh__map_put(map, "key", mine, error));
	ck_assert_uint_gt(custom_live, 2);
	gh__map_free(map);
	char *zeroed = gh__calloc(3, 5);
	for (int i = 0; i < 15; i++)
		ck_assert_int_eq(zeroed[i], 0);
	gh__free(zeroed);
	ck_assert_uint_eq(custom_live, 0);
}
END_TEST

/* Options. */

typedef struct options_v1 {
	size_t struct_size;
	uint64_t limit;
} options_v1;

typedef struct options_v2 {
	size_t struct_size;
	uint64_t limit;
	uint64_t flags;
} options_v2;

START_TEST(options_of_other_sizes)
{
	options_v2 known, newer = { sizeof newer, 5, 7 };
	options_v1 older = { sizeof older, 9 }, small;

	assert_ok(gh__options_copy(&known, sizeof known, sizeof older, NULL, error));
	ck_assert_uint_eq(known.limit, 0);
	ck_assert_uint_eq(known.flags, 0);
	memset(&known, 0xff, sizeof known);
	assert_ok(gh__options_copy(&known, sizeof known, sizeof older, &older, error));
	ck_assert_uint_eq(known.limit, 9);
	ck_assert_uint_eq(known.flags, 0);
	ck_assert_uint_eq(known.struct_size, sizeof known);

	/* A newer caller: refused only if it asks for what is not known here. */
	assert_fails(GH_ETOOBIG, "byte 16",
		     gh__options_copy(&small, sizeof small, sizeof small, &newer, error));
	newer.flags = 0;
	assert_ok(gh__options_copy(&small, sizeof small, sizeof small, &newer, error));
	ck_assert_uint_eq(small.limit, 5);

	static const size_t wrong[] = { 0, 1, sizeof older - 1, 4097, SIZE_MAX };
	for (size_t i = 0; i < COUNT(wrong); i++) {
		older.struct_size = wrong[i];
		assert_fails(GH_EINVAL, "struct_size",
			     gh__options_copy(&known, sizeof known, sizeof older, &older, error));
	}
}
END_TEST

/* Buffers. */

START_TEST(buffers_keep_their_maximum)
{
	for (size_t max = 0; max <= 300; max += 1 + max / 7) {
		gh__buf buf = GH__BUF_INIT(max);

		for (size_t i = 0; i < max; i++)
			gh__buf_append_char(&buf, (char)('a' + i % 26));
		ck_assert_int_eq(gh__buf_status(&buf), GH_OK);
		ck_assert_uint_eq(buf.len, max);
		ck_assert_uint_le(buf.capacity, max + 1);
		gh__buf_append_char(&buf, 'x');
		ck_assert_int_eq(gh__buf_status(&buf), GH_ETOOBIG);
		ck_assert_uint_eq(buf.len, max);
		ck_assert_uint_eq(strlen(gh__buf_str(&buf)), max);
		gh__buf_consume(&buf, 1);
		gh__buf_append(&buf, "", 0); /* a failure sticks */
		ck_assert_int_eq(gh__buf_status(&buf), GH_ETOOBIG);
		ck_assert_ptr_null(gh__buf_take(&buf));
		gh__buf_free(&buf);

		/* The same for printf, at the last byte and one behind it. */
		gh__buf_printf(&buf, "%*s", (int)max, "");
		ck_assert_int_eq(gh__buf_status(&buf), GH_OK);
		gh__buf_printf(&buf, "%d", 1);
		ck_assert_int_eq(gh__buf_status(&buf), GH_ETOOBIG);
		ck_assert_uint_eq(buf.len, max);
		ck_assert_uint_eq(strlen(gh__buf_str(&buf)), max);
		gh__buf_reset(&buf);
		ck_assert_int_eq(gh__buf_status(&buf), GH_OK);
		ck_assert_uint_eq(buf.len, 0);
		gh__buf_free(&buf);
	}
}
END_TEST

START_TEST(buffers_refuse_sizes_that_wrap)
{
	gh__buf buf = GH__BUF_INIT(SIZE_MAX - 1);

	gh__buf_append_str(&buf, "abc");
	ck_assert(!gh__buf_reserve(&buf, SIZE_MAX - 3));
	ck_assert_int_eq(gh__buf_status(&buf), GH_ETOOBIG);
	gh__buf_reset(&buf);
	gh__alloc_fail_at(1);
	ck_assert(!gh__buf_reserve(&buf, 1000));
	gh__alloc_fail_at(0);
	ck_assert_int_eq(gh__buf_status(&buf), GH_ENOMEM);
	gh__buf_free(&buf);
}
END_TEST

START_TEST(buffers_append_consume_and_give_away)
{
	gh__buf buf;

	gh__buf_init(&buf, 1000);
	ck_assert_str_eq(gh__buf_str(&buf), "");
	gh__buf_append(&buf, "a\0b", 3);
	gh__buf_printf(&buf, "[%d %s]", 42, "words");
	ck_assert_uint_eq(buf.len, 13);
	gh__buf_consume(&buf, 2);
	ck_assert_str_eq(gh__buf_str(&buf), "b[42 words]");
	gh__buf_consume(&buf, 100);
	ck_assert_uint_eq(buf.len, 0);
	gh__buf_append_str(&buf, "kept");
	char *text = gh__buf_take(&buf);
	ck_assert_str_eq(text, "kept");
	gh__free(text);
	text = gh__buf_take(&buf);
	ck_assert_str_eq(text, "");
	gh__free(text);
	gh__buf_free(&buf);
}
END_TEST

/* Maps. */

static size_t released;

static void count_release(void *value)
{
	(void)value;
	released++;
}

static void *as_value(size_t i)
{
	static char values[100001];

	return values + i;
}

START_TEST(maps_hold_many_keys)
{
	enum { keys = 100000 };
	gh__map *map;
	char key[32];
	const char *found;
	size_t cursor = 0, i = 0;
	void *value;

	released = 0;
	assert_ok(gh__map_create(&map, count_release, error));
	ck_assert_ptr_null(gh__map_get(map, "nothing"));
	ck_assert(!gh__map_remove(map, "nothing"));
	for (i = 0; i < keys; i++) {
		snprintf(key, sizeof key, "key-%zu", i);
		assert_ok(gh__map_put(map, key, as_value(i + 1), error));
	}
	ck_assert_uint_eq(gh__map_count(map), keys);
	for (i = 0; i < keys; i++) {
		snprintf(key, sizeof key, "key-%zu", i);
		ck_assert_ptr_eq(gh__map_get(map, key), as_value(i + 1));
	}
	ck_assert_ptr_null(gh__map_get(map, "key-100000"));
	for (i = 0; gh__map_next(map, &cursor, &found, &value); i++) {
		snprintf(key, sizeof key, "key-%zu", i);
		ck_assert_str_eq(found, key);
		ck_assert_ptr_eq(value, as_value(i + 1));
		if (i % 2)
			ck_assert(gh__map_remove(map, key)); /* removal while walking */
	}
	ck_assert_uint_eq(i, keys);
	ck_assert_uint_eq(gh__map_count(map), keys / 2);
	ck_assert_uint_eq(released, keys / 2);

	/* What is put again comes last, through the growth that closes the gaps too. */
	assert_ok(gh__map_put(map, "key-1", as_value(7), error));
	for (i = 0; i < keys; i++) {
		snprintf(key, sizeof key, "late-%zu", i);
		assert_ok(gh__map_put(map, key, as_value(1), error));
	}
	cursor = 0;
	for (i = 0; i <= keys / 2; i++)
		ck_assert(gh__map_next(map, &cursor, &found, &value));
	ck_assert_str_eq(found, "key-1");
	gh__map_free(map);
	ck_assert_uint_eq(released, 2 * keys + 1);
	gh__map_free(NULL);
}
END_TEST

START_TEST(maps_replace_and_stay_small)
{
	gh__map *map;
	static const char raw[] = { 'a', 0, 'b' };

	released = 0;
	assert_ok(gh__map_create(&map, count_release, error));
	assert_ok(gh__map_put_n(map, raw, 3, as_value(1), error));
	assert_ok(gh__map_put_n(map, raw, 1, as_value(2), error));
	assert_ok(gh__map_put_n(map, raw, 0, as_value(3), error));
	ck_assert_ptr_eq(gh__map_get_n(map, raw, 3), as_value(1));
	ck_assert_ptr_eq(gh__map_get(map, "a"), as_value(2));
	ck_assert_ptr_eq(gh__map_get(map, ""), as_value(3));
	assert_ok(gh__map_put(map, "a", as_value(2), error)); /* the same value is not let go */
	ck_assert_uint_eq(released, 0);
	assert_ok(gh__map_put(map, "a", as_value(4), error));
	ck_assert_uint_eq(released, 1);
	for (int i = 0; i < 100000; i++) {
		assert_ok(gh__map_put(map, "come", as_value(1), error));
		ck_assert(gh__map_remove(map, "come"));
	}
	ck_assert_uint_eq(gh__map_count(map), 3);
	gh__map_free(map);
}
END_TEST

START_TEST(maps_survive_failing_allocations)
{
	for (size_t k = 1;; k++) {
		gh__map *map = NULL;
		gh_error error = GH_ERROR_INIT;
		size_t stored = 0;
		char key[8];

		gh__alloc_fail_at(k);
		gh_status status = gh__map_create(&map, NULL, &error);
		for (int i = 0; i < 40 && status == GH_OK; i++) {
			snprintf(key, sizeof key, "%d", i);
			status = gh__map_put(map, key, as_value(1), &error);
			stored += status == GH_OK;
		}
		gh__alloc_fail_at(0);
		if (map) {
			ck_assert_uint_eq(gh__map_count(map), stored);
			if (stored)
				ck_assert_ptr_nonnull(gh__map_get(map, "0"));
		}
		gh__map_free(map);
		if (status == GH_OK)
			break;
		ck_assert_int_eq(error.status, GH_ENOMEM);
	}
}
END_TEST

/* Clock, threads, queues. */

START_TEST(clock_texts)
{
	char text[GH__RFC3339_SIZE];

	gh__rfc3339(text, 0);
	ck_assert_str_eq(text, "1970-01-01T00:00:00.000000000Z");
	gh__rfc3339(text, INT64_C(1767323045000000006));
	ck_assert_str_eq(text, "2026-01-02T03:04:05.000000006Z");
	gh__rfc3339(text, -1);
	ck_assert_str_eq(text, "1969-12-31T23:59:59.999999999Z");
	gh__rfc3339(text, INT64_MAX);
	ck_assert_str_eq(text, "2262-04-11T23:47:16.854775807Z");
	gh__rfc3339(text, INT64_MIN);
	ck_assert_str_eq(text, "1677-09-21T00:12:43.145224192Z");
	int64_t before = gh__now();
	gh__sleep(2 * GH__MILLISECOND);
	ck_assert_int_ge(gh__now() - before, 2 * GH__MILLISECOND);
	ck_assert_int_gt(gh__wall(), INT64_C(1600000000) * GH__SECOND);
}
END_TEST

typedef struct seen {
	char name[16];
	sigset_t blocked;
} seen;

static void look(void *arg)
{
	seen *s = arg;

	pthread_getname_np(pthread_self(), s->name, sizeof s->name);
	pthread_sigmask(SIG_SETMASK, NULL, &s->blocked);
}

START_TEST(threads_are_named_and_deaf)
{
	pthread_t thread;
	sigset_t mine;
	seen s;

	assert_ok(gh__thread_start(&thread, "a-name-that-is-too-long", look, &s, error));
	pthread_join(thread, NULL);
	ck_assert_str_eq(s.name, "a-name-that-is-");
	ck_assert_int_eq(sigismember(&s.blocked, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&s.blocked, SIGPIPE), 1);
	ck_assert_int_eq(sigismember(&s.blocked, SIGSEGV), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &mine);
	ck_assert_int_eq(sigismember(&mine, SIGTERM), 0);
}
END_TEST

enum { producers = 4, consumers = 3, items_each = 20000 };

typedef struct traffic {
	gh__queue *queue;
	unsigned char *bytes; /* an item points into it and is consumed once */
	size_t popped;
} traffic;

static void produce(void *arg)
{
	traffic *t = arg;

	for (int i = 0; i < items_each; i++)
		while (gh__queue_push(t->queue, &t->bytes[i]) == GH_EBUSY)
			sched_yield();
}

static void consume(void *arg)
{
	traffic *t = arg;
	unsigned char *item;

	while ((item = gh__queue_pop(t->queue, INT64_MAX)) != NULL) {
		++*item;
		t->popped++;
	}
}

START_TEST(queues_under_several_threads)
{
	static unsigned char bytes[producers][items_each];
	traffic in[producers], out[consumers] = { 0 };
	pthread_t threads[producers + consumers];
	gh__queue *queue;
	size_t popped = 0;

	assert_ok(gh__queue_create(&queue, 37, error));
	for (int i = 0; i < consumers; i++) {
		out[i].queue = queue;
		assert_ok(gh__thread_start(&threads[producers + i], "consumer", consume, &out[i],
					   error));
	}
	for (int i = 0; i < producers; i++) {
		in[i] = (traffic){ queue, bytes[i], 0 };
		assert_ok(gh__thread_start(&threads[i], "producer", produce, &in[i], error));
	}
	for (int i = 0; i < producers; i++)
		pthread_join(threads[i], NULL);
	gh__queue_close(queue);
	for (int i = 0; i < consumers; i++) {
		pthread_join(threads[producers + i], NULL);
		popped += out[i].popped;
	}
	ck_assert_uint_eq(popped, (size_t)producers * items_each);
	for (int i = 0; i < producers; i++)
		for (int k = 0; k < items_each; k++)
			ck_assert_uint_eq(bytes[i][k], 1);
	gh__queue_free(queue);
}
END_TEST

START_TEST(queues_are_bounded_and_close)
{
	gh__queue *queue;

	assert_fails(GH_EINVAL, "capacity", gh__queue_create(&queue, 0, error));
	assert_fails(GH_ENOMEM, "memory", gh__queue_create(&queue, SIZE_MAX / 4, error));
	for (size_t capacity = 1; capacity <= 5; capacity++) {
		assert_ok(gh__queue_create(&queue, capacity, error));
		ck_assert_int_eq(gh__queue_push(queue, NULL), GH_EINVAL);
		ck_assert_int_eq(gh__queue_push(queue, as_value(1)), GH_OK);
		ck_assert_ptr_eq(gh__queue_pop(queue, 0), as_value(1));
		for (size_t i = 0; i < capacity; i++)
			ck_assert_int_eq(gh__queue_push(queue, as_value(i + 1)), GH_OK);
		ck_assert_int_eq(gh__queue_push(queue, as_value(9)), GH_EBUSY);
		ck_assert_uint_eq(gh__queue_length(queue), capacity);
		gh__queue_close(queue);
		ck_assert_int_eq(gh__queue_push(queue, as_value(9)), GH_ECLOSED);
		for (size_t i = 0; i < capacity; i++)
			ck_assert_ptr_eq(gh__queue_pop(queue, INT64_MAX), as_value(i + 1));
		ck_assert_ptr_null(gh__queue_pop(queue, INT64_MAX));
		gh__queue_free(queue);
	}
	assert_ok(gh__queue_create(&queue, 1, error));
	int64_t before = gh__now();
	ck_assert_ptr_null(gh__queue_pop(queue, before + 3 * GH__MILLISECOND));
	ck_assert_int_ge(gh__now(), before + 3 * GH__MILLISECOND);
	ck_assert_ptr_null(gh__queue_pop(queue, 0));
	ck_assert_ptr_null(gh__queue_pop(queue, -1));
	gh__queue_free(queue);
	gh__queue_free(NULL);
}
END_TEST

/* Log. */

typedef struct last_line {
	int calls;
	gh_log_level level;
	char component[32];
	char text[2048];
} last_line;

static void keep_line(gh_log_level level, const char *component, const char *text, void *userdata)
{
	last_line *last = userdata;

	last->calls++;
	last->level = level;
	snprintf(last->component, sizeof last->component, "%s", component);
	snprintf(last->text, sizeof last->text, "%s", text);
}

START_TEST(log_lines_are_one_line)
{
	last_line last = { 0 };
	char longer[3000];

	gh__info("base", "nobody listens");
	gh_log_set(keep_line, &last, GH_LOG_INFO);
	gh__debug("base", "too fine");
	ck_assert_int_eq(last.calls, 0);
	gh__warn("http", "path=%s n=%d", "/a\nb\r\x1b[31m\xff\xc3\xa9", 3);
	ck_assert_int_eq(last.calls, 1);
	ck_assert_int_eq(last.level, GH_LOG_WARN);
	ck_assert_str_eq(last.component, "http");
	ck_assert_str_eq(last.text, "path=/a\\nb\\x0d\\x1b[31m\\xff\xc3\xa9 n=3");
	memset(longer, '\n', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	gh__error("http", "%s", longer);
	ck_assert_uint_le(strlen(last.text), 1023);
	ck_assert_uint_ge(strlen(last.text), 1000);
	gh_log_set(NULL, NULL, GH_LOG_DEBUG);
	ck_assert(!gh__log_enabled(GH_LOG_ERROR));
	gh__error("http", "off");
	ck_assert_int_eq(last.calls, 2);
}
END_TEST

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

/* UTF-8, numbers, randomness. */

START_TEST(utf8_by_the_table)
{
	static const struct {
		const char *bytes;
		int answer;
		uint32_t code_point;
	} cases[] = {
		{ "a", 1, 'a' },
		{ "\x7f", 1, 0x7f },
		{ "\xc2\x80", 2, 0x80 },
		{ "\xdf\xbf", 2, 0x7ff },
		{ "\xe0\xa0\x80", 3, 0x800 },
		{ "\xed\x9f\xbf", 3, 0xd7ff },
		{ "\xee\x80\x80", 3, 0xe000 },
		{ "\xef\xbf\xbf", 3, 0xffff },
		{ "\xf0\x90\x80\x80", 4, 0x10000 },
		{ "\xf4\x8f\xbf\xbf", 4, 0x10ffff },
		{ "\x80", -1, 0 },
		{ "\xc0\x80", -1, 0 }, /* overlong */
		{ "\xc1\xbf", -1, 0 },
		{ "\xe0\x9f\xbf", -1, 0 },     /* overlong */
		{ "\xed\xa0\x80", -1, 0 },     /* surrogate */
		{ "\xf0\x8f\xbf\xbf", -1, 0 }, /* overlong */
		{ "\xf4\x90\x80\x80", -1, 0 }, /* above U+10FFFF */
		{ "\xf5\x80\x80\x80", -1, 0 },
		{ "\xff", -1, 0 },
		{ "\xc2"
		  "a",
		  -1, 0 },
		{ "\xe2\x82"
		  "a",
		  -2, 0 },
		{ "\xf0\x9f\x98"
		  "a",
		  -3, 0 },
		{ "\xc2", 0, 0 },
		{ "\xe2\x82", 0, 0 },
		{ "\xf0\x9f\x98", 0, 0 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		uint32_t c = 0;
		size_t len = strlen(cases[i].bytes);
		char back[4];

		ck_assert_int_eq(gh__utf8_decode(cases[i].bytes, len, &c), cases[i].answer);
		ck_assert_int_eq(gh__utf8_valid(cases[i].bytes, len), cases[i].answer > 0);
		if (cases[i].answer <= 0)
			continue;
		ck_assert_uint_eq(c, cases[i].code_point);
		ck_assert_int_eq(gh__utf8_encode(back, c), cases[i].answer);
		ck_assert_mem_eq(back, cases[i].bytes, len);
	}
	for (uint32_t c = 0; c <= 0x10ffff; c += 7) {
		uint32_t got = 0;
		char bytes[4];
		int len = gh__utf8_encode(bytes, c);

		ck_assert_int_eq(gh__utf8_decode(bytes, (size_t)len, &got), len);
		ck_assert_uint_eq(got, c >= 0xd800 && c <= 0xdfff ? 0xfffd : c);
	}
	ck_assert(gh__utf8_valid("", 0));
	ck_assert(gh__utf8_valid("twelve bytes\xc3\xa9", 14));
	ck_assert(!gh__utf8_valid("twelve bytes\xc3", 13));
}
END_TEST

START_TEST(whole_numbers)
{
	static const char *const bad[] = { "",
					   "-",
					   "+",
					   "1 ",
					   " 1",
					   "1.0",
					   "0x1",
					   "1e3",
					   "--1",
					   "9223372036854775808",
					   "-9223372036854775809",
					   "99999999999999999999999" };
	int64_t value;

	for (size_t i = 0; i < COUNT(bad); i++)
		ck_assert_msg(!gh__parse_int64(bad[i], &value), "%s", bad[i]);
	ck_assert(gh__parse_int64("-9223372036854775808", &value) && value == INT64_MIN);
	ck_assert(gh__parse_int64("+9223372036854775807", &value) && value == INT64_MAX);
	ck_assert(gh__parse_int64("-0", &value) && value == 0);
	ck_assert(gh__parse_int64("0017", &value) && value == 17);
}
END_TEST

START_TEST(decimal_numbers)
{
	static const char *const bad[] = { "",    ".",     "-",     "e5", "1e", "1e+", "nan",
					   "inf", "0x1p3", "1e999", " 1", "1 ", "1,5", "1.5.2" };
	double value;

	for (size_t i = 0; i < COUNT(bad); i++)
		ck_assert_msg(!gh__parse_double(bad[i], &value), "%s", bad[i]);
	ck_assert(gh__parse_double("-0.1e-3", &value) && value == -0.1e-3);
	ck_assert(gh__parse_double("1.", &value) && value == 1);
	ck_assert(gh__parse_double(".5", &value) && value == 0.5);
	ck_assert(gh__parse_double("1e-999", &value) && value == 0);
}
END_TEST

START_TEST(shortest_decimals)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
		{ 0.0, "0.0" },
		{ -0.0, "-0.0" },
		{ 1, "1.0" },
		{ 0.1, "0.1" },
		{ 1.0 / 3, "0.3333333333333333" },
		{ 0.1 + 0.2, "0.30000000000000004" },
		{ -1234.5, "-1234.5" },
		{ 0.0001, "0.0001" },
		{ 0.00012345, "0.00012345" },
		{ 9.999e-5, "9.999e-05" },
		{ 1e-5, "1e-05" },
		{ 1e15, "1000000000000000.0" },
		{ 123456789012345680.0, "1.2345678901234568e+17" },
		{ 9007199254740993.0, "9007199254740992.0" },
		{ 1e16, "1e+16" },
		{ 1e23, "1e+23" },
		{ 1.5e300, "1.5e+300" },
		{ DBL_MAX, "1.7976931348623157e+308" },
		{ DBL_MIN, "2.2250738585072014e-308" },
		{ 5e-324, "5e-324" },
		{ 0x1p-44, "5.684341886080802e-14" },
		{ -6.103515625e-05, "-6.103515625e-05" },
		{ (double)0.1f, "0.10000000149011612" },
	};
	char text[GH__DOUBLE_SIZE];
	double back;

	/* A locale with a decimal comma changes nothing, where there is one. */
	setlocale(LC_ALL, "de_DE.UTF-8");
	for (size_t i = 0; i < COUNT(cases); i++) {
		int len = gh__double_text(text, cases[i].value);

		ck_assert_str_eq(text, cases[i].text);
		ck_assert_uint_eq((size_t)len, strlen(text));
	}
	for (int i = 0; i < 20000; i++) {
		uint64_t bits = gh__random_u64();
		double value;

		memcpy(&value, &bits, sizeof value);
		if (!isfinite(value))
			continue;
		gh__double_text(text, value);
		ck_assert(gh__parse_double(text, &back));
		ck_assert_mem_eq(&back, &value, sizeof value);
	}
	setlocale(LC_ALL, "C");
}
END_TEST

START_TEST(random_hex)
{
	char a[130], b[130];

	for (size_t digits = 0; digits < sizeof a; digits++) {
		gh__random_hex(a, digits);
		ck_assert_uint_eq(strlen(a), digits);
		ck_assert_uint_eq(strspn(a, "0123456789abcdef"), digits);
	}
	gh__random_hex(b, sizeof b - 1);
	ck_assert_str_ne(a, b);
}
END_TEST

START_TEST(addresses)
{
	static const char *const closed[] = { "127.0.0.1",
					      "10.1.2.3",
					      "172.16.0.1",
					      "172.31.9.9",
					      "192.168.1.1",
					      "100.64.0.1",
					      "169.254.1.1",
					      "::1",
					      "fd00::1",
					      "fe80::1",
					      "::ffff:10.0.0.1",
					      "localhost",
					      "node",
					      "" };
	static const char *const open[] = { "0.0.0.0",     "8.8.8.8",       "172.32.0.1",
					    "192.169.0.1", "100.128.0.1",   "::",
					    "2001:db8::1", "::ffff:8.8.8.8" };
	size_t i;

	for (i = 0; i < sizeof closed / sizeof closed[0]; i++)
		ck_assert_msg(!gh__address_public(closed[i]), "%s", closed[i]);
	for (i = 0; i < sizeof open / sizeof open[0]; i++)
		ck_assert_msg(gh__address_public(open[i]), "%s", open[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base");
	TCase *tests = tcase_create("base");

	tcase_add_test(tests, addresses);
	tcase_add_test(tests, statuses_have_names_and_texts);
	tcase_add_test(tests, first_error_wins);
	tcase_add_test(tests, error_texts_are_cut_between_characters);
	tcase_add_test(tests, allocations_are_checked);
	tcase_add_test(tests, the_kth_allocation_fails);
	tcase_add_test(tests, a_callers_allocator_is_used);
	tcase_add_test(tests, options_of_other_sizes);
	tcase_add_test(tests, buffers_keep_their_maximum);
	tcase_add_test(tests, buffers_refuse_sizes_that_wrap);
	tcase_add_test(tests, buffers_append_consume_and_give_away);
	tcase_add_test(tests, maps_hold_many_keys);
	tcase_add_test(tests, maps_replace_and_stay_small);
	tcase_add_test(tests, maps_survive_failing_allocations);
	tcase_add_test(tests, clock_texts);
	tcase_add_test(tests, threads_are_named_and_deaf);
	tcase_add_test(tests, queues_under_several_threads);
	tcase_add_test(tests, queues_are_bounded_and_close);
	tcase_add_test(tests, log_lines_are_one_line);
	tcase_add_test(tests, metrics_text_format);
	tcase_add_test(tests, metrics_are_bounded);
	tcase_add_test(tests, metrics_from_several_threads);
	tcase_add_test(tests, utf8_by_the_table);
	tcase_add_test(tests, whole_numbers);
	tcase_add_test(tests, decimal_numbers);
	tcase_add_test(tests, shortest_decimals);
	tcase_add_test(tests, random_hex);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
