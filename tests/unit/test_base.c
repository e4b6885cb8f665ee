#include "unit.h"

#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/map.h"
#include "base/options.h"
#include "base/queue.h"
#include "base/thread.h"
#include "base/utf8.h"

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

int main(void)
{
	Suite *suite = suite_create("base");
	TCase *tests = tcase_create("base");

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
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
