/*
 * Runs a fuzz target without libFuzzer: driver FOLDER [ROUNDS]
 *
 * The target gets every file of the folder as it is, then ROUNDS mutations of each (1000), the same
 * ones in every run.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define INPUT_MAX ((size_t)1 << 20)

typedef struct input {
	uint8_t *data;
	size_t size;
} input;

static uint64_t state = 1;

static size_t pick(size_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below ? (size_t)(state % below) : 0;
}

static void read_file(const char *folder, const char *name, input *out)
{
	char path[1024];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "rb");
	out->data = malloc(INPUT_MAX);
	if (!file || !out->data) {
		fprintf(stderr, "%s: cannot be read\n", path);
		exit(EXIT_FAILURE);
	}
	out->size = fread(out->data, 1, INPUT_MAX, file);
	fclose(file);
}

/* An exact copy, so that a sanitizer sees a read behind its end. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		exit(EXIT_FAILURE);
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

/* One change: bytes flipped, cut out, put twice, or what another input has at some place. */
static size_t mutate(uint8_t *data, size_t size, const input *other)
{
	static const char tokens[] = "{}[]\":,0-1e\\u0000 ";
	size_t at = pick(size + 1), len = 1 + pick(16);

	switch (pick(6)) {
	case 0:
		if (at < size)
			data[at] ^= (uint8_t)(1u << pick(8));
		break;
	case 1:
		if (at < size)
			data[at] = (uint8_t)tokens[pick(sizeof tokens - 1)];
		break;
	case 2: /* cut out */
		if (len > size - at)
			len = size - at;
		memmove(data + at, data + at + len, size - at - len);
		size -= len;
		break;
	case 3: /* twice */
		if (len > size - at)
			len = size - at;
		if (size + len > INPUT_MAX)
			break;
		memmove(data + at + len, data + at, size - at);
		size += len;
		break;
	case 4: /* from another */
		if (!other->data)
			break;
		if (len > other->size)
			len = other->size;
		if (len > size - at)
			len = size - at;
		memcpy(data + at, other->data + pick(other->size - len + 1), len);
		break;
	default: /* the end is missing */
		if (pick(8) == 0)
			size = at;
	}
	return size;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	struct dirent **entries;
	size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
	int count = argc > 1 ? scandir(argv[1], &entries, is_visible, by_name) : -1;
	static uint8_t work[INPUT_MAX];

	if (count < 1) {
		fprintf(stderr, "usage: driver FOLDER [ROUNDS], with files in the folder\n");
		return EXIT_FAILURE;
	}
	input *inputs = calloc((size_t)count, sizeof *inputs);
	if (!inputs)
		return EXIT_FAILURE;
	for (int i = 0; i < count; i++) {
		read_file(argv[1], entries[i]->d_name, &inputs[i]);
		run(inputs[i].data, inputs[i].size);
	}
	for (int i = 0; i < count; i++)
		for (size_t round = 0; round < rounds; round++) {
			size_t size = inputs[i].size;

			memcpy(work, inputs[i].data, size);
			for (size_t n = 1 + pick(4); n > 0; n--)
				size = mutate(work, size, &inputs[pick((size_t)count)]);
			run(work, size);
		}
	printf("%d inputs, %zu mutations of each\n", count, rounds);
	for (int i = 0; i < count; i++) {
		free(inputs[i].data);
		free(entries[i]);
	}
	free(inputs);
	free(entries);
	return EXIT_SUCCESS;
}
