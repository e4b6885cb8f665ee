#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include <gonkahost/hub.h>

#include "tensors.h"

#define C1 "1111111111111111111111111111111111111111"
#define C2 "2222222222222222222222222222222222222222"
#define C3 "abcdefabcdefabcdefabcdefabcdefabcdefabcd"

static gh_status try_resolve(const char *model, const char *revision, const char *expected,
			     gh_error *error)
{
	gh_hub_options options = GH_HUB_OPTIONS_INIT;
	char cache[512], *path = NULL;
	gh_status status;

	snprintf(cache, sizeof cache, "%s/hub", root);
	options.cache = cache;
	options.revision = revision;
	status = gh_hub_resolve(&path, model, &options, error);
	ck_assert((status == GH_OK) == (path != NULL));
	if (status == GH_OK)
		ck_assert_str_eq(path, at(expected));
	gh_free(path);
	return status;
}

START_TEST(resolve_by_revision)
{
	make_folder("hub/models--org--name/snapshots/" C1);
	make_folder("hub/models--org--name/snapshots/" C2);
	make_folder("hub/models--org--name/refs/pr");
	write_text("hub/models--org--name/refs/main", C1);
	write_text("hub/models--org--name/refs/v1.0", C2 "\n");
	write_text("hub/models--org--name/refs/pr/1", C1);
	write_text("hub/models--org--name/refs/gone", C3);

	assert_ok(try_resolve("org/name", NULL, "hub/models--org--name/snapshots/" C1, error));
	assert_ok(try_resolve("org/name", "main", "hub/models--org--name/snapshots/" C1, error));
	assert_ok(try_resolve("org/name", "v1.0", "hub/models--org--name/snapshots/" C2, error));
	assert_ok(try_resolve("org/name", "pr/1", "hub/models--org--name/snapshots/" C1, error));
	assert_ok(try_resolve("org/name", C2, "hub/models--org--name/snapshots/" C2, error));

	assert_fails(GH_ENOENT, C1 ", " C2, try_resolve("org/name", "v2", "", error));
	assert_fails(GH_ENOENT, "refs/v2", try_resolve("org/name", "v2", "", error));
	assert_fails(GH_ENOENT, "no snapshot " C3, try_resolve("org/name", C3, "", error));
	assert_fails(GH_ENOENT, C1 ", " C2, try_resolve("org/name", C3, "", error));
	assert_fails(GH_ENOENT, "no snapshot " C3, try_resolve("org/name", "gone", "", error));
	assert_fails(GH_ENOENT, "org/other", try_resolve("org/other", NULL, "", error));
	assert_fails(GH_ENOENT, root, try_resolve("org/other", NULL, "", error));
}
END_TEST

START_TEST(resolve_commit_in_upper_case)
{
	make_folder("hub/models--name/snapshots/" C3);
	assert_ok(try_resolve("name", "ABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCD",
			      "hub/models--name/snapshots/" C3, error));
}
END_TEST

static char logged[1024];

static void keep_line(gh_log_level level, const char *component, const char *text, void *userdata)
{
	(void)userdata;
	snprintf(logged, sizeof logged, "%d %s %s", (int)level, component, text);
}

START_TEST(resolve_without_main)
{
	char name[128];

	make_folder("hub/models--org--name");
	assert_fails(GH_ENOENT, "snapshots: none", try_resolve("org/name", NULL, "", error));
	make_folder("hub/models--org--name/snapshots");
	assert_fails(GH_ENOENT, "snapshots: none", try_resolve("org/name", NULL, "", error));

	/* What is no snapshot does not count: a file, a name that is no commit, a dangling link. */
	make_folder("hub/models--org--name/snapshots/" C1);
	make_folder("hub/models--org--name/snapshots/partial");
	write_text("hub/models--org--name/snapshots/" C2, "");
	ck_assert_int_eq(symlink("gone", at("hub/models--org--name/snapshots/" C3)), 0);
	gh_log_set(keep_line, NULL, GH_LOG_INFO);
	assert_ok(try_resolve("org/name", NULL, "hub/models--org--name/snapshots/" C1, error));
	gh_log_set(NULL, NULL, GH_LOG_ERROR);
	ck_assert_msg(strstr(logged, C1) != NULL, "log: \"%s\"", logged);
	assert_ok(try_resolve("org/name", "main", "hub/models--org--name/snapshots/" C1, error));
	/* Only main is guessed. */
	assert_fails(GH_ENOENT, C1, try_resolve("org/name", "v1", "", error));

	ck_assert_int_eq(unlink(at("hub/models--org--name/snapshots/" C2)), 0);
	make_folder("hub/models--org--name/snapshots/" C2);
	assert_fails(GH_ENOENT, "no refs/main", try_resolve("org/name", NULL, "", error));
	assert_fails(GH_ENOENT, C1 ", " C2, try_resolve("org/name", NULL, "", error));

	for (int i = 10; i < 60; i++) {
		snprintf(name, sizeof name, "hub/models--org--name/snapshots/%038d%d", 0, i);
		make_folder(name);
	}
	assert_fails(GH_ENOENT, "and 42 more", try_resolve("org/name", NULL, "", error));
}
END_TEST

START_TEST(resolve_bad_refs)
{
	static const char *const refs[] = { "",      "main",   "../" C1,  C1 "0",
					    C1 "/x", "ref: x", "../../x", "111111111111111111" };

	make_folder("hub/models--org--name/snapshots/" C1);
	make_folder("hub/models--org--name/refs");
	for (size_t i = 0; i < COUNT(refs); i++) {
		write_text("hub/models--org--name/refs/main", refs[i]);
		assert_fails(GH_EFORMAT, "refs/main", try_resolve("org/name", NULL, "", error));
	}
	write_bytes("hub/models--org--name/refs/main", C1 "\0", 41);
	assert_fails(GH_EFORMAT, "refs/main", try_resolve("org/name", NULL, "", error));
	ck_assert_int_eq(truncate(at("hub/models--org--name/refs/main"), 100000), 0);
	assert_fails(GH_ETOOBIG, "refs/main", try_resolve("org/name", NULL, "", error));
	ck_assert_int_eq(unlink(at("hub/models--org--name/refs/main")), 0);

	ck_assert_int_eq(symlink("other", at("hub/models--org--name/refs/main")), 0);
	ck_assert_int_eq(symlink("main", at("hub/models--org--name/refs/other")), 0);
	assert_fails(GH_EIO, "refs/main", try_resolve("org/name", NULL, "", error));
	ck_assert_int_eq(unlink(at("hub/models--org--name/refs/main")), 0);
	make_folder("hub/models--org--name/refs/main");
	assert_fails(GH_EIO, "refs/main", try_resolve("org/name", NULL, "", error));

	/* A snapshot that is a link to itself. */
	ck_assert_int_eq(symlink(C2, at("hub/models--org--name/snapshots/" C2)), 0);
	assert_fails(GH_ENOENT, C2, try_resolve("org/name", C2, "", error));
}
END_TEST

START_TEST(resolve_refuses_what_leaves_the_cache)
{
	static const char *const models[] = { "../hub/models--org--name",
					      "org/../name",
					      "org/name/x",
					      "org//name",
					      "/name",
					      "org/",
					      "..",
					      "org/..",
					      "-org/name",
					      "org--x/name",
					      "org/na me",
					      "org/name\n",
					      "org\\name",
					      "\xc3\xa4/name",
					      "org/.name" };
	static const char *const revisions[] = { "",   "..", "../x", "a/../../b", "/etc", "a//b",
						 "a/", ".",  "a\nb", "..\\x",     "x/./y" };
	char long_name[300];

	make_folder("hub/models--org--name/snapshots/" C1);
	ck_assert_int_eq(chdir(root), 0);
	for (size_t i = 0; i < COUNT(models); i++) {
		gh_status status;

		if (strcmp(models[i], "..") == 0)
			continue; /* a folder, taken as it is */
		status = try_resolve(models[i], NULL, "", NULL);
		ck_assert_msg(status == GH_EINVAL || (status == GH_ENOENT && models[i][0] == '/'),
			      "\"%s\": %s", models[i], gh_status_name(status));
	}
	for (size_t i = 0; i < COUNT(revisions); i++)
		assert_fails(GH_EINVAL, "revision",
			     try_resolve("org/name", revisions[i], "", error));
	memset(long_name, 'a', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	assert_fails(GH_EINVAL, "revision", try_resolve("org/name", long_name, "", error));
	assert_fails(GH_EINVAL, "org/name", try_resolve(long_name, NULL, "", error));
	assert_fails(GH_EINVAL, "empty", try_resolve("", NULL, "", error));
	assert_fails(GH_EINVAL, "NULL", try_resolve(NULL, NULL, "", error));
	assert_fails(GH_EINVAL, "NULL", gh_hub_resolve(NULL, "org/name", NULL, error));
	write_text("file", "");
	assert_fails(GH_EINVAL, "is a file", try_resolve(at("file"), NULL, "", error));
	assert_fails(GH_ENOENT, "no such folder", try_resolve(at("nothing"), NULL, "", error));
}
END_TEST

START_TEST(resolve_a_folder)
{
	make_folder("my model");
	assert_ok(try_resolve(at("my model"), "ignored/../revision", "my model", error));
}
END_TEST

/* Each variable hides those behind it. */
START_TEST(resolve_in_the_environment)
{
	static const struct {
		const char *variable, *value, *cache;
	} rows[] = {
		{ "HOME", "home", "home/.cache/huggingface/hub" },
		{ "XDG_CACHE_HOME", "xdg", "xdg/huggingface/hub" },
		{ "HF_HOME", "hf", "hf/hub" },
		{ "HUGGINGFACE_HUB_CACHE", "old", "old" },
		{ "HF_HUB_CACHE", "new", "new" },
	};
	char folder[512], *path;

	for (size_t i = 0; i < COUNT(rows); i++)
		unsetenv(rows[i].variable);
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(folder, sizeof folder, "%s/models--org--name/snapshots/" C1,
			 rows[i].cache);
		make_folder(folder);
		ck_assert_int_eq(setenv(rows[i].variable, at(rows[i].value), 1), 0);
		assert_ok(gh_hub_resolve(&path, "org/name", NULL, error));
		ck_assert_str_eq(path, at(folder));
		gh_free(path);
	}
	/* Empty is not set; "~" is the home folder. */
	setenv("HF_HUB_CACHE", "", 1);
	setenv("HUGGINGFACE_HUB_CACHE", "~/.cache/huggingface/hub", 1);
	assert_ok(gh_hub_resolve(&path, "org/name", NULL, error));
	ck_assert_str_eq(path, at("home/.cache/huggingface/hub/models--org--name/snapshots/" C1));
	gh_free(path);
}
END_TEST

START_TEST(checkpoint_in_the_cache)
{
	static const char snapshot[] = "hub/models--org--name/snapshots/" C1;
	char name[256];
	gh_checkpoint *checkpoint;

	snprintf(name, sizeof name, "%s/sub", snapshot);
	make_folder(name);
	make_folder("hub/models--org--name/blobs");
	write_tensors("hub/models--org--name/blobs/one", 0, "{" T("a", "U8", "[1]", "0", "1") "}",
		      1);
	write_text("hub/models--org--name/blobs/index", INDEX("{\"a\":\"sub/x.safetensors\"}"));
	snprintf(name, sizeof name, "%s/model.safetensors.index.json", snapshot);
	ck_assert_int_eq(symlink("../../blobs/index", at(name)), 0);
	snprintf(name, sizeof name, "%s/sub/x.safetensors", snapshot);
	ck_assert_int_eq(symlink("../../../blobs/one", at(name)), 0);
	assert_ok(gh_checkpoint_open(&checkpoint, at(snapshot), error));
	ck_assert_str_eq(gh_checkpoint_at(checkpoint, 0)->file, "sub/x.safetensors");
	gh_checkpoint_close(checkpoint);

	ck_assert_int_eq(truncate(at("hub/models--org--name/blobs/one"), 40), 0);
	assert_fails(GH_EFORMAT, "sub/x.safetensors",
		     gh_checkpoint_open(&checkpoint, at(snapshot), error));
	ck_assert_int_eq(unlink(at("hub/models--org--name/blobs/one")), 0);
	assert_fails(GH_EIO, "sub/x.safetensors",
		     gh_checkpoint_open(&checkpoint, at(snapshot), error));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hub");
	TCase *tests = tcase_create("hub");

	tcase_add_checked_fixture(tests, make_root, remove_root);
	tcase_add_test(tests, resolve_by_revision);
	tcase_add_test(tests, resolve_commit_in_upper_case);
	tcase_add_test(tests, resolve_without_main);
	tcase_add_test(tests, resolve_bad_refs);
	tcase_add_test(tests, resolve_refuses_what_leaves_the_cache);
	tcase_add_test(tests, resolve_a_folder);
	tcase_add_test(tests, resolve_in_the_environment);
	tcase_add_test(tests, checkpoint_in_the_cache);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
