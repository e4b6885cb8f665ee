#include "http/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

#define LINGER_MAX   64
#define LINGER_BYTES (64u << 20)
#define LINGER_TIME  (2 * GH__SECOND)

void gh__http_linger_end(gh__http_server *server, gh__http_linger *linger)
{
	gh__http_linger **link = &server->lingers;

	while (*link != linger)
		link = &(*link)->next;
	*link = linger->next;
	server->linger_count--;
	close(linger->fd); /* its only descriptor, so it leaves the epoll set */
	gh__free(linger);
}

void gh__http_linger_read(gh__http_server *server, gh__http_linger *linger)
{
	char scratch[16384];
	ssize_t got = recv(linger->fd, scratch, sizeof scratch, MSG_DONTWAIT);

	if (got > 0 && (size_t)got < linger->left)
		linger->left -= (size_t)got;
	else if (got >= 0 || (errno != EAGAIN && errno != EINTR))
		gh__http_linger_end(server, linger);
}

void gh__http_linger_begin(gh__http_server *server, struct MHD_Connection *connection)
{
	gh__http_linger *linger = NULL;
	struct epoll_event event = { .events = EPOLLIN };

	if (server->linger_count == LINGER_MAX || server->cutting)
		return;
	int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0 || !(linger = gh__calloc(1, sizeof *linger)))
		goto fail;
	*linger = (gh__http_linger){ GH__WATCH_LINGER, fd, gh__now() + LINGER_TIME, LINGER_BYTES,
				     server->lingers };
	event.data.ptr = &linger->watch;
	if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		goto fail;
	server->lingers = linger;
	server->linger_count++;
	return;
fail:
	gh__free(linger);
	if (fd >= 0)
		close(fd);
}

/* Ends those whose time is over; answers the next deadline. */
int64_t gh__http_linger_expire(gh__http_server *server, int64_t now)
{
	int64_t next = INT64_MAX;
	gh__http_linger *linger = server->lingers;

	while (linger) {
		gh__http_linger *following = linger->next;

		if (linger->deadline <= now)
			gh__http_linger_end(server, linger);
		else if (linger->deadline < next)
			next = linger->deadline;
		linger = following;
	}
	return next;
}
