#include "inference_node/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

extern char **environ;

/* Read at a time: as much as a pipe holds. */
enum { PIECES = 16 };

/* The environment of the child: ours, less the names that are set anew, then these. */
static char **child_environment(const char *const *with)
{
	size_t ours = 0, added = 0, n = 0, i, k;
	char **out;

	while (environ[ours])
		ours++;
	while (with[added])
		added++;
	out = gh__calloc(ours + added + 1, sizeof *out);
	for (i = 0; out && i < ours; i++) {
		size_t name = strcspn(environ[i], "=") + 1;
		bool replaced = false;

		for (k = 0; k < added; k++)
			replaced = replaced || strncmp(with[k], environ[i], name) == 0;
		if (!replaced)
			out[n++] = environ[i];
	}
	for (k = 0; out && k < added; k++)
		out[n++] = (char *)with[k];
	return out;
}

/* Between fork and exec: nothing here takes a lock or allocates. All signals are blocked, as they
 * are in every thread of ours; they are let through once no handler of the program that we came
 * from is left to run in its copy. */
static void become(const char *const *argv, char **environment, int output, pid_t parent)
{
	sigset_t none;
	int null, i;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	for (i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(output, 2) < 0)
		_exit(127);
	execve(argv[0], (char *const *)argv, environment);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

gh_status gh__process_start(gh__process *out, const char *const *argv,
			    const char *const *environment, gh_error *error)
{
	char **merged = child_environment(environment);
	pid_t parent = getpid();
	int ends[2];

	memset(out, 0, sizeof *out);
	out->output = -1;
	if (!merged)
		return gh__fail_nomem(error);
	if (pipe2(ends, O_CLOEXEC) < 0) {
		gh__free(merged);
		return gh__fail_errno(error, GH_EIO, errno, "worker: pipe");
	}
	out->pid = fork();
	if (out->pid == 0)
		become(argv, merged, ends[1], parent);
	gh__free(merged);
	close(ends[1]);
	if (out->pid < 0) {
		out->pid = 0;
		close(ends[0]);
		return gh__fail_errno(error, GH_EIO, errno, "worker: fork");
	}
	setpgid(out->pid, out->pid); /* both sides do it: whoever comes first */
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	out->output = ends[0];
	return GH_OK;
}

/* A line of a worker keeps its level: "warn  engine: ...". */
static void hand_on(gh__process *process)
{
	gh_log_level level = GH_LOG_INFO;

	process->line[process->line_len] = '\0';
	process->line_len = 0;
	if (process->line[0] == '\0')
		return;
	if (strncmp(process->line, "error", 5) == 0)
		level = GH_LOG_ERROR;
	else if (strncmp(process->line, "warn", 4) == 0)
		level = GH_LOG_WARN;
	snprintf(process->last, sizeof process->last, "%.*s", (int)sizeof process->last - 1,
		 process->line);
	gh__log(level, "worker", "pid=%d %s", (int)process->pid, process->line);
}

bool gh__process_read(gh__process *process)
{
	char piece[4096];
	ssize_t got = 0, i;
	int pieces;

	for (pieces = 0; pieces < PIECES; pieces++) {
		got = read(process->output, piece, sizeof piece);
		if (got <= 0)
			break;
		for (i = 0; i < got; i++) {
			if (piece[i] == '\n' || process->line_len == sizeof process->line - 1)
				hand_on(process);
			if (piece[i] != '\n')
				process->line[process->line_len++] = piece[i];
		}
	}
	if (got > 0)
		return true; /* more of it next time: others wait */
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	hand_on(process);
	close(process->output);
	process->output = -1;
	return false;
}

bool gh__process_ended(gh__process *process)
{
	if (process->pid && waitpid(process->pid, &process->exit_status, WNOHANG) == process->pid) {
		kill(-process->pid, SIGKILL); /* what it may have left behind */
		if (process->output >= 0)
			gh__process_read(process);
		process->pid = 0;
	}
	return process->pid == 0;
}

void gh__process_signal(gh__process *process, int number)
{
	if (process->pid)
		kill(-process->pid, number);
}

void gh__process_done(gh__process *process)
{
	gh__process_signal(process, SIGKILL);
	if (process->pid)
		waitpid(process->pid, &process->exit_status, 0);
	process->pid = 0;
	if (process->output >= 0)
		close(process->output);
	process->output = -1;
}

void gh__process_reason(const gh__process *process, char *out, size_t size)
{
	int status = process->exit_status;

	if (WIFSIGNALED(status))
		snprintf(out, size, "killed by signal %d", WTERMSIG(status));
	else
		snprintf(out, size, "exit status %d%s%s", WEXITSTATUS(status),
			 process->last[0] ? ": " : "", process->last);
}
