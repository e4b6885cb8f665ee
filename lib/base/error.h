#ifndef GH_BASE_ERROR_H
#define GH_BASE_ERROR_H

#include <gonkahost/base.h>

/*
 * Raising errors: `return gh__fail(error, GH_EINVAL, "port: %d is not between 1 and 65535", port);`
 * Each answers the status it was given. A text names the field or file, the value and what was
 * expected, in this order. error may be NULL; an error already there is kept.
 */
#define gh__fail(error, status, ...) gh__raise(error, status, GH_DOMAIN_NONE, 0, __VA_ARGS__)

/* The text of errno is appended: "config.json: No such file or directory". */
#define gh__fail_errno(error, status, number, ...) \
	gh__raise(error, status, GH_DOMAIN_ERRNO, number, __VA_ARGS__)

#define gh__fail_code(error, status, domain, code, ...) \
	gh__raise(error, status, domain, code, __VA_ARGS__)

#define gh__fail_nomem(error) gh__fail(error, GH_ENOMEM, "out of memory")

/* The status is the macro's own value, so that compilers and analyzers see that it is a failure. */
#define gh__raise(error, status, domain, code, ...)                                              \
	__extension__({                                                                          \
		const gh_status gh__raised = (status);                                           \
		gh__error_set(error, gh__raised, domain, code, __FILE__, __LINE__, __VA_ARGS__); \
		gh__raised;                                                                      \
	})

void gh__error_set(gh_error *error, gh_status status, gh_domain domain, int code, const char *file,
		   int line, const char *format, ...) GH_PRINTF(7, 8);

/* Put words before an error's text ("node-config.json: " + text), as it travels upwards. */
void gh__error_prefix(gh_error *error, const char *format, ...) GH_PRINTF(2, 3);

/* A status for an errno: ENOENT -> GH_ENOENT, ENOMEM -> GH_ENOMEM, others GH_EIO. */
gh_status gh__status_of_errno(int number);

#endif
