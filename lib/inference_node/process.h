#ifndef GH_INFERENCE_NODE_PROCESS_H
#define GH_INFERENCE_NODE_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include <gonkahost/base.h>

/*
 * A child process: started in a process group of its own, ended with its parent, its stderr read
 * line by line and handed to the log. One thread owns it.
 */
typedef struct gh__process {
	pid_t pid;      /* 0: none */
	int output;     /* stderr's read end, non-blocking; -1 */
	char line[512]; /* the line under way */
	size_t line_len;
	char last[256];  /* the last whole line: why it ended, as it says itself */
	int exit_status; /* of waitpid(2), once pid is 0 */
} gh__process;

/* argv[0] is the file to run. environment: "NAME=value", laid over ours; NULL-terminated. */
gh_status gh__process_start(gh__process *out, const char *const *argv,
			    const char *const *environment, gh_error *error);

/* Read what stderr holds, but no more than a pipe does. Answers false when it is closed. */
bool gh__process_read(gh__process *process);

/* True once the process has ended (and is reaped). */
bool gh__process_ended(gh__process *process);

void gh__process_signal(gh__process *process, int number); /* its whole group */
void gh__process_done(gh__process *process);               /* kills what is left; waits for it */

/* "exit status 1: <last line>", "killed by signal 9". */
void gh__process_reason(const gh__process *process, char *out, size_t size);

#endif
