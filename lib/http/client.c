#include "http/client.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "http/call.h"

#define EVENTS      64
#define CONNECTIONS 5000L /* kept alive for the next exchange */
#define KNOWN       1024  /* chains of calls by ticket */

struct gh__http_client {
	pthread_t thread;
	int epoll, wake;

	pthread_mutex_t lock;
	gh__call *known[KNOWN]; /* by ticket, until on_done is about to run */
	uint64_t tickets;       /* handed out so far */
	gh__call *commands;     /* calls to look at, in any order */
	bool stopping;

	/* of the loop */
	CURLM *multi;
	gh__call *running;
	int64_t curl_timer; /* when curl wants to be called, or INT64_MAX */
	int64_t idle_timer; /* when to look for calls that have fallen silent, or INT64_MAX */
};

static void ring(gh__http_client *client)
{
	const uint64_t one = 1;

	while (write(client->wake, &one, sizeof one) < 0 && errno == EINTR)
		;
}

/* With the lock held. */
static void queue(gh__http_client *client, gh__call *call)
{
	if (call->queued)
		return;
	call->queued = true;
	call->next_command = client->commands;
	client->commands = call;
	if (!call->next_command)
		ring(client);
}

/* What curl calls. */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *opaque, void *known)
{
	gh__http_client *client = opaque;
	struct epoll_event event = { .data.fd = fd };

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(client->epoll, EPOLL_CTL_DEL, fd, NULL);
		curl_multi_assign(client->multi, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	int number = epoll_ctl(client->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
	if (number != 0 && (errno == EEXIST || errno == ENOENT))
		number =
			epoll_ctl(client->epoll, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
	if (number != 0) {
		gh__warn("http", "cannot watch a connection: errno=%d", errno);
		return -1;
	}
	curl_multi_assign(client->multi, fd, client);
	return 0;
}

static int on_timer(CURLM *multi, long ms, void *opaque)
{
	gh__http_client *client = opaque;

	(void)multi;
	client->curl_timer = ms < 0 ? INT64_MAX : gh__now() + ms * GH__MILLISECOND;
	return 0;
}

/* The loop. */

/* With the lock held: the place that points to the call, or to NULL behind the last. */
static gh__call **find(gh__http_client *client, uint64_t ticket)
{
	gh__call **link = &client->known[ticket % KNOWN];

	while (*link && (*link)->ticket != ticket)
		link = &(*link)->next_known;
	return link;
}

static void end(gh__http_client *client, gh__call *call, gh_status reason, CURLcode code)
{
	if (reason != GH_OK)
		call->reason = reason;
	curl_multi_remove_handle(client->multi, call->easy);
	if (call->above)
		call->above->below = call->below;
	else
		client->running = call->below;
	if (call->below)
		call->below->above = call->above;

	/* Its ticket is worth nothing from here on. */
	pthread_mutex_lock(&client->lock);
	*find(client, call->ticket) = call->next_known;
	for (gh__call **link = &client->commands; call->queued && *link;
	     link = &(*link)->next_command)
		if (*link == call) {
			*link = call->next_command;
			break;
		}
	pthread_mutex_unlock(&client->lock);
	gh__call_report(call, code);
	gh__call_free(call);
}

/* False: it has ended at once. */
static bool begin(gh__http_client *client, gh__call *call)
{
	call->begun = true;
	call->last_sign = gh__now();
	call->below = client->running;
	if (call->below)
		call->below->above = call;
	client->running = call;
	if (call->idle_timeout && call->last_sign + call->idle_timeout < client->idle_timer)
		client->idle_timer = call->last_sign + call->idle_timeout;
	if (curl_multi_add_handle(client->multi, call->easy) == CURLM_OK)
		return true;
	end(client, call, GH_OK, CURLE_OUT_OF_MEMORY);
	return false;
}

static void carry_on(gh__http_client *client, gh__call *call)
{
	if (!call->paused)
		return;
	call->paused = false;
	call->last_sign = gh__now();
	/* Calls on_data with what waits, which may pause again. */
	CURLcode code = curl_easy_pause(call->easy, CURLPAUSE_CONT);
	if (code != CURLE_OK)
		end(client, call, GH_OK, code);
}

/* Do what was asked for since the last time; false: the client is to be freed. */
static bool follow(gh__http_client *client)
{
	pthread_mutex_lock(&client->lock);
	gh__call *call = client->commands;
	bool stopping = client->stopping;
	client->commands = NULL;
	pthread_mutex_unlock(&client->lock);

	while (call) {
		pthread_mutex_lock(&client->lock);
		gh__call *next = call->next_command;
		bool cancel = call->cancel_wanted, resume = call->resume_wanted;
		call->queued = call->resume_wanted = false;
		pthread_mutex_unlock(&client->lock);

		bool alive = call->begun || begin(client, call);
		if (alive && cancel)
			end(client, call, GH_ECANCELLED, CURLE_OK);
		else if (alive && resume)
			carry_on(client, call);
		call = next;
	}
	return !stopping;
}

/* End the calls that have been silent for too long, and find out when to look again. A call that is
 * not connected yet, or paused, is not silent; by now + its limit it cannot have become so. */
static void end_silent(gh__http_client *client)
{
	const int64_t now = gh__now();

	if (now < client->idle_timer)
		return;
	client->idle_timer = INT64_MAX;
	for (gh__call *call = client->running, *next; call; call = next) {
		int64_t deadline = now + call->idle_timeout;

		next = call->below;
		if (!call->idle_timeout)
			continue;
		if (call->connected && !call->paused)
			deadline = call->last_sign + call->idle_timeout;
		if (deadline <= now)
			end(client, call, GH_ETIMEOUT, CURLE_OK);
		else if (deadline < client->idle_timer)
			client->idle_timer = deadline;
	}
}

static void end_finished(gh__http_client *client)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
		CURLcode code = message->data.result;
		void *call = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
		end(client, call, GH_OK, code);
	}
}

static int timeout_ms(const gh__http_client *client)
{
	int64_t next =
		client->curl_timer < client->idle_timer ? client->curl_timer : client->idle_timer;
	int64_t now = gh__now();

	if (next == INT64_MAX)
		return -1;
	if (next <= now)
		return 0;
	int64_t ms = (next - now + GH__MILLISECOND - 1) / GH__MILLISECOND;
	return ms > 3600000 ? 3600000 : (int)ms;
}

static void handle(gh__http_client *client, const struct epoll_event *event)
{
	uint64_t count;
	int what = 0, running;

	if (event->data.fd == client->wake) {
		while (read(client->wake, &count, sizeof count) < 0 && errno == EINTR)
			;
		return;
	}
	if (event->events & (EPOLLIN | EPOLLHUP))
		what |= CURL_CSELECT_IN;
	if (event->events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (event->events & EPOLLERR)
		what |= CURL_CSELECT_ERR;
	curl_multi_socket_action(client->multi, event->data.fd, what, &running);
}

static void run(void *opaque)
{
	gh__http_client *client = opaque;
	struct epoll_event events[EVENTS];
	int running;

	while (follow(client)) {
		int count = epoll_wait(client->epoll, events, EVENTS, timeout_ms(client));

		for (int i = 0; i < count; i++)
			handle(client, &events[i]);
		if (client->curl_timer <= gh__now()) {
			client->curl_timer = INT64_MAX;
			curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
		}
		end_finished(client);
		end_silent(client);
	}
	while (client->running)
		end(client, client->running, GH_ECANCELLED, CURLE_OK);
}

/* For callers. */

static void start_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void release(gh__http_client *client)
{
	if (client->multi)
		curl_multi_cleanup(client->multi); /* still calls on_socket */
	if (client->epoll >= 0)
		close(client->epoll);
	if (client->wake >= 0)
		close(client->wake);
	pthread_mutex_destroy(&client->lock);
	gh__free(client);
}

gh_status gh__http_client_create(gh__http_client **out, gh_error *error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	gh__http_client *client = gh__calloc(1, sizeof *client);
	struct epoll_event event = { .events = EPOLLIN };
	gh_status status = GH_OK;

	*out = NULL;
	if (!client)
		return gh__fail_nomem(error);
	pthread_once(&once, start_curl);
	pthread_mutex_init(&client->lock, NULL);
	client->curl_timer = client->idle_timer = INT64_MAX;
	client->epoll = epoll_create1(EPOLL_CLOEXEC);
	client->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	event.data.fd = client->wake;
	client->multi = curl_multi_init();
	if (client->epoll < 0 || client->wake < 0 ||
	    epoll_ctl(client->epoll, EPOLL_CTL_ADD, client->wake, &event) != 0)
		status = gh__fail_errno(error, GH_EIO, errno, "http: epoll or eventfd");
	else if (!client->multi)
		status = gh__fail_nomem(error);
	if (status == GH_OK) {
		curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
		curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
		curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer);
		curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
		curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS);
		status = gh__thread_start(&client->thread, "http-client", run, client, error);
	}
	if (status != GH_OK) {
		release(client);
		return status;
	}
	*out = client;
	return GH_OK;
}

void gh__http_client_free(gh__http_client *client)
{
	if (!client)
		return;
	pthread_mutex_lock(&client->lock);
	client->stopping = true;
	pthread_mutex_unlock(&client->lock);
	ring(client);
	pthread_join(client->thread, NULL);
	release(client);
}

gh_status gh__http_call_start(gh__http_client *client, const gh__http_call_options *options,
			      gh__http_call **out, gh_error *error)
{
	gh__call *call;
	gh_status status = gh__call_create(&call, options, error);

	if (status != GH_OK)
		return status;
	pthread_mutex_lock(&client->lock);
	bool stopping = client->stopping;
	if (!stopping) {
		call->ticket = ++client->tickets;
		*find(client, call->ticket) = call;
		if (out)
			*out = (gh__http_call *)(uintptr_t)call->ticket;
		queue(client, call);
	}
	pthread_mutex_unlock(&client->lock);
	if (stopping) {
		gh__call_free(call);
		return gh__fail(error, GH_ECLOSED, "the HTTP client is being freed");
	}
	return GH_OK;
}

static void ask(gh__http_client *client, const gh__http_call *ticket, bool cancel)
{
	pthread_mutex_lock(&client->lock);
	gh__call *call = *find(client, (uint64_t)(uintptr_t)ticket);
	if (call) {
		if (cancel)
			call->cancel_wanted = true;
		else
			call->resume_wanted = true;
		queue(client, call);
	}
	pthread_mutex_unlock(&client->lock);
}

void gh__http_call_cancel(gh__http_client *client, gh__http_call *call)
{
	ask(client, call, true);
}

void gh__http_call_resume(gh__http_client *client, gh__http_call *call)
{
	ask(client, call, false);
}

void gh__http_client_cancel(gh__http_client *client)
{
	pthread_mutex_lock(&client->lock);
	for (size_t i = 0; i < KNOWN; i++)
		for (gh__call *call = client->known[i]; call; call = call->next_known) {
			call->cancel_wanted = true;
			queue(client, call);
		}
	pthread_mutex_unlock(&client->lock);
}

/* One exchange, waited for. */

typedef struct fetch {
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool done;
	gh_status status;
	gh_error error;
	int http_status;
	char *body;
	size_t len;
} fetch;

static void on_fetched(const gh__http_answer *answer, gh_status status, const gh_error *error,
		       void *userdata)
{
	fetch *f = userdata;

	pthread_mutex_lock(&f->lock);
	f->status = status;
	f->error = *error;
	f->http_status = answer->status;
	if (status == GH_OK) {
		f->body = gh__strndup(answer->body, answer->len);
		f->len = answer->len;
		if (!f->body)
			f->status = gh__fail_nomem(&f->error);
	}
	f->done = true;
	pthread_cond_signal(&f->over);
	pthread_mutex_unlock(&f->lock);
}

gh_status gh__http_fetch(gh__http_client *client, const gh__http_call_options *options, int *status,
			 char **body, size_t *len, gh_error *error)
{
	gh__http_call_options own = *options;
	fetch f = { .lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER };

	own.on_header = NULL;
	own.on_data = NULL;
	own.on_done = on_fetched;
	own.userdata = &f;
	gh_status result = gh__http_call_start(client, &own, NULL, error);
	if (result != GH_OK)
		return result;
	pthread_mutex_lock(&f.lock);
	while (!f.done)
		pthread_cond_wait(&f.over, &f.lock);
	pthread_mutex_unlock(&f.lock);
	pthread_mutex_destroy(&f.lock);
	pthread_cond_destroy(&f.over);

	if (status)
		*status = f.http_status;
	if (len)
		*len = f.len;
	if (body)
		*body = f.body;
	else
		gh__free(f.body);
	if (f.status != GH_OK && error && error->status == GH_OK)
		*error = f.error;
	return f.status;
}
