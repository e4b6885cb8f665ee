#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "hub/config.h"
#include "hub/file.h"

#define COMMIT       40  /* hex digits */
#define ID_MAX       96  /* characters of a repository id */
#define REVISION_MAX 255 /* characters of a revision */
#define PATH_TEXT    ((size_t)PATH_MAX)

static bool is_folder(const char *path)
{
	struct stat info;

	return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_commit(const char *text)
{
	return strlen(text) == COMMIT && strspn(text, "0123456789abcdefABCDEF") == COMMIT;
}

/* Snapshots are named in lower case. */
static void copy_commit(char out[COMMIT + 1], const char *text)
{
	for (size_t i = 0; i < COMMIT; i++)
		out[i] = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] + 'a' - 'A') : text[i];
	out[COMMIT] = '\0';
}

/* A path built by appends; caller frees *out. */
static gh_status take_path(char **out, gh__buf *path, gh_error *error)
{
	gh_status status = gh__buf_status(path);

	if (status != GH_OK) {
		gh__fail(error, status, "a path of more than %zu bytes", path->max);
		return status;
	}
	*out = gh__buf_take(path);
	return *out ? GH_OK : gh__fail_nomem(error);
}

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static void append_home(gh__buf *path)
{
	const char *home = environment("HOME");
	char text[4096];
	struct passwd entry, *found = NULL;

	if (!home && getpwuid_r(getuid(), &entry, text, sizeof text, &found) == 0 && found)
		home = found->pw_dir;
	gh__buf_append_str(path, home ? home : "");
}

/* A folder as a user may have written it: "~" and "~/..." are below the home folder. */
static void append_folder(gh__buf *path, const char *folder)
{
	if (folder[0] == '~' && (folder[1] == '/' || folder[1] == '\0')) {
		append_home(path);
		folder++;
	}
	gh__buf_append_str(path, folder);
}

static gh_status cache_root(char **out, const gh_hub_options *options, gh_error *error)
{
	gh__buf path = GH__BUF_INIT(PATH_TEXT);
	const char *value = options->cache;
	gh_status status;

	if (!value)
		value = environment("HF_HUB_CACHE");
	if (!value)
		value = environment("HUGGINGFACE_HUB_CACHE");
	if (value) {
		append_folder(&path, value);
	} else if ((value = environment("HF_HOME")) != NULL) {
		append_folder(&path, value);
		gh__buf_append_str(&path, "/hub");
	} else if ((value = environment("XDG_CACHE_HOME")) != NULL) {
		append_folder(&path, value);
		gh__buf_append_str(&path, "/huggingface/hub");
	} else {
		append_home(&path);
		gh__buf_append_str(&path, "/.cache/huggingface/hub");
	}
	status = take_path(out, &path, error);
	gh__buf_free(&path);
	return status;
}

/* "name" or "org/name" of letters, digits and "-_.": nothing that could leave the cache or be the
 * folder of another id ("--" stands for the slash). */
static bool is_repository_id(const char *model)
{
	const char *slash = strchr(model, '/');
	const char *name = slash ? slash + 1 : model;

	if (strlen(model) > ID_MAX || slash == model || *name == '\0' || strchr(name, '/'))
		return false;
	if (strstr(model, "--") || strstr(model, "..") || strchr("-.", model[0]) ||
	    strchr("-.", name[0]) || strchr("-.", name[strlen(name) - 1]))
		return false;
	return strspn(model,
		      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./") ==
	       strlen(model);
}

/* <cache>/models--org--name */
static gh_status repository_folder(char **out, const char *cache, const char *model,
				   gh_error *error)
{
	gh__buf path = GH__BUF_INIT(PATH_TEXT);
	gh_status status;

	gh__buf_printf(&path, "%s/models--", cache);
	for (const char *c = model; *c; c++) {
		if (*c == '/')
			gh__buf_append_str(&path, "--");
		else
			gh__buf_append_char(&path, *c);
	}
	status = take_path(out, &path, error);
	gh__buf_free(&path);
	return status;
}

/* refs/<revision>: the commit it names. */
static gh_status read_ref(char commit[COMMIT + 1], const char *repository, const char *revision,
			  gh_error *error)
{
	char name[REVISION_MAX + sizeof "refs/"];
	char *text;
	size_t len;
	gh_status status;

	snprintf(name, sizeof name, "refs/%s", revision);
	status = gh__hub_read_file(&text, &len, repository, name, 256, error);
	if (status != GH_OK)
		return status;
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		text[--len] = '\0';
	if (strlen(text) != len || !is_commit(text))
		status = gh__fail(error, GH_EFORMAT,
				  "%.80s in %s: \"%.48s\", a commit of 40 hex digits expected",
				  name, repository, text);
	else
		copy_commit(commit, text);
	gh__free(text);
	return status;
}

static int by_text(const void *left, const void *right)
{
	return strcmp(left, right);
}

/* The commits that have a snapshot, sorted, one every COMMIT + 1 bytes of *out; caller frees. */
static gh_status list_snapshots(char **out, size_t *count, const char *repository, gh_error *error)
{
	gh__buf path = GH__BUF_INIT(PATH_TEXT), names = GH__BUF_INIT((size_t)1 << 20);
	const struct dirent *entry;
	gh_status status;
	DIR *folder;

	*out = NULL;
	*count = 0;
	gh__buf_printf(&path, "%s/snapshots", repository);
	folder = opendir(gh__buf_str(&path));
	if (!folder) {
		gh__buf_free(&path);
		return GH_OK; /* what is missing is told by the caller */
	}
	while ((entry = readdir(folder)) != NULL) {
		if (!is_commit(entry->d_name))
			continue;
		gh__buf_reset(&path);
		gh__buf_printf(&path, "%s/snapshots/%s", repository, entry->d_name);
		if (is_folder(gh__buf_str(&path)))
			gh__buf_append(&names, entry->d_name, COMMIT + 1);
	}
	closedir(folder);
	gh__buf_free(&path);
	status = gh__buf_status(&names);
	if (status != GH_OK) {
		gh__fail(error, status, "%s: too many snapshots", repository);
	} else if (names.len > 0) {
		*count = names.len / (COMMIT + 1);
		*out = gh__buf_take(&names);
		qsort(*out, *count, COMMIT + 1, by_text);
	}
	gh__buf_free(&names);
	return status;
}

/* Why there is no answer, and what the cache has instead, as far as an error's text has room. */
static gh_status no_snapshot(const char *why, const char *commits, size_t count, gh_error *error)
{
	size_t shown = count <= 3 ? count : count < 10 ? count : 10;
	gh__buf list = GH__BUF_INIT(512);

	for (size_t i = 0; i < shown; i++)
		gh__buf_printf(&list, "%s%.*s", i ? ", " : "", count <= 3 ? COMMIT : 10,
			       commits + i * (COMMIT + 1));
	if (shown < count)
		gh__buf_printf(&list, " and %zu more", count - shown);
	gh__fail(error, GH_ENOENT, "%s; snapshots: %s", why, count ? gh__buf_str(&list) : "none");
	gh__buf_free(&list);
	return GH_ENOENT;
}

/* The commit that a revision means in this repository. */
static gh_status find_commit(char commit[COMMIT + 1], const char *model, const char *revision,
			     const char *repository, gh_error *error)
{
	gh_error inner = GH_ERROR_INIT;
	char why[160], *commits = NULL;
	size_t count = 0;
	gh_status status;

	if (is_commit(revision)) {
		copy_commit(commit, revision);
		return GH_OK;
	}
	if (strlen(revision) > REVISION_MAX)
		return gh__fail(error, GH_EINVAL, "revision: %zu characters, at most %d expected",
				strlen(revision), REVISION_MAX);
	status = gh__hub_check_path(revision, "revision", GH_EINVAL, error);
	if (status != GH_OK)
		return status;
	status = read_ref(commit, repository, revision, &inner);
	if (status != GH_ENOENT)
		return status == GH_OK ? status : gh__fail(error, status, "%s", inner.text);
	status = list_snapshots(&commits, &count, repository, error);
	if (status != GH_OK)
		return status;
	if (strcmp(revision, "main") == 0 && count == 1) {
		copy_commit(commit, commits);
		gh__warn("hub", "no refs/main, the only snapshot is taken model=%s commit=%s",
			 model, commit);
	} else {
		snprintf(why, sizeof why, "%s: no refs/%.40s in the cache", model, revision);
		status = no_snapshot(why, commits, count, error);
	}
	gh__free(commits);
	return status;
}

/* <repository>/snapshots/<commit>, which must be there. */
static gh_status snapshot_folder(char **out, const char *model, const char *commit,
				 const char *repository, gh_error *error)
{
	gh__buf path = GH__BUF_INIT(PATH_TEXT);
	char why[160], *commits = NULL;
	size_t count = 0;
	gh_status status;

	gh__buf_printf(&path, "%s/snapshots/%s", repository, commit);
	if (gh__buf_status(&path) != GH_OK || is_folder(gh__buf_str(&path))) {
		status = take_path(out, &path, error);
	} else {
		status = list_snapshots(&commits, &count, repository, error);
		if (status == GH_OK) {
			snprintf(why, sizeof why, "%s: no snapshot %s", model, commit);
			status = no_snapshot(why, commits, count, error);
		}
		gh__free(commits);
	}
	gh__buf_free(&path);
	return status;
}

/* model is no folder: then it must be an id. */
static gh_status check_id(const char *model, gh_error *error)
{
	struct stat info;

	if (is_repository_id(model))
		return GH_OK;
	if (stat(model, &info) == 0)
		return gh__fail(error, GH_EINVAL,
				"model \"%.120s\" is a file; a folder or an id expected", model);
	if (model[0] == '/' || strncmp(model, "./", 2) == 0 || strncmp(model, "~/", 2) == 0)
		return gh__fail(error, GH_ENOENT, "model \"%.150s\": no such folder", model);
	return gh__fail(error, GH_EINVAL,
			"model \"%.100s\" is neither a folder nor an id such as \"org/name\"",
			model);
}

gh_status gh_hub_resolve(char **path, const char *model, const gh_hub_options *options,
			 gh_error *error)
{
	char commit[COMMIT + 1], *cache = NULL, *repository = NULL;
	gh_hub_options known;
	gh_status status;

	if (!path || !model || !*model)
		return gh__fail(error, GH_EINVAL, "path and model must not be NULL or empty");
	*path = NULL;
	status = gh__options_copy(&known, sizeof known, sizeof known, options, error);
	if (status != GH_OK)
		return status;
	if (is_folder(model)) {
		*path = gh__strdup(model);
		return *path ? GH_OK : gh__fail_nomem(error);
	}
	status = check_id(model, error);
	if (status == GH_OK)
		status = cache_root(&cache, &known, error);
	if (status == GH_OK)
		status = repository_folder(&repository, cache, model, error);
	if (status == GH_OK && !is_folder(repository))
		status = gh__fail(error, GH_ENOENT,
				  "model \"%s\" is neither a folder nor in the cache %.110s", model,
				  cache);
	if (status == GH_OK)
		status = find_commit(commit, model, known.revision ? known.revision : "main",
				     repository, error);
	if (status == GH_OK)
		status = snapshot_folder(path, model, commit, repository, error);
	gh__free(cache);
	gh__free(repository);
	return status;
}
