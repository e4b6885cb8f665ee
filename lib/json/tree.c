#include "json/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "json/pull.h"
#include "json/write.h"

#define WRITE_DEPTH 256

/* What is open while a tree is built. Owned by what is one level up, the outermost by the
 * caller. */
typedef struct level {
	json_t *container;
	char *key; /* of the member whose value comes next; owned, NULL in an array */
	size_t key_len;
} level;

static json_t *number(const gh__pull *pull)
{
	int64_t integer;
	double real;

	if (gh__pull_int(pull, &integer))
		return json_integer(integer);
	return gh__pull_double(pull, &real) ? json_real(real) : NULL;
}

static json_t *make(const gh__pull *pull, gh__pull_event event)
{
	const char *text;
	size_t len;

	switch (event) {
	case GH__PULL_OBJECT:
		return json_object();
	case GH__PULL_ARRAY:
		return json_array();
	case GH__PULL_STRING:
		text = gh__pull_text(pull, &len);
		return json_stringn_nocheck(text, len); /* checked by the pull reader */
	case GH__PULL_NUMBER:
		return number(pull);
	case GH__PULL_TRUE:
		return json_true();
	case GH__PULL_FALSE:
		return json_false();
	default:
		return json_null();
	}
}

/* Hand value to what is open. */
static bool attach(level *top, json_t *value)
{
	int failed;

	if (!top->key)
		return json_array_append_new(top->container, value) == 0;
	failed = json_object_setn_new_nocheck(top->container, top->key, top->key_len, value);
	gh__free(top->key);
	top->key = NULL;
	return failed == 0;
}

static gh_status keep_key(level *top, const gh__pull *pull, bool unique, gh_error *error)
{
	size_t len;
	const char *text = gh__pull_text(pull, &len);

	if (memchr(text, '\0', len))
		return gh__fail(error, GH_EFORMAT, "a key contains a NUL");
	if (unique && json_object_getn(top->container, text, len))
		return gh__fail(error, GH_EFORMAT, "key \"%.*s\" occurs twice",
				(int)(len < 80 ? len : 80), text);
	top->key = gh__strndup(text, len);
	top->key_len = len;
	return top->key ? GH_OK : gh__fail_nomem(error);
}

static gh_status too_large(const gh__pull *pull, gh_error *error)
{
	size_t len;
	const char *text = gh__pull_text(pull, &len);

	return gh__fail(error, GH_EFORMAT, "byte %zu: %.*s%s is a number out of range",
			gh__pull_offset(pull), (int)(len < 40 ? len : 40), text,
			len > 40 ? "..." : "");
}

static gh_status build(json_t **root, gh__pull *pull, bool unique, gh_error *error)
{
	level levels[GH__PULL_DEPTH] = { { NULL, NULL, 0 } };
	size_t depth = 0, values = 0;
	gh_status status = GH_OK;

	while (status == GH_OK) {
		gh__pull_event event = gh__pull_next(pull);

		if (event == GH__PULL_ERROR)
			status = gh__pull_error(pull, NULL, error);
		if (event == GH__PULL_ERROR || event == GH__PULL_END)
			break;
		if (event == GH__PULL_OBJECT_END || event == GH__PULL_ARRAY_END) {
			depth--;
			continue;
		}
		if (event == GH__PULL_KEY) {
			status = keep_key(&levels[depth - 1], pull, unique, error);
			continue;
		}
		if (++values > GH__JSON_VALUES) {
			status =
				gh__fail(error, GH_ETOOBIG, "more than %d values", GH__JSON_VALUES);
			break;
		}
		json_t *value = make(pull, event);
		if (!value) {
			status = event == GH__PULL_NUMBER ? too_large(pull, error)
							  : gh__fail_nomem(error);
			break;
		}
		if (depth == 0)
			*root = value;
		else if (!attach(&levels[depth - 1], value))
			status = gh__fail_nomem(error);
		if (event == GH__PULL_OBJECT || event == GH__PULL_ARRAY)
			levels[depth++] = (level){ value, NULL, 0 };
	}
	while (depth > 0)
		gh__free(levels[--depth].key);
	return status;
}

json_t *gh__json_parse(const char *text, size_t len, bool unique, gh_error *error)
{
	gh__pull *pull;
	json_t *root = NULL;

	if (gh__pull_create(&pull, text, len, error) != GH_OK)
		return NULL;
	if (build(&root, pull, unique, error) != GH_OK) {
		json_decref(root);
		root = NULL;
	}
	gh__pull_free(pull);
	return root;
}

static gh_status read_all(gh__buf *out, int fd, size_t max, gh_error *error)
{
	char piece[16384];

	for (;;) {
		ssize_t got = read(fd, piece, sizeof piece);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return gh__fail_errno(error, GH_EIO, errno, "read");
		if (got == 0)
			return GH_OK;
		gh__buf_append(out, piece, (size_t)got);
		if (gh__buf_status(out) == GH_ETOOBIG)
			return gh__fail(error, GH_ETOOBIG, "larger than %zu bytes", max);
		if (gh__buf_status(out) != GH_OK)
			return gh__fail_nomem(error);
	}
}

json_t *gh__json_read_file(const char *path, size_t max, gh_error *error)
{
	gh__buf text;
	json_t *root = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		gh__fail_errno(error, gh__status_of_errno(errno), errno, "%s", path);
		return NULL;
	}
	gh__buf_init(&text, max);
	if (read_all(&text, fd, max, error) == GH_OK)
		root = gh__json_parse(gh__buf_str(&text), text.len, false, error);
	if (!root)
		gh__error_prefix(error, "%s: ", path);
	gh__buf_free(&text);
	close(fd);
	return root;
}

static void write_text(gh__buf *out, const char *text, size_t len, unsigned flags)
{
	size_t from = 0;

	gh__buf_append_char(out, '"');
	for (size_t at = 0; flags & GH__JSON_ESCAPE_HTML && at < len; at++) {
		unsigned char c = (unsigned char)text[at];
		size_t bytes = 0;

		if (c == '<' || c == '>' || c == '&')
			bytes = 1;
		else if (c == 0xe2 && len - at >= 3 && (unsigned char)text[at + 1] == 0x80 &&
			 ((unsigned char)text[at + 2] & 0xfe) == 0xa8)
			bytes = 3;
		if (!bytes)
			continue;
		gh__json_write_escaped(out, text + from, at - from);
		gh__buf_printf(out, "\\u%04x",
			       bytes == 1 ? (unsigned)c
					  : 0x2028u | ((unsigned char)text[at + 2] & 1u));
		at += bytes - 1;
		from = at + 1;
	}
	gh__json_write_escaped(out, text + from, len - from);
	gh__buf_append_char(out, '"');
}

static void new_line(gh__buf *out, int depth, unsigned flags)
{
	if (!(flags & GH__JSON_PRETTY))
		return;
	gh__buf_append_char(out, '\n');
	for (int i = 0; i < depth; i++)
		gh__buf_append(out, "  ", 2);
}

static void write_value(gh__buf *out, const json_t *value, int depth, unsigned flags);

static void write_array(gh__buf *out, const json_t *array, int depth, unsigned flags)
{
	size_t count = json_array_size(array);

	gh__buf_append_char(out, '[');
	for (size_t i = 0; i < count; i++) {
		if (i)
			gh__buf_append_char(out, ',');
		new_line(out, depth + 1, flags);
		write_value(out, json_array_get(array, i), depth + 1, flags);
	}
	if (count)
		new_line(out, depth, flags);
	gh__buf_append_char(out, ']');
}

static void write_object(gh__buf *out, const json_t *object, int depth, unsigned flags)
{
	json_t *walked = (json_t *)object; /* jansson's iterators change nothing */
	void *at = json_object_iter(walked);
	bool empty = !at;

	gh__buf_append_char(out, '{');
	for (bool first = true; at; at = json_object_iter_next(walked, at), first = false) {
		if (!first)
			gh__buf_append_char(out, ',');
		new_line(out, depth + 1, flags);
		write_text(out, json_object_iter_key(at), json_object_iter_key_len(at), flags);
		gh__buf_append_str(out, flags & GH__JSON_PRETTY ? ": " : ":");
		write_value(out, json_object_iter_value(at), depth + 1, flags);
	}
	if (!empty)
		new_line(out, depth, flags);
	gh__buf_append_char(out, '}');
}

static void write_value(gh__buf *out, const json_t *value, int depth, unsigned flags)
{
	if (depth > WRITE_DEPTH && out->status == GH_OK)
		out->status = GH_ETOOBIG;
	if (gh__buf_status(out) != GH_OK)
		return;
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		write_object(out, value, depth, flags);
		break;
	case JSON_ARRAY:
		write_array(out, value, depth, flags);
		break;
	case JSON_STRING:
		write_text(out, json_string_value(value), json_string_length(value), flags);
		break;
	case JSON_INTEGER:
		gh__buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL:
		gh__json_write_double(out, json_real_value(value));
		break;
	case JSON_TRUE:
		gh__buf_append_str(out, "true");
		break;
	case JSON_FALSE:
		gh__buf_append_str(out, "false");
		break;
	case JSON_NULL:
		gh__buf_append_str(out, "null");
		break;
	}
}

void gh__json_write(gh__buf *out, const json_t *value, unsigned flags)
{
	write_value(out, value, 0, flags);
}

char *gh__json_text(const json_t *value, size_t *len)
{
	gh__buf text;

	gh__buf_init(&text, SIZE_MAX / 2);
	gh__json_write(&text, value, 0);
	if (len)
		*len = text.len;
	return gh__buf_take(&text);
}
