/* A program outside the tree, as C11: built by test_consumer.py through pkg-config. */
#include <stdio.h>
#include <string.h>

#include <gonkahost/gonkahost.h>

static void print_line(gh_log_level level, const char *component, const char *text, void *userdata)
{
	(void)userdata;
	printf("%d %s %s\n", (int)level, component, text);
}

int main(void)
{
	gh_error error = GH_ERROR_INIT;
	gh_hub_options options = GH_HUB_OPTIONS_INIT;
	char *path = NULL;

	gh_log_set(print_line, NULL, GH_LOG_DEBUG);
	options.cache = "/nonexistent";
	gh_status status = gh_hub_resolve(&path, "nobody/nothing", &options, &error);
	if (status != GH_ENOENT || error.status != GH_ENOENT ||
	    !strstr(error.text, "/nonexistent")) {
		fprintf(stderr, "%s: %s\n", gh_status_name(status), error.text);
		return 1;
	}
	gh_free(path);
	puts(gh_version());
	return 0;
}
