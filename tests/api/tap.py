"""A few lines of TAP for the checks of this folder."""
import sys


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def point(self, good, name, *details):
        """One test point; details explain a failure, a line each."""
        self.count += 1
        self.failed += not good
        print("%s %d - %s" % ("ok" if good else "not ok", self.count, name))
        if not good:
            for detail in details:
                for line in str(detail).splitlines():
                    print("#  " + line)

    def skip(self, name, why):
        self.count += 1
        print("ok %d - %s # SKIP %s" % (self.count, name, why))

    def end(self):
        print("1..%d" % self.count)
        sys.exit(1 if self.failed else 0)
