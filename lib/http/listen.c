#include "http/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

typedef union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un local;
} address;

static gh_status tcp_address(address *out, socklen_t *len, const char *host, int port,
			     gh_error *error)
{
	if (port < 0 || port > 65535)
		return gh__fail(error, GH_EINVAL, "port: %d is not between 0 and 65535", port);
	if (!host || strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
		out->v4.sin_family = AF_INET;
		out->v4.sin_port = htons((uint16_t)port);
		*len = sizeof out->v4;
	} else if (inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1) {
		out->v6.sin6_family = AF_INET6;
		out->v6.sin6_port = htons((uint16_t)port);
		*len = sizeof out->v6;
	} else {
		return gh__fail(error, GH_EINVAL, "host: \"%s\" is not an IP address", host);
	}
	return GH_OK;
}

/* Make way for a socket at path: a file nobody listens on any more goes. */
static gh_status clear_path(const address *at, socklen_t len, gh_error *error)
{
	const char *path = at->local.sun_path;
	struct stat info;

	if (lstat(path, &info) != 0)
		return GH_OK; /* bind() tells what else may be wrong */
	if (!S_ISSOCK(info.st_mode))
		return gh__fail(error, GH_EEXIST, "%s: exists and is not a socket", path);
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return gh__fail_errno(error, GH_EIO, errno, "%s", path);
	bool dead = connect(probe, &at->any, len) != 0 && errno == ECONNREFUSED;
	close(probe);
	if (!dead)
		return gh__fail(error, GH_EBUSY, "%s: another server listens there", path);
	if (unlink(path) != 0 && errno != ENOENT)
		return gh__fail_errno(error, GH_EIO, errno, "%s", path);
	return GH_OK;
}

static gh_status unix_address(address *out, socklen_t *len, const char *path, gh_error *error)
{
	if (*path == '\0' || strlen(path) >= sizeof out->local.sun_path)
		return gh__fail(error, GH_EINVAL, "unix_path: \"%s\" must have 1 to %zu bytes",
				path, sizeof out->local.sun_path - 1);
	out->local.sun_family = AF_UNIX;
	memcpy(out->local.sun_path, path, strlen(path) + 1);
	*len = sizeof out->local;
	return clear_path(out, *len, error);
}

static int bound_port(int fd)
{
	address at = { 0 };
	socklen_t len = sizeof at;

	if (getsockname(fd, &at.any, &len) != 0)
		return 0;
	return ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
}

gh_status gh__http_listen(gh__http_server *server, gh_error *error)
{
	const gh__http_server_options *options = &server->options;
	const char *path = options->unix_path;
	address at = { 0 };
	socklen_t len = 0;
	int on = 1;
	gh_status status = path ? unix_address(&at, &len, path, error)
				: tcp_address(&at, &len, options->host, options->port, error);

	if (status != GH_OK)
		return status;
	int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return gh__fail_errno(error, GH_ENET, errno, "socket");
	/* The mode a socket has before bind() is the mode its file gets. */
	if (path) {
		fchmod(fd, 0600);
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on,
			   sizeof on); /* connections inherit it */
	}
	if (bind(fd, &at.any, len) != 0 || listen(fd, BACKLOG) != 0) {
		int number = errno;

		close(fd);
		if (path)
			return gh__fail_errno(error, GH_ENET, number, "%s", path);
		return gh__fail_errno(error, GH_ENET, number, "%s port %d",
				      options->host ? options->host : "127.0.0.1", options->port);
	}
	if (path) {
		server->unix_path = gh__strdup(path);
		if (!server->unix_path) {
			close(fd);
			unlink(path);
			return gh__fail_nomem(error);
		}
	} else {
		server->port = bound_port(fd);
	}
	server->listener = fd;
	return GH_OK;
}
