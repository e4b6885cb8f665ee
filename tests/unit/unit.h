#ifndef GH_TESTS_UNIT_H
#define GH_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

#include <gonkahost/base.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * How long one test may take, in seconds: what hangs is to end, what a sanitizer and a busy machine
 * slow down is not. Check reads it when a test case is made.
 */
#define UNIT_PATIENCE "600"

__attribute__((constructor)) static void unit_set_patience(void)
{
	setenv("CK_DEFAULT_TIMEOUT", UNIT_PATIENCE, 0);
}

/* ck_assert on a status, printing the error's text when it is another. */
#define assert_ok(call)                                                                        \
	do {                                                                                   \
		gh_error error_ = GH_ERROR_INIT;                                               \
		gh_error *error = &error_;                                                     \
		(void)error;                                                                   \
		gh_status status_ = (call);                                                    \
		ck_assert_msg(status_ == GH_OK, "%s: %s (%s)", #call, gh_status_name(status_), \
			      error_.text);                                                    \
	} while (0)

/* The call fails with this status and its text contains these words. */
#define assert_fails(expected, words, call)                                                    \
	do {                                                                                   \
		gh_error error_ = GH_ERROR_INIT;                                               \
		gh_error *error = &error_;                                                     \
		(void)error;                                                                   \
		gh_status status_ = (call);                                                    \
		ck_assert_msg(status_ == (expected), "%s: %s, not %s (%s)", #call,             \
			      gh_status_name(status_), gh_status_name(expected), error_.text); \
		ck_assert_msg(strstr(error_.text, (words)) != NULL, "%s: \"%s\" lacks \"%s\"", \
			      #call, error_.text, (words));                                    \
	} while (0)

/* main() of a unit test: TAP on stdout. */
static inline int unit_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
