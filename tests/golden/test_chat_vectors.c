/* Renders the published conversations with the templates of their models, byte for byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <gonkahost/text.h>

#include "text/template.h"

#define SKIPPED 77

static gh_template *load(const char *folder)
{
	gh_error error = GH_ERROR_INIT;
	gh_template *loaded = NULL;
	char path[1024];

	snprintf(path, sizeof(path), "%s/qwen2.5%s", GH_TEST_GOLDEN, folder);
	if (gh_template_load(&loaded, path, &error) != GH_OK)
		fprintf(stderr, "%s: %s\n", path, error.text);
	return loaded;
}

static int check(const gh_template *chat_template, const json_t *conversation)
{
	const char *name = json_string_value(json_object_get(conversation, "name"));
	const json_t *expected = json_object_get(conversation, "text");
	gh_error error = GH_ERROR_INIT;
	char *text = NULL;
	size_t len = 0;
	int same;

	if (gh__template_render(chat_template, conversation, &text, &len, &error) != GH_OK) {
		fprintf(stderr, "%s: %s\n", name, error.text);
		return 0;
	}
	same = len == json_string_length(expected) &&
	       memcmp(text, json_string_value(expected), len) == 0;
	if (!same)
		fprintf(stderr, "%s: got\n%s\ninstead of\n%s\n", name, text,
			json_string_value(expected));
	gh_free(text);
	return same;
}

int main(void)
{
	gh_template *templates[2];
	json_t *conversations, *one;
	json_error_t error;
	size_t i, good = 0;

	if (!GH_TEST_GOLDEN[0])
		return SKIPPED;
	conversations = json_load_file(GH_TEST_GOLDEN "/qwen2.5/chat_vectors.json", 0, &error);
	templates[0] = load("");
	templates[1] = load("/qwq-32b");
	if (!conversations || !templates[0] || !templates[1])
		return EXIT_FAILURE;
	json_array_foreach(conversations, i, one)
	{
		const char *model = json_string_value(json_object_get(one, "model"));

		good += (size_t)check(templates[strcmp(model, "qwq-32b") == 0], one);
	}
	printf("%zu of %zu conversations\n", good, i);
	gh_template_free(templates[0]);
	gh_template_free(templates[1]);
	json_decref(conversations);
	return i == 24 && good == i ? EXIT_SUCCESS : EXIT_FAILURE;
}
