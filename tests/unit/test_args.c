#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "openai/args.h"
#include "openai/args_table.h"

/* Words of a command line, separated by spaces. */
enum { WORDS = 64 };

typedef struct line {
	char text[4096];
	const char *word[WORDS];
	size_t count;
} line;

static void split(line *out, const char *text)
{
	char *save = NULL;

	snprintf(out->text, sizeof out->text, "%s", text);
	out->count = 0;
	for (char *word = strtok_r(out->text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		out->word[out->count++] = word;
}

static gh_status parse(gh__args *out, const char *text, gh_error *error)
{
	line l;

	split(&l, text);
	return gh__args_parse(out, l.word, l.count, error);
}

/* What a node sends for its two models. */
START_TEST(lines_of_hosts)
{
	gh__args a;

	assert_ok(
		parse(&a,
		      "-m vllm.entrypoints.openai.api_server --model Qwen/QwQ-32B --dtype float16 "
		      "--port 5001 --host 0.0.0.0 --quantization fp8 -kv-cache-dtype fp8 "
		      "--tensor-parallel-size 4 --max-model-len 25.6k --enforce-eager "
		      "--gpu-memory-utilization 0.95 --trust_remote_code --swap-space 8",
		      error));
	ck_assert_str_eq(a.model, "Qwen/QwQ-32B");
	ck_assert_str_eq(a.dtype, "float16");
	ck_assert_int_eq(a.port, 5001);
	ck_assert_str_eq(a.host, "0.0.0.0");
	ck_assert_str_eq(a.quantization, "fp8");
	ck_assert_str_eq(a.kv_cache_dtype, "fp8");
	ck_assert_int_eq(a.tensor_parallel, 4);
	ck_assert_int_eq(a.max_model_len, 25600);
	ck_assert(a.memory_share == 0.95);
	gh__args_free(&a);

	assert_ok(parse(&a, "", error));
	ck_assert_str_eq(a.model, "facebook/opt-125m");
	ck_assert_int_eq(a.port, 8000);
	ck_assert_ptr_null(a.host);
	ck_assert_int_eq(a.max_logprobs, 20);
	gh__args_free(&a);
}
END_TEST

static void spellings_of_one(const char *text, int64_t expected)
{
	gh__args a;

	assert_ok(parse(&a, text, error));
	ck_assert_msg(a.tensor_parallel == expected, "%s: %lld", text,
		      (long long)a.tensor_parallel);
	gh__args_free(&a);
}

START_TEST(spellings)
{
	static const char *const four[] = {
		"--tensor-parallel-size 4",
		"--tensor-parallel-size=4",
		"--tensor_parallel_size 4",
		"--tensor-par 4",
		"-tp 4",
		"-tp=4",
		"-tensor-parallel-size 4",
		"--tensor-parallel-size 2 -tp 4",
		"M -tp 4",
		"-tp 4 M",
		"-tp 4 -- M",
		"--tensor-parallel-size None -tp 4",
	};
	gh__args a;

	for (size_t i = 0; i < sizeof four / sizeof four[0]; i++)
		spellings_of_one(four[i], 4);
	assert_ok(parse(&a,
			"--max-num-batched-tokens 2K --max-model-len 1M -q fp8 -O3 "
			"--no-enable-prefix-caching --seed -7 --api-key=a=b",
			error));
	ck_assert_int_eq(a.max_num_batched_tokens, 2048);
	ck_assert_int_eq(a.max_model_len, 1 << 20);
	ck_assert_str_eq(a.quantization, "fp8");
	ck_assert(a.no_prefix_cache);
	ck_assert(a.has_seed);
	ck_assert_int_eq(a.seed, -7);
	ck_assert_str_eq(a.api_key, "a=b");
	gh__args_free(&a);
}
END_TEST

START_TEST(lists_and_json)
{
	gh__args a;

	assert_ok(parse(&a,
			"--served-model-name a b --port 1 --rope-scaling.rope_type yarn "
			"--rope-scaling.factor 4.0 --hf-overrides {\"a\":{\"b\":1}} "
			"--hf-overrides.a.c x",
			error));
	ck_assert_str_eq(a.served_names_json, "[\"a\",\"b\"]");
	ck_assert_str_eq(a.rope_scaling, "{\"rope_type\":\"yarn\",\"factor\":4.0}");
	ck_assert_str_eq(a.hf_overrides, "{\"a\":{\"b\":1,\"c\":\"x\"}}");
	gh__args_free(&a);
}
END_TEST

START_TEST(refusals)
{
	static const struct {
		const char *text;
		gh_status status;
		const char *words;
	} cases[] = {
		{ "--bogus", GH_EINVAL, "unrecognized arguments: --bogus" },
		{ "-z", GH_EINVAL, "-z" },
		{ "--max-n 3", GH_EINVAL, "ambiguous option: --max-n" },
		{ "--port", GH_EINVAL, "--port: expected one argument" },
		{ "--port --host h", GH_EINVAL, "expected one argument" },
		{ "--port x", GH_EINVAL, "'x': an integer expected" },
		{ "--port 65536", GH_EINVAL, "65536" },
		{ "-tp 0", GH_EINVAL, "-tp" },
		{ "--gpu-memory-utilization 1.5", GH_EINVAL, "1.5" },
		{ "--gpu-memory-utilization 0", GH_EINVAL, "--gpu-memory-utilization" },
		{ "--max-model-len 1.5K", GH_EINVAL, "1.5K" },
		{ "--max-model-len 99999999g", GH_EINVAL, "--max-model-len" },
		{ "--enforce-eager=1", GH_EINVAL, "--enforce-eager" },
		{ "--served-model-name --port 1", GH_EINVAL, "at least one" },
		{ "--rope-scaling {x", GH_EINVAL, "JSON expected" },
		{ "--port.x 1", GH_EINVAL, "--port.x" },
		{ "a b", GH_EINVAL, "unrecognized arguments: b" },
		{ "--enable-auto-tool-choice", GH_EINVAL, "--tool-call-parser" },
		{ "--config /nonexistent/x.yaml", GH_ENOENT, "x.yaml" },
		{ "--quantization awq", GH_ENOTSUP, "--quantization: awq" },
		{ "--kv-cache-dtype fp8_e5m2", GH_ENOTSUP, "fp8_e5m2" },
		{ "--distributed-executor-backend ray", GH_ENOTSUP, "ray" },
		{ "--enable-lora", GH_ENOTSUP, "--enable-lora" },
		{ "--lora-modules a=b c=d", GH_ENOTSUP, "--lora-modules" },
		{ "--speculative-config {}", GH_ENOTSUP, "--speculative-config" },
		{ "--data-parallel-size 2", GH_ENOTSUP, "--data-parallel-size" },
		{ "--cpu-offload-gb 4", GH_ENOTSUP, "--cpu-offload-gb" },
		{ "--task embed", GH_ENOTSUP, "--task: embed" },
		{ "--load-format dummy", GH_ENOTSUP, "--load-format: dummy" },
		{ "--ssl-keyfile k", GH_ENOTSUP, "--ssl-keyfile" },
		{ "--tool-call-parser pythonic", GH_ENOTSUP, "pythonic" },
		{ "--scheduling-policy priority", GH_ENOTSUP, "priority" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		gh__args a;

		assert_fails(cases[i].status, cases[i].words, parse(&a, cases[i].text, error));
	}
}
END_TEST

/* Each option with a value that suits its kind: what its fate says comes out. */
START_TEST(every_option)
{
	for (size_t i = 0; i < gh__option_count; i++) {
		const gh__option *o = &gh__options[i];
		const char *value = o->kind == GH__OPTION_FLAG || o->kind == GH__OPTION_NEGATED ? ""
				    : o->kind == GH__OPTION_JSON ? "[]"
				    : o->kind == GH__OPTION_REAL ? "0.5"
								 : "1";
		char text[256], allowed[64];
		gh__args a;

		if (o->allowed) {
			snprintf(allowed, sizeof allowed, "%.*s", (int)strcspn(o->allowed + 1, "|"),
				 o->allowed + 1);
			value = allowed;
		}
		const char *also = strcmp(o->name, "enable-auto-tool-choice") == 0
					   ? "--tool-call-parser hermes"
					   : "";
		snprintf(text, sizeof text, "--%s %s %s", o->name, value, also);
		if (o->fate == GH__OPTION_REFUSED) {
			assert_fails(GH_ENOTSUP, o->name, parse(&a, text, error));
			continue;
		}
		gh_error e = GH_ERROR_INIT;
		ck_assert_msg(parse(&a, text, &e) == GH_OK, "%s: %s", text, e.text);
		gh__args_free(&a);
	}
}
END_TEST

static void write_file(char path[64], const char *text)
{
	snprintf(path, 64, "/tmp/gonkahost-args-XXXXXX");
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

START_TEST(config_file)
{
	char path[64], text[256];
	gh__args a;

	write_file(path, "# a comment\nmodel: m # tail\nport: 1234\nhost: \"1.2.3.4\"\n"
			 "enforce-eager: true\nenable-prefix-caching: false\n"
			 "served-model-name: [x, 'y z']\nallowed-origins: '[\"http://a\"]'\n"
			 "tensor_parallel_size: 2\ncuda-graph-sizes:\n  - 1\n  - 2\n");
	snprintf(text, sizeof text, "--port 9 --config %s", path);
	assert_ok(parse(&a, text, error));
	ck_assert_str_eq(a.model, "m");
	ck_assert_int_eq(a.port, 9);
	ck_assert_str_eq(a.host, "1.2.3.4");
	ck_assert_str_eq(a.served_names_json, "[\"x\",\"y z\"]");
	ck_assert_str_eq(a.allowed_origins, "[\"http://a\"]");
	ck_assert_int_eq(a.tensor_parallel, 2);
	gh__args_free(&a);
	snprintf(text, sizeof text, "other --config=%s", path);
	assert_ok(parse(&a, text, error));
	ck_assert_str_eq(a.model, "other");
	gh__args_free(&a);
	unlink(path);

	write_file(path, "port: 1\n  nested: 2\n");
	snprintf(text, sizeof text, "--config %s", path);
	assert_fails(GH_EFORMAT, "line 2", parse(&a, text, error));
	unlink(path);
}
END_TEST

START_TEST(parallel)
{
	static const struct {
		const char *text;
		int tp, pp; /* 0: refused */
	} cases[] = {
		{ "", 1, 1 },
		{ "--tensor-parallel-size 4", 4, 1 },
		{ "--tensor-parallel-size=4 -pp 2", 4, 2 },
		{ "-tp 4 --pipeline_parallel_size=8", 4, 8 },
		{ "--bogus 3 --max-n 4 -tp 4 -tp 2", 2, 1 },
		{ "--enable-lora --tensor-p 3", 3, 1 },
		{ "-m vllm.entrypoints.openai.api_server -tp 2", 2, 1 },
		{ "-tp 1024", 1024, 1 },
		{ "-tp 1025", 0, 0 },
		{ "-tp x", 0, 0 },
		{ "-tp", 0, 0 },
		{ "-pp 0", 0, 0 },
		{ "-tp 2.0", 0, 0 },
		{ "-tp -1", 0, 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int32_t tp = -1, pp = -1;
		gh_error error = GH_ERROR_INIT;
		line l;

		split(&l, cases[i].text);
		gh_status status = gh__args_parallel(l.word, l.count, &tp, &pp, &error);
		ck_assert_msg(status == (cases[i].tp ? GH_OK : GH_EINVAL), "%s: %s", cases[i].text,
			      error.text);
		if (cases[i].tp) {
			ck_assert_int_eq(tp, cases[i].tp);
			ck_assert_int_eq(pp, cases[i].pp);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("args");
	TCase *t = tcase_create("args");

	tcase_add_test(t, lines_of_hosts);
	tcase_add_test(t, spellings);
	tcase_add_test(t, lists_and_json);
	tcase_add_test(t, refusals);
	tcase_add_test(t, every_option);
	tcase_add_test(t, config_file);
	tcase_add_test(t, parallel);
	suite_add_tcase(suite, t);
	return unit_main(suite);
}
