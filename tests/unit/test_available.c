#include "unit.h"

#include "device/cpu/machine.h"
#include "device/device.h"
#include "folder.h"

/*
 * How much memory is left, by the files of a machine that is made up.
 */
static const char meminfo[] = "MemTotal:       24684084 kB\nMemFree:        23663008 kB\n"
			      "MemAvailable:   8388608 kB\nBuffers:            5076 kB\n";

#define GIB (1ll << 30)

static void a_file(const char *folder, const char *name, const char *text)
{
	char path[512];

	make_folder(folder);
	snprintf(path, sizeof path, "%s/%s", folder, name);
	write_text(path, text);
}

static void set_version_2(const char *group, const char *limit, const char *usage, const char *stat)
{
	char folder[256];

	snprintf(folder, sizeof folder, "sys/fs/cgroup%s", group);
	a_file(folder, "memory.max", limit);
	a_file(folder, "memory.current", usage);
	a_file(folder, "memory.stat", stat);
}

static void setup(void)
{
	make_root();
	a_file("proc", "meminfo", meminfo);
}

START_TEST(this_machine)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	int64_t available = 0;

	assert_ok(gh__device_available(&available, NULL, error));
	ck_assert_int_gt(available, 1 << 20);
	ck_assert_int_le(available, gh__cpu_memory());
	options.kind = "abacus";
	assert_fails(GH_ENODEVICE, "abacus", gh__device_available(&available, &options, error));
	ck_assert_int_eq(available, 0);
}
END_TEST

START_TEST(a_machine_alone)
{
	ck_assert_int_eq(gh__cpu_available(root), 8 * GIB);
	a_file("proc/self", "cgroup", "0::/\n");
	ck_assert_int_eq(gh__cpu_available(root), 8 * GIB);
	set_version_2("", "max\n", "5\n", "");
	ck_assert_int_eq(gh__cpu_available(root), 8 * GIB);
	a_file("proc", "meminfo", "MemTotal: 5 kB\n");
	ck_assert_int_eq(gh__cpu_available(root), 0);
	a_file("proc", "meminfo", "MemAvailable: 99999999999999999999 kB\n");
	ck_assert_int_eq(gh__cpu_available(root), 0);
	ck_assert_int_eq(gh__cpu_available("/nowhere"), 0);
}
END_TEST

START_TEST(the_lowest_limit_of_all_groups_around_it)
{
	a_file("proc/self", "cgroup", "1:name=systemd:/x\n0::/a/b/c\nnothing\n::\n");
	set_version_2("/a/b/c", "4294967296\n", "1073741824\n", "anon 7\ninactive_file 0\n");
	ck_assert_int_eq(gh__cpu_available(root), 3 * GIB);
	set_version_2("/a", "3221225472\n", "2147483648\n", "anon 7\nfile 9\ninactive_file 0\n");
	ck_assert_int_eq(gh__cpu_available(root), 1 * GIB);
	/* What is only a file's, and not used, gives way. */
	set_version_2("/a", "3221225472\n", "2147483648\n", "anon 7\ninactive_file 1073741824\n");
	ck_assert_int_eq(gh__cpu_available(root), 2 * GIB);
	set_version_2("", "1073741824\n", "1073741825\n", "");
	ck_assert_int_eq(gh__cpu_available(root), 0);
	/* A container that is shown a path of the machine's. */
	a_file("proc/self", "cgroup", "0::/../../docker/0123\n");
	ck_assert_int_eq(gh__cpu_available(root), 0);
}
END_TEST

START_TEST(the_first_version)
{
	static const char group[] = "sys/fs/cgroup/memory/docker/x";

	a_file("proc/self", "cgroup", "3:cpuset:/docker/x\n5:hugetlb,memory:/docker/x\n0::/\n");
	a_file(group, "memory.limit_in_bytes", "6442450944\n");
	a_file(group, "memory.usage_in_bytes", "2147483648\n");
	a_file(group, "memory.stat", "inactive_file 1\ntotal_inactive_file 1073741824\n");
	a_file("sys/fs/cgroup/memory", "memory.limit_in_bytes", "9223372036854771712\n");
	a_file("sys/fs/cgroup/memory", "memory.usage_in_bytes", "2147483648\n");
	ck_assert_int_eq(gh__cpu_available(root), 5 * GIB);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("available");
	TCase *tcase = tcase_create("available");

	tcase_add_checked_fixture(tcase, setup, remove_root);
	tcase_add_test(tcase, this_machine);
	tcase_add_test(tcase, a_machine_alone);
	tcase_add_test(tcase, the_lowest_limit_of_all_groups_around_it);
	tcase_add_test(tcase, the_first_version);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
