/*
 * How fast a tokenizer loads and encodes: bench_tokenizer FOLDER [FILE]
 *
 * Without FILE it encodes text made of many scripts, code and prose. One JSON line a measurement,
 * the best of several runs each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gonkahost/text.h>

#define MIXED_BYTES ((size_t)8 << 20)
#define RUNS        5

static const char *const samples[] = {
	"The quick brown fox jumps over the lazy dog, and 3.14159 is not exactly pi. ",
	"static int main(int argc, char **argv)\n{\n\treturn argc > 1 ? atoi(argv[1]) : 0;\n}\n",
	"Don't worry: we'll see what they've done by 2024-11-23T10:37:00Z.\r\n\r\n",
	"Съешь же ещё этих мягких французских булок, да выпей чаю. ",
	"日本語のテキストと中文文本混在在一起，没有空格。한국어 문장도 있습니다. ",
	"العربية تكتب من اليمين إلى اليسار ١٢٣ ",
	"{\"role\": \"user\", \"content\": \"What is the capital of France?\", \"n\": 1}\n",
	"Voilà l'été où naïveté et cœur s'accordent à l'œuvre. ",
	"        for (size_t i = 0; i < count; i++)\n                total += values[i];\n",
	"😀👨‍👩‍👧‍👦 emoji ✓ and ∑ math ≠ text\n\n\n",
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static char *read_text(const char *path, size_t *len)
{
	FILE *file = fopen(path, "rb");
	char *text = malloc((size_t)64 << 20);

	if (!file || !text) {
		fprintf(stderr, "%s: cannot be read\n", path);
		exit(EXIT_FAILURE);
	}
	*len = fread(text, 1, (size_t)64 << 20, file);
	fclose(file);
	return text;
}

/* Sentences in an order that repeats nothing for long, with numbers that never repeat. */
static char *mixed_text(size_t *len)
{
	char *text = malloc(MIXED_BYTES + 512);
	uint32_t state = 1;
	size_t at = 0;

	if (!text)
		exit(EXIT_FAILURE);
	while (at < MIXED_BYTES) {
		state = state * 1664525u + 1013904223u;
		int wrote = snprintf(text + at, 512, "%s%u ",
				     samples[(state >> 16) % (sizeof samples / sizeof samples[0])],
				     state >> 8);
		at += (size_t)wrote;
	}
	*len = at;
	return text;
}

static void bench_encode(const gh_tokenizer *tokenizer, const char *name, const char *text,
			 size_t len)
{
	double best = 1e9;
	size_t count = 0;

	for (int i = 0; i < RUNS; i++) {
		int32_t *ids;
		double start = now();

		if (gh_tokenizer_encode(tokenizer, text, len, 0, &ids, &count, NULL) != GH_OK) {
			fprintf(stderr, "%s: encoding failed\n", name);
			exit(EXIT_FAILURE);
		}
		double took = now() - start;
		if (took < best)
			best = took;
		gh_free(ids);
	}
	printf("{\"bench\":\"encode\",\"text\":\"%s\",\"bytes\":%zu,\"tokens\":%zu,\"mb_s\":%.1f}"
	       "\n",
	       name, len, count, (double)len / best * 1e-6);
}

int main(int argc, char **argv)
{
	gh_error error = GH_ERROR_INIT;
	gh_tokenizer *tokenizer = NULL;
	double best = 1e9;
	size_t len;

	if (argc < 2) {
		fprintf(stderr, "usage: bench_tokenizer FOLDER [FILE]\n");
		return EXIT_FAILURE;
	}
	for (int i = 0; i < RUNS; i++) {
		double start = now();

		gh_tokenizer_free(tokenizer);
		if (gh_tokenizer_load(&tokenizer, argv[1], &error) != GH_OK) {
			fprintf(stderr, "%s\n", error.text);
			return EXIT_FAILURE;
		}
		double took = now() - start;
		if (took < best)
			best = took;
	}
	printf("{\"bench\":\"load\",\"vocab\":%d,\"ms\":%.1f}\n", gh_tokenizer_size(tokenizer),
	       best * 1e3);

	char *text = argc > 2 ? read_text(argv[2], &len) : mixed_text(&len);
	bench_encode(tokenizer, argc > 2 ? "file" : "mixed", text, len);
	bench_encode(tokenizer, "its first KB", text, len < 1024 ? len : 1024);
	if (len > 1 << 20)
		len = 1 << 20;
	memset(text, 'a', len);
	bench_encode(tokenizer, "one letter", text, len);
	memset(text, ' ', len);
	bench_encode(tokenizer, "spaces", text, len);
	free(text);
	gh_tokenizer_free(tokenizer);
	return EXIT_SUCCESS;
}
