#include <gonkahost/base.h>

const char *gh_version(void)
{
	return GH_VERSION;
}

const char *gh_status_name(gh_status status)
{
	switch (status) {
#define CASE(name, value, text) \
	case name:              \
		return #name;
		GH_STATUS_MAP(CASE)
#undef CASE
	}
	return "GH_UNKNOWN";
}

const char *gh_status_text(gh_status status)
{
	switch (status) {
#define CASE(name, value, text) \
	case name:              \
		return text;
		GH_STATUS_MAP(CASE)
#undef CASE
	}
	return "unknown status";
}
