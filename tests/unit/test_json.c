#include "unit.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "json/json.h"
#include "json/pull.h"
#include "json/write.h"

/* Pull reader. */

/* One letter an event, texts behind it: what a reader saw. */
static void trace(gh__buf *out, const char *text, size_t len, gh_status *status, gh_error *why)
{
	static const char letters[] = ".{}[]ksntf0";
	gh__pull *pull;
	gh__pull_event event;

	assert_ok(gh__pull_create(&pull, text, len, error));
	while ((event = gh__pull_next(pull)) > GH__PULL_END) {
		size_t n;
		const char *token = gh__pull_text(pull, &n);

		gh__buf_append_char(out, letters[event]);
		gh__buf_append(out, token, n);
		if (event >= GH__PULL_KEY && event <= GH__PULL_NUMBER)
			gh__buf_append_char(out, ';');
	}
	*status = gh__pull_error(pull, "t", why);
	ck_assert_int_eq(event == GH__PULL_ERROR, *status != GH_OK);
	ck_assert_int_eq(gh__pull_next(pull), event);
	gh__pull_free(pull);
}

START_TEST(pull_answers_events_in_order)
{
	static const struct {
		const char *text, *seen;
	} cases[] = {
		{ "1", "n1;" },
		{ " \t\r\n-0.5e+10 ", "n-0.5e+10;" },
		{ "\"\"", "s;" },
		{ "[]", "[]" },
		{ "{}", "{}" },
		{ "[1,[2,{}],3]", "[n1;[n2;{}]n3;]" },
		{ "{\"a\":{\"b\":[true,false,null]},\"c\":\"d\"}", "{ka;{kb;[tf0]}kc;sd;}" },
		{ "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "[s\"\\/\b\f\n\r\t;]" },
		{ "\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00!\"",
		  "sA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!;" },
		{ "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"",
		  "s\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f;" },
		{ "{\"k\\n\" : \"plain and then \\u0022 more\"}",
		  "{kk\n;splain and then \" more;}" },
		{ "[0,-0,10,1E5,1e-7,0.25]", "[n0;n-0;n10;n1E5;n1e-7;n0.25;]" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		gh__buf seen = GH__BUF_INIT(4096);
		gh_error error = GH_ERROR_INIT;
		gh_status status;

		trace(&seen, cases[i].text, strlen(cases[i].text), &status, &error);
		ck_assert_msg(status == GH_OK, "%s: %s", cases[i].text, error.text);
		ck_assert_str_eq(gh__buf_str(&seen), cases[i].seen);
		gh__buf_free(&seen);
	}
}
END_TEST

static const struct {
	const char *text, *words;
} broken[] = {
	{ "", "line 1, column 1: the text ends too early" },
	{ "  ", "line 1, column 3: the text ends too early" },
	{ "[1,]", "column 4: expected a value" },
	{ "[,1]", "column 2: expected a value" },
	{ "[1 2]", "column 4: expected ',' or ']'" },
	{ "[1}", "column 3: expected ',' or ']'" },
	{ "{\"a\":1]", "column 7: expected ',' or '}'" },
	{ "{\"a\":1,}", "column 8: expected a key" },
	{ "{,}", "column 2: expected a key or '}'" },
	{ "{a:1}", "column 2: expected a key or '}'" },
	{ "{\"a\"}", "column 5: expected ':' after a key" },
	{ "{\n  \"\xc3\xa9\" 1}", "line 2, column 7: expected ':' after a key" },
	{ "{\"a\":}", "column 6: expected a value" },
	{ "{\"a\" :1", "ends too early" },
	{ "[", "ends too early" },
	{ "]", "expected a value" },
	{ "1 2", "something follows the value" },
	{ "{} x", "something follows the value" },
	{ "nul", "ends too early" },
	{ "nulL", "column 1: expected a value" },
	{ "True", "expected a value" },
	{ "NaN", "expected a value" },
	{ "Infinity", "expected a value" },
	{ "'a'", "expected a value" },
	{ "+1", "expected a value" },
	{ "01", "column 2: a number begins with 0" },
	{ "-", "ends too early" },
	{ "-a", "expected a digit" },
	{ "1.", "ends too early" },
	{ "1.e5", "expected a digit" },
	{ ".5", "expected a value" },
	{ "[1e]", "expected a digit" },
	{ "1e+", "ends too early" },
	{ "0x10", "something follows the value" },
	{ "\"abc", "ends too early" },
	{ "\"abc\\", "ends too early" },
	{ "\"a\\x\"", "column 3: no such escape" },
	{ "\"\\u12g4\"", "four hexadecimal digits" },
	{ "\"\\u12", "four hexadecimal digits" },
	{ "\"\\ud800\"", "column 2: a surrogate without its other half" },
	{ "\"\\udc00\\ud800\"", "a surrogate without its other half" },
	{ "\"\\ud800\\u0041\"", "a surrogate without its other half" },
	{ "\"\\ud800x\"", "a surrogate without its other half" },
	{ "\"a\nb\"", "column 3: a control character" },
	{ "\"a\x1f\"", "a control character" },
	{ "\"\x80\"", "invalid UTF-8" },
	{ "\"\xc0\xaf\"", "invalid UTF-8" },
	{ "\"\xed\xa0\x80\"", "invalid UTF-8" },
	{ "\"\xf4\x90\x80\x80\"", "invalid UTF-8" },
	{ "\"\xe2\x82\"", "invalid UTF-8" },
	{ "\"\xe2\x82", "ends too early" },
	{ "\xef\xbb\xbf{}", "column 1: expected a value" },
	{ "[1]\f", "something follows the value" },
	{ "/* c */1", "expected a value" },
};

START_TEST(pull_refuses_what_is_no_json)
{
	for (size_t i = 0; i < COUNT(broken); i++) {
		size_t len = strlen(broken[i].text);
		gh__buf seen = GH__BUF_INIT(4096);
		gh_error error = GH_ERROR_INIT;
		gh_status status;
		/* Of exactly its length, so that a sanitizer sees a byte too far. */
		char *text = gh__memdup(broken[i].text, len);

		trace(&seen, text, len, &status, &error);
		ck_assert_int_eq(status, GH_EFORMAT);
		ck_assert_msg(strstr(error.text, broken[i].words) && error.text[0] == 't',
			      "%s: \"%s\" lacks \"%s\"", broken[i].text, error.text,
			      broken[i].words);
		gh__buf_free(&seen);
		gh__free(text);
	}
}
END_TEST

START_TEST(every_prefix_is_refused)
{
	static const char whole[] =
		"{\"a\":[1.5e3,true,false,null,\"x\\n\\ud83d\\ude00\xc3\xa9\"],\"b\":{}}";

	for (size_t len = 0; len < sizeof whole - 1; len++) {
		gh__buf seen = GH__BUF_INIT(4096);
		gh_error error = GH_ERROR_INIT;
		gh_status status;
		char *text = gh__memdup(whole, len);

		trace(&seen, text, len, &status, &error);
		ck_assert_int_eq(status, GH_EFORMAT);
		ck_assert_ptr_null(gh__json_parse(text, len, true, NULL));
		gh__buf_free(&seen);
		gh__free(text);
	}
}
END_TEST

/* Marks at every place of every length around the eight bytes that are looked at together. */
START_TEST(strings_of_every_length_and_alignment)
{
	static const char *const inserts[] = { "", "\\n", "\xc3\xa9", "\xf0\x9f\x98\x80" };
	static const char *const meant[] = { "", "\n", "\xc3\xa9", "\xf0\x9f\x98\x80" };
	char text[128], expected[128];

	for (size_t kind = 0; kind < COUNT(inserts); kind++)
		for (size_t len = 0; len < 36; len++)
			for (size_t at = 0; at <= len; at++) {
				gh__pull *pull;
				size_t n;

				int total = snprintf(text, sizeof text, "\"%.*s%s%.*s\"", (int)at,
						     "abcdefghijklmnopqrstuvwxyz0123456789",
						     inserts[kind], (int)(len - at),
						     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
				snprintf(expected, sizeof expected, "%.*s%s%.*s", (int)at,
					 "abcdefghijklmnopqrstuvwxyz0123456789", meant[kind],
					 (int)(len - at), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
				assert_ok(gh__pull_create(&pull, text, (size_t)total, error));
				ck_assert_int_eq(gh__pull_next(pull), GH__PULL_STRING);
				const char *got = gh__pull_text(pull, &n);
				ck_assert_uint_eq(n, strlen(expected));
				ck_assert_mem_eq(got, expected, n);
				ck_assert(gh__pull_is(pull, expected));
				ck_assert_int_eq(got == text + 1, kind != 1);
				ck_assert_int_eq(gh__pull_next(pull), GH__PULL_END);
				gh__pull_free(pull);
			}
}
END_TEST

START_TEST(depth_has_an_end)
{
	const size_t deep = 1000000;
	char *text = gh__malloc(deep);

	for (int kind = 0; kind < 2; kind++) {
		gh__buf seen = GH__BUF_INIT(deep);
		gh_error error = GH_ERROR_INIT;
		gh_status status;

		for (size_t i = 0; i < deep; i++)
			text[i] = kind ? "{\"\":"[i % 4] : '[';
		trace(&seen, text, deep, &status, &error);
		ck_assert_int_eq(status, GH_ETOOBIG);
		ck_assert_ptr_nonnull(strstr(error.text, "64 levels"));
		gh__buf_free(&seen);
		error = (gh_error)GH_ERROR_INIT;
		ck_assert_ptr_null(gh__json_parse(text, deep, false, &error));
		ck_assert_int_eq(error.status, GH_ETOOBIG);
	}
	for (size_t depth = 63; depth <= 65; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		json_t *tree = gh__json_parse(text, 2 * depth, true, NULL);
		ck_assert_int_eq(tree != NULL, depth <= GH__PULL_DEPTH);
		json_decref(tree);
	}
	gh__free(text);
}
END_TEST

START_TEST(skip_jumps_over_whatever_comes)
{
	static const char text[] = "{\"a\":{\"x\":[1,{\"y\":2}]},\"b\":[[],[]],\"c\":3,\"d\":4}";
	gh__pull *pull;
	int64_t value;

	assert_ok(gh__pull_create(&pull, text, sizeof text - 1, error));
	ck_assert_int_eq(gh__pull_next(pull), GH__PULL_OBJECT);
	ck_assert_int_eq(gh__pull_next(pull), GH__PULL_KEY);
	assert_ok(gh__pull_skip(pull)); /* the value of a */
	assert_ok(gh__pull_skip(pull)); /* b and its value */
	ck_assert_int_eq(gh__pull_next(pull), GH__PULL_KEY);
	ck_assert(gh__pull_is(pull, "c"));
	ck_assert(!gh__pull_is(pull, "cc"));
	ck_assert_int_eq(gh__pull_next(pull), GH__PULL_NUMBER);
	ck_assert(gh__pull_int(pull, &value) && value == 3);
	assert_ok(gh__pull_skip(pull));
	ck_assert_int_eq(gh__pull_skip(pull), GH_ENOENT);
	ck_assert_int_eq(gh__pull_next(pull), GH__PULL_END);
	gh__pull_free(pull);

	assert_ok(gh__pull_create(&pull, "[[1,2", 5, error));
	ck_assert_int_eq(gh__pull_skip(pull), GH_EFORMAT);
	ck_assert_int_eq(gh__pull_next(pull), GH__PULL_ERROR);
	ck_assert_uint_eq(gh__pull_offset(pull), 5);
	gh__pull_free(pull);
}
END_TEST

START_TEST(numbers_are_read_exactly)
{
	static const struct {
		const char *text;
		bool is_int, is_double;
		int64_t integer;
		double real;
	} cases[] = {
		{ "0", true, true, 0, 0.0 },
		{ "-12", true, true, -12, -12.0 },
		{ "9223372036854775807", true, true, INT64_MAX, 9223372036854775807.0 },
		{ "-9223372036854775808", true, true, INT64_MIN, -9223372036854775808.0 },
		{ "9223372036854775808", false, true, 0, 9223372036854775808.0 },
		{ "1.0", false, true, 0, 1.0 },
		{ "1e2", false, true, 0, 100.0 },
		{ "0.1", false, true, 0, 0.1 },
		{ "2.2250738585072014e-308", false, true, 0, 2.2250738585072014e-308 },
		{ "1e400", false, false, 0, 0 },
		{ "0.1000000000000000055511151231257827021181583404541015625000000000000000000000",
		  false, true, 0, 0.1 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		gh__pull *pull;
		int64_t integer;
		double real;

		assert_ok(gh__pull_create(&pull, cases[i].text, strlen(cases[i].text), error));
		ck_assert_int_eq(gh__pull_next(pull), GH__PULL_NUMBER);
		ck_assert_int_eq(gh__pull_int(pull, &integer), cases[i].is_int);
		ck_assert_int_eq(gh__pull_double(pull, &real), cases[i].is_double);
		if (cases[i].is_int)
			ck_assert_int_eq(integer, cases[i].integer);
		if (cases[i].is_double)
			ck_assert_double_eq(real, cases[i].real);
		gh__pull_free(pull);
	}
}
END_TEST

START_TEST(pull_reads_megabytes_quickly)
{
	gh__buf text = GH__BUF_INIT(16 << 20);
	gh__pull *pull;
	gh__pull_event event;
	size_t events = 0;

	gh__buf_append_str(&text, "{\"vocab\":{");
	for (int i = 0; i < 300000; i++)
		gh__buf_printf(&text, "%s\"\xc4\xa0token%d\":%d", i ? "," : "", i, i);
	gh__buf_append_str(&text, "}}");
	assert_ok(gh__buf_status(&text));
	assert_ok(gh__pull_create(&pull, text.data, text.len, error));
	int64_t start = gh__now();
	while ((event = gh__pull_next(pull)) > GH__PULL_END)
		events++;
	int64_t took = gh__now() - start;
	ck_assert_int_eq(event, GH__PULL_END);
	ck_assert_uint_eq(events, 600005);
	/* 20 ms alone; the bound leaves room for sanitizers and a busy machine. */
	ck_assert_msg(took < 2 * GH__SECOND, "%.1f ms", (double)took / 1e6);
	gh__pull_free(pull);
	gh__buf_free(&text);
}
END_TEST

/* Trees. */

START_TEST(trees_come_back_as_text)
{
	static const struct {
		const char *text, *back;
	} cases[] = {
		{ " { \"b\" : 1 , \"a\" : [ true , null , 0.1, -5, 1e3, \"\xc3\xa9\\u0000\" ] } ",
		  "{\"b\":1,\"a\":[true,null,0.1,-5,1000.0,\"\xc3\xa9\\u0000\"]}" },
		{ "{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}" },
		{ "18446744073709551616", "1.8446744073709552e+19" },
		{ "[]", "[]" },
		{ "\"\"", "\"\"" },
		{ "false", "false" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		gh_error error = GH_ERROR_INIT;
		json_t *tree = gh__json_parse(cases[i].text, strlen(cases[i].text), false, &error);
		size_t len;

		ck_assert_msg(tree != NULL, "%s", error.text);
		char *back = gh__json_text(tree, &len);
		ck_assert_str_eq(back, cases[i].back);
		ck_assert_uint_eq(len, strlen(back));
		gh__free(back);
		json_decref(tree);
	}
}
END_TEST

START_TEST(trees_are_as_strict_as_the_pull_reader)
{
	gh_error error = GH_ERROR_INIT;

	for (size_t i = 0; i < COUNT(broken); i++)
		ck_assert_ptr_null(
			gh__json_parse(broken[i].text, strlen(broken[i].text), false, NULL));
	ck_assert_ptr_null(gh__json_parse("{\"a\":1,\"b\":{},\"a\":1}", 20, true, &error));
	ck_assert_str_eq(error.text, "key \"a\" occurs twice");
	error = (gh_error)GH_ERROR_INIT;
	ck_assert_ptr_null(gh__json_parse("{\"a\\u0000\":1}", 13, false, &error));
	ck_assert_str_eq(error.text, "a key contains a NUL");
	error = (gh_error)GH_ERROR_INIT;
	ck_assert_ptr_null(gh__json_parse("[1e400]", 7, false, &error));
	ck_assert_str_eq(error.text, "byte 6: 1e400 is a number out of range");
	error = (gh_error)GH_ERROR_INIT;
	ck_assert_ptr_null(gh__json_parse("[\n1,\n x]", 8, false, &error));
	ck_assert_str_eq(error.text, "line 3, column 2: expected a value");
}
END_TEST

START_TEST(trees_have_a_size_limit)
{
	size_t len = 2 * ((size_t)GH__JSON_VALUES + 2);
	char *text = gh__malloc(len);
	gh_error error = GH_ERROR_INIT;

	for (size_t i = 0; i < len; i++)
		text[i] = i % 2 ? ',' : '1';
	text[0] = '[';
	text[1] = ' ';
	text[len - 1] = ']';
	ck_assert_ptr_null(gh__json_parse(text, len, false, &error));
	ck_assert_int_eq(error.status, GH_ETOOBIG);
	gh__free(text);
}
END_TEST

START_TEST(allocation_failures_are_clean)
{
	static const char text[] = "{\"a\":[1,\"x\\n\"],\"b\":{\"c\":\"plain\"}}";

	for (size_t k = 1; k < 20; k++) {
		gh_error error = GH_ERROR_INIT;

		gh__alloc_fail_at(k);
		json_t *tree = gh__json_parse(text, sizeof text - 1, true, &error);
		size_t made = gh__alloc_fail_at(0);
		ck_assert_int_eq(tree != NULL, k > made);
		if (!tree)
			ck_assert_int_eq(error.status, GH_ENOMEM);
		json_decref(tree);
	}
}
END_TEST

START_TEST(files_are_read_within_their_limit)
{
	char path[] = "/tmp/test-json-XXXXXX";
	int fd = mkstemp(path);
	gh_error error = GH_ERROR_INIT;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "{\"a\": 1}\n", 9), 9);
	json_t *tree = gh__json_read_file(path, 9, &error);
	ck_assert_msg(tree != NULL, "%s", error.text);
	ck_assert_int_eq(json_integer_value(json_object_get(tree, "a")), 1);
	json_decref(tree);
	ck_assert_ptr_null(gh__json_read_file(path, 8, &error));
	ck_assert_int_eq(error.status, GH_ETOOBIG);
	ck_assert_ptr_nonnull(strstr(error.text, path));
	ck_assert_ptr_nonnull(strstr(error.text, "larger than 8 bytes"));
	ck_assert_int_eq(write(fd, "]", 1), 1);
	close(fd);
	error = (gh_error)GH_ERROR_INIT;
	ck_assert_ptr_null(gh__json_read_file(path, 100, &error));
	ck_assert_ptr_nonnull(strstr(error.text, "line 2, column 1: something follows"));
	unlink(path);
	error = (gh_error)GH_ERROR_INIT;
	ck_assert_ptr_null(gh__json_read_file(path, 100, &error));
	ck_assert_int_eq(error.status, GH_ENOENT);
	error = (gh_error)GH_ERROR_INIT;
	ck_assert_ptr_null(gh__json_read_file("/tmp", 100, &error));
	ck_assert_int_eq(error.status, GH_EIO);
}
END_TEST

/* Readers. */

static json_t *parse(const char *text)
{
	json_t *tree = gh__json_parse(text, strlen(text), true, NULL);

	ck_assert_ptr_nonnull(tree);
	return tree;
}

START_TEST(readers_store_what_is_there)
{
	json_t *tree = parse("{\"s\":\"x\",\"i\":-3,\"r\":1.5,\"n\":7,\"b\":true,\"a\":[],\"o\":{},"
			     "\"z\":null,\"nul\":\"a\\u0000b\"}");
	gh__json_reader r;
	gh_error error = GH_ERROR_INIT;
	const char *s = "before";
	int64_t i = 0;
	double real = 0;
	bool b = false;
	const json_t *sub = NULL;
	size_t len;

	gh__json_root(&r, tree, NULL, &error);
	ck_assert(gh__json_string(&r, "s", &s));
	ck_assert_str_eq(s, "x");
	ck_assert(gh__json_int(&r, "i", -3, -3, &i));
	ck_assert_int_eq(i, -3);
	ck_assert(gh__json_real(&r, "r", 1.5, 1.5, &real));
	ck_assert_double_eq(real, 1.5);
	ck_assert(gh__json_real(&r, "n", 0, 10, &real));
	ck_assert_double_eq(real, 7.0);
	ck_assert(gh__json_bool(&r, "b", &b));
	ck_assert(b);
	ck_assert(gh__json_array(&r, "a", &sub));
	ck_assert(json_is_array(sub));
	ck_assert(gh__json_object(&r, "o", &sub));
	ck_assert(json_is_object(sub));
	ck_assert(gh__json_string_n(&r, "nul", &s, &len));
	ck_assert_uint_eq(len, 3);
	s = "before";
	ck_assert(!gh__json_string(&r, "z", &s));
	ck_assert(!gh__json_string(&r, "absent", &s));
	ck_assert_str_eq(s, "before");
	gh__json_require(&r, "s");
	ck_assert_int_eq(gh__json_reader_status(&r), GH_OK);
	ck_assert_int_eq(error.status, GH_OK);
	json_decref(tree);
}
END_TEST

START_TEST(readers_tell_the_path)
{
	json_t *tree = parse("{\"models\":{\"Qwen/QwQ-32B\":{\"args\":[\"a\",{\"v\":5}]}},"
			     "\"port\":70000,\"s\":\"a\\u0000b\",\"r\":1.5}");
	const json_t *models, *model, *args;
	gh__json_reader root, m, q, item;
	gh_error error = GH_ERROR_INIT;
	const char *s;
	int64_t i;
	bool b;

	gh__json_root(&root, tree, "node-config.json", &error);
	ck_assert(gh__json_object(&root, "models", &models));
	gh__json_child(&m, &root, "models", -1, models);
	ck_assert(gh__json_object(&m, "Qwen/QwQ-32B", &model));
	gh__json_child(&q, &m, "Qwen/QwQ-32B", -1, model);
	ck_assert(gh__json_array(&q, "args", &args));
	gh__json_child(&item, &q, "args", 1, json_array_get(args, 1));
	ck_assert(!gh__json_string(&item, "v", &s));
	ck_assert_str_eq(error.text, "node-config.json: models.Qwen/QwQ-32B.args[1].v: expected "
				     "a string, got an integer");
	/* A failure travels up, and nothing is read after it. */
	ck_assert_int_eq(gh__json_reader_status(&root), GH_EINVAL);
	ck_assert(!gh__json_int(&root, "port", 0, 100000, &i));

	error = (gh_error)GH_ERROR_INIT;
	gh__json_root(&root, tree, NULL, &error);
	gh__json_child(&item, &root, "args", 0, json_array_get(args, 0));
	ck_assert_str_eq(error.text, "args[0]: expected an object, got a string");

	static const struct {
		int what;
		const char *text;
	} cases[] = {
		{ 0, "port: 70000 is not between 1 and 65535" },
		{ 1, "s: expected a string without NUL characters" },
		{ 2, "r: expected an integer, got a number" },
		{ 3, "absent: missing" },
		{ 4, "models: expected a boolean, got an object" },
		{ 5, "own words 7" },
		{ 6, "r: 1.5 is not between 0 and 1" },
	};
	for (size_t k = 0; k < COUNT(cases); k++) {
		double real;

		error = (gh_error)GH_ERROR_INIT;
		gh__json_root(&root, tree, "", &error);
		switch (cases[k].what) {
		case 0:
			ck_assert(!gh__json_int(&root, "port", 1, 65535, &i));
			break;
		case 1:
			ck_assert(!gh__json_string(&root, "s", &s));
			break;
		case 2:
			ck_assert(!gh__json_int(&root, "r", 0, 9, &i));
			break;
		case 3:
			gh__json_require(&root, "absent");
			break;
		case 4:
			ck_assert(!gh__json_bool(&root, "models", &b));
			break;
		case 5:
			gh__json_fail(&root, NULL, "own words %d", 7);
			break;
		case 6:
			ck_assert(!gh__json_real(&root, "r", 0, 1, &real));
			break;
		}
		ck_assert_str_eq(error.text, cases[k].text);
		ck_assert_int_eq(gh__json_reader_status(&root), GH_EINVAL);
	}
	error = (gh_error)GH_ERROR_INIT;
	gh__json_root(&root, json_object_get(tree, "port"), "body", &error);
	ck_assert_str_eq(error.text, "body: expected an object, got an integer");
	error = (gh_error)GH_ERROR_INIT;
	gh__json_root(&root, NULL, NULL, &error);
	ck_assert_str_eq(error.text, "expected an object, got nothing");
	error = (gh_error)GH_ERROR_INIT;
	gh__json_root(&root, tree, NULL, &error);
	ck_assert_int_eq(gh__json_refuse(&root, "r", "only %d", 2), GH_ENOTSUP);
	ck_assert_str_eq(error.text, "r: only 2");
	ck_assert_int_eq(gh__json_reader_status(&root), GH_ENOTSUP);
	gh__json_root(&root, tree, NULL, NULL); /* errors nobody wants */
	ck_assert(!gh__json_int(&root, "s", 0, 1, &i));
	json_decref(tree);
}
END_TEST

/* Writers. */

START_TEST(strings_are_escaped)
{
	static const struct {
		const char *text;
		size_t len;
		const char *written;
	} cases[] = {
		{ "", 0, "\"\"" },
		{ "plain", 5, "\"plain\"" },
		{ "a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"" },
		{ "\n\r\t\b\f\x01\x1f\x7f", 8, "\"\\n\\r\\t\\b\\f\\u0001\\u001f\x7f\"" },
		{ "a\0b", 3, "\"a\\u0000b\"" },
		{ "\xc3\xa9\xf0\x9f\x98\x80", 6, "\"\xc3\xa9\xf0\x9f\x98\x80\"" },
		{ "\xff"
		  "a\xe2\x82",
		  4,
		  "\"\xef\xbf\xbd"
		  "a\xef\xbf\xbd\"" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		gh__buf out = GH__BUF_INIT(1000);

		gh__json_write_string(&out, cases[i].text, cases[i].len);
		ck_assert_str_eq(gh__buf_str(&out), cases[i].written);
		json_t *back = gh__json_parse(out.data, out.len, true, NULL);
		ck_assert_ptr_nonnull(back);
		json_decref(back);
		gh__buf_free(&out);
	}
}
END_TEST

START_TEST(numbers_and_trees_are_written)
{
	json_t *tree = parse("{\"a\":[1,{}],\"b\":{\"<&>\":\"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"
			     "<\"},\"c\":[]}");
	gh__buf out = GH__BUF_INIT(1000);

	gh__json_write_double(&out, 0.1);
	gh__buf_append_char(&out, ' ');
	gh__json_write_double(&out, 3);
	gh__buf_append_char(&out, ' ');
	gh__json_write_double(&out, INFINITY);
	ck_assert_str_eq(gh__buf_str(&out), "0.1 3.0 null");
	gh__buf_reset(&out);
	gh__json_write(&out, tree, GH__JSON_PRETTY);
	ck_assert_str_eq(gh__buf_str(&out), "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {\n"
					    "    \"<&>\": \"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa<\""
					    "\n  },\n  \"c\": []\n}");
	gh__buf_reset(&out);
	gh__json_write(&out, tree, GH__JSON_ESCAPE_HTML);
	ck_assert_str_eq(gh__buf_str(&out), "{\"a\":[1,{}],\"b\":{\"\\u003c\\u0026\\u003e\":"
					    "\"\\u2028\\u2029\xe2\x80\xaa\\u003c\"},\"c\":[]}");
	json_decref(tree);

	/* Too deep: fails, and does not overflow the stack. */
	tree = json_array();
	for (int i = 0; i < 5000; i++) {
		json_t *above = json_array();

		json_array_append_new(above, tree);
		tree = above;
	}
	gh__buf_reset(&out);
	gh__json_write(&out, tree, 0);
	ck_assert_int_eq(gh__buf_status(&out), GH_ETOOBIG);
	ck_assert_ptr_null(gh__json_text(tree, NULL));
	json_decref(tree);
	gh__buf_free(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("json");
	TCase *cases = tcase_create("json");

	tcase_add_test(cases, pull_answers_events_in_order);
	tcase_add_test(cases, pull_refuses_what_is_no_json);
	tcase_add_test(cases, every_prefix_is_refused);
	tcase_add_test(cases, strings_of_every_length_and_alignment);
	tcase_add_test(cases, depth_has_an_end);
	tcase_add_test(cases, skip_jumps_over_whatever_comes);
	tcase_add_test(cases, numbers_are_read_exactly);
	tcase_add_test(cases, pull_reads_megabytes_quickly);
	tcase_add_test(cases, trees_come_back_as_text);
	tcase_add_test(cases, trees_are_as_strict_as_the_pull_reader);
	tcase_add_test(cases, trees_have_a_size_limit);
	tcase_add_test(cases, allocation_failures_are_clean);
	tcase_add_test(cases, files_are_read_within_their_limit);
	tcase_add_test(cases, readers_store_what_is_there);
	tcase_add_test(cases, readers_tell_the_path);
	tcase_add_test(cases, strings_are_escaped);
	tcase_add_test(cases, numbers_and_trees_are_written);
	suite_add_tcase(suite, cases);
	return unit_main(suite);
}
