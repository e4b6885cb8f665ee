/* A template, and behind a NUL the JSON of its variables; without one, a small conversation. */
#include <stdlib.h>
#include <string.h>

#include <gonkahost/text.h>

#include "base/utf8.h"
#include "fuzz.h"
#include "fuzz.h"

static const char conversation[] =
	"{\"messages\": [{\"role\": \"system\", \"content\": \"S\\u00e9\"}, {\"role\": \"user\", "
	"\"content\": \" <think>a</think> b\\n\"}, {\"role\": \"assistant\", \"content\": null, "
	"\"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"x\": 1.5}}}]}], "
	"\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": "
	"{}}}],"
	"\"n\": 3, \"l\": [1, \"two\", null, true, [0.5]], \"add_generation_prompt\": true}";

static void must(int holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\0', size) : NULL;
	size_t len = end ? (size_t)(end - data) : size;
	gh_template *parsed = NULL;
	gh_error error = GH_ERROR_INIT;
	char *text = NULL;
	char *variables;
	size_t text_len = 0;
	gh_status status;

	status = gh_template_parse(&parsed, (const char *)data, len, &error);
	must((status == GH_OK) == (parsed != NULL) && error.status == status);
	if (!parsed)
		return 0;
	variables = calloc(1, size - len + sizeof(conversation));
	must(variables != NULL);
	if (end)
		memcpy(variables, end + 1, size - len - 1);
	else
		memcpy(variables, conversation, sizeof(conversation));
	status = gh_template_render(parsed, variables, &text, &text_len, &error);
	must((status == GH_OK) == (text != NULL) && error.status == status);
	if (text)
		must(gh__utf8_valid(text, text_len) && text[text_len] == '\0');
	gh_free(text);
	free(variables);
	gh_template_free(parsed);
	return 0;
}
