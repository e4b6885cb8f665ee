#ifndef GH_TESTS_GOLDEN_POC_H
#define GH_TESTS_GOLDEN_POC_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/digest.h"
#include "json/json.h"
#include "poc/normals.h"

/*
 * Reading the file of expected numbers, and holding ours against it. Every difference is printed
 * and counted; a test goes on behind it.
 */
#define SKIPPED  77
#define FILE_MAX ((size_t)1 << 20)

static gh__normal_tables tables;
static size_t checks, failures;

static inline bool check(bool good, const char *format, ...) GH_PRINTF(2, 3);
static inline bool check(bool good, const char *format, ...)
{
	va_list args;

	checks++;
	if (good)
		return true;
	failures++;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return false;
}

/* Without memory or a digest there is nothing to compare. */
static inline void must(gh_status status, const gh_error *error)
{
	if (status == GH_OK)
		return;
	fprintf(stderr, "%s: %s\n", gh_status_name(status), error->text);
	exit(EXIT_FAILURE);
}

static inline void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		must(GH_ENOMEM, &(gh_error)GH_ERROR_INIT);
	return memory;
}

static inline const json_t *get(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!value) {
		fprintf(stderr, "%s: not in the file\n", key);
		exit(EXIT_FAILURE);
	}
	return value;
}

static inline const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(get(object, key));

	return value ? value : "";
}

static inline uint64_t integer(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(get(object, key));
}

/* Numbers that are too long for JSON are strings. */
static inline double real(const json_t *value)
{
	return json_is_string(value) ? strtod(json_string_value(value), NULL)
				     : json_number_value(value);
}

static inline uint64_t hex(const json_t *value)
{
	return strtoull(json_string_value(value), NULL, 16);
}

static inline void check_hash(const json_t *object, const char *key, const void *data, size_t size)
{
	unsigned char digest[GH__SHA256_SIZE];
	char digits[2 * GH__SHA256_SIZE + 1];
	gh_error error = GH_ERROR_INIT;

	must(gh__sha256(digest, data, size, &error), &error);
	for (size_t i = 0; i < sizeof digest; i++)
		snprintf(digits + 2 * i, 3, "%02x", digest[i]);
	check(strcmp(digits, text(object, key)) == 0, "%s: %s, %s expected", key, digits,
	      text(object, key));
}

/* A list of count items; other loops over it stop there. */
static inline const json_t *list_of(const json_t *object, const char *key, size_t count)
{
	const json_t *list = get(object, key);

	check(json_array_size(list) == count, "%s: %zu items, %zu expected", key,
	      json_array_size(list), count);
	return list;
}

static inline void check_f16(const json_t *object, const char *key, const uint16_t *values,
			     size_t count)
{
	const json_t *list = list_of(object, key, count);

	for (size_t i = 0; i < count; i++)
		check(hex(json_array_get(list, i)) == values[i], "%s[%zu]: %04x", key, i,
		      values[i]);
}

static inline void check_reals(const json_t *object, const char *key, const double *values,
			       size_t count)
{
	const json_t *list = list_of(object, key, count);

	for (size_t i = 0; i < count; i++)
		check(real(json_array_get(list, i)) == values[i], "%s[%zu]: %a", key, i, values[i]);
}

static inline void fill(void *out, gh_dtype dtype, size_t count, double deviation,
			const gh__pcg64 *start, unsigned threads)
{
	gh__normals normals = { .tables = &tables,
				.start = *start,
				.out = out,
				.dtype = dtype,
				.count = count,
				.deviation = deviation,
				.threads = threads };
	gh_error error = GH_ERROR_INIT;

	must(gh__normals_fill(&normals, NULL, &error), &error);
}

/* The file; NULL: not there. Makes the tables. */
static inline json_t *open_golden(void)
{
	gh_error error = GH_ERROR_INIT;
	json_t *root;

	if (!GH_TEST_GOLDEN[0])
		return NULL;
	root = gh__json_read_file(GH_TEST_GOLDEN "/poc-v1-rng.json", FILE_MAX, &error);
	if (!root)
		must(GH_EFORMAT, &error);
	must(gh__normal_tables_make(&tables, &error), &error);
	return root;
}

/* Exit status of a test. */
static inline int close_golden(json_t *root)
{
	json_decref(root);
	printf("%zu of %zu checks\n", checks - failures, checks);
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
